"""NMS in the graph against published cases: ONNX's for NonMaxSuppression (Apache-2.0) and torchvision's (BSD-3-Clause).

ONNX's operator is another one in four points, and each case is mapped so that nothing of it is left out:

- a box may get several classes there, one here: each class of each image is a graph of its own, with nc = 1, and the
  results are put together in the operator's order (image, class, falling score);
- its limit of boxes is one a class: it is each graph's max_det;
- boxes are corners there (y1 x1 y2 x2, in any order) unless `center_point_box`: they are turned into centres and sizes;
- all boxes can be candidates: K is their number.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from nms_graphs import Raw, expected, found, packed

ONNX_CASES = (
    "suppress_by_IOU",
    "suppress_by_IOU_and_scores",
    "flipped_coordinates",
    "limit_output_size",
    "single_box",
    "identical_boxes",
    "center_point_box_format",
    "two_classes",
    "two_batches",
    "iou_threshold_boundary",
)


def onnx_cases(shared: Path) -> dict[str, dict]:
    cases = json.loads((shared / "metrics" / "nms" / "onnx_nonmaxsuppression.json").read_text())
    return {case["name"].removeprefix("test_nonmaxsuppression_"): case for case in cases}


def test_no_case_is_left_out(shared):
    assert sorted(onnx_cases(shared)) == sorted(ONNX_CASES)


@pytest.mark.parametrize("name", ONNX_CASES)
def test_onnx_nonmaxsuppression(shared, name):
    case = onnx_cases(shared)[name]
    inputs = {key: np.array(value, np.float32) for key, value in case["inputs"].items()}
    options = {
        "iou": inputs["iou_threshold"].item(),
        "conf": inputs["score_threshold"].item(),
        "max_det": int(inputs["max_output_boxes_per_class"].item()),
    }
    selected = []
    for image, (boxes, scores) in enumerate(zip(inputs["boxes"], inputs["scores"], strict=True)):
        xywh = boxes if case["attributes"].get("center_point_box") else xywh_from_corners(boxes)
        for label, class_scores in enumerate(scores):
            selected += [[image, label, i] for i in kept(xywh, class_scores, options)]
    assert selected == case["selected_indices"]


def xywh_from_corners(boxes):
    """(A, 4) y1 x1 y2 x2, any two opposite corners, to centre x, y, width, height."""
    first, second = boxes[:, [1, 0]], boxes[:, [3, 2]]
    return np.concatenate([(first + second) / 2, np.abs(second - first)], axis=1)


def kept(xywh, scores, options):
    """Run a graph of one class on (A, 4) boxes; give the indices of those it keeps, best first."""
    raw, settings = Raw("pose", classes=1, anchors=len(xywh)), packed(max(len(xywh), options["max_det"]), **options)
    index = np.tile(np.arange(len(xywh), dtype=np.float32), (6, 1))  # where keypoints are: says which box it was
    rows = np.concatenate([xywh.T, scores[None], index])[None]
    outputs = found(raw, settings, rows)
    return outputs["detections"][0, : int(outputs["num"].item()), 6].astype(int).tolist()


def test_torchvision_float16(shared):
    """Boxes whose areas FP16 cannot hold; also as the numbers FP16 makes of them."""
    case = json.loads((shared / "metrics" / "nms" / "torchvision_float16.json").read_text())
    for kind in (np.float32, np.float16):
        boxes = np.array(case["boxes_xyxy"], kind).astype(np.float32)
        scores = np.array(case["scores"], kind).astype(np.float32)
        options = {"iou": case["iou_threshold"], "conf": 0.0, "max_det": 3}
        assert kept(xywh_from_corners(boxes[:, [1, 0, 3, 2]]), scores, options) == case["keep"]


@pytest.mark.parametrize(
    ("name", "classes"),
    [("rmArmor-yolov12n", 12), ("yolo11n", 80), ("yolo11n-seg", 80), ("yolov8n-pose", 1)],
)
@pytest.mark.parametrize(
    "options", [{}, {"iou": 0.45}, {"conf": 0.001}, {"conf": 0.001, "candidates": 300}, {"agnostic": True}]
)
def test_predictions_of_trained_networks(shared, name, classes, options):
    """What stands below the scores is left out here; carrying it along is tested elsewhere."""
    raw = Raw(classes=classes, anchors=8400)
    rows = np.load(shared / "checkpoints" / "trained" / f"{name}.npz")["pred"][:, : raw.rows]
    settings = packed(**{"candidates": 1024, "max_det": 300, **options})
    outputs = found(raw, settings, rows)
    assert outputs["num"].item() > 0
    for key, wanted in expected(raw, settings, rows).items():
        np.testing.assert_array_equal(outputs[key], wanted, err_msg=key)
