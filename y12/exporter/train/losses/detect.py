"""Losses of heads whose places tell the distances to a box's sides."""

from collections.abc import Sequence

import torch
from torch import Tensor

from y12.exporter.model.heads.detect import Detect, Grid
from y12.exporter.model.heads.head import REG_MAX
from y12.exporter.model.heads.multitask import MultiTask
from y12.exporter.model.heads.obb import OBB
from y12.exporter.model.heads.pose import Pose
from y12.exporter.model.heads.segment import Segment
from y12.exporter.train.assign.positives import Positives
from y12.exporter.train.assign.task_aligned import task_aligned
from y12.exporter.train.batch import Targets
from y12.exporter.train.losses.masks_and_keypoints import keypoint_losses, mask_losses
from y12.exporter.train.losses.options import Losses, LossOptions
from y12.exporter.train.losses.predicted_boxes import OrientedBoxes, UprightBoxes
from y12.exporter.train.losses.terms.classes import CLASS_LOSSES
from y12.exporter.train.losses.terms.distribution import distribution_focal_loss

__all__ = ["DetectCriterion"]


class DetectCriterion:
    """Losses of a head that predicts boxes by distances: classes, boxes, their distributions, and the task's own.

    Args:
        head: the network's; its branches are called with the maps.
        options: weights and forms.
    """

    def __init__(self, head: Detect, options: LossOptions) -> None:
        self._head, self._options = head, options
        self._class_loss = CLASS_LOSSES[options.class_loss]

    def __call__(self, maps: Sequence[Tensor], targets: Targets) -> Losses:
        """Return the weighted losses of maps (B, Ci, Hi, Wi)."""
        head, options = self._head, self._options
        logits = head.logits(maps)
        protos = head.proto(maps[0]) if isinstance(head, Segment | MultiTask) else None
        with torch.autocast(maps[0].device.type, enabled=False):
            box, cls, *others = (branch.float() for branch in logits)
            centres, strides = grid = head.grid([m.float() for m in maps])
            geometry = self._geometry(box, others, grid)
            places = centres * strides
            scores = _scores_of_objects(cls.detach().sigmoid(), targets.labels)
            assignment = task_aligned(
                scores,
                geometry.overlaps(targets),
                geometry.inside(places.T, strides[0], targets),
                targets.present,
                options.align,
            )
            positives = Positives.of(assignment)
            losses = {
                "class": options.classes * self._classes(cls, positives, targets),
                "box": options.box * positives.mean(1 - geometry.fit(positives, targets)),
            }
            distances = geometry.distances(positives, targets, grid)
            by_side = positives.predicted(box).unflatten(1, (4, REG_MAX))
            losses["dfl"] = options.distribution * positives.mean(distribution_focal_loss(by_side, distances))
            if protos is not None:
                losses["mask"] = options.mask * mask_losses(others[0], protos.float(), positives, targets)
            if isinstance(head, Pose | MultiTask) and head.kpt_shape is not None:
                where, seen = keypoint_losses(others[-1], head.kpt_shape, grid, positives, targets)
                losses |= {"keypoints": options.keypoints * where, "visibility": options.visibility * seen}
        return losses

    def _geometry(self, box: Tensor, others: Sequence[Tensor], grid: Grid) -> UprightBoxes | OrientedBoxes:
        if isinstance(self._head, OBB):
            angle = self._head.angle(others[0])
            return OrientedBoxes(self._head.rotated_boxes(box, angle, grid), angle[:, 0])
        return UprightBoxes(self._head.boxes(box, grid), self._options.iou or self._head.iou_loss)

    def _classes(self, cls: Tensor, positives: Positives, targets: Targets) -> Tensor:
        wanted = torch.zeros_like(cls)
        wanted[positives.image, positives.labels(targets), positives.place] = positives.weight
        return self._class_loss(cls, wanted).sum() / positives.total


def _scores_of_objects(scores: Tensor, labels: Tensor) -> Tensor:
    """Take each object's class of scores (B, nc, A): (B, M, A)."""
    return scores.gather(1, labels[..., None].expand(-1, -1, scores.shape[2]))
