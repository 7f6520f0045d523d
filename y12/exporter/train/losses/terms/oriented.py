"""Overlap of oriented boxes as that of two Gaussians."""

from typing import NamedTuple

import torch
from torch import Tensor

from y12.exporter.train.losses.terms.precise import precise

__all__ = ["probiou"]

_MIN_SIDE = 1e-3  # pixels; y12.runtime.results.oriented's
_NEAR = 1e-6  # a squared Hellinger distance below this has a straight line for its root


def probiou(a: Tensor, b: Tensor) -> Tensor:
    """Return the overlap 0-1 of oriented boxes, pair by pair (ProbIoU, arXiv 2106.06072); the loss is 1 minus it.

    Each box stands for a Gaussian: mean (x, y), variance w^2 / 12 along r and h^2 / 12 across it. With S1, S2 the
    covariances and d the difference of the means:

        BD  = 1/8 d' S^-1 d  +  1/2 ln( det S / sqrt(det S1 det S2) ),  S = (S1 + S2) / 2
        IoU = 1 - sqrt(1 - exp(-BD))

    Every term is a sum of positive ones, as in the runtime's `probiou`, which says how, so that float32 will do.
    The root's slope is infinite where two boxes are equal; below 1e-6 it is the line through 0 instead, which
    changes the overlap by 2.5e-4 at most.

    Args:
        a: (..., 5) centre x, y, w, h in pixels, r in radians; sides count as at least 0.001 pixel long.
        b: (..., 5); the leading axes are broadcast against each other.

    Returns:
        (...)
    """
    one, other = _gaussian(precise(a)), _gaussian(precise(b))
    dx, dy = one.x - other.x, one.y - other.y
    turn = one.r - other.r
    sum_det = (  # det(S1 + S2)
        one.root**2
        + other.root**2
        + turn.cos() ** 2 * (one.a * other.b + other.a * one.b)
        + turn.sin() ** 2 * (one.a * other.a + one.b * other.b)
    )
    distance = (_spread(one, dx, dy) + _spread(other, dx, dy)) / (4 * sum_det)
    distance = distance + (sum_det / (4 * one.root * other.root)).log() / 2
    squared = -torch.expm1(-distance.clamp(min=0))
    near = squared < _NEAR
    root = torch.where(near, _NEAR, squared).sqrt()
    return 1 - torch.where(near, squared / _NEAR**0.5, root)


class _Gaussian(NamedTuple):
    """Boxes as Gaussians, each (...): mean, variances along and across, root of their product, angle."""

    x: Tensor
    y: Tensor
    a: Tensor
    b: Tensor
    root: Tensor
    r: Tensor


def _gaussian(xywhr: Tensor) -> _Gaussian:
    x, y, w, h, r = xywhr.unbind(-1)
    w, h = w.clamp(min=_MIN_SIDE), h.clamp(min=_MIN_SIDE)
    return _Gaussian(x, y, w * w / 12, h * h / 12, w * h / 12, r)


def _spread(box: _Gaussian, dx: Tensor, dy: Tensor) -> Tensor:
    """Return d' adj(S) d, S a box's covariance: adj(S) has the two variances exchanged."""
    cos, sin = box.r.cos(), box.r.sin()
    return box.b * (dx * cos + dy * sin) ** 2 + box.a * (dy * cos - dx * sin) ** 2
