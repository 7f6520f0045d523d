"""Oriented boxes: ProbIoU against the paper's own matrices, NMS against a plain loop, corners and frames."""

import math

import numpy as np
import pytest

from y12.errors import InputError
from y12.runtime.postprocess import nms as nms_module
from y12.runtime.postprocess.nms import rotated_nms
from y12.runtime.preprocess.letterbox import Letterbox
from y12.runtime.results.oriented import (
    MIN_SIDE,
    corners_from_xywhr,
    probiou,
    rotated_to_original,
    upright_from_corners,
)


def slow_probiou(one, other):
    """arXiv 2106.06072 with matrices: Bhattacharyya distance of two Gaussians, then 1 - Hellinger distance."""

    def gaussian(box):
        x, y, w, h, r = map(float, box)
        w, h = max(w, MIN_SIDE), max(h, MIN_SIDE)
        turn = np.array([[math.cos(r), -math.sin(r)], [math.sin(r), math.cos(r)]])
        return np.array([x, y]), turn @ np.diag([w * w / 12, h * h / 12]) @ turn.T

    (mean, cov), (mean2, cov2) = gaussian(one), gaussian(other)
    both = (cov + cov2) / 2
    delta = mean - mean2
    distance = delta @ np.linalg.inv(both) @ delta / 8
    distance += 0.5 * math.log(np.linalg.det(both) / math.sqrt(np.linalg.det(cov) * np.linalg.det(cov2)))
    return 1 - math.sqrt(max(0.0, 1 - math.exp(-max(0.0, distance))))


def slow_nms(xywhr, scores, class_ids, iou, max_det, agnostic=False):
    kept = []
    for i in sorted(range(len(scores)), key=lambda i: (-float(scores[i]), i)):
        same = (j for j in kept if agnostic or class_ids[i] == class_ids[j])
        if not any(slow_probiou(xywhr[i], xywhr[j]) > iou for j in same):
            kept.append(i)
    return kept[:max_det]


def some_boxes(rng, count, side=60):
    sizes = np.exp(rng.random((count, 2)) * 2.5) * 3
    return np.concatenate([rng.random((count, 2)) * side, sizes, rng.random((count, 1)) * 7 - 3], axis=1)


def test_equals_the_equations_with_matrices(rng):
    boxes = some_boxes(rng, 60, side=20)
    found = probiou(boxes[:, None], boxes[None])
    assert found.shape == (60, 60)
    expected = [[slow_probiou(a, b) for b in boxes] for a in boxes]
    off = ~np.eye(60, dtype=bool)
    assert np.abs(found - expected)[off].max() < 1e-9
    assert ((found >= 0) & (found <= 1)).all()
    assert 0.2 < (found > 0.05).mean() < 0.9  # the boxes do meet


AWKWARD = [
    [10, 10, 0, 0, 0.3],
    [10, 10, 0, 50, 1.0],
    [10, 10, 50, 0, 1.0],
    [10, 10, -4, 5, 0.0],
    [1e6, -1e6, 1e-6, 1e6, 100.0],
    [0, 0, 1e4, 1, 0.7],
    [3, 4, 20, 20, 0.5],
    [1e30, 1e30, 1e30, 1e30, 2.0],
]


def test_identical_boxes_overlap_fully_however_degenerate():
    boxes = np.array(AWKWARD)
    assert np.abs(probiou(boxes, boxes) - 1).max() < 1e-6
    assert np.abs(probiou(boxes.astype(np.float32), boxes.astype(np.float32)) - 1).max() < 1e-6


def test_symmetric_and_finite(rng):
    boxes = np.concatenate([np.array(AWKWARD), some_boxes(rng, 30)])
    found = probiou(boxes[:, None], boxes[None])
    assert np.isfinite(found).all()
    assert np.array_equal(found, found.T)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ([0, 0, 10, 10, 0], [0, 0, 10, 10, 0.8], 1),  # a square is a circle to a Gaussian
        ([0, 0, 20, 5, 0], [0, 0, 20, 5, math.pi], 1),
        ([0, 0, 20, 5, 0], [0, 0, 5, 20, math.pi / 2], 1),  # the same box, named otherwise
        ([0, 0, 10, 10, 0], [1000, 0, 10, 10, 0], 0),
        # d = 5, S1 = S2 = 100/12: BD = 25 / (8 * 100/12) = 0.375
        ([0, 0, 10, 10, 0], [5, 0, 10, 10, 0], 1 - math.sqrt(1 - math.exp(-0.375))),
        # S1 = 100/12, S2 = 400/12: BD = 1/2 ln(250^2 / (100 * 400))
        ([0, 0, 10, 10, 0], [0, 0, 20, 20, 0], 1 - math.sqrt(1 - 200 / 250)),
    ],
)
def test_overlaps_by_hand(one, other, expected):
    assert probiou(np.array(one), np.array(other)) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("agnostic", [False, True])
