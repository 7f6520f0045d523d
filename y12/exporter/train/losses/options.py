"""What a criterion is, and what may be chosen of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from y12.errors import OptionsError
from y12.exporter.train.assign.task_aligned import AlignOptions
from y12.exporter.train.batch import Targets
from y12.exporter.train.losses.terms.classes import CLASS_LOSSES
from y12.exporter.train.losses.terms.iou import IOU_KINDS

__all__ = ["Criterion", "LossOptions", "Losses"]

Losses = dict[str, Tensor]
Criterion = Callable[[Sequence[Tensor], Targets], Losses]


@dataclass(frozen=True)
class LossOptions:
    """How much each loss counts, and which form it has.

    The first three weights are those of PP-YOLOE (arXiv 2203.16250, section 2.2).

    Attributes:
        classes, box, distribution: of detection.
        objectness: of heads with anchors.
        offset: of heads with heatmaps: where in its cell a centre lies, and the logarithms of the sides.
        mask, keypoints, visibility: of the other tasks.
        iou: what the box loss is one minus: one of `IOU_KINDS`, or None for the head's own; oriented boxes have
            ProbIoU instead.
        class_loss: one of `CLASS_LOSSES`; heatmaps have their own.
        align: how places are given to objects.
    """

    classes: float = 1.0
    box: float = 2.5
    distribution: float = 0.5
    objectness: float = 1.0
    offset: float = 1.0
    mask: float = 1.5
    keypoints: float = 6.0
    visibility: float = 0.5
    iou: str | None = None
    class_loss: str = "bce"
    align: AlignOptions = field(default_factory=AlignOptions)

    def __post_init__(self) -> None:
        if self.iou is not None and self.iou not in IOU_KINDS:
            raise OptionsError(f"--iou-loss: expected one of {', '.join(IOU_KINDS)}, found {self.iou!r}")
        if self.class_loss not in CLASS_LOSSES:
            raise OptionsError(f"--class-loss: expected one of {', '.join(CLASS_LOSSES)}, found {self.class_loss!r}")
        names = ("classes", "box", "distribution", "objectness", "offset", "mask", "keypoints", "visibility")
        weights = tuple(getattr(self, name) for name in names)
        if not all(0 <= weight < 1e6 for weight in weights):
            raise OptionsError(f"weights of losses: expected numbers of 0 or more, found {weights}")
