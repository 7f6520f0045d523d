"""Masks as combinations of prototypes (YOLACT, arXiv 1904.02689, section 3.1)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from y12.exporter.model.blocks.conv import Conv
from y12.exporter.model.heads.detect import Detect
from y12.exporter.model.heads.head import REG_MAX, Channels, per_anchor, prototype_axes

__all__ = ["FusedProto", "Proto", "Segment"]


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

    def from_maps(self, maps: Sequence[Tensor], _strides: Sequence[int]) -> Tensor:
        """Map the pyramid's (B, Ci, Hi, Wi), of so many pixels a cell, to (B, masks, 2H, 2W) at twice the finest's."""
        return self(maps[0])


class FusedProto(Proto):
    """Prototype masks from all maps: `feat_fuse(x0 + up(refine1(x1)) + up(refine2(x2)) ...)`, then as in `Proto`.

    Args:
        channels: of the maps, finest first.
        hidden: channels in between.
        masks: number of prototypes.
    """

    def __init__(self, channels: Channels, hidden: int, masks: int) -> None:
        super().__init__(hidden, hidden, masks)
        self.feat_refine = nn.ModuleList(Conv(c, channels[0]) for c in channels[1:])
        self.feat_fuse = Conv(channels[0], hidden, 3)

    def from_maps(self, maps: Sequence[Tensor], strides: Sequence[int]) -> Tensor:
        """Do as the parent says."""
        together = maps[0]
        for level, refine, stride in zip(maps[1:], self.feat_refine, strides[1:], strict=True):
            scale = stride / strides[0]
            together = together + nn.functional.interpolate(refine(level), scale_factor=scale, mode="nearest")
        return self(self.feat_fuse(together))


class Segment(Detect):
    """Detection with mask coefficients: mask = sigmoid(coefficients . prototypes), cropped to the box.

    Args:
        nc: number of classes.
        channels: channels of the input maps, finest first.
        masks: number of prototypes.
        hidden: channels of the prototypes' convolutions.
        depthwise: see `PlaceHead`.
        kernels: the same.
        bins: see `Detect`.
        one_to_one: see `PlaceHead`.
        fused: whether the prototypes are made of all maps, else of the finest alone.
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
        bins: int = REG_MAX,
        one_to_one: bool = False,
        fused: bool = False,
    ) -> None:
        axes = {"output0": per_anchor(4 + nc + masks), "protos": prototype_axes(masks)}
        super().__init__(
            nc, channels, depthwise, extra=masks, axes=axes, kernels=kernels, bins=bins, one_to_one=one_to_one
        )
        self.proto = FusedProto(channels, hidden, masks) if fused else Proto(channels[0], hidden, masks)

    def forward(self, maps: list[Tensor]) -> dict[str, Tensor]:
        """Map the pyramid to `output0` (B, 4+nc+masks, A) and `protos` (B, masks, H/4, W/4).

        Boxes and scores are as in `Detect`, the coefficients follow the scores.
        """
        box, cls, coefficients = self.logits(maps)
        boxes = self.boxes(box, self.grid(maps))
        return {
            "output0": torch.cat((boxes, cls.sigmoid(), coefficients), 1),
            "protos": self.proto.from_maps(maps, self.strides),
        }
