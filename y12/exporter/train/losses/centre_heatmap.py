"""Losses of heads with centre heatmaps (CenterNet, arXiv 1904.07850, sections 3 and 4)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from y12.exporter.model.heads.heatmap import RANGE, HeatmapDetect
from y12.exporter.train.assign.positives import Positives
from y12.exporter.train.batch import Targets
from y12.exporter.train.losses.masks_and_keypoints import mask_losses
from y12.exporter.train.losses.options import Losses, LossOptions
from y12.exporter.train.losses.predicted_boxes import UprightBoxes
from y12.exporter.train.losses.terms.heatmap import draw_heatmap, gaussian_focal_loss

__all__ = ["HeatmapCriterion"]

_ELSEWHERE = 0.1  # the weight of an object's box at other levels than its own


class HeatmapCriterion:
    """Losses of heatmaps, of the boxes at the objects' centres, and, where there are any, of masks.

    The boxes learn by their overlap, and by how far what the head gives for them is off, on the average over the
    objects (CenterNet's L_off and L_size, eq. 2-3, but for sides as logarithms, so that large ones do not rule):

        |tx - tx'| + |ty - ty'| + |tw - tw'| + |th - th'|

    The heatmaps show an object at its own level only. Its box is learned at the other levels too, with a weight of
    0.1: where two levels show one object, which happens at the bounds of their sizes, NMS then sees that it is one.

    Args:
        head: the network's; its branches are called with the maps.
        options: weights and forms.
    """

    def __init__(self, head: HeatmapDetect, options: LossOptions) -> None:
        self._head, self._options = head, options

    def __call__(self, maps: Sequence[Tensor], targets: Targets) -> Losses:
        """Return the weighted losses of maps (B, Ci, Hi, Wi)."""
        head, options = self._head, self._options
        logits = head.logits(maps)
        protos = None if head.proto is None else head.proto(maps[0])
        with torch.autocast(maps[0].device.type, enabled=False):
            box, cls, *coefficients = (branch.float() for branch in logits)
            grid = head.grid([m.float() for m in maps])
            boxes = UprightBoxes(head.boxes(box, grid), options.iou or head.iou_loss)
            sizes = [(m.shape[2], m.shape[3]) for m in maps]
            levels = _levels(targets.boxes, head.strides)
            heatmaps = [
                draw_heatmap(targets.labels, targets.boxes, targets.present & (levels == i), head.nc, hw, stride)
                for i, (hw, stride) in enumerate(zip(sizes, head.strides, strict=True))
            ]
            heatmap = torch.cat([drawn.flatten(2) for drawn in heatmaps], 2)  # (B, nc, h, w) -> (B, nc, A)
            positives = _centres(targets, levels, head.strides, sizes)
            wrong = (positives.predicted(box) - _wanted(positives, targets, grid)).abs().sum(1)
            losses = {
                "class": options.classes * gaussian_focal_loss(cls, heatmap),
                "box": options.box * positives.mean(1 - boxes.fit(positives, targets)),
                "offset": options.offset * positives.mean(wrong),
            }
            if protos is not None:
                losses["mask"] = options.mask * mask_losses(coefficients[0], protos.float(), positives, targets)
        return losses


def _levels(boxes: Tensor, strides: tuple[int, ...]) -> Tensor:
    """Return each object's level, (B, M): the finest whose `RANGE` strides hold its longest side, or the last."""
    longest = (boxes[..., 2:] - boxes[..., :2]).amax(-1)
    bounds = boxes.new_tensor(strides[:-1]) * RANGE
    return torch.bucketize(longest, bounds)


def _centres(targets: Targets, levels: Tensor, strides: tuple[int, ...], sizes: Sequence[tuple[int, int]]) -> Positives:
    """Return the cells of the objects' centres at every level; a cell that objects share is the smallest one's."""
    boxes, device = targets.boxes, targets.boxes.device
    hw = torch.tensor(sizes, device=device)  # (L, 2)
    centres = (boxes[..., :2] + boxes[..., 2:]) / 2
    cell = (centres.unsqueeze(1) / boxes.new_tensor(strides)[:, None, None]).floor().long()  # (B, L, M, 2)
    column, row = (torch.minimum(cell[..., i].clamp(min=0), hw[:, 1 - i, None] - 1) for i in (0, 1))
    cells = hw.prod(1)
    place = ((cells.cumsum(0) - cells)[:, None] + row * hw[:, 1:] + column).flatten(1)  # (B, L*M)
    areas = torch.where(targets.present, (boxes[..., 2:] - boxes[..., :2]).prod(-1), torch.inf)
    rank = areas.argsort(dim=1, stable=True).argsort(dim=1).repeat(1, len(sizes))  # 0 is the smallest; (B, L*M)
    first = torch.full((len(boxes), int(cells.sum())), boxes.shape[1], device=device)
    first.scatter_reduce_(1, place, rank, "amin")
    learns = (first.gather(1, place) == rank) & targets.present.repeat(1, len(sizes))
    image, entry = learns.nonzero(as_tuple=True)
    level, thing = entry // max(1, boxes.shape[1]), entry % max(1, boxes.shape[1])
    weight = torch.where(levels[image, thing] == level, 1.0, _ELSEWHERE)
    return Positives.listed(image, place[image, entry], thing, weight)


def _wanted(positives: Positives, targets: Targets, grid: tuple[Tensor, Tensor]) -> Tensor:
    """Return what the head is to say of each box, (N, 4): tx, ty, tw, th."""
    centres, strides = (values.T[positives.place] for values in grid)  # (N, 2), (N, 1)
    boxes = positives.labelled(targets.boxes) / strides
    sides = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1e-3)
    return torch.cat(((boxes[:, :2] + boxes[:, 2:]) / 2 - centres, sides.log()), 1)
