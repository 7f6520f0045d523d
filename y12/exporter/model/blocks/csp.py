"""Cross-stage-partial blocks: part of the channels goes through a chain of bottlenecks, then all meet again."""

import torch
from torch import Tensor, nn

from y12.exporter.model.blocks.conv import Conv
from y12.exporter.model.blocks.psa import PSABlock

__all__ = ["Bottleneck", "C2f", "C3k", "C3k2"]


class Bottleneck(nn.Module):
    """`cv2(cv1(x))`, plus x where `shortcut` is set and the channels agree.

    Args:
        c1: input channels.
        c2: output channels.
        shortcut: whether to add the input.
        g: groups of the second convolution.
        k: kernel size of both convolutions.
        e: hidden channels as a share of c2.
    """

    def __init__(self, c1: int, c2: int, shortcut: bool = True, g: int = 1, *, k: int = 3, e: float = 0.5) -> None:
        super().__init__()
        hidden = int(c2 * e)
        self.cv1 = Conv(c1, hidden, k)
        self.cv2 = Conv(hidden, c2, k, g=g)
        self.add = shortcut and c1 == c2

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, c1, H, W) to (B, c2, H, W)."""
        y = self.cv2(self.cv1(x))
        return x + y if self.add else y


class C3k(nn.Module):
    """`cv3(cat(m(cv1(x)), cv2(x)))` with a chain m of n bottlenecks of kernel k."""

    def __init__(
        self, c1: int, c2: int, n: int = 1, shortcut: bool = True, g: int = 1, *, e: float = 0.5, k: int = 3
    ) -> None:
        super().__init__()
        hidden = int(c2 * e)
        self.cv1 = Conv(c1, hidden)
        self.cv2 = Conv(c1, hidden)
        self.cv3 = Conv(2 * hidden, c2)
        self.m = nn.Sequential(*(Bottleneck(hidden, hidden, shortcut, g, k=k, e=1.0) for _ in range(n)))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, c1, H, W) to (B, c2, H, W)."""
        return self.cv3(torch.cat((self.m(self.cv1(x)), self.cv2(x)), 1))


class C2f(nn.Module):
    """Split `cv1(x)` into two halves, chain n inner blocks on the second, and project all of them with `cv2`."""

    def __init__(self, c1: int, c2: int, n: int = 1, shortcut: bool = False, g: int = 1, *, e: float = 0.5) -> None:
        super().__init__()
        self.c = int(c2 * e)
        self.cv1 = Conv(c1, 2 * self.c)
        self.cv2 = Conv((2 + n) * self.c, c2)
        self.m = nn.ModuleList(self._inner(shortcut, g) for _ in range(n))

    def _inner(self, shortcut: bool, g: int) -> nn.Module:
        return Bottleneck(self.c, self.c, shortcut, g, e=1.0)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, c1, H, W) to (B, c2, H, W)."""
        y = list(self.cv1(x).split((self.c, self.c), 1))
        for block in self.m:
            y.append(block(y[-1]))
        return self.cv2(torch.cat(y, 1))


class C3k2(C2f):
    """C2f whose inner blocks are C3k of two bottlenecks where `c3k` is set, else narrow bottlenecks.

    With `attn` (YOLO26) each is a narrow bottleneck and a block of attention behind it.
    """

    def __init__(
        self,
        c1: int,
        c2: int,
        n: int = 1,
        c3k: bool = False,
        e: float = 0.5,
        attn: bool = False,
        g: int = 1,
        shortcut: bool = True,
    ) -> None:
        self._c3k, self._attn = c3k, attn  # read by _inner, which the parent's __init__ calls
        super().__init__(c1, c2, n, shortcut, g, e=e)

    def _inner(self, shortcut: bool, g: int) -> nn.Module:
        if self._attn:
            return nn.Sequential(Bottleneck(self.c, self.c, shortcut, g), PSABlock(self.c))
        if self._c3k:
            return C3k(self.c, self.c, 2, shortcut, g)
        return Bottleneck(self.c, self.c, shortcut, g)
