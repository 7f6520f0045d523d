"""What all heads share: named outputs, branches of convolutions, cell centres and the distribution over distances."""

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from exporter.model.blocks.conv import Conv, depthwise_conv

__all__ = [
    "DFL",
    "REG_MAX",
    "Axes",
    "Head",
    "branch",
    "cell_centres",
    "depthwise_branch",
    "last_convs",
    "level_logits",
    "per_anchor",
    "prototype_axes",
    "rescale",
]

REG_MAX = 16  # bins of the distribution over a box side's distance

Axes = tuple[str | int, ...]  # of an output: the name an axis has in a graph where it is free, or its fixed size


def per_anchor(rows: int) -> Axes:
    """Give the axes of predictions (B, rows, A)."""
    return "batch", rows, "anchors"


def prototype_axes(masks: int) -> Axes:
    """Give the axes of mask prototypes (B, masks, Hp, Wp)."""
    return "batch", masks, "proto_height", "proto_width"


class Head(nn.Module):
    """The last row of a network. Its `forward` gives every output by name.

    Attributes:
        axes: the outputs' names, in order, each with its axes.
        strides: pixels per cell of each map it reads; set where the whole network is known.
    """

    def __init__(self, axes: Mapping[str, Axes]) -> None:
        super().__init__()
        self.axes = dict(axes)
        self.strides: tuple[int, ...] = ()

    def spread_predictions(self) -> None:
        """Scale the last weights of a head with random ones so that what it predicts varies as a trained one's does."""
        raise NotImplementedError


def branch(c: int, hidden: int, out: int) -> nn.Sequential:
    """Give two 3x3 convolutions and a plain 1x1 one with a bias: (B, c, H, W) to logits (B, out, H, W)."""
    return nn.Sequential(Conv(c, hidden, 3), Conv(hidden, hidden, 3), nn.Conv2d(hidden, out, 1))


def depthwise_branch(c: int, hidden: int, out: int) -> nn.Sequential:
    """Give the same with each 3x3 convolution split into a depthwise one and a 1x1 one."""
    return nn.Sequential(
        nn.Sequential(depthwise_conv(c, c, 3), Conv(c, hidden)),
        nn.Sequential(depthwise_conv(hidden, hidden, 3), Conv(hidden, hidden)),
        nn.Conv2d(hidden, out, 1),
    )


def level_logits(maps: Sequence[Tensor], branches: Sequence[Iterable[nn.Module]]) -> Tensor:
    """Run branches, one module a level each, and concatenate: maps (B, Ci, Hi, Wi) to (B, sum of outputs, A).

    A runs over the levels in order, each row by row.
    """
    levels = [
        torch.cat([module(m) for module in modules], 1).flatten(2) for m, *modules in zip(maps, *branches, strict=True)
    ]
    return torch.cat(levels, 2)


def last_convs(branches: Iterable[nn.Module]) -> list[nn.Conv2d]:
    """Give the convolution that ends each branch."""
    return [[m for m in module.modules() if isinstance(m, nn.Conv2d)][-1] for module in branches]


def rescale(convs: Iterable[nn.Conv2d], gain: float, bias: float) -> None:
    """Multiply weights by `gain` and set every bias."""
    for conv in convs:
        conv.weight.data *= gain
        conv.bias = nn.Parameter(torch.full((conv.out_channels,), bias))


def cell_centres(maps: Sequence[Tensor], strides: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Give the centre of every cell, (2, A) x then y in cells, and its stride in pixels, (1, A).

    A runs over the levels in order, each row by row.
    """
    centres, pixels = [], []
    for level, stride in zip(maps, strides, strict=True):
        H, W = level.shape[-2:]
        y, x = torch.meshgrid(
            torch.arange(H, device=level.device, dtype=level.dtype) + 0.5,
            torch.arange(W, device=level.device, dtype=level.dtype) + 0.5,
            indexing="ij",
        )
        centres.append(torch.stack((x.flatten(), y.flatten())))
        pixels.append(torch.full_like(centres[-1][:1], stride))
    return torch.cat(centres, 1), torch.cat(pixels, 1)


class DFL(nn.Module):
    """Expectation of a distance under its predicted distribution (Generalized Focal Loss, arXiv 2006.04388, eq. 5-6).

    The weight is the constant 0..15; checkpoints carry it as a 1x1 convolution's.
    """

    def __init__(self, bins: int = REG_MAX) -> None:
        super().__init__()
        self.conv = nn.Conv2d(bins, 1, 1, bias=False).requires_grad_(False)
        # Not torch.arange: on the meta device that one alone imports two seconds' worth of torch.
        self.conv.weight.data[:] = torch.tensor([float(k) for k in range(bins)]).view(1, bins, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map logits (B, 4*bins, A) to distances (B, 4, A) in cells."""
        bins = self.conv.in_channels
        # (B, 4*bins, A) -> (B, 4, bins, A) -> (B, bins, 4, A) -> (B, 1, 4, A)
        return self.conv(x.unflatten(1, (4, bins)).transpose(1, 2).softmax(1)).squeeze(1)
