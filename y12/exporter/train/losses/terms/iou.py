"""Overlap of upright boxes, with what GIoU, DIoU and CIoU take off it where two boxes lie apart."""

import math

import torch
from torch import Tensor

from y12.exporter.train.losses.terms.precise import precise

__all__ = ["IOU_KINDS", "box_iou"]

IOU_KINDS = ("iou", "giou", "diou", "ciou")

_NOTHING = 1e-9  # an area or a squared length up to this is none: dividing by it would give huge gradients
_SIDE = 1e-3  # a shorter side counts as this long in a ratio of sides


def box_iou(a: Tensor, b: Tensor, kind: str = "iou") -> Tensor:
    """Return the overlap of boxes, pair by pair; the loss is 1 minus it.

    With I and U the areas of intersection and union, C the area and c the diagonal of the smallest box round both,
    and rho the distance of the centres:

        IoU  = I / U
        GIoU = IoU - (C - U) / C                         (arXiv 1902.09630, algorithm 1)
        DIoU = IoU - rho^2 / c^2                         (arXiv 1911.08287, eq. 6-7)
        CIoU = DIoU - alpha v                            (the same, eq. 8-11)
            v     = 4 / pi^2 (atan(w_b / h_b) - atan(w_a / h_a))^2
            alpha = v / (1 - IoU + v), a constant to the gradient

    A ratio of nothing to nothing counts as 0, so that boxes without area overlap nothing.

    Args:
        a: (..., 4) left, top, right, bottom, in any unit of length.
        b: (..., 4) in the same unit; the leading axes are broadcast against each other.
        kind: one of `IOU_KINDS`.

    Returns:
        (...), in 0-1 for "iou", and down to -1 ("giou", "diou") or -2 ("ciou") for the others.

    Raises:
        ValueError: `kind` is another.
    """
    if kind not in IOU_KINDS:
        raise ValueError(f"box_iou: expected one of {', '.join(IOU_KINDS)}, found {kind!r}")
    a, b = precise(a), precise(b)
    wh_a, wh_b = _sides(a), _sides(b)
    common = _sides(torch.cat((torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:])), -1))
    intersection = common.prod(-1)
    union = wh_a.prod(-1) + wh_b.prod(-1) - intersection
    iou = _ratio(intersection, union)
    if kind == "iou":
        return iou
    around = _sides(torch.cat((torch.minimum(a[..., :2], b[..., :2]), torch.maximum(a[..., 2:], b[..., 2:])), -1))
    if kind == "giou":
        hull = around.prod(-1)
        return iou - _ratio(hull - union, hull)
    between = (b[..., :2] + b[..., 2:] - a[..., :2] - a[..., 2:]) / 2
    diou = iou - _ratio(between.square().sum(-1), around.square().sum(-1))
    if kind == "diou":
        return diou
    v = 4 / math.pi**2 * (_aspect(wh_b) - _aspect(wh_a)).square()
    with torch.no_grad():
        alpha = _ratio(v, 1 - iou + v)
    return diou - alpha * v


def _sides(boxes: Tensor) -> Tensor:
    """Return width and height (..., 2) of boxes (..., 4), 0 where a box is turned inside out."""
    return (boxes[..., 2:] - boxes[..., :2]).clamp(min=0)


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    """Divide; 0 without a gradient where the whole is nothing."""
    some = whole > _NOTHING
    # Two `where`: the gradient of a division by 0 is NaN even where the quotient is thrown away.
    return torch.where(some, part / torch.where(some, whole, 1.0), 0.0)


def _aspect(wh: Tensor) -> Tensor:
    """Return atan(w / h)."""
    wh = wh.clamp(min=_SIDE)
    return torch.atan2(wh[..., 0], wh[..., 1])
