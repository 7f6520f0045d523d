"""What a training step is given: images and their objects, padded to one number of objects."""

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # scenes are drawn without torch, at the masks' stride
    import torch
    from torch import Tensor

__all__ = ["MASK_STRIDE", "Batch", "Targets"]

# Neither class is frozen: Fabric gives the network copies with tensors of its precision, which it fills in one by one.

MASK_STRIDE = 4  # pixels of the image per pixel of a mask: that of the networks' prototypes


@dataclass
class Targets:
    """The objects of B images, up to M of each; where an image has fewer, the rest are zeros and not `present`.

    Attributes:
        labels: (B, M) int64, class ids from 0.
        boxes: (B, M, 4) float32: left, top, right, bottom in pixels of the batch's images.
        present: (B, M) bool: whether there is an object.
        masks: (B, M, H/4, W/4) bool, one pixel for each `MASK_STRIDE` pixels of the image; None where not labelled.
        keypoints: (B, M, K, 3) float32: x, y in pixels and visibility (0 not labelled, 1 hidden, 2 seen), or None.
        angles: (B, M) float32, radians, of oriented boxes; `boxes` are then the unturned boxes about the same
            centres, whose width runs along the angle. None for upright boxes.
    """

    labels: "Tensor"
    boxes: "Tensor"
    present: "Tensor"
    masks: "Tensor | None" = None
    keypoints: "Tensor | None" = None
    angles: "Tensor | None" = None

    def __post_init__(self) -> None:
        B, M = self.labels.shape
        for field in fields(self):
            value: Tensor | None = getattr(self, field.name)
            if value is not None and value.shape[:2] != (B, M):
                raise ValueError(f"{field.name}: expected ({B}, {M}, ...), found {tuple(value.shape)}")

    def to(self, device: "torch.device") -> "Targets":
        """Return the same on a device."""
        return Targets(
            self.labels.to(device),
            self.boxes.to(device),
            self.present.to(device),
            *(None if value is None else value.to(device) for value in (self.masks, self.keypoints, self.angles)),
        )


@dataclass
class Batch:
    """Images (B, 3, H, W) float32, RGB in 0-1, H and W multiples of the network's largest stride; and their objects."""

    images: "Tensor"
    targets: Targets

    def to(self, device: "torch.device") -> "Batch":
        """Return the same on a device."""
        return Batch(self.images.to(device), self.targets.to(device))
