"""Every task from its name to an artefact the runtime runs: the graph, the engine, and the same with NMS inside."""

from contextlib import contextmanager

import numpy as np
import pytest

from exporter.pipeline import export
from exporter.recipe import Recipe, Shapes
from exporter.verify.images import photos_dir
from exporter.verify.options import VerifyOptions
from runtime import DetectOptions, Runtime
from runtime.manifest import NmsSettings

SMALL = Shapes(imgsz=((192, 256),))
ONE = VerifyOptions(max_images=1)
PHOTO = sorted(photos_dir().glob("*.jpg"))[0]
NMS = DetectOptions(conf=0.3, iou=0.5, max_det=50)
# Name, attentions, and what its detections have beside boxes.
MODELS = {
    "yolov12n-seg": (8, {"masks"}),
    "yolov12n-v1-pose": (8, {"keypoints"}),
    "yolov12n-obb": (8, {"xywhr"}),
    "yolov12n-multitask": (8, {"masks"}),
    "yolov12n-p6": (12, set()),
    "yolov12n-hybrid-seg": (8, {"masks"}),
    "yolo11n-pose": (1, {"keypoints"}),
    "yolov8n-seg": (0, {"masks"}),
}


@contextmanager
def silent(_stage):
    yield


@pytest.fixture(scope="module", params=MODELS)
def made(request, tmp_path_factory):
    """The raw FP16 graph, and the engine with NMS inside; their results, and where they are."""
    folder = tmp_path_factory.mktemp(request.param)
    recipe = Recipe(request.param, precision="fp16", shapes=SMALL, verify=ONE, output=folder / "raw")
    raw = export(recipe, silent)
    settings = NmsSettings("packed", 400, NMS)
    recipe = Recipe(
        request.param, format="engine", precision="fp16", shapes=SMALL, nms=settings, verify=ONE, output=folder / "nms"
    )
    return request.param, raw, export(recipe, silent)


def test_the_engine_is_what_was_asked_for(made):
    name, raw, engine = made
    attentions, _ = MODELS[name]
    facts = engine.report.engine
    assert (facts.attentions_expected, facts.attentions_fused, facts.fp32_convolutions) == (attentions, attentions, ())
    for result in (raw, engine):
        assert result.report.verification.comparisons[0].verdict == "equal within tolerance"
        assert result.report.verification.comparisons[0].matched >= 20
    assert engine.report.verification.nms_checked >= 5
    assert "packed, conf 0.3, iou 0.5, max_det 50 of the best 400 candidates" in engine.report.nms


def test_the_runtime_finds_the_same_with_and_without_nms_in_the_graph(made):
    name, raw, engine = made
    _, parts = MODELS[name]
    with Runtime(raw.artefact) as outside, Runtime(engine.artefact.replace(".engine", ".onnx")) as inside:
        expected, found = outside.infer(PHOTO, NMS), inside.infer(PHOTO)
        assert inside.manifest.nms.options == inside.options == NMS
    assert len(expected) >= 3
    assert {part for part in ("masks", "keypoints", "xywhr") if getattr(found, part) is not None} == parts
    np.testing.assert_array_equal(found.class_id, expected.class_id)
    np.testing.assert_allclose(found.confidence, expected.confidence, atol=1e-6)
    np.testing.assert_allclose(found.xyxy, expected.xyxy, atol=1e-2)
    for part in parts - {"masks"}:
        np.testing.assert_allclose(getattr(found, part), getattr(expected, part), atol=1e-2)
    if "masks" in parts:
        assert found.mask.shape == (len(found), *found.image_hw)
        assert (found.mask != expected.mask).mean() < 1e-4


@pytest.mark.parametrize("shape", [None, (5, 3)])
def test_several_tasks_at_once_give_all_of_them(tmp_path, shape):
    from exporter.model.spec import models_dir

    text = (models_dir() / "yolov12-multitask.yaml").read_text()
    (tmp_path / "mine.yaml").write_text(
        text.replace("kpt_shape: null", f"kpt_shape: {list(shape) if shape else 'null'}")
    )
    recipe = Recipe(str(tmp_path / "mine.yaml"), scale="n", shapes=SMALL, verify=ONE, output=tmp_path)
    with Runtime(export(recipe, silent).artefact) as runtime:
        assert runtime.manifest.kpt_shape == shape
        found = runtime.infer(PHOTO)
    assert len(found) >= 3
    assert found.mask.shape == (len(found), *found.image_hw)
    assert (found.keypoints is None) == (shape is None)
    if shape is not None:
        assert found.keypoints.shape == (len(found), 5, 3)


def test_a_classifier(tmp_path):
    recipe = Recipe("yolov12n-cls", format="engine", precision="fp16", verify=ONE, output=tmp_path)
    result = export(recipe, silent)
    facts = result.report.engine
    assert (facts.attentions_expected, facts.attentions_fused, facts.fp32_convolutions) == (8, 8, ())
    assert result.report.verification.comparisons[0].matched == 5
    with Runtime(result.artefact.replace(".engine", ".onnx")) as runtime:
        assert runtime.input_hw == (224, 224)
        found = runtime.infer(PHOTO)
    assert len(found) == 5
    assert (np.diff(found.confidence) <= 0).all()


@pytest.mark.parametrize("name", ["yolov12n-seg", "yolov12n-obb"])
def test_batch_and_size_are_free_with_nms_inside(tmp_path, name):
    shapes = Shapes(imgsz=((160, 192), (192, 256), (256, 320)), batch=(1, 2, 4))
    settings = NmsSettings("split", 600, NMS)
    recipe = Recipe(name, format="engine", precision="fp16", shapes=shapes, nms=settings, verify=ONE, output=tmp_path)
    result = export(recipe, silent)
    facts = result.report.engine
    assert (facts.attentions_fused, facts.attentions_expected, facts.fp32_convolutions) == (8, 8, ())
    with Runtime(result.artefact.replace(".engine", ".onnx"), imgsz=(160, 320)) as runtime:
        alone = runtime.infer(PHOTO)
        together = runtime.infer_batch([PHOTO, np.zeros((50, 70, 3), np.uint8), PHOTO])
    for found in (together[0], together[2]):
        np.testing.assert_allclose(found.xyxy, alone.xyxy, atol=0.1)
