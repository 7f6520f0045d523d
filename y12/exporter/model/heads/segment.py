"""Masks as combinations of prototypes (YOLACT, arXiv 1904.02689, section 3.1)."""

import torch
from torch import Tensor, nn

from y12.exporter.model.blocks.conv import Conv
from y12.exporter.model.heads.detect import Detect
from y12.exporter.model.heads.head import Channels, per_anchor, prototype_axes

__all__ = ["Proto", "Segment"]


class Proto(nn.Module):
    """Prototype masks at twice the resolution of the finest map.

    Args:
        c1: input channels.
        hidden: channels in between.
        masks: number of prototypes.
    """

    def __init__(self, c1: int, hidden: int, masks: int) -> None:
        super().__init__()
        self.cv1 = Conv(c1, hidden, 3)
        self.upsample = nn.ConvTranspose2d(hidden, hidden, 2, 2)
        self.cv2 = Conv(hidden, hidden, 3)
        self.cv3 = Conv(hidden, masks)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, c1, H, W) to (B, masks, 2H, 2W)."""
        return self.cv3(self.cv2(self.upsample(self.cv1(x))))


class Segment(Detect):
    """Detection with mask coefficients: mask = sigmoid(coefficients . prototypes), cropped to the box.

    Args:
        nc: number of classes.
        channels: channels of the input maps, finest first.
        masks: number of prototypes.
        hidden: channels of the prototypes' convolutions.
        depthwise: see `PlaceHead`.
        kernels: the same.
    """

    def __init__(
        self,
        nc: int,
        channels: Channels,
        masks: int,
        hidden: int,
        depthwise: bool = True,
        *,
        kernels: tuple[int, ...] = (),
    ) -> None:
        axes = {"output0": per_anchor(4 + nc + masks), "protos": prototype_axes(masks)}
        super().__init__(nc, channels, depthwise, extra=masks, axes=axes, kernels=kernels)
        self.proto = Proto(channels[0], hidden, masks)

    def forward(self, maps: list[Tensor]) -> dict[str, Tensor]:
        """Map the pyramid to `output0` (B, 4+nc+masks, A) and `protos` (B, masks, H/4, W/4).

        Boxes and scores are as in `Detect`, the coefficients follow the scores.
        """
        box, cls, coefficients = self.logits(maps)
        boxes = self.boxes(box, self.grid(maps))
        return {"output0": torch.cat((boxes, cls.sigmoid(), coefficients), 1), "protos": self.proto(maps[0])}
