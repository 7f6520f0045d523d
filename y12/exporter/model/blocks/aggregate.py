"""Aggregation: several maps of one size made one."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from y12.exporter.model.attention_heads import heads_of
from y12.exporter.model.blocks.conv import Conv

__all__ = ["Aggregate", "AggregateMethod"]

AggregateMethod = Literal["attention", "concat", "sum"]


class Aggregate(nn.Module):
    """One map of many: their concatenation projected, their projections' sum, or an attention over them.

    Args:
        channels: of the inputs.
        c2: output channels; with "attention" a multiple of `num_heads`.
        method: "concat", "sum" or "attention".
        num_heads: of "attention", those of `heads_of` where None; the other two have none.
    """

    def __init__(
        self, channels: tuple[int, ...], c2: int, method: AggregateMethod = "attention", num_heads: int | None = None
    ) -> None:
        super().__init__()
        self.by = METHODS[method](channels, c2, heads_of(c2, num_heads))

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Map a list of (B, Ci, H, W) to (B, c2, H, W)."""
        return self.by(maps)


class Concatenated(nn.Module):
    """`silu(bn(W [x1; x2; ...]))`."""

    def __init__(self, channels: tuple[int, ...], c2: int, _num_heads: int) -> None:
        super().__init__()
        self.cv = Conv(sum(channels), c2)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Map a list of (B, Ci, H, W) to (B, c2, H, W)."""
        return self.cv(torch.cat(maps, 1))


class Summed(nn.Module):
    """`silu(bn(W1 x1)) + silu(bn(W2 x2)) + ...`; with the activation after the sum it would be "concat" again."""

    def __init__(self, channels: tuple[int, ...], c2: int, _num_heads: int) -> None:
        super().__init__()
        self.cv = nn.ModuleList(Conv(c, c2) for c in channels)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Map a list of (B, Ci, H, W) to (B, c2, H, W)."""
        return sum_of([conv(x) for conv, x in zip(self.cv, maps, strict=True)])


class Attended(nn.Module):
    """Scaled dot-product attention (arXiv 1706.03762, equation 1) of each cell over the sources, which are its tokens.

    With `vi = silu(bn(Wi xi))`, `q = Q(v1 + v2 + ...)` and `ki = Ki(vi)`, each head of d channels gives
    `sum_i softmax_i(q . ki / sqrt(d)) vi`. The few products a cell has are multiplied element by element: as matrices
    they would be far too small for a kernel of their own.
    """

    def __init__(self, channels: tuple[int, ...], c2: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.scale = (c2 // num_heads) ** -0.5
        self.values = nn.ModuleList(Conv(c, c2) for c in channels)
        self.query = Conv(c2, c2, act=False)
        self.keys = nn.ModuleList(Conv(c2, c2, act=False) for _ in channels)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Map a list of (B, Ci, H, W) to (B, c2, H, W)."""
        values = [conv(x) for conv, x in zip(self.values, maps, strict=True)]
        query = self._heads(self.query(sum_of(values))) * self.scale
        scores = [(query * self._heads(key(v))).sum(2) for key, v in zip(self.keys, values, strict=True)]
        weights = torch.stack(scores).softmax(0)  # (sources, B, heads, H*W)
        out = sum_of([self._heads(v) * w.unsqueeze(2) for v, w in zip(values, weights.unbind(), strict=True)])
        return out.reshape(values[0].shape)

    def _heads(self, x: Tensor) -> Tensor:
        # (B, heads*d, H, W) -> (B, heads, d, H*W)
        return x.reshape(x.shape[0], self.num_heads, x.shape[1] // self.num_heads, -1)


def sum_of(maps: list[Tensor]) -> Tensor:
    """Add tensors of one shape."""
    first, *rest = maps
    for x in rest:
        first = first + x
    return first


METHODS: dict[AggregateMethod, Callable[[tuple[int, ...], int, int], nn.Module]] = {
    "attention": Attended,
    "concat": Concatenated,
    "sum": Summed,
}
