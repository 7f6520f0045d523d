"""Which places of the pyramid learn which object, in a form that every loss reads."""

from dataclasses import dataclass

import torch
from torch import Tensor

from y12.exporter.train.assign.task_aligned import Assignment
from y12.exporter.train.batch import Targets

__all__ = ["Positives"]


@dataclass(frozen=True)
class Positives:
    """The N places of a batch that were given an object.

    Attributes:
        image: (N,) its index in the batch.
        place: (N,) its index among the A places of all levels.
        object: (N,) the object's index among the image's M.
        weight: (N,) how much it counts: the normalised alignment of Task-aligned One-stage Object Detection
            (arXiv 2108.07755, "t hat").
        total: () the sum of all weights, at least 1: what losses are divided by.
    """

    image: Tensor
    place: Tensor
    object: Tensor
    weight: Tensor
    total: Tensor

    @classmethod
    def of(cls, assignment: Assignment) -> "Positives":
        """List the places of an assignment that have an object."""
        image, place = (assignment.object_of >= 0).nonzero(as_tuple=True)
        return cls(
            image,
            place,
            assignment.object_of[image, place],
            assignment.target[image, place],
            assignment.target.sum().clamp(min=1.0),
        )

    @classmethod
    def listed(cls, image: Tensor, place: Tensor, thing: Tensor, weight: Tensor | None = None) -> "Positives":
        """Return places (N,) that learn objects (N,) of images (N,); all count alike where there are no weights."""
        weight = torch.ones_like(place, dtype=torch.float32) if weight is None else weight
        return cls(image, place, thing, weight, weight.sum().clamp(min=1.0))

    def heaviest(self, count: int) -> "Positives":
        """Return at most so many places, those of largest weight, which together count as much as all do."""
        if len(self.weight) <= count:
            return self
        kept = self.weight.topk(count).indices.sort().values
        share = self.weight[kept].sum() / self.weight.sum().clamp(min=1e-12)
        return Positives(self.image[kept], self.place[kept], self.object[kept], self.weight[kept], self.total * share)

    def predicted(self, predictions: Tensor) -> Tensor:
        """Take (N, C) of predictions (B, C, A)."""
        return predictions[self.image, :, self.place]

    def labelled(self, values: Tensor) -> Tensor:
        """Take (N, ...) of what `Targets` says of objects, (B, M, ...)."""
        return values[self.image, self.object]

    def labels(self, targets: Targets) -> Tensor:
        """Return the class ids, (N,)."""
        return self.labelled(targets.labels)

    def mean(self, losses: Tensor) -> Tensor:
        """Return the mean of losses (N,), each counting by its weight."""
        return (losses * self.weight).sum() / self.total
