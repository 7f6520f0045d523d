"""A detector as it is trained: images and objects in, losses out."""

import torch
from torch import nn

from y12.errors import OptionsError
from y12.exporter.model.detector import Detector
from y12.exporter.train.batch import Batch
from y12.exporter.train.losses.build import Losses, LossOptions, criterion_for

__all__ = ["TrainingNetwork", "start_scores_low"]

_PRIOR = 0.01


class TrainingNetwork(nn.Module):
    """The detector and its losses as one module, so that several devices can share a step's work.

    Args:
        detector: to be trained; it is put into training mode but for its frozen rows.
        options: of the losses.
        freeze: how many of its first rows stay as they are.

    Raises:
        OptionsError: nothing would be left to train, or the head has no losses.
    """

    def __init__(self, detector: Detector, options: LossOptions, freeze: int = 0) -> None:
        super().__init__()
        if freeze >= len(detector.model):
            rows = len(detector.model)
            raise OptionsError(f"--freeze: expected fewer than the network's {rows} rows, found {freeze}")
        self.detector = detector
        self._frozen = list(detector.model[:freeze])
        self._criterion = criterion_for(detector.head, options)
        for row in self._frozen:
            row.requires_grad_(False)
        self.train()

    def train(self, mode: bool = True) -> "TrainingNetwork":
        """Set training mode; frozen rows stay in evaluation mode, which keeps their BatchNorm statistics."""
        super().train(mode)
        for row in self._frozen:
            row.eval()
        return self

    def forward(self, batch: Batch) -> Losses:
        """Return the weighted losses by name."""
        images = batch.images.contiguous(memory_format=torch.channels_last)
        return self._criterion(self.detector.maps(images), batch.targets)


def start_scores_low(detector: Detector) -> None:
    """Let a new head score 0.01 everywhere, or the many background places rule the first steps.

    Focal loss, arXiv 1708.02002, section 3.3. A classifier is left as it is.
    """
    detector.head.start_scores_at(_PRIOR)
