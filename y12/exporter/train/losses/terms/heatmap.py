"""Centre heatmaps: what a network that marks objects' centres is to show, and how far it is from that."""

import torch
import torch.nn.functional as F
from torch import Tensor

from y12.exporter.train.losses.terms.precise import precise

__all__ = ["draw_heatmap", "gaussian_focal_loss", "gaussian_radius"]


def gaussian_radius(wh: Tensor, overlap: float = 0.7) -> Tensor:
    """Return how far corners may be off for a box still to overlap its object (CornerNet, arXiv 1808.01244, 3.2).

    The largest r with IoU >= overlap whichever way two corners each move by up to r in x and in y. Of the three
    extremes, both the same way, both outwards and both inwards, the last one costs most whatever w and h are, so
    that r solves

        (w - 2r)(h - 2r) = overlap w h

    Args:
        wh: (..., 2), in any unit of length.
        overlap: the IoU, 0-1.

    Returns:
        (...) in the same unit; 0 where a side is 0.
    """
    wh = precise(wh).clamp(min=0)
    total, rest = wh.sum(-1), (1 - overlap) * wh.prod(-1)
    # The smaller root, written without a difference of near equals; (w + h)^2 >= 4 w h but for rounding.
    return rest / (total + (total**2 - 4 * rest).clamp(min=0).sqrt()).clamp(min=1e-9)


@torch.no_grad()
def draw_heatmap(
    labels: Tensor, boxes: Tensor, present: Tensor, nc: int, map_hw: tuple[int, int], stride: int
) -> Tensor:
    """Draw a Gaussian for each object at the cell of its centre (CenterNet, arXiv 1904.07850, section 3).

        Y = exp(-((x - cx)^2 + (y - cy)^2) / (2 sigma^2)),  sigma = r / 3,  0 further than r in x or y

    with r the `gaussian_radius` of the box in cells. Where objects of a class overlap, the larger value stays.

    Args:
        labels: (B, M) int64, class ids from 0 to `nc` - 1.
        boxes: (B, M, 4) left, top, right, bottom in pixels; a centre outside the map counts for its nearest cell.
        present: (B, M) bool.
        nc: number of classes.
        map_hw: height and width of the map in cells.
        stride: pixels per cell.

    Returns:
        (B, nc, h, w), exactly 1 at the centres' cells.
    """
    boxes = precise(boxes) / stride
    radius = gaussian_radius(boxes[..., 2:] - boxes[..., :2])
    h, w = map_hw
    across = _bells((boxes[..., 0] + boxes[..., 2]) / 2, radius, w)  # (B, M, w)
    down = _bells((boxes[..., 1] + boxes[..., 3]) / 2, radius, h)
    drawn = down.unsqueeze(3) * (across * present.unsqueeze(2)).unsqueeze(2)  # (B, M, h, w)
    heatmap = drawn.new_zeros(len(labels), nc, h, w)
    # The labels of what is not present may be anything; what is drawn for those is 0 and 0 is a class.
    index = torch.where(present, labels, 0)[:, :, None, None].expand_as(drawn)
    return heatmap.scatter_reduce_(1, index, drawn, "amax")


def _bells(centres: Tensor, radius: Tensor, size: int) -> Tensor:
    """Return exp(-d^2 / (2 sigma^2)), (B, M, size), of the cells' distances d from those of the centres (B, M)."""
    cells = torch.arange(size, device=centres.device, dtype=centres.dtype)
    d = cells - centres.floor().clamp(0, size - 1).unsqueeze(2)
    sigma = (radius / 3).clamp(min=1e-6).unsqueeze(2)
    return torch.where(d.abs() <= radius.unsqueeze(2), torch.exp(-((d / sigma) ** 2) / 2), 0.0)


def gaussian_focal_loss(logits: Tensor, heatmap: Tensor, alpha: float = 2.0, beta: float = 4.0) -> Tensor:
    """Return the focal loss of centres (CornerNet, arXiv 1808.01244, eq. 1; CenterNet, arXiv 1904.07850, eq. 1).

        loss = -1/N sum over cells of  (1 - p)^alpha log p                     where Y = 1
                                       (1 - Y)^beta p^alpha log(1 - p)         elsewhere

    Args:
        logits: (B, nc, h, w), p = sigmoid(logits).
        heatmap: (B, nc, h, w), Y, from `draw_heatmap`.
        alpha: how much less cells count that are right already, 1 or more.
        beta: how much less cells count that are near a centre.

    Returns:
        (), divided by N, the number of cells with Y = 1, or by 1 if there are none.
    """
    logits = precise(logits)
    Y = heatmap.to(logits.dtype)
    peaks = Y == 1
    at_peaks = logits.neg().sigmoid() ** alpha * F.logsigmoid(logits)
    elsewhere = (1 - Y) ** beta * logits.sigmoid() ** alpha * F.logsigmoid(-logits)
    return -torch.where(peaks, at_peaks, elsewhere).sum() / peaks.sum().clamp(min=1)
