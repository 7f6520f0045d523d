"""Losses of heads with anchors (YOLOv3, arXiv 1804.02767, section 2.1)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from y12.exporter.model.heads.anchors import AnchorDetect
from y12.exporter.train.assign.anchor_shapes import match_anchors
from y12.exporter.train.assign.positives import Positives
from y12.exporter.train.batch import Targets
from y12.exporter.train.losses.masks_and_keypoints import mask_losses
from y12.exporter.train.losses.options import Losses, LossOptions
from y12.exporter.train.losses.predicted_boxes import UprightBoxes
from y12.exporter.train.losses.terms.classes import CLASS_LOSSES, binary_cross_entropy

__all__ = ["AnchorCriterion"]

_IGNORED = 0.5  # a box that overlaps an object more than this, but need not find it, is not told that it is wrong


class AnchorCriterion:
    """Losses of boxes, objectness, classes and, where there are any, masks.

    `match_anchors` says which places learn which objects. Objectness is to be 1 there and 0 elsewhere, except where a
    box overlaps some object by more than 0.5, which is not judged. Classes, boxes and masks learn at the objects'
    places only. Every loss is a sum divided by the number of these places.

    Args:
        head: the network's; its branches are called with the maps.
        options: weights and forms.
    """

    def __init__(self, head: AnchorDetect, options: LossOptions) -> None:
        self._head, self._options = head, options
        self._class_loss = CLASS_LOSSES[options.class_loss]

    def __call__(self, maps: Sequence[Tensor], targets: Targets) -> Losses:
        """Return the weighted losses of maps (B, Ci, Hi, Wi)."""
        head, options = self._head, self._options
        logits = head.logits(maps)
        protos = None if head.proto is None else head.proto(maps[0])
        with torch.autocast(maps[0].device.type, enabled=False):
            box, objectness, cls, *coefficients = (branch.float() for branch in logits)
            boxes = UprightBoxes(head.boxes(box, head.grid([m.float() for m in maps])), options.iou or head.iou_loss)
            positives = self._positives(maps, targets)
            wanted = torch.zeros_like(cls[:, 0])
            wanted[positives.image, positives.place] = 1.0
            judged = _judged(boxes, targets) | (wanted > 0)
            found = binary_cross_entropy(objectness[:, 0], wanted) * judged
            chosen = positives.predicted(cls)
            one_hot = torch.nn.functional.one_hot(positives.labels(targets), head.nc)
            losses = {
                "objectness": options.objectness * found.sum() / positives.total,
                "class": options.classes * positives.mean(self._class_loss(chosen, one_hot).sum(1)),
                "box": options.box * positives.mean(1 - boxes.fit(positives, targets)),
            }
            if protos is not None:
                losses["mask"] = options.mask * mask_losses(coefficients[0], protos.float(), positives, targets)
        return losses

    def _positives(self, maps: Sequence[Tensor], targets: Targets) -> Positives:
        """Return the places that learn an object, each with a weight of 1."""
        head = self._head
        sizes = [(m.shape[2], m.shape[3]) for m in maps]
        strides = targets.boxes.new_tensor(head.strides)
        found = match_anchors(targets.boxes, targets.present, targets.boxes.new_tensor(head.anchors), strides, sizes)
        cells = torch.tensor([h * w for h, w in sizes], device=strides.device)
        columns = torch.tensor([w for _, w in sizes], device=strides.device)
        starts = (cells * head.slots).cumsum(0) - cells * head.slots
        within = found.anchor * cells[found.level] + found.row * columns[found.level] + found.column
        return Positives.listed(found.image, starts[found.level] + within, found.object)


@torch.no_grad()
def _judged(boxes: UprightBoxes, targets: Targets) -> Tensor:
    """Return which boxes (B, A) overlap no object by more than `_IGNORED`; image by image, as all pairs are many."""
    judged = torch.ones_like(boxes.boxes[:, 0], dtype=torch.bool)
    for image in range(len(judged)):
        objects = targets.boxes[image, targets.present[image]]
        if len(objects):
            one = Targets(objects.new_zeros(1, len(objects)), objects[None], objects.new_ones(1, len(objects)))
            overlaps = UprightBoxes(boxes.boxes[image : image + 1], boxes.iou).overlaps(one)
            judged[image] = overlaps[0].amax(0) <= _IGNORED
    return judged
