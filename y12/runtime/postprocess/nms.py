"""Greedy non-maximum suppression in numpy.

Boxes are taken by falling score (ties: by index). One is kept unless a kept box of its class overlaps it with
IoU > `iou`. Classes are compared as such, not by moving each class' boxes apart: adding an offset of class
times image size costs float32 the precision that decides close cases.

The boxes are worked off in blocks: each block against what is kept so far, then within itself. That is
exact, needs memory for max_det x BLOCK overlaps only, and stops as soon as max_det boxes are kept. What
counts as an overlap is an argument of that loop: IoU for upright boxes, ProbIoU for oriented ones.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from y12.errors import InputError
from y12.runtime.results.oriented import Gaussians, gaussian_iou, gaussians

_NO_OVERLAP = 40.0  # a Bhattacharyya distance whose ProbIoU is 0 in float64
BLOCK = 64  # measured on one core: smaller blocks pay numpy's call overhead, larger ones needless overlaps

# Of two lists of positions, (R,) and (C,), says which pairs overlap too much: (R, C).
Overlaps = Callable[[NDArray[np.intp], NDArray[np.intp]], NDArray[np.bool_]]


def nms(
    xyxy: NDArray[np.floating],
    scores: NDArray[np.floating],
    class_ids: NDArray[np.integer],
    iou: float,
    max_det: int,
    agnostic: bool = False,
) -> NDArray[np.intp]:
    """Return the indices of the boxes to keep, best first, at most `max_det` of them.

    Args:
        xyxy: (N, 4) corners in any frame and of any magnitude.
        scores: (N,).
        class_ids: (N,); boxes of different classes leave each other alone unless `agnostic`.
        iou: boxes that overlap by more than this are suppressed, 0-1.
        max_det: the most boxes to keep.
        agnostic: treat all boxes as one class.

    Raises:
        InputError: the shapes disagree, or a coordinate or a score is NaN or infinite.
    """
    if xyxy.ndim != 2 or xyxy.shape[1] != 4 or not len(xyxy) == len(scores) == len(class_ids):
        shapes = f"{xyxy.shape}, {scores.shape}, {class_ids.shape}"
        raise InputError(f"nms: expected boxes (N, 4), scores (N,) and class ids (N,), found {shapes}")
    if not (np.isfinite(xyxy).all() and np.isfinite(scores).all()):
        raise InputError("nms: expected finite numbers, found NaN or infinity in the boxes or scores")
    order = np.argsort(-scores, kind="stable")
    # float64: areas of half-precision boxes would round and overflow
    sides = np.ascontiguousarray(xyxy[order].T, dtype=np.float64)
    classes = np.zeros(len(order), np.intp) if agnostic else class_ids[order]
    boxes = _Boxes(sides, _areas(sides), classes)
    return order[keep_greedily(len(order), lambda rows, columns: _overlaps(boxes, rows, columns, iou), max_det)]


def rotated_nms(
    xywhr: NDArray[np.floating],
    scores: NDArray[np.floating],
    class_ids: NDArray[np.integer],
    iou: float,
    max_det: int,
    agnostic: bool = False,
) -> NDArray[np.intp]:
    """Return the indices of the oriented boxes to keep, best first, at most `max_det`: greedy NMS with `probiou`.

    Args:
        xywhr: (N, 5).
        scores: (N,).
        class_ids: (N,); boxes of different classes leave each other alone unless `agnostic`.
        iou: boxes whose `probiou` is above this are suppressed, 0-1.
        max_det: the most boxes to keep.
        agnostic: treat all boxes as one class.

    Raises:
        InputError: the shapes disagree, or a number is NaN or infinite.
    """
    _check(xywhr, scores, class_ids)
    order = np.argsort(-scores, kind="stable")
    shapes = np.stack(gaussians(xywhr[order].T.astype(np.float64)))  # (7, N)
    classes = np.zeros(len(order), np.intp) if agnostic else class_ids[order]
    left, right = _nearness(shapes, iou)

    def overlaps(rows: NDArray[np.intp], columns: NDArray[np.intp]) -> NDArray[np.bool_]:
        near = np.flatnonzero(left[rows] @ right[:, columns] <= 0)  # few are, and only they need the logarithm
        one, other = rows[near // len(columns)], columns[near % len(columns)]
        same = classes[one] == classes[other]
        near, one, other = near[same], one[same], other[same]
        result = np.zeros(len(rows) * len(columns), dtype=np.bool_)
        result[near] = gaussian_iou(Gaussians(*shapes[:, one]), Gaussians(*shapes[:, other])) > iou
        return result.reshape(len(rows), len(columns))

    return order[keep_greedily(len(order), overlaps, max_det)]


def keep_greedily(count: int, overlaps: Overlaps, max_det: int) -> NDArray[np.intp]:
    """Return the positions of the boxes to keep, at most `max_det`, of `count` boxes sorted by falling score."""
    kept = np.empty(0, dtype=np.intp)
    for start in range(0, count, BLOCK):
        block = np.arange(start, min(start + BLOCK, count))
        if len(kept):
            block = block[~overlaps(kept, block).any(axis=0)]
        kept = np.concatenate([kept, block[_greedy(overlaps(block, block))]])
        if len(kept) >= max_det:
            break
    return kept[:max_det]


class _Boxes(NamedTuple):
    """The boxes by falling score: sides x1, y1, x2, y2 as (4, N), areas (N,), classes (N,)."""

    sides: NDArray[np.float64]
    areas: NDArray[np.float64]
    classes: NDArray[np.integer]


def _greedy(overlaps: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which of n boxes, best first, survive: (n, n) overlaps -> (n,)."""
    alive = np.ones(len(overlaps), dtype=np.bool_)
    later = overlaps & ~np.tri(len(overlaps), dtype=np.bool_)
    for i in np.flatnonzero(later.any(axis=1)):  # the others suppress nobody
        if alive[i]:
            alive &= ~later[i]
    return alive


