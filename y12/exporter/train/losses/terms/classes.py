"""Losses of class logits, element by element, not reduced."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from y12.exporter.train.losses.terms.precise import precise

__all__ = ["CLASS_LOSSES", "binary_cross_entropy", "focal_loss", "varifocal_loss"]


def binary_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return -(t log p + (1 - t) log(1 - p)), p = sigmoid(logits).

    Args:
        logits: (...).
        targets: (...), t in 0-1.
    """
    logits = precise(logits)
    return F.binary_cross_entropy_with_logits(logits, targets.to(logits.dtype), reduction="none")


def focal_loss(logits: Tensor, targets: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Return the focal loss (arXiv 1708.02002, eq. 5), for soft targets too.

        FL = a (1 - q)^gamma BCE(p, t),  q = p t + (1 - p)(1 - t),  a = alpha t + (1 - alpha)(1 - t)

    With t of 0 or 1 that is the paper's -alpha_t (1 - p_t)^gamma log p_t.

    Args:
        logits: (...), p = sigmoid(logits).
        targets: (...), t in 0-1.
        alpha: weight of t = 1 against t = 0.
        gamma: how much less the easy ones count, 1 or more.
    """
    logits = precise(logits)
    t = targets.to(logits.dtype)
    p = logits.sigmoid()
    missed = p * (1 - t) + (1 - p) * t  # 1 - q
    return (alpha * t + (1 - alpha) * (1 - t)) * missed**gamma * binary_cross_entropy(logits, t)


def varifocal_loss(logits: Tensor, scores: Tensor, alpha: float = 0.75, gamma: float = 2.0) -> Tensor:
    """Return the varifocal loss (VarifocalNet, arXiv 2008.13367, eq. 2).

        VFL = q BCE(p, q)                      where q > 0
        VFL = -alpha p^gamma log(1 - p)        where q = 0

    Args:
        logits: (...), p = sigmoid(logits).
        scores: (...), q in 0-1: the overlap an object's box has, 0 for every other class.
        alpha: weight of those with q = 0.
        gamma: how much less the easy ones of those count, 1 or more.
    """
    logits = precise(logits)
    q = scores.to(logits.dtype)
    weight = torch.where(q > 0, q, alpha * logits.sigmoid() ** gamma)
    return weight * binary_cross_entropy(logits, q)


CLASS_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "bce": binary_cross_entropy,
    "focal": focal_loss,
    "varifocal": varifocal_loss,
}
