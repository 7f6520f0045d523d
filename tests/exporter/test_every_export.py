"""Every task from its name to an artefact the runtime runs: the graph, the engine, and the same with NMS inside."""

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx.utils import Extractor

from y12 import DetectOptions, Runtime
from y12.exporter.export_config import ExportConfig, ShapeOptions
from y12.exporter.export_pipeline import export
from y12.exporter.graph.nms.nms import PREFIX
from y12.exporter.model.spec import models_dir
from y12.exporter.verify.verify_images import photos_dir
from y12.exporter.verify.verify_options import VerifyOptions
from y12.runtime.artefact.manifest import ONNX_KEY, Manifest
from y12.runtime.artefact.nms_settings import NmsSettings

SMALL = ShapeOptions(imgsz=((192, 256),))
ONE = VerifyOptions(max_images=1)
PHOTO = sorted(photos_dir().glob("*.jpg"))[0]
NMS = DetectOptions(conf=0.3, iou=0.5, max_det=50)
OUTPUTS = ("output0", "boxes", "scores", "mask_coefficients", "keypoints", "protos")  # of raw graphs
# Name, attentions, and what its detections have beside boxes.
MODELS = {
    "yolov12n-seg": (8, {"masks"}),
    "yolov12n-v1-pose": (8, {"keypoints"}),
    "yolov12n-obb": (8, {"xywhr"}),
    "yolov12n-multitask": (8, {"masks", "keypoints"}),  # which it has on request
    "yolov12n-p6": (12, set()),
    "yolov12n-hybrid-seg": (8, {"masks"}),
    "yolo11n-pose": (1, {"keypoints"}),
    "yolov8n-seg": (0, {"masks"}),
}


@contextmanager
def silent(_stage):
    yield


# Keypoints are found by yolo11n too, and attention of the first layout is fused in engine/test_facts.py.
MORE = ("yolov12n-v1-pose", "yolov12n-p6", "yolov12n-hybrid-seg", "yolov12n-multitask", "yolov12n-obb", "yolo11n-pose")
TRIED = [pytest.param(name, marks=[pytest.mark.exhaustive] * (name in MORE)) for name in MODELS]


@pytest.fixture(scope="module", params=TRIED)
def exported(request, tmp_path_factory):
    """The engine with NMS inside, its graph, and that graph as it was before NMS came behind it."""
    folder = tmp_path_factory.mktemp(request.param)
    settings = NmsSettings("packed", 400, NMS)
    config = ExportConfig(
        request.param,
        random_weights=True,
        format="engine",
        precision="fp16",
        shapes=SMALL,
        nms=settings,
        verify=ONE,
        output=folder / "nms",
    )
    if request.param == "yolov12n-multitask":
        config = replace(config, model=with_keypoints(folder / "mine.yaml"), scale="n")
    result = export(config, silent)
    inside = result.artefact.replace(".engine", ".onnx")
    return request.param, result, without_nms(inside, folder / "raw.onnx"), inside


def with_keypoints(path):
    text = (models_dir() / "yolov12-multitask.yaml").read_text()
    path.write_text(text.replace("kpt_shape: null", "kpt_shape: [5, 3]"))
    return str(path)


def without_nms(path, raw):
    """Take the NMS off a graph again: what an export without it writes."""
    whole = onnx.load(path)
    manifest = replace(Manifest.from_json(whole.metadata_props[0].value), nms=None)
    tensors = {name for node in whole.graph.node if not node.name.startswith(PREFIX) for name in node.output}
    outputs = [name for name in OUTPUTS if name in tensors]
    graph = Extractor(onnx.shape_inference.infer_shapes(whole)).extract_model(["images"], outputs)
    graph.metadata_props.add(key=ONNX_KEY, value=manifest.to_json())
    onnx.save(graph, raw)
    return raw


def test_the_engine_is_what_was_asked_for(exported):
    name, engine, *_ = exported
    attentions, _ = MODELS[name]
    facts = engine.report.engine
    assert (facts.attentions_expected, facts.attentions_fused, facts.fp32_convolutions) == (attentions, attentions, ())
    assert engine.report.verification.comparisons[0].verdict == "equal within tolerance"
    assert engine.report.verification.comparisons[0].matched >= 20
    assert engine.report.verification.nms_checked >= 5
    assert "packed, conf 0.3, iou 0.5, max_det 50 of the best 400 candidates" in engine.report.nms


def test_the_runtime_finds_the_same_with_and_without_nms_in_the_graph(exported):
    name, _, raw, with_nms = exported
    _, parts = MODELS[name]
    with Runtime(raw) as outside, Runtime(with_nms) as inside:
        expected, actual = outside.infer(PHOTO, NMS), inside.infer(PHOTO)
        assert inside.manifest.nms.options == inside.options == NMS
    assert len(expected) >= 3
    assert {part for part in ("masks", "keypoints", "xywhr") if getattr(actual, part) is not None} == parts
    np.testing.assert_array_equal(actual.class_id, expected.class_id)
    np.testing.assert_allclose(actual.confidence, expected.confidence, atol=1e-6)
    np.testing.assert_allclose(actual.xyxy, expected.xyxy, atol=1e-2)
    if name == "yolov12n-multitask":
        assert actual.keypoints.shape == (len(actual), 5, 3)
    for part in parts - {"masks"}:
        np.testing.assert_allclose(getattr(actual, part), getattr(expected, part), atol=1e-2)
    if "masks" in parts:
        assert actual.mask.shape == (len(actual), *actual.image_hw)
        assert (actual.mask != expected.mask).mean() < 1e-4


def test_a_classifier(tmp_path):
    config = ExportConfig(
        "yolov12n-cls", random_weights=True, format="engine", precision="fp16", verify=ONE, output=tmp_path
    )
    result = export(config, silent)
    facts = result.report.engine
    assert (facts.attentions_expected, facts.attentions_fused, facts.fp32_convolutions) == (8, 8, ())
    assert result.report.verification.comparisons[0].matched == 5
    with Runtime(result.artefact.replace(".engine", ".onnx")) as runtime:
        assert runtime.input_hw == (224, 224)
        classes = runtime.infer(PHOTO)
    assert len(classes) == 5
    assert (np.diff(classes.confidence) <= 0).all()


@pytest.mark.exhaustive  # per commit: test_head_exports.py, and without NMS test_export_pipeline.py
@pytest.mark.parametrize("name", ["yolov12n-seg", "yolov12n-obb"])
def test_batch_and_size_are_free_with_nms_inside(tmp_path, name):
    shapes = ShapeOptions(imgsz=((96, 128), (128, 192), (160, 256)), batch=(1, 2, 4))
    settings = NmsSettings("split", 600, NMS)
    config = ExportConfig(
        name,
        random_weights=True,
        format="engine",
        precision="fp16",
        shapes=shapes,
        nms=settings,
        verify=ONE,
        output=tmp_path,
    )
    result = export(config, silent)
    facts = result.report.engine
    assert (facts.attentions_fused, facts.attentions_expected, facts.fp32_convolutions) == (8, 8, ())
    with Runtime(result.artefact.replace(".engine", ".onnx"), imgsz=(96, 256)) as runtime:
        alone = runtime.infer(PHOTO)
        together = runtime.infer_batch([PHOTO, np.zeros((50, 70, 3), np.uint8), PHOTO])
    assert len(alone) >= 1
    for detections in (together[0], together[2]):
        np.testing.assert_allclose(detections.xyxy, alone.xyxy, atol=0.1)
