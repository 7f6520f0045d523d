"""Partial self-attention: PSA (YOLOv10, arXiv 2405.14458, section 3.2) and, after it, C2PSA (YOLO11)."""

import torch
from torch import Tensor, nn

from y12.exporter.model.blocks.attention import PartialSelfAttention
from y12.exporter.model.blocks.conv import Conv

__all__ = ["C2PSA", "PSA", "PSABlock"]


class PSABlock(nn.Module):
    """A transformer block on a map: `x + attn(x)`, then `x + ffn(x)` with 1x1 convolutions."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.attn = PartialSelfAttention(dim)
        self.ffn = nn.Sequential(Conv(dim, 2 * dim), Conv(2 * dim, dim, act=False))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, H, W)."""
        x = x + self.attn(x)
        return x + self.ffn(x)


class PSA(PSABlock):
    """Split `cv1(x)` into two halves, send the second through one block of attention, and project both with `cv2`.

    Args:
        c1: input channels; the output has as many.
        c2: the same number.
    """

    def __init__(self, c1: int, c2: int) -> None:
        super().__init__(c2 // 2)
        self.c = c2 // 2
        self.cv1 = Conv(c1, 2 * self.c)
        self.cv2 = Conv(2 * self.c, c2)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, c1, H, W) to (B, c2, H, W)."""
        a, b = self.cv1(x).split((self.c, self.c), 1)
        return self.cv2(torch.cat((a, super().forward(b)), 1))


class C2PSA(nn.Module):
    """Split `cv1(x)` into two halves, send the second through n blocks of attention, and project both with `cv2`.

    Args:
        c1: input channels; the output has as many.
        c2: the same number.
        n: blocks.
    """

    def __init__(self, c1: int, c2: int, n: int = 1) -> None:
        super().__init__()
        self.c = c2 // 2
        self.cv1 = Conv(c1, 2 * self.c)
        self.cv2 = Conv(2 * self.c, c2)
        self.m = nn.Sequential(*(PSABlock(self.c) for _ in range(n)))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, c1, H, W) to (B, c2, H, W)."""
        a, b = self.cv1(x).split((self.c, self.c), 1)
        return self.cv2(torch.cat((a, self.m(b)), 1))
