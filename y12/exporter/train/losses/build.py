"""Which losses a head learns with: from the maps it reads and the objects to named, weighted scalars."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from y12.errors import OptionsError
from y12.exporter.model.heads.anchors import AnchorDetect
from y12.exporter.model.heads.classify import Classify
from y12.exporter.model.heads.detect import Detect
from y12.exporter.model.heads.head import Head
from y12.exporter.model.heads.heatmap import HeatmapDetect
from y12.exporter.train.batch import Targets
from y12.exporter.train.losses.anchor_heads import AnchorCriterion
from y12.exporter.train.losses.centre_heatmap import HeatmapCriterion
from y12.exporter.train.losses.detect import DetectCriterion
from y12.exporter.train.losses.options import Criterion, Losses, LossOptions

__all__ = ["Criterion", "LossOptions", "Losses", "criterion_for"]


def _classify(head: Classify, _options: LossOptions) -> Criterion:
    """Return the cross-entropy of a classifier, whose images have one object each: their class."""

    def losses(maps: Sequence[Tensor], targets: Targets) -> Losses:
        logits = head.logits(maps[0])
        with torch.autocast(logits.device.type, enabled=False):
            return {"class": nn.functional.cross_entropy(logits.float(), targets.labels[:, 0])}

    return losses


# Each takes the heads of its own class, and of those made of it.
_CRITERIA: dict[type[Head], Callable[[Any, LossOptions], Criterion]] = {
    Detect: DetectCriterion,
    AnchorDetect: AnchorCriterion,
    HeatmapDetect: HeatmapCriterion,
    Classify: _classify,
}


def criterion_for(head: Head, options: LossOptions) -> Criterion:
    """Return the losses that a head learns with.

    Raises:
        OptionsError: no losses are known for its kind.
    """
    for kind in type(head).__mro__:
        if kind in _CRITERIA:
            return _CRITERIA[kind](head, options)
    raise OptionsError(f"training: expected a head y12 has losses for, found {type(head).__name__}")
