"""R-ELAN, the block around area attention (YOLOv12, arXiv 2502.12524, sections 3.1-3.3)."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from y12.exporter.model.attention_heads import heads_of
from y12.exporter.model.blocks.attention import Area, AreaAttention, MapAttention, TurboAreaAttention, V1AreaAttention
from y12.exporter.model.blocks.conv import Conv
from y12.exporter.model.blocks.csp import C3k

__all__ = ["RELAN", "A2C2f", "ABlock", "AreaAttn", "Layout"]

Layout = Literal["turbo", "v1"]

ATTENTION: dict[Layout, Callable[[int, Area], MapAttention]] = {
    "turbo": TurboAreaAttention,
    "v1": V1AreaAttention,
}


class ABlock(nn.Module):
    """A transformer block on a map: `x + attn(x)`, then `x + mlp(x)` with 1x1 convolutions."""

    def __init__(self, dim: int, mlp_ratio: float, attention: MapAttention) -> None:
        super().__init__()
        self.attn = attention
        hidden = int(dim * mlp_ratio)
        self.mlp = nn.Sequential(Conv(dim, hidden), Conv(hidden, dim, act=False))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, H, W)."""
        x = x + self.attn(x)
        return x + self.mlp(x)


class A2C2f(nn.Module):
    """R-ELAN: `cv2(cat(cv1(x), m0(cv1(x)), m1(m0(…)), …))`, with a scaled residual in the large models.

    Args:
        c1: input channels.
        c2: output channels.
        n: stages; each is two ABlocks where `a2` is set, else a C3k of two bottlenecks.
        a2: whether the stages are attention.
        area: bands of the attention, or the rows and columns of a grid.
        residual: with `a2`, return `x + gamma * out` with a learned gamma (c2).
        mlp_ratio: hidden channels of the ABlocks' MLP as a multiple of theirs.
        layout: which of the two published weight layouts the attention has.
    """

    def __init__(
        self,
        c1: int,
        c2: int,
        n: int = 1,
        a2: bool = True,
        area: Area = 1,
        residual: bool = False,
        mlp_ratio: float = 2.0,
        layout: Layout = "turbo",
    ) -> None:
        super().__init__()
        c = c2 // 2
        self.cv1 = Conv(c1, c)
        self.cv2 = Conv((1 + n) * c, c2)
        self.gamma = nn.Parameter(0.01 * torch.ones(c2)) if a2 and residual else None
        self.m = nn.ModuleList(
            nn.Sequential(*(ABlock(c, mlp_ratio, ATTENTION[layout](c, area)) for _ in range(2))) if a2 else C3k(c, c, 2)
            for _ in range(n)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, c1, H, W) to (B, c2, H, W)."""
        y = [self.cv1(x)]
        for stage in self.m:
            y.append(stage(y[-1]))
        out = self.cv2(torch.cat(y, 1))
        return out if self.gamma is None else x + self.gamma.view(1, -1, 1, 1) * out


class RELAN(nn.Module):
    """R-ELAN of dense convolutions: `shortcut(x) + gamma * cv2(cat(cv1(x), m0(cv1(x)), m1(m0(...)), ...))`.

    gamma is learned, one number a channel, and begins at 0.01 (arXiv 2502.12524, section 3.3).

    Args:
        c1: input channels.
        c2: output channels, an even number.
        n: 3x3 convolutions of the chain.
        residual: whether there is a shortcut; without one it is `cv2(cat(...))`, as it is in the small YOLOv12.
        s: stride, 1 or 2; `cv1` is 3x3 where it is 2.
    """

    def __init__(self, c1: int, c2: int, n: int = 1, residual: bool = True, s: int = 1) -> None:
        super().__init__()
        c = c2 // 2
        self.cv1 = Conv(c1, c, 1 if s == 1 else 3, s)
        self.m = nn.ModuleList(Conv(c, c, 3) for _ in range(n))
        self.cv2 = Conv((1 + n) * c, c2)
        self.gamma = nn.Parameter(0.01 * torch.ones(c2)) if residual else None
        same = c1 == c2 and s == 1
        self.shortcut = None if not residual else nn.Identity() if same else Conv(c1, c2, s, s, 0, act=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, c1, H, W) to (B, c2, H/s, W/s)."""
        y = [self.cv1(x)]
        for conv in self.m:
            y.append(conv(y[-1]))
        out: Tensor = self.cv2(torch.cat(y, 1))
        if self.shortcut is None or self.gamma is None:
            return out
        return self.shortcut(x) + self.gamma.view(1, -1, 1, 1) * out


class AreaAttn(nn.Module):
    """n blocks of area attention and an MLP; a 1x1 convolution first, where the number of channels changes.

    Args:
        c1: input channels.
        c2: output channels.
        n: blocks.
        area: bands, or the rows and columns of a grid.
        num_heads: of the attention; those of `heads_of` where None.
        mlp_ratio: hidden channels of the MLP as a multiple of c2.
    """

    def __init__(
        self,
        c1: int,
        c2: int,
        n: int = 1,
        area: Area = 1,
        num_heads: int | None = None,
        mlp_ratio: float = 2.0,
    ) -> None:
        super().__init__()
        self.cv1 = nn.Identity() if c1 == c2 else Conv(c1, c2)
        self.m = nn.Sequential(
            *(ABlock(c2, mlp_ratio, AreaAttention(c2, heads_of(c2, num_heads), area)) for _ in range(n))
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, c1, H, W) to (B, c2, H, W)."""
        return self.m(self.cv1(x))
