"""Keypoints: how far they lie from where they should, and whether they are labelled."""

import torch
import torch.nn.functional as F
from torch import Tensor

from y12.exporter.train.losses.terms.precise import precise

__all__ = ["COCO_SIGMAS", "oks_loss", "sigmas_of", "visibility_loss"]

# How far annotators disagree on each of COCO's 17 points, in units of the root of the object's area:
# cocodataset.org, keypoints evaluation, 1.3; nose, eyes, ears, shoulders, elbows, wrists, hips, knees, ankles.
COCO_SIGMAS = (
    *(0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072),
    *(0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089),
)


def sigmas_of(count: int) -> Tensor:
    """Return the sigmas of `count` points, (K,) float32: COCO's for 17, else 1 / K for each."""
    return torch.tensor(COCO_SIGMAS if count == len(COCO_SIGMAS) else (1 / count,) * count)


def oks_loss(points: Tensor, targets: Tensor, areas: Tensor, sigmas: Tensor) -> Tensor:
    """Return 1 - OKS of each object, the object keypoint similarity of YOLO-Pose (arXiv 2204.06806).

        OKS = mean over labelled points of exp(-d^2 / (2 s^2 k^2)),  s^2 the object's area,  k = 2 sigma

    Args:
        points: (N, K, 2) predicted x, y in pixels.
        targets: (N, K, 3) x, y and visibility, 0 for points that are not labelled.
        areas: (N,) in square pixels; less than one counts as one.
        sigmas: (K,)

    Returns:
        (N,) in 0-1; 0 for objects without a labelled point.
    """
    points, targets = precise(points), precise(targets)
    labelled = targets[..., 2] > 0  # (N, K)
    # What is not labelled may hold any number, and infinity times 0 would be NaN.
    off = torch.where(labelled.unsqueeze(2), points - targets[..., :2], 0.0)
    scale = 2 * precise(areas).clamp(min=1).unsqueeze(1) * (2 * precise(sigmas)).square()  # (N, K)
    missed = -torch.expm1(-off.square().sum(2) / scale)  # 1 - exp(.), exact where small; 0 if not labelled
    return missed.sum(1) / labelled.sum(1).clamp(min=1)


def visibility_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the binary cross entropy of whether each point is labelled (the same), the mean over points.

    Args:
        logits: (N, K).
        targets: (N, K, 3) x, y and visibility: 1 and 2, hidden and seen, are both labelled.

    Returns:
        (N,)
    """
    logits = precise(logits)
    return F.binary_cross_entropy_with_logits(logits, (targets[..., 2] > 0).to(logits.dtype), reduction="none").mean(1)
