"""Masks made of prototypes."""

import torch
import torch.nn.functional as F
from torch import Tensor

from y12.exporter.train.losses.terms.precise import precise

__all__ = ["mask_loss"]


def mask_loss(coefficients: Tensor, protos: Tensor, image_of: Tensor, masks: Tensor, boxes: Tensor) -> Tensor:
    """Return each object's binary cross entropy of its mask, the mean over its box (YOLACT, arXiv 1904.02689, 3.2).

        loss_n = 1 / |box_n|  sum over pixels of box_n of BCE(sigmoid(c_n . P), mask_n)

    A box's pixels are those it touches; pixels outside the map do not count, and a box without any costs 0.

    Args:
        coefficients: (N, m), c.
        protos: (B, m, h, w), P.
        image_of: (N,) int64, in which image an object is, 0 to B - 1, in any order.
        masks: (N, h, w) bool.
        boxes: (N, 4) left, top, right, bottom in pixels of the prototypes.

    Returns:
        (N,)
    """
    h, w = protos.shape[-2:]
    order = image_of.argsort(stable=True)
    boxes = boxes[order]
    # Autocast would turn the products into half precision.
    with torch.autocast(protos.device.type, enabled=False):
        logits = _logits(precise(coefficients[order]), precise(protos), image_of)
        loss = F.binary_cross_entropy_with_logits(logits, masks[order].to(logits.dtype), reduction="none")
        rows, columns = _touched(boxes[:, 1], boxes[:, 3], h), _touched(boxes[:, 0], boxes[:, 2], w)
        # (N, 1, h) x (N, h, w) x (N, w, 1): the sum over the box, without a map that says where the box is.
        total = (rows.to(loss.dtype).unsqueeze(1) @ loss @ columns.to(loss.dtype).unsqueeze(2)).flatten()
    mean = total / (rows.sum(1) * columns.sum(1)).clamp(min=1)
    return mean[order.argsort()]


def _logits(coefficients: Tensor, protos: Tensor, image_of: Tensor) -> Tensor:
    """Return (N, h, w) from coefficients (N, m) sorted by image: one product for each image, so no prototype is copied.

    Images without objects take part too, so that the prototypes are in the graph whatever the batch holds.
    """
    counts = image_of.bincount(minlength=len(protos)).tolist()
    products = [c @ p.flatten(1) for c, p in zip(coefficients.split(counts), protos, strict=True)]
    return torch.cat(products).unflatten(1, protos.shape[-2:])


def _touched(low: Tensor, high: Tensor, size: int) -> Tensor:
    """Return (N, size) bool: which pixels, from i to i + 1, the ranges (N,) touch."""
    pixel = torch.arange(size, device=low.device)
    return (pixel + 1 > low.unsqueeze(1)) & (pixel < high.unsqueeze(1))
