"""Self-attention on maps: area attention in both weight layouts, and the attention of YOLO11's C2PSA."""

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from exporter.model.blocks.conv import Conv

__all__ = ["MapAttention", "PartialSelfAttention", "TurboAreaAttention", "V1AreaAttention"]

AREA_HEAD_DIM, PSA_HEAD_DIM = 32, 64  # channels of v a head


class MapAttention(nn.Module):
    """Self-attention within each of `area` bands of consecutive tokens, plus a depthwise convolution of v.

    Tokens run row by row, so that a band is a horizontal strip of the map:
    `proj(concat_areas(softmax(q k^T / sqrt(d)) v) + pe(v))`, d the channels of q and k a head. The published weight
    layouts differ in how q, k and v are projected and in the kernel of `pe`; each is a subclass.

    Args:
        dim: channels, a multiple of those of a head.
        head_dim: channels of v a head.
        key_dim: channels of q and of k a head, at most `head_dim`.
        area: number of bands; H * W must be a multiple of it.
    """

    def __init__(self, dim: int, head_dim: int, key_dim: int, area: int = 1) -> None:
        super().__init__()
        self.num_heads = dim // head_dim
        self.head_dim, self.key_dim = head_dim, key_dim
        self.area = area
        self.proj = Conv(dim, dim, act=False)
        self.pe: Conv

    def qkv_maps(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Project (B, C, H, W) to the maps q, k and v, each with its channels head by head; v is (B, C, H, W)."""
        raise NotImplementedError

    def qkv_weights(self) -> tuple[list[Conv], list[Tensor]]:
        """Give the convolutions that make q, k and v, and for q, k and v the rows of their concatenated outputs.

        For the export, which makes one convolution of them. Rows are indices, (heads * key_dim,) for q and k and (C,)
        for v.
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
        # (B, heads*d, H, W) -> (B, heads, d, area, L) -> (B, area, heads, L, d) -> (B*area, heads, L, d)
        B, C = t.shape[:2]
        t = t.reshape(B, self.num_heads, C // self.num_heads, self.area, -1)
        return t.permute(0, 3, 1, 4, 2).flatten(0, 1)


class TurboAreaAttention(MapAttention):
    """The authors' current layout: one convolution for q and k (all q, then all k), one for v, pe 5x5."""

    def __init__(self, dim: int, area: int = 1) -> None:
        super().__init__(dim, AREA_HEAD_DIM, AREA_HEAD_DIM, area)
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


class V1AreaAttention(MapAttention):
    """The first published layout: one convolution, per head q, k and v of 32 channels each, pe 7x7."""

    def __init__(self, dim: int, area: int = 1) -> None:
        super().__init__(dim, AREA_HEAD_DIM, AREA_HEAD_DIM, area)
        self.qkv = Conv(dim, 3 * dim, act=False)
        self.pe = Conv(dim, dim, 7, g=dim, act=False)

    def qkv_maps(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Project as the parent says."""
        # (B, 3C, H, W) -> (B, heads, 3, d, H, W)
        grouped = self.qkv(x).unflatten(1, (self.num_heads, 3, self.head_dim))
        q, k, v = (t.flatten(1, 2) for t in grouped.unbind(2))
        return q, k, v

    def qkv_weights(self) -> tuple[list[Conv], list[Tensor]]:
        """Give `qkv`; q, k and v alternate head by head."""
        rows = torch.arange(self.qkv.conv.out_channels).reshape(self.num_heads, 3, self.head_dim)
        return [self.qkv], [t.flatten() for t in rows.unbind(1)]


class PartialSelfAttention(MapAttention):
    """The attention of C2PSA (YOLOv10, arXiv 2405.14458, section 3.2): one convolution, q and k half as wide as v.

    Per head it gives 32 channels of q, 32 of k and 64 of v; pe is 3x3.
    """

    def __init__(self, dim: int) -> None:
        super().__init__(dim, PSA_HEAD_DIM, PSA_HEAD_DIM // 2)
        self.qkv = Conv(dim, 2 * dim, act=False)
        self.pe = Conv(dim, dim, 3, g=dim, act=False)

    def qkv_maps(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Project as the parent says; q and k are (B, C/2, H, W)."""
        # (B, 2C, H, W) -> (B, heads, 2*key_dim + head_dim, H, W)
        q, k, v = self.qkv(x).unflatten(1, (self.num_heads, -1)).split(self._sizes(), 2)
        return q.flatten(1, 2), k.flatten(1, 2), v.flatten(1, 2)

    def qkv_weights(self) -> tuple[list[Conv], list[Tensor]]:
        """Give `qkv`; q, k and v alternate head by head."""
        rows = torch.arange(self.qkv.conv.out_channels).unflatten(0, (self.num_heads, -1))
        return [self.qkv], [t.flatten() for t in rows.split(self._sizes(), 1)]

    def _sizes(self) -> list[int]:
        return [self.key_dim, self.key_dim, self.head_dim]
