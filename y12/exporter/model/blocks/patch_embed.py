"""From the image to a map of features: a convolutional stem beside patches."""

import itertools

from torch import Tensor, nn

from y12.exporter.model.blocks.conv import Conv
from y12.exporter.model.blocks.fusion import ChannelFusion

__all__ = ["PatchEmbed", "UpConv"]


class PatchEmbed(nn.Module):
    """Hybrid patch embedding: `fuse(stem(x), patches(x))`, both `patch_size` times smaller than the input.

    The stem is 3x3 convolutions of stride 2, each with twice the channels of the one before (arXiv 2106.14881,
    section 3). The patches are those of a vision transformer (arXiv 2010.11929, equation 1): they do not overlap, and
    each is projected linearly.

    Args:
        c1: input channels, 3 of an image.
        c2: output channels, a multiple of `patch_size / 2`.
        patch_size: pixels a side of a patch: 2, 4, 8, 16 or 32.
    """

    def __init__(self, c1: int, c2: int, patch_size: int = 4) -> None:
        super().__init__()
        steps = patch_size.bit_length() - 1
        widths = [c1, *(c2 >> (steps - 1 - i) for i in range(steps))]
        self.stem = nn.Sequential(*(Conv(a, b, 3, 2) for a, b in itertools.pairwise(widths)))
        self.patches = Conv(c1, c2, patch_size, patch_size, 0, act=False)
        self.fuse = ChannelFusion(c2)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, c1, H, W) to (B, c2, H/patch_size, W/patch_size)."""
        return self.fuse(self.stem(x), self.patches(x))


class UpConv(nn.Module):
    """A finer map of a coarser one: a transposed 2x2 convolution of stride 2, then a 3x3 one.

    A level of the simple feature pyramid (arXiv 2203.16527, section 3), with BatchNorm in place of its LayerNorm.

    Args:
        c1: input channels.
        c2: output channels.
    """

    def __init__(self, c1: int, c2: int) -> None:
        super().__init__()
        self.upsample = nn.ConvTranspose2d(c1, c2, 2, 2)
        self.cv = Conv(c2, c2, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, c1, H, W) to (B, c2, 2H, 2W)."""
        return self.cv(self.upsample(x))
