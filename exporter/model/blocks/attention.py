"""Area attention and the R-ELAN block around it (YOLOv12, arXiv 2502.12524, sections 3.1-3.3)."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from exporter.model.blocks.conv import Conv
from exporter.model.blocks.csp import C3k

__all__ = ["A2C2f", "ABlock", "AreaAttention", "Layout", "TurboAreaAttention", "V1AreaAttention"]

HEAD_DIM = 32

Layout = Literal["turbo", "v1"]


class AreaAttention(nn.Module):
    """Self-attention within each of `area` bands of consecutive tokens, plus a depthwise convolution of v.

    Tokens run row by row, so that a band is a horizontal strip of the map:
    `proj(concat_areas(softmax(q k^T / sqrt(d)) v) + pe(v))`. The two published weight layouts differ in how q, k
    and v are projected and in the kernel of `pe`; each is a subclass.

    Args:
        dim: channels, a multiple of the 32 channels of a head.
        area: number of bands; H * W must be a multiple of it.
    """

    def __init__(self, dim: int, area: int = 1) -> None:
        super().__init__()
        self.num_heads = dim // HEAD_DIM
        self.area = area
        self.proj = Conv(dim, dim, act=False)
        self.pe: Conv

    def qkv_maps(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Project (B, C, H, W) to the maps q, k and v, each (B, C, H, W) with its channels head by head."""
        raise NotImplementedError

    def qkv_weights(self) -> tuple[list[Conv], list[Tensor]]:
        """Give the convolutions that make q, k and v, and for q, k and v the rows of their concatenated outputs.

        For the export, which makes one convolution of them. Rows are (C,) indices.
        """
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, H, W)."""
        B, C, H, W = x.shape
        q, k, v = self.qkv_maps(x)
        attended = scaled_dot_product_attention(self._tokens(q), self._tokens(k), self._tokens(v))
        # (B*area, heads, L, d) -> (B, area, heads, L, d) -> (B, heads, d, area, L) -> (B, C, H, W)
        attended = attended.unflatten(0, (B, self.area)).permute(0, 2, 4, 1, 3).reshape(B, C, H, W)
        return self.proj(attended + self.pe(v))

    def _tokens(self, t: Tensor) -> Tensor:
        # (B, C, H, W) -> (B, heads, d, area, L) -> (B, area, heads, L, d) -> (B*area, heads, L, d)
        B = t.shape[0]
        t = t.reshape(B, self.num_heads, HEAD_DIM, self.area, -1)
        return t.permute(0, 3, 1, 4, 2).flatten(0, 1)


class TurboAreaAttention(AreaAttention):
    """The authors' current layout: one convolution for q and k (all q, then all k), one for v, pe 5x5."""

    def __init__(self, dim: int, area: int = 1) -> None:
        super().__init__(dim, area)
        self.qk = Conv(dim, 2 * dim, act=False)
        self.v = Conv(dim, dim, act=False)
        self.pe = Conv(dim, dim, 5, g=dim, act=False)

    def qkv_maps(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Project as the parent says."""
        q, k = self.qk(x).chunk(2, 1)
        return q, k, self.v(x)

    def qkv_weights(self) -> tuple[list[Conv], list[Tensor]]:
        """Give `qk` and `v`; q, k and v lie one after the other."""
        dim = self.v.conv.out_channels
        return [self.qk, self.v], list(torch.arange(3 * dim).split(dim))


class V1AreaAttention(AreaAttention):
    """The first published layout: one convolution, per head q, k and v of 32 channels each, pe 7x7."""

    def __init__(self, dim: int, area: int = 1) -> None:
        super().__init__(dim, area)
        self.qkv = Conv(dim, 3 * dim, act=False)
        self.pe = Conv(dim, dim, 7, g=dim, act=False)

    def qkv_maps(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Project as the parent says."""
        # (B, 3C, H, W) -> (B, heads, 3, d, H, W)
        grouped = self.qkv(x).unflatten(1, (self.num_heads, 3, HEAD_DIM))
        q, k, v = (t.flatten(1, 2) for t in grouped.unbind(2))
        return q, k, v

    def qkv_weights(self) -> tuple[list[Conv], list[Tensor]]:
        """Give `qkv`; q, k and v alternate head by head."""
        rows = torch.arange(self.qkv.conv.out_channels).reshape(self.num_heads, 3, HEAD_DIM)
        return [self.qkv], [t.flatten() for t in rows.unbind(1)]


ATTENTION: dict[Layout, Callable[[int, int], AreaAttention]] = {
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
