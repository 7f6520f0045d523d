"""Oriented boxes: their corners, how much two of them overlap (ProbIoU), and NMS among them.

A box is (centre x, centre y, w, h, r): w runs along the direction (cos r, sin r), with y downwards, r in radians.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from y12.errors import InputError
from y12.runtime.postprocess.nms import keep_greedily
from y12.runtime.preprocess.letterbox import Letterbox, points_to_original, scale_xy

MIN_SIDE = 1e-3  # pixels; shorter sides count as this long, so that no box is without area
_NO_OVERLAP = 40.0  # a Bhattacharyya distance whose IoU is 0 in float64


def corners_from_xywhr(xywhr: NDArray[np.floating]) -> NDArray[np.float32]:
    """Give the corners of (N, 5) boxes in the order in which they are drawn, (N, 4, 2) x, y."""
    centre, (w, h, r) = xywhr[:, None, :2], xywhr[:, 2:].T.astype(np.float64)
    along = np.stack([np.cos(r) * w, np.sin(r) * w], axis=1)[:, None] / 2  # (N, 1, 2)
    across = np.stack([-np.sin(r) * h, np.cos(r) * h], axis=1)[:, None] / 2
    signs = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])  # of along and of across; upright: from the top left
    return np.asarray(centre + signs[:, :1] * along + signs[:, 1:] * across, dtype=np.float32)


def rotated_to_original(xywhr: NDArray[np.float32], frame: Letterbox) -> NDArray[np.float32]:
    """Take (N, 5) boxes from pixels of the network's input to pixels of the original image; not clipped.

    Where the letterbox' two factors differ, by rounding, a box would become a parallelogram. It stays a box: of
    the lengths that its sides get, along the direction that w gets.
    """
    scale_x, scale_y = scale_xy(frame)
    w, h, r = xywhr[:, 2:].T.astype(np.float64)
    cos, sin = np.cos(r), np.sin(r)
    # The angle is turned by the little that the direction turns, so that equal factors leave it as it was.
    turned = r + np.arctan2(cos * sin / scale_y - sin * cos / scale_x, cos**2 / scale_x + sin**2 / scale_y)
    sides = w * np.hypot(cos / scale_x, sin / scale_y), h * np.hypot(sin / scale_x, cos / scale_y)
    columns = [*points_to_original(xywhr[:, :2], frame).T, *sides, turned]
    return np.stack(columns, axis=1).astype(np.float32)


def upright_from_corners(corners: NDArray[np.float32]) -> NDArray[np.float32]:
    """Give the upright boxes x1 y1 x2 y2 round (N, 4, 2) corners, (N, 4)."""
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)


def probiou(xywhr: NDArray[np.floating], others: NDArray[np.floating]) -> NDArray[np.float64]:
    """Give the overlap 0-1 of oriented boxes, pair by pair, in float64 (ProbIoU, arXiv 2106.06072).

    Each box stands for a Gaussian: mean (x, y), variance a = w^2/12 along r and b = h^2/12 across it. With S1, S2
    the covariances, d = (x1 - x2, y1 - y2), D = det(S1 + S2) and BD the Bhattacharyya distance of the two:

        BD  = 1/4 d' (S1 + S2)^-1 d  +  1/2 ln( D / (4 sqrt(det S1 det S2)) )
        IoU = 1 - sqrt(1 - exp(-BD))

    Written so that every term is positive: nothing cancels, however thin the boxes, and float32 would do.

        D   = a1 b1 + a2 b2 + cos^2(r1 - r2) (a1 b2 + a2 b1) + sin^2(r1 - r2) (a1 a2 + b1 b2)
        d' (S1 + S2)^-1 d = ( b1 p1^2 + a1 q1^2 + b2 p2^2 + a2 q2^2 ) / D
            where pi = dx cos ri + dy sin ri, qi = dy cos ri - dx sin ri
        4 sqrt(det S1 det S2) = w1 h1 w2 h2 / 36

    The only epsilon: sides count as at least MIN_SIDE = 1e-3 pixel (also where they are zero or negative), hence
    D >= 2.7e-14 and no denominator needs one. BD, which rounding may take below 0, is raised to 0 before the root.
    Two identical boxes give 1 (within 1e-7); the order of the two does not matter; results lie in 0-1.

    Args:
        xywhr: (..., 5), finite, within float32's range.
        others: (..., 5); the leading axes are broadcast against each other.

    Returns:
        (...), the overlaps.
    """
    one, other = (_shapes(np.moveaxis(np.asarray(boxes, np.float64), -1, 0)) for boxes in (xywhr, others))
    return _iou(one, other)


def rotated_nms(
    xywhr: NDArray[np.floating],
    scores: NDArray[np.floating],
    class_ids: NDArray[np.integer],
    iou: float,
    max_det: int,
    agnostic: bool = False,
) -> NDArray[np.intp]:
    """Give the indices of the oriented boxes to keep, best first, at most `max_det`: greedy NMS with `probiou`.

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
    shapes = np.stack(_shapes(xywhr[order].T.astype(np.float64)))  # (7, N)
    classes = np.zeros(len(order), np.intp) if agnostic else class_ids[order]
    left, right = _nearness(shapes, iou)

    def overlaps(rows: NDArray[np.intp], columns: NDArray[np.intp]) -> NDArray[np.bool_]:
        near = np.flatnonzero(left[rows] @ right[:, columns] <= 0)  # few are, and only they need the logarithm
        one, other = rows[near // len(columns)], columns[near % len(columns)]
        same = classes[one] == classes[other]
        near, one, other = near[same], one[same], other[same]
        result = np.zeros(len(rows) * len(columns), dtype=np.bool_)
        result[near] = _iou(_Shapes(*shapes[:, one]), _Shapes(*shapes[:, other])) > iou
        return result.reshape(len(rows), len(columns))

    return order[keep_greedily(len(order), overlaps, max_det)]


def _check(xywhr: NDArray[np.floating], scores: NDArray[np.floating], class_ids: NDArray[np.integer]) -> None:
    if xywhr.ndim != 2 or xywhr.shape[1] != 5 or not len(xywhr) == len(scores) == len(class_ids):
        found = f"{xywhr.shape}, {scores.shape}, {class_ids.shape}"
        raise InputError(f"rotated_nms: expected boxes (N, 5), scores (N,) and class ids (N,), found {found}")
    if not (np.isfinite(xywhr).all() and np.isfinite(scores).all()):
        raise InputError("rotated_nms: expected finite numbers, found NaN or infinity in the boxes or scores")


class _Shapes(NamedTuple):
    """Boxes as Gaussians, each (...): centre, variances along and across, cos and sin of r, area / 12."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    a: NDArray[np.float64]
    b: NDArray[np.float64]
    cos: NDArray[np.float64]
    sin: NDArray[np.float64]
    root: NDArray[np.float64]


def _shapes(xywhr: NDArray[np.float64]) -> _Shapes:
    """Give the Gaussians of boxes (5, ...)."""
    x, y, w, h, r = xywhr
    w, h = np.maximum(w, MIN_SIDE), np.maximum(h, MIN_SIDE)
    return _Shapes(x, y, w * w / 12, h * h / 12, np.cos(r), np.sin(r), w * h / 12)


def _iou(one: _Shapes, other: _Shapes) -> NDArray[np.float64]:
    """Give `probiou` of Gaussians that broadcast against each other."""
    dx, dy = one.x - other.x, one.y - other.y
    cos2 = (one.cos * other.cos + one.sin * other.sin) ** 2
    sin2 = (one.sin * other.cos - one.cos * other.sin) ** 2
    determinant = (
        one.root**2
        + other.root**2
        + cos2 * (one.a * other.b + other.a * one.b)
        + sin2 * (one.a * other.a + one.b * other.b)
    )
    distance = _spread(one, dx, dy) + _spread(other, dx, dy)
    distance /= 4 * determinant
    distance += 0.5 * np.log(determinant / (4 * one.root * other.root))
    return np.asarray(1 - np.sqrt(-np.expm1(-np.maximum(distance, 0))))


def _spread(box: _Shapes, dx: NDArray[np.float64], dy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give d' adj(S) d = b p^2 + a q^2."""
    along, across = dx * box.cos + dy * box.sin, dy * box.cos - dx * box.sin
    return np.asarray(box.b * along**2 + box.a * across**2)


def _nearness(shapes: NDArray[np.float64], iou: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give (N, 4) and (4, N) whose product is above 0 only for pairs whose IoU is certainly not above `iou`.

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
