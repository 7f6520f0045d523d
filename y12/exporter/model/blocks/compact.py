"""Cheaper forms of downsampling and of bottlenecks (YOLOv10, arXiv 2405.14458, section 3.2)."""

import torch
from torch import Tensor, nn

from y12.exporter.model.blocks.conv import Conv, depthwise_conv
from y12.exporter.model.blocks.csp import C2f

__all__ = ["CIB", "C2fCIB", "DepthwisePair", "SCDown", "one_kernel"]

_WIDE = 7


class SCDown(nn.Module):
    """Spatial-channel decoupled downsampling: a 1x1 convolution for the channels, then a depthwise one with the stride.

    Args:
        c1: input channels.
        c2: output channels.
        k: kernel size of the depthwise one.
        s: its stride.
    """

    def __init__(self, c1: int, c2: int, k: int = 3, s: int = 2) -> None:
        super().__init__()
        self.cv1 = Conv(c1, c2)
        self.cv2 = Conv(c2, c2, k, s, g=c2, act=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, c1, H, W) to (B, c2, H/s, W/s)."""
        return self.cv2(self.cv1(x))


class DepthwisePair(nn.Module):
    """`act(conv(x) + conv1(x))`: depthwise 7x7 and 3x3 side by side, which the export makes one 7x7 convolution of."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.conv = Conv(c, c, _WIDE, g=c, act=False)
        self.conv1 = Conv(c, c, 3, g=c, act=False)
        self.act = nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, c, H, W) to the same shape."""
        return self.act(self.conv(x) + self.conv1(x))


class CIB(nn.Module):
    """Compact inverted block: depthwise, 1x1 to twice the channels, depthwise, 1x1 back, depthwise; plus x if asked.

    Args:
        c: channels of the input and the output.
        shortcut: whether to add the input.
        wide: whether the depthwise convolution in the middle is a `DepthwisePair`, else it is 3x3.
    """

    def __init__(self, c: int, shortcut: bool, wide: bool) -> None:
        super().__init__()
        self.cv1 = nn.Sequential(
            depthwise_conv(c, c, 3),
            Conv(c, 2 * c),
            DepthwisePair(2 * c) if wide else depthwise_conv(2 * c, 2 * c, 3),
            Conv(2 * c, c),
            depthwise_conv(c, c, 3),
        )
        self.add = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, c, H, W) to the same shape."""
        y: Tensor = self.cv1(x)
        return x + y if self.add else y


class C2fCIB(C2f):
    """C2f whose inner blocks are compact inverted ones.

    Args:
        c1: input channels.
        c2: output channels.
        n: inner blocks.
        shortcut: see `CIB`.
        wide: see `CIB`.
    """

    def __init__(self, c1: int, c2: int, n: int = 1, shortcut: bool = False, wide: bool = False) -> None:
        self._wide = wide  # read by _inner, which the parent's __init__ calls
        super().__init__(c1, c2, n, shortcut)

    def _inner(self, shortcut: bool, g: int) -> nn.Module:
        return CIB(self.c, shortcut, self._wide)


@torch.no_grad()
def one_kernel(wide: nn.Conv2d, narrow: nn.Conv2d) -> nn.Conv2d:
    """Return one depthwise convolution equal to the sum of two, BatchNorm folded in both; the narrow one is padded."""
    assert wide.bias is not None
    assert narrow.bias is not None
    edge = (wide.kernel_size[0] - narrow.kernel_size[0]) // 2
    wide.weight += nn.functional.pad(narrow.weight, (edge, edge, edge, edge))
    wide.bias += narrow.bias
    return wide
