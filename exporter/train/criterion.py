"""The losses of each head: from the maps it reads and the objects to named, weighted scalars."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from exporter.errors import RecipeError
from exporter.model.heads.classify import Classify
from exporter.model.heads.detect import Detect, Grid
from exporter.model.heads.head import REG_MAX, Head
from exporter.model.heads.multitask import MultiTask
from exporter.model.heads.obb import OBB
from exporter.model.heads.pose import Pose
from exporter.model.heads.segment import Segment
from exporter.train.assign import AlignOptions, task_aligned
from exporter.train.batch import Targets
from exporter.train.geometry import OrientedBoxes, UprightBoxes
from exporter.train.losses.classes import CLASS_LOSSES
from exporter.train.losses.distribution import distribution_focal_loss
from exporter.train.losses.iou import IOU_KINDS
from exporter.train.positives import Positives
from exporter.train.terms import keypoint_losses, mask_losses

__all__ = ["Criterion", "DetectCriterion", "LossOptions", "Losses", "criterion_for"]

Losses = dict[str, Tensor]
Criterion = Callable[[Sequence[Tensor], Targets], Losses]


@dataclass(frozen=True)
class LossOptions:
    """How much each loss counts, and which form it has.

    The first three weights are those of PP-YOLOE (arXiv 2203.16250, section 2.2).

    Attributes:
        classes, box, distribution: of detection.
        mask, keypoints, visibility: of the other tasks.
        iou: what the box loss is one minus: one of `IOU_KINDS`; oriented boxes have ProbIoU instead.
        class_loss: one of `CLASS_LOSSES`.
        align: how places are given to objects.
    """

    classes: float = 1.0
    box: float = 2.5
    distribution: float = 0.5
    mask: float = 1.5
    keypoints: float = 6.0
    visibility: float = 0.5
    iou: str = "ciou"
    class_loss: str = "bce"
    align: AlignOptions = field(default_factory=AlignOptions)

    def __post_init__(self) -> None:
        if self.iou not in IOU_KINDS:
            raise RecipeError(f"--iou-loss: expected one of {', '.join(IOU_KINDS)}, found {self.iou!r}")
        if self.class_loss not in CLASS_LOSSES:
            raise RecipeError(f"--class-loss: expected one of {', '.join(CLASS_LOSSES)}, found {self.class_loss!r}")
        weights = (self.classes, self.box, self.distribution, self.mask, self.keypoints, self.visibility)
        if not all(0 <= weight < 1e6 for weight in weights):
            raise RecipeError(f"weights of losses: expected numbers of 0 or more, found {weights}")


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
        """Give the weighted losses of maps (B, Ci, Hi, Wi)."""
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
        return UprightBoxes(self._head.boxes(box, grid), self._options.iou)

    def _classes(self, cls: Tensor, positives: Positives, targets: Targets) -> Tensor:
        wanted = torch.zeros_like(cls)
        wanted[positives.image, positives.labels(targets), positives.place] = positives.weight
        return self._class_loss(cls, wanted).sum() / positives.total


def _scores_of_objects(scores: Tensor, labels: Tensor) -> Tensor:
    """Take each object's class of scores (B, nc, A): (B, M, A)."""
    return scores.gather(1, labels[..., None].expand(-1, -1, scores.shape[2]))


def _classify(head: Classify, _options: LossOptions) -> Criterion:
    """Give the cross-entropy of a classifier, whose images have one object each: their class."""

    def losses(maps: Sequence[Tensor], targets: Targets) -> Losses:
        logits = head.logits(maps[0])
        with torch.autocast(logits.device.type, enabled=False):
            return {"class": nn.functional.cross_entropy(logits.float(), targets.labels[:, 0])}

    return losses


def criterion_for(head: Head, options: LossOptions) -> Criterion:
    """Give the losses that a head learns with.

    Raises:
        RecipeError: no losses are known for its kind.
    """
    if isinstance(head, Detect):
        return DetectCriterion(head, options)
    if isinstance(head, Classify):
        return _classify(head, options)
    raise RecipeError(f"training: expected a head y12 has losses for, found {type(head).__name__}")
