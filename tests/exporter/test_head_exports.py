"""Heads with heatmaps and anchors from a YAML to an artefact the runtime runs, with and without NMS inside."""

from contextlib import contextmanager

import numpy as np
import pytest
import yaml

from y12 import DetectOptions, Runtime
from y12.errors import OptionsError
from y12.exporter.export_config import ExportConfig, Int8Options, ShapeOptions
from y12.exporter.export_pipeline import export
from y12.exporter.precision.calibration.calibrate import CalibrationOptions
from y12.exporter.precision.qdq.qdq import QuantizeOptions
from y12.exporter.verify.verify_images import photos_dir
from y12.exporter.verify.verify_options import VerifyOptions
from y12.runtime.artefact.nms_settings import NmsSettings

SMALL = ShapeOptions(imgsz=((192, 256),))
FREE = ShapeOptions(imgsz=((160, 192), (192, 256), (256, 320)), batch=(1, 2, 4))
ONE = VerifyOptions(max_images=1)
PHOTO = sorted(photos_dir().glob("*.jpg"))[0]
NMS = DetectOptions(conf=0.05, iou=0.5, max_det=50)
ANCHORS = [[[10, 13], [16, 30]], [[30, 61], [62, 45]], [[116, 90], [156, 150]]]
HEADS = {
    "anchors": ["AnchorDetect", ["nc", ANCHORS]],
    "hybrid-anchors-seg": ["HybridSegment", ["nc", 8, 32, "anchors", [3, 5, 7], "giou", ANCHORS]],
    "heatmap": ["HybridDetect", ["nc", "heatmap", [3, 5, 7], "diou"]],
    "heatmap-seg": ["HybridSegment", ["nc", 8, 32, "heatmap"]],
    "distances": ["HybridDetect", ["nc", "distances", [3, 5, 7]]],
}
FREE_HEADS = {name: HEADS[name] for name in ("anchors", "heatmap-seg")} | {"obb": ["OBB", ["nc", 1]]}
LOCALISATION = {"anchors": "anchors", "hybrid-anchors-seg": "anchors", "distances": "distances"}


@contextmanager
def silent(_stage):
    yield


def written(folder, head, **changes):
    convs = [[-1, 1, "Conv", [c, 3, 2]] for c in (16, 32, 64, 64, 64)]
    data = {
        "nc": 80,
        "scales": {"n": [1.0, 1.0, 64]},
        "backbone": convs,
        "head": [[[2, 3, 4], 1, *(HEADS | FREE_HEADS)[head]]],
    }
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(data | changes))
    return str(path)


@pytest.fixture(scope="module", params=HEADS)
def exported(request, tmp_path_factory):
    """The FP16 graph, and the same with NMS inside."""
    folder = tmp_path_factory.mktemp(request.param)
    model = written(folder, request.param)
    half = export(
        ExportConfig(model, scale="n", precision="fp16", shapes=SMALL, verify=ONE, output=folder / "half"), silent
    )
    settings = NmsSettings("packed", 300, NMS)
    config = ExportConfig(
        model, scale="n", precision="fp16", shapes=SMALL, nms=settings, verify=ONE, output=folder / "inside"
    )
    return request.param, half, export(config, silent)


def test_the_exports_are_verified(exported):
    name, *results = exported
    for result in results:
        assert result.report.verification.comparisons[0].verdict == "equal within tolerance"
        assert result.report.verification.comparisons[0].matched >= 20
        with Runtime(result.artefact) as runtime:
            assert runtime.manifest.localisation == LOCALISATION.get(name, "heatmap")
    assert results[-1].report.verification.nms_checked >= 5


def test_the_runtime_finds_the_same_with_and_without_nms_in_the_graph(exported):
    name, half, inside = exported
    with Runtime(half.artefact) as outside, Runtime(inside.artefact) as within:
        expected, actual = outside.infer(PHOTO, NMS), within.infer(PHOTO)
    assert len(expected) >= 5
    np.testing.assert_array_equal(actual.class_id, expected.class_id)
    np.testing.assert_allclose(actual.confidence, expected.confidence, atol=1e-6)
    np.testing.assert_allclose(actual.xyxy, expected.xyxy, atol=1e-2)
    assert (actual.masks is None) == (not name.endswith("seg"))
    if actual.masks is not None:
        assert (actual.mask != expected.mask).mean() < 1e-4


@pytest.mark.parametrize("name", FREE_HEADS)
def test_an_engine_of_free_batch_and_size_with_nms_inside(tmp_path, name, rtx):
    settings = NmsSettings("split", 300, NMS)
    config = ExportConfig(
        written(tmp_path, name),
        scale="n",
        format="engine",
        precision="fp16",
        shapes=FREE,
        nms=settings,
        verify=ONE,
        output=tmp_path / "made",
    )
    result = export(config, silent)
    assert result.report.engine.fp32_convolutions == ()
    with Runtime(result.artefact.replace(".engine", ".onnx"), imgsz=(160, 320)) as runtime:
        alone = runtime.infer(PHOTO)
        together = runtime.infer_batch([PHOTO, np.zeros((50, 70, 3), np.uint8), PHOTO])
    assert len(alone) >= 5
    for detections in (together[0], together[2]):
        np.testing.assert_allclose(detections.xyxy, alone.xyxy, atol=0.1)


@pytest.mark.parametrize(("name", "target"), [("hybrid-anchors-seg", "trt"), ("heatmap", "cpu")])
def test_int8(tmp_path, name, target):
    """Its ranges are chosen by the scores, as they are decoded."""
    calibration = CalibrationOptions(symmetric=target == "trt")
    config = ExportConfig(
        written(tmp_path, name),
        scale="n",
        precision="int8",
        int8=Int8Options(photos_dir(), calibration, QuantizeOptions(target)),
        shapes=SMALL,
        nms=NmsSettings("packed", 300, NMS),
        verify=VerifyOptions(images=photos_dir(), allow_inconclusive=True),
        output=tmp_path / "made",
    )
    result = export(config, silent)
    assert result.report.quantization.quantized >= 10
    assert result.report.verification.comparisons[0].verdict != "different"
    with Runtime(result.artefact) as runtime:
        assert len(runtime.infer(PHOTO)) >= 5


def test_the_graph_is_a_starting_point_again(tmp_path):
    """Its manifest tells how its output is to be read."""
    first = export(ExportConfig(written(tmp_path, "anchors"), scale="n", shapes=SMALL, output=tmp_path / "a"), silent)
    config = ExportConfig(first.artefact, precision="fp16", shapes=SMALL, verify=ONE, output=tmp_path / "b")
    second = export(config, silent)
    assert second.report.verification.comparisons[0].matched >= 20
    with Runtime(first.artefact) as original, Runtime(second.artefact) as exported_again:
        assert exported_again.manifest.localisation == "anchors"
        assert abs(len(original.infer(PHOTO)) - len(exported_again.infer(PHOTO))) <= 2


def test_an_image_smaller_than_an_anchor_is_refused(tmp_path):
    config = ExportConfig(
        written(tmp_path, "anchors"), scale="n", shapes=ShapeOptions(imgsz=((96, 160),)), output=tmp_path / "a"
    )
    with pytest.raises(OptionsError, match=r"160 x 96 pixels, found 1 of level 2 \(156 x 150\); take a larger --imgsz"):
        export(config, silent)
    assert not (tmp_path / "a").exists()