@pytest.mark.parametrize("iou", [0.0, 0.1, 0.5, 0.7, 0.99, 1.0])
@pytest.mark.parametrize("side", [30, 400])
def test_nms_equals_the_plain_loop(rng, iou, agnostic, side):
    for count in (1, 2, 80):
        boxes = some_boxes(rng, count, side)
        boxes[count // 2 :] = boxes[: count - count // 2] + rng.normal(0, 0.3, (count - count // 2, 5))
        scores, class_ids = rng.random(count).round(2), rng.integers(0, 3, count)
        expected = slow_nms(boxes, scores, class_ids, iou, 300, agnostic)
        for max_det in (5, 300):
            kept = rotated_nms(boxes, scores, class_ids, iou, max_det, agnostic)
            assert kept.tolist() == expected[:max_det]


@pytest.mark.parametrize("block", [1, 3, 1000])
def test_the_answer_does_not_depend_on_the_block(rng, monkeypatch, block):
    boxes = some_boxes(rng, 100, 40)
    scores, class_ids = rng.random(100), rng.integers(0, 2, 100)
    expected = slow_nms(boxes, scores, class_ids, 0.4, 300)
    monkeypatch.setattr(nms_module, "BLOCK", block)
    assert rotated_nms(boxes, scores, class_ids, 0.4, 300).tolist() == expected


def test_far_from_the_origin_nothing_changes(rng):
    """The quick look at distances must not lose pairs to rounding."""
    boxes = some_boxes(rng, 120, 40)
    scores, class_ids = rng.random(120), np.zeros(120, int)
    far = boxes + np.array([1e7, -1e7, 0, 0, 0])
    assert np.array_equal(
        rotated_nms(far, scores, class_ids, 0.4, 300), rotated_nms(boxes, scores, class_ids, 0.4, 300)
    )


def test_degenerate_boxes():
    boxes = np.array([[5, 5, 0, 0, 0], [5, 5, 0, 0, 0], [5, 5, 10, 0, 0.2], [5, 5, 10, 4, 0.2]], np.float32)
    scores = np.array([0.9, 0.8, 0.7, 0.6], np.float32)
    assert rotated_nms(boxes, scores, np.zeros(4, int), 0.5, 300).tolist() == [0, 2, 3]


def test_nothing_to_keep():
    assert rotated_nms(np.empty((0, 5)), np.empty(0), np.empty(0, int), 0.5, 300).tolist() == []


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_refuses_what_is_not_finite(bad):
    with pytest.raises(InputError, match="NaN"):
        rotated_nms(np.full((1, 5), bad), np.ones(1), np.zeros(1, int), 0.5, 300)
    with pytest.raises(InputError, match="NaN"):
        rotated_nms(np.ones((1, 5)), np.ones(1) * bad, np.zeros(1, int), 0.5, 300)


def test_refuses_shapes_that_disagree():
    with pytest.raises(InputError, match=r"expected boxes \(N, 5\), .* found \(1, 4\)"):
        rotated_nms(np.zeros((1, 4)), np.zeros(1), np.zeros(1, int), 0.5, 300)


def test_corners():
    upright, turned = corners_from_xywhr(np.array([[10, 20, 6, 4, 0], [10, 20, 6, 4, math.pi / 2]], np.float32))
    assert upright.tolist() == [[7, 18], [13, 18], [13, 22], [7, 22]]
    # a quarter turn takes x to y (down) and y to -x
    assert np.allclose(turned, [[12, 17], [12, 23], [8, 23], [8, 17]], atol=1e-5)
    assert np.allclose(upright_from_corners(np.stack([upright, turned])), [[7, 18, 13, 22], [8, 17, 12, 23]], atol=1e-5)
    assert corners_from_xywhr(np.empty((0, 5), np.float32)).shape == (0, 4, 2)


@pytest.mark.parametrize("image_hw", [(480, 640), (1080, 810), (835, 1689), (32, 32), (97, 61), (7, 3000), (2000, 3)])
def test_boxes_come_back(rng, image_hw):
    """Corners taken back one by one are the corners of the box that was taken back."""
    frame = Letterbox.fit(image_hw, (640, 640))
    boxes = some_boxes(rng, 50, 600).astype(np.float32)
    back = rotated_to_original(boxes, frame)
    assert back.dtype == np.float32
    scale = np.array([frame.resized_hw[1] / image_hw[1], frame.resized_hw[0] / image_hw[0]])
    expected = (corners_from_xywhr(boxes) - [frame.left, frame.top]) / scale
    apart = abs(scale[0] / scale[1] - 1)  # by how much the factors differ
    longest = (np.maximum(boxes[:, 2], boxes[:, 3]) / scale.min())[:, None, None]
    assert (np.abs(corners_from_xywhr(back) - expected) <= apart * longest + 1e-3).all()
    if scale[0] == scale[1]:
        assert np.array_equal(back[:, 4], boxes[:, 4])
    # the side along w goes where the letterbox takes it, and the side across is as long as the letterbox makes it
    found = corners_from_xywhr(back)
    assert np.allclose(found[:, 1] - found[:, 0], expected[:, 1] - expected[:, 0], atol=1e-3, rtol=1e-4)
    lengths = (np.linalg.norm(c[:, 2] - c[:, 1], axis=1) for c in (found, expected))
    assert np.allclose(*lengths, rtol=1e-4)
