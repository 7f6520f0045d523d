"""Which slot of a head with anchor shapes learns which object."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Matches", "match_anchors"]


@dataclass(frozen=True)
class Matches:
    """The slots that learn an object, N of them, no slot twice; all (N,) int64.

    Attributes:
        image: index in the batch.
        object: index among the image's objects.
        level: index of the map.
        anchor: index among the level's anchors.
        row: of the cell.
        column: of the cell.
    """

    image: Tensor
    object: Tensor
    level: Tensor
    anchor: Tensor
    row: Tensor
    column: Tensor


@torch.no_grad()
def match_anchors(
    boxes: Tensor,
    present: Tensor,
    anchors: Tensor,
    strides: Tensor,
    map_sizes: Sequence[tuple[int, int]],
    threshold: float = 0.25,
) -> Matches:
    """Return each object the anchor shapes like its own, at the cell of its centre.

    Like it are those of a shape IoU of `threshold` or more (several for one object: YOLOv4, arXiv 2004.10934,
    section 3.4), and the best one where none is (YOLOv3, arXiv 1804.02767, section 2.1):

        shape IoU = min(w, aw) min(h, ah) / (w h + aw ah - min(w, aw) min(h, ah))

    The threshold of 0.25 takes in an anchor whose sides are both half or both twice the object's. Of objects that
    claim one slot the one of the smaller area gets it, since the larger one is likelier to have others; of equal
    ones the first.

    Args:
        boxes: (B, M, 4) left, top, right, bottom in pixels; a centre outside a map counts for its nearest cell.
        present: (B, M) bool.
        anchors: (L, n, 2) width, height in pixels.
        strides: (L,) pixels per cell.
        map_sizes: height and width in cells of each of the L maps.
        threshold: the least shape IoU, 0-1.
    """
    wh = boxes[..., 2:] - boxes[..., :2]
    like = _shape_iou(wh, anchors).flatten(2)  # (B, M, L*n)
    best = torch.zeros_like(like, dtype=torch.bool).scatter_(2, like.argmax(2, keepdim=True), True)
    claimed = ((like >= threshold) | best) & present.unsqueeze(2)
    image, thing, slot = claimed.nonzero(as_tuple=True)
    level, anchor = slot // anchors.shape[1], slot % anchors.shape[1]
    centres = (boxes[..., :2] + boxes[..., 2:])[image, thing] / 2
    cell = (centres / strides[level].unsqueeze(1)).floor().long()
    hw = torch.tensor(map_sizes, device=boxes.device)[level]
    column, row = (torch.minimum(cell[:, i].clamp(min=0), hw[:, 1 - i] - 1) for i in (0, 1))
    first = _smallest(torch.stack((image, slot, row, column)), wh.prod(2)[image, thing])
    return Matches(*(index[first] for index in (image, thing, level, anchor, row, column)))


def _shape_iou(wh: Tensor, anchors: Tensor) -> Tensor:
    """Return (B, M, L, n) of sizes (B, M, 2) and anchors (L, n, 2), both laid on one corner."""
    wh = wh[:, :, None, None]
    common = torch.minimum(wh, anchors).prod(-1)
    return common / (wh.prod(-1) + anchors.prod(-1) - common)


def _smallest(slots: Tensor, areas: Tensor) -> Tensor:
    """Of equal columns of slots (4, N) pick the one of the smallest area (N,), the first of equals; give indices."""
    order = areas.argsort(stable=True)
    _, group = slots.unique(dim=1, return_inverse=True)
    group, by_group = group[order].sort(stable=True)
    starts = torch.ones_like(group, dtype=torch.bool)
    starts[1:] = group[1:] != group[:-1]
    return order[by_group[starts]]
