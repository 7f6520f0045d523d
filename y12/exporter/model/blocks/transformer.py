"""Transformer stages on maps, with LayerNorm before attention and MLP, and a convolutional path beside them."""

from torch import Tensor, nn

from y12.exporter.model.attention_heads import heads_of
from y12.exporter.model.blocks.attention import Area, AreaAttention
from y12.exporter.model.blocks.conv import Conv
from y12.exporter.model.blocks.fusion import ChannelFusion
from y12.exporter.model.blocks.layer_norm import LayerNorm

__all__ = ["SpatialAttn", "TransformerBlock", "TransformerStage"]


class SpatialAttn(nn.Module):
    """Spatial attention: `x + attention(norm(x))`, attention over the cells of each area.

    The residual of a transformer with its norm first (arXiv 2002.04745, table 1); a 1x1 convolution comes before it
    where the number of channels changes.

    Args:
        c1: input channels.
        c2: output channels, a multiple of `num_heads`.
        num_heads: of the attention; those of `heads_of` where None.
        area: bands, or the rows and columns of a grid.
    """

    def __init__(self, c1: int, c2: int, num_heads: int | None = None, area: Area = 1) -> None:
        super().__init__()
        self.cv1 = nn.Identity() if c1 == c2 else Conv(c1, c2)
        self.norm = LayerNorm(c2)
        self.attn = AreaAttention(c2, heads_of(c2, num_heads), area)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, c1, H, W) to (B, c2, H, W)."""
        x = self.cv1(x)
        return x + self.attn(self.norm(x))


class TransformerBlock(nn.Module):
    """`x + attention(norm(x))`, then `x + mlp(norm(x))`: a pre-norm transformer layer (arXiv 2002.04745, table 1).

    Args:
        dim: channels, a multiple of `num_heads`.
        num_heads: of the attention; those of `heads_of` where None.
        area: bands, or the rows and columns of a grid.
        mlp_ratio: hidden channels of the MLP, 1x1 convolutions, as a multiple of `dim`.
    """

    def __init__(self, dim: int, num_heads: int | None, area: Area, mlp_ratio: float) -> None:
        super().__init__()
        self.attn = SpatialAttn(dim, dim, num_heads, area)
        hidden = int(dim * mlp_ratio)
        self.norm = LayerNorm(dim)
        self.mlp = nn.Sequential(Conv(dim, hidden), Conv(hidden, dim, act=False))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, H, W)."""
        x = self.attn(x)
        return x + self.mlp(self.norm(x))


class TransformerStage(nn.Module):
    """One stage of a hybrid backbone: `fuse(blocks(x), x + local(x))` of the merged patches x.

    Both paths have the residual x, so that the gate of `ChannelFusion` weighs what each adds to it:
    `x + g * (blocks(x) - x) + (1 - g) * local(x)`. Patches are merged as in arXiv 2103.14030, section 3.1, whose
    projection of each 2x2 cells is a convolution; here it is 3x3, so that neighbours overlap.

    Args:
        c1: input channels.
        c2: output channels, a multiple of `num_heads`.
        n: transformer blocks.
        num_heads: of the attention; those of `heads_of` where None.
        area: bands, or the rows and columns of a grid.
        mlp_ratio: hidden channels of the MLPs as a multiple of c2.
        s: 2 merges patches, 1 does not; the channels then change in a 1x1 convolution.
    """

    def __init__(
        self,
        c1: int,
        c2: int,
        n: int = 1,
        num_heads: int | None = None,
        area: Area = 1,
        mlp_ratio: float = 2.0,
        s: int = 1,
    ) -> None:
        super().__init__()
        self.merge = nn.Identity() if s == 1 and c1 == c2 else Conv(c1, c2, 2 * s - 1, s)
        self.blocks = nn.Sequential(*(TransformerBlock(c2, num_heads, area, mlp_ratio) for _ in range(n)))
        self.local = nn.Sequential(Conv(c2, c2, 3, g=c2), Conv(c2, c2, act=False))
        self.fuse = ChannelFusion(c2)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, c1, H, W) to (B, c2, H/s, W/s)."""
        x = self.merge(x)
        return self.fuse(self.blocks(x), x + self.local(x))
