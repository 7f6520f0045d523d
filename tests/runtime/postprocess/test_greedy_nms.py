"""NMS against ONNX's and torchvision's cases, and a brute-force reference."""

import json

import numpy as np
import pytest

from y12.errors import InputError
from y12.runtime.postprocess import nms as nms_module
from y12.runtime.postprocess.nms import nms


def brute_force(xyxy, scores, class_ids, iou, max_det, agnostic=False):
    """Greedy NMS, one pair at a time, in Python's own floats."""
    kept = []
    for i in sorted(range(len(scores)), key=lambda i: (-float(scores[i]), i)):
        x1, y1, x2, y2 = map(float, xyxy[i])
        for j in kept:
            u1, v1, u2, v2 = map(float, xyxy[j])
            inter = max(0.0, min(x2, u2) - max(x1, u1)) * max(0.0, min(y2, v2) - max(y1, v1))
            area = max(0.0, x2 - x1) * max(0.0, y2 - y1) + max(0.0, u2 - u1) * max(0.0, v2 - v1)
            if (agnostic or class_ids[i] == class_ids[j]) and inter > iou * (area - inter):
                break
        else:
            kept.append(i)
    return kept[:max_det]


def onnx_answer(case):
    """Run an ONNX NonMaxSuppression case with `nms`, one image and class at a time."""
    inputs = case["inputs"]
    boxes, scores = np.array(inputs["boxes"]), np.array(inputs["scores"])
    per_class, iou, least = (
        inputs.get(key, [default])[0]
        for key, default in [
            ("max_output_boxes_per_class", 0),
            ("iou_threshold", 0.0),
            ("score_threshold", -np.inf),
        ]
    )
    if case["attributes"].get("center_point_box"):
        boxes = np.concatenate([boxes[..., :2] - boxes[..., 2:] / 2, boxes[..., :2] + boxes[..., 2:] / 2], axis=2)
    corners = np.sort(boxes.reshape(*boxes.shape[:2], 2, 2), axis=2).reshape(boxes.shape)  # may be flipped
    selected = []
    for image in range(len(boxes)):
        for label in range(scores.shape[1]):
            rows = np.flatnonzero(scores[image, label] > least)
            kept = nms(
                corners[image, rows],
                scores[image, label, rows],
                np.zeros(len(rows), int),
                iou,
                int(per_class),
            )
            selected += [[image, label, int(rows[k])] for k in kept]
    return selected


def test_onnx_cases(shared):
    cases = json.loads((shared / "metrics/nms/onnx_nonmaxsuppression.json").read_text())
    assert len(cases) == 10
    for case in cases:
        assert onnx_answer(case) == case["selected_indices"], case["name"]


def test_half_precision_boxes(shared):
    """torchvision's case: areas above 65,504 overflow in half precision."""
    case = json.loads((shared / "metrics/nms/torchvision_float16.json").read_text())
    boxes, scores = np.array(case["boxes_xyxy"], np.float16), np.array(case["scores"], np.float16)
    assert nms(boxes, scores, np.zeros(3, int), case["iou_threshold"], 300).tolist() == case["keep"]


@pytest.mark.parametrize("agnostic", [False, True])
@pytest.mark.parametrize("offset", [0.0, 1e6, -3e5])
@pytest.mark.parametrize(("count", "max_det"), [(1, 300), (60, 300), (200, 5), (200, 300), (300, 1)])
def test_equals_brute_force(rng, count, max_det, offset, agnostic):
    centres = rng.random((max(1, count // 8), 4)) * [600, 600, 80, 80] + [offset, offset, 8, 8]
    xywh = centres[rng.integers(0, len(centres), count)] + rng.normal(0, 3, (count, 4))
    xyxy = np.concatenate([xywh[:, :2], xywh[:, :2] + np.abs(xywh[:, 2:])], axis=1).astype(np.float32)
    scores = np.round(rng.random(count), 1).astype(np.float32)  # many ties
    class_ids = rng.integers(0, 3, count)
    for iou in (0.0, 0.3, 0.7, 1.0):
        expected = brute_force(xyxy, scores, class_ids, iou, max_det, agnostic)
        assert nms(xyxy, scores, class_ids, iou, max_det, agnostic).tolist() == expected


@pytest.mark.parametrize("block", [1, 2, 7, 1000])
def test_the_answer_does_not_depend_on_the_block(rng, monkeypatch, block):
    corners = rng.random((150, 2)) * 40
    xyxy = np.concatenate([corners, corners + 20], axis=1).astype(np.float32)
    scores, class_ids = rng.random(150), rng.integers(0, 2, 150)
    expected = brute_force(xyxy, scores, class_ids, 0.5, 300)
    monkeypatch.setattr(nms_module, "BLOCK", block)
    assert nms(xyxy, scores, class_ids, 0.5, 300).tolist() == expected


SQUARE = [0, 0, 10, 10]


@pytest.mark.parametrize(
    ("boxes", "scores", "classes", "expected"),
    [
        ([SQUARE, SQUARE], [0.5, 0.5], [0, 0], [0]),  # a tie: the first stays
        ([SQUARE, SQUARE], [0.4, 0.5], [0, 0], [1]),
        ([SQUARE, SQUARE], [0.4, 0.5], [0, 1], [1, 0]),  # classes leave each other alone
        ([SQUARE, [0, 0, 5, 10]], [0.5, 0.4], [0, 0], [0, 1]),  # IoU is 0.5, not above it
        ([SQUARE, [0, 0, 5.1, 10]], [0.5, 0.4], [0, 0], [0]),
        ([[5, 5, 5, 5], [5, 5, 5, 5]], [0.5, 0.4], [0, 0], [0, 1]),  # empty boxes overlap nothing
        ([[10, 10, 0, 0], SQUARE], [0.5, 0.4], [0, 0], [0, 1]),  # crossed corners count as empty
        ([], [], [], []),
        # B is suppressed by A, so it cannot suppress C
        ([[0, 0, 10, 10], [0, 3, 10, 13], [0, 6, 10, 16]], [0.9, 0.8, 0.7], [0, 0, 0], [0, 2]),
    ],
)
def test_small_cases(boxes, scores, classes, expected):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    kept = nms(boxes, np.array(scores, np.float32), np.array(classes, int), 0.5, 300)
    assert kept.tolist() == expected


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_refuses_what_is_not_finite(bad):
    box, score, label = np.array([SQUARE], np.float32), np.ones(1, np.float32), np.zeros(1, int)
    with pytest.raises(InputError, match="NaN"):
        nms(np.full((1, 4), bad), score, label, 0.5, 300)
    with pytest.raises(InputError, match="NaN"):
        nms(box, score * bad, label, 0.5, 300)


def test_refuses_shapes_that_disagree():
    with pytest.raises(InputError, match=r"found \(1, 4\), \(2,\), \(1,\)"):
        nms(np.zeros((1, 4)), np.zeros(2), np.zeros(1, int), 0.5, 300)
