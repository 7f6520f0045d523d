"""R-ELAN, the block around area attention (YOLOv12, arXiv 2502.12524, sections 3.1-3.3)."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from exporter.model.blocks.attention import MapAttention, TurboAreaAttention, V1AreaAttention
from exporter.model.blocks.conv import Conv
from exporter.model.blocks.csp import C3k

__all__ = ["A2C2f", "ABlock", "Layout"]

Layout = Literal["turbo", "v1"]

ATTENTION: dict[Layout, Callable[[int, int], MapAttention]] = {
    "turbo": TurboAreaAttention,
    "v1": V1AreaAttention,
}


class ABlock(nn.Module):
    """A transformer block on a map: `x + attn(x)`, then `x + mlp(x)` with 1x1 convolutions."""

    def __init__(self, dim: int, mlp_ratio: float, area: int, layout: Layout) -> None:
        super().__init__()
        self.attn = ATTENTION[layout](dim, area)
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
        area: bands of the attention.
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
        area: int = 1,
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
            nn.Sequential(*(ABlock(c, mlp_ratio, area, layout) for _ in range(2))) if a2 else C3k(c, c, 2)
            for _ in range(n)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, c1, H, W) to (B, c2, H, W)."""
        y = [self.cv1(x)]
        for stage in self.m:
            y.append(stage(y[-1]))
        out = self.cv2(torch.cat(y, 1))
        return out if self.gamma is None else x + self.gamma.view(1, -1, 1, 1) * out
