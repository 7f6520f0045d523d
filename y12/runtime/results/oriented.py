"""Oriented boxes: their corners, and how much two of them overlap (ProbIoU).

A box is (centre x, centre y, w, h, r): w runs along the direction (cos r, sin r), with y downwards, r in radians.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from y12.runtime.preprocess.letterbox import Letterbox, points_to_original, scale_xy

MIN_SIDE = 1e-3  # pixels; shorter sides count as this long, so that no box is without area


def corners_from_xywhr(xywhr: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return the corners of (N, 5) boxes in the order in which they are drawn, (N, 4, 2) x, y."""
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
    """Return the upright boxes x1 y1 x2 y2 round (N, 4, 2) corners, (N, 4)."""
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)


def probiou(xywhr: NDArray[np.floating], others: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the overlap 0-1 of oriented boxes, pair by pair, in float64 (ProbIoU, arXiv 2106.06072).

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
    one, other = (gaussians(np.moveaxis(np.asarray(boxes, np.float64), -1, 0)) for boxes in (xywhr, others))
    return gaussian_iou(one, other)


class Gaussians(NamedTuple):
    """Boxes as Gaussians, each (...): centre, variances along and across, cos and sin of r, area / 12."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    a: NDArray[np.float64]
    b: NDArray[np.float64]
    cos: NDArray[np.float64]
    sin: NDArray[np.float64]
    root: NDArray[np.float64]


def gaussians(xywhr: NDArray[np.float64]) -> Gaussians:
    """Return the Gaussians of boxes (5, ...)."""
    x, y, w, h, r = xywhr
    w, h = np.maximum(w, MIN_SIDE), np.maximum(h, MIN_SIDE)
    return Gaussians(x, y, w * w / 12, h * h / 12, np.cos(r), np.sin(r), w * h / 12)


def gaussian_iou(one: Gaussians, other: Gaussians) -> NDArray[np.float64]:
    """Return `probiou` of Gaussians that broadcast against each other."""
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


def _spread(box: Gaussians, dx: NDArray[np.float64], dy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return d' adj(S) d = b p^2 + a q^2."""
    along, across = dx * box.cos + dy * box.sin, dy * box.cos - dx * box.sin
    return np.asarray(box.b * along**2 + box.a * across**2)


def xywhr_from_corners(corners: NDArray[np.floating]) -> list[float]:
    """Return the smallest oriented box round (4, 2) corners: centre, sides and the angle in radians."""
    import cv2

    (x, y), (width, height), degrees = cv2.minAreaRect(corners.astype(np.float32))
    return [float(v) for v in (x, y, width, height, np.deg2rad(degrees))]
