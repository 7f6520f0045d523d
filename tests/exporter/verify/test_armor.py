"""The trained network finds the one plate in the photograph, in FP32 torch and in the typed FP16 graph alike."""

import numpy as np
import pytest

from tests.runtime.postprocess.one_output import detections_from_output
from y12.exporter.verify.backends import TorchExecutor
from y12.exporter.verify.compare import Ran, compare, outputs_of
from y12.exporter.verify.verify_images import load_images
from y12.exporter.verify.verify_options import TOLERANCES, VerifyOptions
from y12.runtime.artefact.output_layout import OutputLayout
from y12.runtime.backends.onnx_runtime import OrtExecutor
from y12.runtime.options import DetectOptions
from y12.runtime.preprocess.images import image_from
from y12.runtime.preprocess.letterbox import letterbox

# The plate is stated as "x 1242 y 331 w 347 h 350". With x and y as the upper left corner that is what the network
# finds in FP32 torch (IoU 0.98); with x and y as the centre it is not (IoU 0.14).
CORNER, SIZE = np.array([1242.0, 331.0]), np.array([347.0, 350.0])
AS_CORNER = np.concatenate([CORNER, CORNER + SIZE])
AS_CENTRE = np.concatenate([CORNER - SIZE / 2, CORNER + SIZE / 2])
FP32_TORCH = np.array([1241.39, 332.95, 1588.94, 679.73])


def iou(a, b):
    sides = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None)
    areas = [np.prod(box[2:] - box[:2]) for box in (a, b)]
    return sides.prod() / (sum(areas) - sides.prod())


@pytest.fixture(scope="module")
def photo(shared):
    return shared / "images" / "armor_blue5.png"


@pytest.fixture(scope="module")
def outputs(armor, photo):
    images = load_images(VerifyOptions(images=photo), (640, 640), "detect")
    typed = OrtExecutor(armor.typed.SerializeToString(), provider="cpu", threads=2)
    return {"fp32": outputs_of(TorchExecutor(armor.detector), images, 1), "fp16": outputs_of(typed, images, 1)}


@pytest.fixture(scope="module")
def detections_of(armor, photo, outputs):
    frame = letterbox(image_from(photo), (640, 640))[1]
    names = armor.detector.names
    return {k: detections_from_output(out[0]["output0"], frame, names, DetectOptions()) for k, out in outputs.items()}


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_exactly_one_b5_is_found(detections_of, precision):
    detections = detections_of[precision]
    assert [detections.names[i] for i in detections.class_id] == ["B5"]
    assert detections.confidence[0] == pytest.approx(0.89, abs=0.01)
    assert iou(detections.xyxy[0], AS_CORNER) > 0.97
    assert iou(detections.xyxy[0], FP32_TORCH) > 0.995


def test_the_stated_box_is_a_corner_and_a_size(detections_of):
    assert iou(detections_of["fp32"].xyxy[0], AS_CORNER) > 0.97
    assert iou(detections_of["fp32"].xyxy[0], AS_CENTRE) < 0.2


def test_fp16_differs_from_fp32_by_less_than_half_a_pixel_and_a_hundredth(armor, outputs, detections_of):
    assert np.abs(detections_of["fp16"].xyxy - detections_of["fp32"].xyxy).max() <= 0.5
    assert abs(detections_of["fp16"].confidence[0] - detections_of["fp32"].confidence[0]) <= 0.01
    options = VerifyOptions(min_matched=1)
    pair = Ran("torch", outputs["fp32"]), Ran("fp16", outputs["fp16"])
    result = compare(
        *pair, OutputLayout("detect", len(armor.detector.names)), armor.profile.opt_hw, TOLERANCES["fp16"], options
    )
    assert (result.verdict, result.lost, result.new) == ("equal within tolerance", 0, 0)
    assert result.above_threshold >= 1
    assert result.shifts["box_px"]["max"] <= 0.5
    assert result.shifts["score"]["max"] <= 0.01


def test_the_network_equals_the_outputs_that_came_with_it(armor, shared):
    answers = np.load(shared / "checkpoints" / "trained" / "rmArmor-yolov12n.npz")
    blob = answers["input_bgr_u8"][..., ::-1].transpose(2, 0, 1)[None].astype(np.float32) / 255
    graph = OrtExecutor(armor.simplified.SerializeToString(), provider="cpu", threads=2)
    for executor in (TorchExecutor(armor.detector), graph):
        output = executor.run(np.ascontiguousarray(blob))["output0"]
        np.testing.assert_allclose(output[:, :4], answers["pred"][:, :4], rtol=0, atol=2e-2)
        np.testing.assert_allclose(output[:, 4:], answers["pred"][:, 4:], rtol=0, atol=1e-4)
