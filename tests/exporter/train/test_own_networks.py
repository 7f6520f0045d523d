"""Networks of y12's own learn four drawn scenes by heart, and what is exported finds the same in them."""

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from overfit import FOUND, SCENES, SIDE, SURE, SURE_OBJECTS, Learned, network_itself, overfit, scene_images

from y12 import DetectOptions, Runtime
from y12.exporter.checkpoint.save import write_checkpoint
from y12.exporter.export_config import ExportConfig, ShapeOptions
from y12.exporter.export_pipeline import export
from y12.exporter.model.spec import spec_from_name
from y12.exporter.train.scenes.forms import CLASS_NAMES
from y12.exporter.verify.verify_options import VerifyOptions

# Name, attentions. The first three have every backbone, every kind of block and every way to tell a place of them all.
NETWORKS = {
    "yolov12n-lite-anchors": 2,
    "bitfalcon-n": 2,
    "yolov12n-hybrid-heatmap": 8,
    "yolov12n-lite": 2,
    "yolov12n-hybrid": 8,
    "yolov12n-hybrid-anchors": 8,
}
ALL = [
    pytest.param(name, marks=pytest.mark.exhaustive) for name in NETWORKS
]  # per commit: the design's, in test_design.py

# Width and height, three for each level.
ANCHORS = (
    ((16.0, 16.0), (16.0, 24.0), (24.0, 16.0)),
    ((24.0, 24.0), (24.0, 32.0), (32.0, 24.0)),
    ((32.0, 32.0), (36.0, 44.0), (44.0, 36.0)),
)


@contextmanager
def silent(_stage):
    yield


def spec_of(name):
    """The shipped network for the scenes' classes, with anchors of the sizes that their objects have."""
    spec = spec_from_name(name, nc=len(CLASS_NAMES))
    head = spec.layers[-1]
    if head.args.get("anchors") is None:
        return spec
    return replace(spec, layers=(*spec.layers[:-1], replace(head, args={**head.args, "anchors": ANCHORS})))


@pytest.fixture(scope="module", params=ALL)
def learned(request, tmp_path_factory):
    """A network's name, what it learned, the folder with its scenes, and its file."""
    folder = tmp_path_factory.mktemp(request.param)
    result = overfit(spec_of(request.param), folder / "scenes")
    write_checkpoint(folder / "learned.safetensors", result.detector)
    return request.param, result, folder


def test_it_learns(learned):
    _name, result, _folder = learned
    assert isinstance(result, Learned)
    assert result.untouched == []  # every parameter got a gradient
    assert result.ap50 >= 0.9, f"after {result.steps} steps"


@pytest.fixture(scope="module")
def exported(learned):
    """The report of an FP16 engine, the scenes, and the graph it was built from."""
    _name, _result, folder = learned
    images = tuple(scene_images(folder / "scenes"))
    config = ExportConfig(
        str(folder / "learned.safetensors"),
        format="engine",
        precision="fp16",
        shapes=ShapeOptions(imgsz=((SIDE, SIDE),)),
        verify=VerifyOptions(images=images),
        output=folder,
    )
    return export(config, silent).report, images, folder / "learned_fp16.onnx"


def test_its_engine_fuses_every_attention(learned, exported):
    report, _images, _graph = exported
    name, facts = learned[0], report.engine
    assert report.model == name
    assert (facts.attentions_expected, facts.attentions_fused) == (NETWORKS[name], NETWORKS[name])
    assert facts.fp32_convolutions == ()
    found = report.verification.comparisons[0]
    assert found.verdict == "equal within tolerance"
    assert (found.images, found.lost, found.new) == (SCENES, 0, 0)


def test_its_graph_finds_the_same_objects(learned, exported):
    _report, images, graph = exported
    detector = learned[1].detector
    options = DetectOptions(conf=FOUND)
    with network_itself(detector) as torch_runtime, Runtime(graph) as runtime:
        count = 0
        for image in images:
            both = torch_runtime.infer(image, options), runtime.infer(image, options)
            for one, other in (both, both[::-1]):
                sure = one[one.confidence > SURE]
                for box, label in zip(sure.xyxy, sure.class_id, strict=True):
                    shifts = np.abs(other.xyxy[other.class_id == label] - box).max(1)
                    assert shifts.min(initial=np.inf) < 1.0  # pixels
            count += len(sure)
    assert count >= SURE_OBJECTS
