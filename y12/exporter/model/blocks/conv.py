"""Convolution, batch normalisation and activation: the unit everything else is made of."""

import math

import torch
from torch import Tensor, nn

__all__ = ["Concat", "Conv", "depthwise_conv"]

BATCH_NORM_EPS = 1e-3  # of the published detectors; a checkpoint may say otherwise
BATCH_NORM_MOMENTUM = 0.03


class Conv(nn.Module):
    """`act(bn(conv(x)))`: convolution without bias, padded to keep H and W at stride 1, then BatchNorm and SiLU.

    Args:
        c1: input channels.
        c2: output channels.
        k: kernel size.
        s: stride.
        p: padding; k // 2 where None.
        g: groups.
        act: SiLU where True, nothing where False.
    """

    def __init__(
        self, c1: int, c2: int, k: int = 1, s: int = 1, p: int | None = None, g: int = 1, *, act: bool = True
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c1, c2, k, s, k // 2 if p is None else p, groups=g, bias=False)
        self.bn = nn.BatchNorm2d(c2, eps=BATCH_NORM_EPS, momentum=BATCH_NORM_MOMENTUM)
        self.act = nn.SiLU(inplace=True) if act else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, c1, H, W) to (B, c2, H/s, W/s)."""
        return self.act(self.bn(self.conv(x)))


def depthwise_conv(c1: int, c2: int, k: int) -> Conv:
    """Return a Conv whose groups are as many as c1 and c2 allow."""
    return Conv(c1, c2, k, g=math.gcd(c1, c2))


class Concat(nn.Module):
    """Concatenate maps along the channels."""

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Map a list of (B, Ci, H, W) to (B, sum of Ci, H, W)."""
        return torch.cat(maps, 1)
