"""Another exporter's graphs in the form for CPUs: every attention and every expectation, with the same results."""

import pytest
from text_models import ops

from y12.exporter.graph.simplify import cpu_passes, simplify

FILES = [
    pytest.param("T_rmArmor-yolov12n", 8, (640, 640), id="a softmax written by hand"),
    pytest.param("T_yolo11n_dynamic", 1, (160, 224), id="free axes"),
]


@pytest.mark.parametrize(("name", "attentions", "size"), FILES)
def test_a_graph_is_written_for_cpus(foreign, make_profile, name, attentions, size):
    simplified, report = simplify(foreign(name), make_profile(*size), cpu_passes(foreign=True, integers=False))
    done = {one.name: one.changes for one in report.passes}
    assert (done["map_attention"], done["power_expectations"], report.notes) == (attentions, 1, ())
    assert report.difference is not None  # it was compared, and is within the limit
    assert ops(simplified).count("Softmax") == attentions
