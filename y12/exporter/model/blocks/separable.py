"""Depthwise-separable convolution with a wide window."""

from torch import Tensor, nn

from y12.exporter.model.blocks.conv import Conv

__all__ = ["SepConv7x7"]


class SepConv7x7(nn.Module):
    """A 7x7 depthwise convolution, then a 1x1 one (arXiv 1704.04861, section 3.1; the window of arXiv 2201.03545, 2.6).

    Args:
        c1: input channels.
        c2: output channels.
        s: stride of the depthwise one.
    """

    def __init__(self, c1: int, c2: int, s: int = 1) -> None:
        super().__init__()
        self.depthwise = Conv(c1, c1, 7, s, g=c1)
        self.pointwise = Conv(c1, c2)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, c1, H, W) to (B, c2, H/s, W/s)."""
        return self.pointwise(self.depthwise(x))