def _overlaps(boxes: _Boxes, rows: NDArray[np.intp], columns: NDArray[np.intp], iou: float) -> NDArray[np.bool_]:
    """Return which pairs are of one class with IoU > iou: (len(rows), len(columns)).

    Compared as intersection > iou * union, so that two empty boxes (0 / 0) do not suppress each other.
    """
    x1, y1, x2, y2 = boxes.sides[:, rows, None]  # (R, 1) each
    u1, v1, u2, v2 = boxes.sides[:, None, columns]  # (1, C) each
    width = np.minimum(x2, u2) - np.maximum(x1, u1)
    height = np.minimum(y2, v2) - np.maximum(y1, v1)
    intersection = np.maximum(width, 0) * np.maximum(height, 0)
    union = boxes.areas[rows, None] + boxes.areas[columns] - intersection
    same_class = boxes.classes[rows, None] == boxes.classes[columns]
    return np.asarray((intersection > iou * union) & same_class)


def _areas(sides: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the areas of boxes (4, N), (N,); one whose corners are crossed is empty."""
    return np.asarray(np.maximum(sides[2] - sides[0], 0) * np.maximum(sides[3] - sides[1], 0))


def _check(xywhr: NDArray[np.floating], scores: NDArray[np.floating], class_ids: NDArray[np.integer]) -> None:
    if xywhr.ndim != 2 or xywhr.shape[1] != 5 or not len(xywhr) == len(scores) == len(class_ids):
        shapes = f"{xywhr.shape}, {scores.shape}, {class_ids.shape}"
        raise InputError(f"rotated_nms: expected boxes (N, 5), scores (N,) and class ids (N,), found {shapes}")
    if not (np.isfinite(xywhr).all() and np.isfinite(scores).all()):
        raise InputError("rotated_nms: expected finite numbers, found NaN or infinity in the boxes or scores")


def _nearness(shapes: NDArray[np.float64], iou: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (N, 4) and (4, N) whose product is above 0 only for pairs whose IoU is certainly not above `iou`.

    IoU > iou needs BD < L = -ln(1 - (1 - iou)^2), and BD is at least |d|^2 / (4 (v1 + v2)) with v the larger
    variance of a box: pairs with |d|^2 - 4 L v1 - 4 L v2 > 0 cannot overlap. Spelled out as a matrix product,
    this looks at every pair for the price of a few operations.
    """
    limit = _NO_OVERLAP if iou <= 0 else min(-np.log1p(-((1 - iou) ** 2)), _NO_OVERLAP)
    x, y = shapes[:2] - shapes[:2].mean(axis=1, keepdims=True) if shapes.size else shapes[:2]
    square = x * x + y * y
    reach = 4 * limit * np.maximum(shapes[2], shapes[3]) * (1 + 1e-9)
    slack = 1e-12 * square.max(initial=0.0)  # more than the product's rounding: near misses are looked at closely
    ones = np.ones_like(x)
    left = np.stack([-2 * x, -2 * y, ones, square - reach - slack], axis=1)
    return left, np.stack([x, y, square - reach, ones])
