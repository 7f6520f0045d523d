"""Which place of the head's maps learns which object: task-aligned assignment (TOOD, arXiv 2108.07755, section 3.2)."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["AlignOptions", "Assignment", "inside_boxes", "inside_oriented", "task_aligned"]

_TINY = 1e-30  # keeps the largest of nothing but zeros out of a denominator


@dataclass(frozen=True)
class AlignOptions:
    """How places are chosen.

    Attributes:
        topk: the most places an object gets.
        alpha: exponent of the class score.
        beta: exponent of the overlap.
    """

    topk: int = 10
    alpha: float = 1.0
    beta: float = 6.0


@dataclass(frozen=True)
class Assignment:
    """What each of A places of B images is to learn.

    Attributes:
        object_of: (B, A) int64, the object's index, -1 for background.
        target: (B, A) float32, the score to learn for that object's class, 0-1; 0 for background.
    """

    object_of: Tensor
    target: Tensor


@torch.no_grad()
def task_aligned(
    class_scores: Tensor, overlaps: Tensor, inside: Tensor, present: Tensor, options: AlignOptions | None = None
) -> Assignment:
    """Return each object the places within it whose predictions suit it best, and each place one object at most.

        t = s^alpha u^beta                                    (s class score, u overlap)
        target = t (largest u of the object) / (largest t of the object)      (the paper's t hat)

    An object claims its `topk` places of largest t. A place that several claim goes to the one with the larger
    overlap, the first of equals; the largest t and u are those among the places an object is left with. An object
    all of whose places overlap nothing claims some nevertheless, with target 0.

    Args:
        class_scores: (B, M, A), the score 0-1 of each object's own class at each place.
        overlaps: (B, M, A), 0-1, of each object with the box predicted at each place.
        inside: (B, M, A) bool, whether a place may learn an object.
        present: (B, M) bool, whether there is an object.
        options: `AlignOptions()` where None.
    """
    options = options or AlignOptions()
    B, M, A = inside.shape
    if M == 0:
        return Assignment(present.new_full((B, A), -1, dtype=torch.int64), overlaps.new_zeros(B, A).float())
    allowed = inside & present.unsqueeze(2)
    u = overlaps.float() * allowed
    # Each object's s and u are divided by their largest: neither the order nor a ratio of two t changes, and
    # small overlaps to the sixth, such as a tiny object's with the wide boxes of an untrained head, stay above 0.
    t = _share(class_scores.float() * allowed) ** options.alpha * _share(u) ** options.beta
    t = torch.where(allowed, t, -1.0)
    best, places = t.topk(min(options.topk, A), sorted=False)  # (B, M, k)
    claimed = torch.zeros_like(allowed).scatter_(2, places, best >= 0)
    overlap, owner = torch.where(claimed, u, -1.0).max(1)  # (B, A)
    taken = overlap >= 0
    t = t.gather(1, owner.unsqueeze(1)).squeeze(1) * taken
    u = overlap * taken
    largest_t, largest_u = (u.new_zeros(B, M).scatter_reduce_(1, owner, x, "amax") for x in (t, u))
    target = t * largest_u.gather(1, owner) / largest_t.gather(1, owner).clamp(min=_TINY)
    return Assignment(torch.where(taken, owner, -1), target)


def _share(x: Tensor) -> Tensor:
    """Divide (B, M, A) by its largest along A."""
    return x / x.amax(2, keepdim=True).clamp(min=_TINY)


def inside_boxes(points: Tensor, boxes: Tensor, strides: Tensor, least: float = 1.0) -> Tensor:
    """Return which points lie in which boxes, each side of a box widened to at least `least` of the finest cells.

    With `least` 1, the spacing of the finest level's points, every box whose centre is within that level's map has
    a point of it, however small the box. What is as large as a cell is not widened, and the coarser levels, where
    a small object would take places from its own level, are given no more than what lies in the box.

    Args:
        points: (A, 2) x, y in pixels, the cells' centres.
        boxes: (B, M, 4) left, top, right, bottom in pixels.
        strides: (A,) pixels per cell.
        least: the smallest width and height, in cells of the smallest of the strides.

    Returns:
        (B, M, A) bool; a point on a side is inside.
    """
    x, y = _offsets(points, boxes)
    return _within(x, y, boxes, strides.min() * least)


def inside_oriented(
    points: Tensor, boxes: Tensor, angles: Tensor, strides: Tensor, least: float = math.sqrt(2)
) -> Tensor:
    """Tell the same for boxes turned about their centres.

    Args:
        points: (A, 2) x, y in pixels, the cells' centres.
        boxes: (B, M, 4) left, top, right, bottom in pixels, before they are turned.
        angles: (B, M) radians; the width runs along (cos, sin), y downwards.
        strides: (A,) pixels per cell.
        least: the smallest width and height, in cells of the smallest of the strides. A turned square holds an
            upright one of 1 cell, and with it a point, whatever its angle, from sqrt(2) on.

    Returns:
        (B, M, A) bool; a point on a side is inside.
    """
    x, y = _offsets(points, boxes)
    cos, sin = angles.cos().unsqueeze(2), angles.sin().unsqueeze(2)
    return _within(x * cos + y * sin, y * cos - x * sin, boxes, strides.min() * least)


def _offsets(points: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Return x and y, each (B, M, A), of points (A, 2) from the centres of boxes (B, M, 4)."""
    centres = (boxes[..., :2] + boxes[..., 2:]) / 2
    return points[:, 0] - centres[..., :1], points[:, 1] - centres[..., 1:]


def _within(along: Tensor, across: Tensor, boxes: Tensor, least: Tensor) -> Tensor:
    """Return whether offsets (B, M, A) along a box's sides are within boxes (B, M, 4), their sides at least `least`."""
    half = torch.maximum(boxes[..., 2:] - boxes[..., :2], least) / 2
    return (along.abs() <= half[..., :1]) & (across.abs() <= half[..., 1:])
