"""Self-attention on maps: area attention in both weight layouts, and the attention of YOLO11's C2PSA."""

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from y12.exporter.model.attention_heads import HEAD_DIM
from y12.exporter.model.blocks.conv import Conv

__all__ = [
    "Area",
    "AreaAttention",
    "MapAttention",
    "PartialSelfAttention",
    "TurboAreaAttention",
    "V1AreaAttention",
    "map_of",
    "tokens_of",
]

Area = int | tuple[int, int]  # bands of consecutive tokens, or the rows and columns of a grid

PSA_HEAD_DIM = 64  # channels of v a head


def tokens_of(t: Tensor, parts: int, heads: int, area: Area) -> Tensor:
    """Cut a map (B, parts * heads * d, H, W) into areas: (parts, B * areas, heads, L, d), L cells an area.

    Bands need H * W to be a multiple of their number, a grid H of its rows and W of its columns.
    """
    B, C, H, W = t.shape
    d = C // (parts * heads)
    if isinstance(area, int):
        # (B, parts, heads, d, area, L) -> (parts, B, area, heads, L, d)
        return t.reshape(B, parts, heads, d, area, -1).permute(1, 0, 4, 2, 5, 3).flatten(1, 2)
    rows, columns = area
    t = t.reshape(B, parts, heads, d, rows, H // rows, columns, W // columns)
    # (B, parts, heads, d, rows, h, columns, w) -> (parts, B, rows, columns, heads, h, w, d)
    return t.permute(1, 0, 4, 6, 2, 5, 7, 3).reshape(parts, B * rows * columns, heads, -1, d)


def map_of(tokens: Tensor, like: Tensor, area: Area) -> Tensor:
    """Put tokens (B * areas, heads, L, d) back into a map of the shape of `like`, (B, heads * d, H, W)."""
    B, _, H, W = like.shape
    _, heads, _, d = tokens.shape
    if isinstance(area, int):
        # (B, area, heads, L, d) -> (B, heads, d, area, L)
        return tokens.reshape(B, area, heads, -1, d).permute(0, 2, 4, 1, 3).reshape(like.shape)
    rows, columns = area
    tokens = tokens.reshape(B, rows, columns, heads, H // rows, W // columns, d)
    # (B, rows, columns, heads, h, w, d) -> (B, heads, d, rows, h, columns, w)
    return tokens.permute(0, 3, 6, 1, 4, 2, 5).reshape(like.shape)


class MapAttention(nn.Module):
    """Self-attention within each area of a map, plus a depthwise convolution of v.

    `proj(join(softmax(q k^T / sqrt(d)) v) + pe(v))`, d the channels of q and k a head. Areas are bands of consecutive
    tokens, which run row by row, so that a band is a horizontal strip; or the fields of a grid. The published weight
    layouts differ in how q, k and v are projected and in the kernel of `pe`; each is a subclass.

    Args:
        dim: channels, a multiple of those of a head.
        head_dim: channels of v a head.
        key_dim: channels of q and of k a head, at most `head_dim`.
        area: number of bands, a divisor of H * W, or (rows, columns) of a grid, divisors of H and of W.
    """

    def __init__(self, dim: int, head_dim: int, key_dim: int, area: Area = 1) -> None:
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
        """Return the convolutions that make q, k and v, and for q, k and v the rows of their concatenated outputs.

        For the export, which makes one convolution of them. Rows are indices, (heads * key_dim,) for q and k and (C,)
        for v.
        """
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, H, W)."""
        q, k, v = self.qkv_maps(x)
        q, k, tokens = (tokens_of(t, 1, self.num_heads, self.area)[0] for t in (q, k, v))
        attended = scaled_dot_product_attention(q, k, tokens)
        return self.proj(map_of(attended, x, self.area) + self.pe(v))


class TurboAreaAttention(MapAttention):
    """The authors' current layout: one convolution for q and k (all q, then all k), one for v, pe 5x5."""

    def __init__(self, dim: int, area: Area = 1) -> None:
        super().__init__(dim, HEAD_DIM, HEAD_DIM, area)
        self.qk = Conv(dim, 2 * dim, act=False)
        self.v = Conv(dim, dim, act=False)
        self.pe = Conv(dim, dim, 5, g=dim, act=False)

    def qkv_maps(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Project as the parent says."""
        q, k = self.qk(x).chunk(2, 1)
        return q, k, self.v(x)

    def qkv_weights(self) -> tuple[list[Conv], list[Tensor]]:
        """Return `qk` and `v`; q, k and v lie one after the other."""
        dim = self.v.conv.out_channels
        return [self.qk, self.v], list(torch.arange(3 * dim).split(dim))


class V1AreaAttention(MapAttention):
    """The first published layout: one convolution, per head q, k and v of 32 channels each, pe 7x7."""

    def __init__(self, dim: int, area: Area = 1) -> None:
        super().__init__(dim, HEAD_DIM, HEAD_DIM, area)
        self.qkv = Conv(dim, 3 * dim, act=False)
        self.pe = Conv(dim, dim, 7, g=dim, act=False)

    def qkv_maps(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Project as the parent says."""
        # (B, 3C, H, W) -> (B, heads, 3, d, H, W)
        grouped = self.qkv(x).unflatten(1, (self.num_heads, 3, self.head_dim))
        q, k, v = (t.flatten(1, 2) for t in grouped.unbind(2))
        return q, k, v

    def qkv_weights(self) -> tuple[list[Conv], list[Tensor]]:
        """Return `qkv`; q, k and v alternate head by head."""
        rows = torch.arange(self.qkv.conv.out_channels).reshape(self.num_heads, 3, self.head_dim)
        return [self.qkv], [t.flatten() for t in rows.unbind(1)]


class AreaAttention(MapAttention):
    """y12's own layout: one convolution for all q, then all k, then all v, pe 5x5; as many heads as asked for."""

    def __init__(self, dim: int, num_heads: int, area: Area = 1) -> None:
        super().__init__(dim, dim // num_heads, dim // num_heads, area)
        self.qkv = Conv(dim, 3 * dim, act=False)
        self.pe = Conv(dim, dim, 5, g=dim, act=False)

    def qkv_maps(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Project as the parent says."""
        q, k, v = self.qkv(x).chunk(3, 1)
        return q, k, v

    def qkv_weights(self) -> tuple[list[Conv], list[Tensor]]:
        """Return `qkv`; q, k and v lie one after the other."""
        channels = self.qkv.conv.out_channels
        return [self.qkv], list(torch.arange(channels).split(channels // 3))


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
        """Return `qkv`; q, k and v alternate head by head."""
        rows = torch.arange(self.qkv.conv.out_channels).unflatten(0, (self.num_heads, -1))
        return [self.qkv], [t.flatten() for t in rows.split(self._sizes(), 1)]

    def _sizes(self) -> list[int]:
        return [self.key_dim, self.key_dim, self.head_dim]
