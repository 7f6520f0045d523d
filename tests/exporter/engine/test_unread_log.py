"""A build log in words that y12 does not know: the engine is written, and what is not proved of it is said."""

import re
from dataclasses import replace

import pytest

from y12.exporter.engine import layers
from y12.exporter.engine.engine_options import EngineOptions
from y12.exporter.export_config import ExportConfig, ShapeOptions
from y12.exporter.export_pipeline import export
from y12.runtime.artefact.opened import open_artefact

SMALL = ExportConfig(
    format="engine", precision="fp16", shapes=ShapeOptions(((64, 64),)), target=EngineOptions("rtx"), verify=None
)


@pytest.mark.parametrize(
    ("form", "said"), [("_LAYER", "a layer in TensorRT's build log is not understood: Name: "), ("Layers", "lists no")]
)
def test_an_engine_whose_log_is_not_understood_is_written_and_what_is_not_proved_is_said(
    rtx, monkeypatch, tmp_path, form, said
):
    if form == "_LAYER":
        monkeypatch.setattr(layers, form, re.compile("a release that words its layers otherwise"))
    else:
        monkeypatch.setattr(layers, "LIST", "Final layers:")
    result = export(replace(SMALL, output=tmp_path))
    report = result.report
    assert open_artefact(result.artefact).manifest.precision == "fp16"
    assert report.engine is None
    assert said in report.unread
    assert report.verdict == "not verified; what the engine computes in was not read"
    assert any("what the engine computes in is not proved" in note and said in note for note in report.notes)
    assert any(line.startswith("engine       TensorRT-RTX ") for line in report.summary())
    assert re.search("runs on", (tmp_path / "yolov12n-shapes_fp16.report.html").read_text(), re.I)
