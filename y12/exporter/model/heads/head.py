"""What all heads share: named outputs, branches of convolutions, cell centres and the distribution over distances."""

import copy
import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from y12.exporter.model.blocks.conv import Conv, depthwise_conv

__all__ = [
    "DFL",
    "REG_MAX",
    "Axes",
    "Channels",
    "Grid",
    "Head",
    "PlaceHead",
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
_SECOND = "one2one_"  # what the names of the branches begin with that predict each object once

Axes = tuple[str | int, ...]  # of an output: the name an axis has in a graph where it is free, or its fixed size
Channels = tuple[int, ...]  # of the maps a head reads, finest first
Grid = tuple[Tensor, Tensor]  # the cells' centres (2, A), x then y in cells, and their strides (1, A) in pixels


def per_anchor(rows: int) -> Axes:
    """Return the axes of predictions (B, rows, A)."""
    return "batch", rows, "anchors"


def prototype_axes(masks: int) -> Axes:
    """Return the axes of mask prototypes (B, masks, Hp, Wp)."""
    return "batch", masks, "proto_height", "proto_width"


class Head(nn.Module):
    """The last row of a network. Its `forward` gives every output by name.

    Attributes:
        axes: the outputs' names, in order, each with its axes.
        strides: pixels per cell of each map it reads; set where the whole network is known.
        localisation: how its boxes are told, one of `y12.runtime.artefact.manifest.LOCALISATIONS`.
        iou_loss: the kind of overlap by which its boxes learn where the user names none.
        has_one_to_one: whether it has branches that predict each object at one place only, beside those that predict it
            at many.
        end2end: with `has_one_to_one`, whether it is those that its predictions are from; nothing has to be suppressed
            then.
    """

    localisation = "distances"
    has_one_to_one = False

    def __init__(self, axes: Mapping[str, Axes]) -> None:
        super().__init__()
        self.axes = dict(axes)
        self.strides: tuple[int, ...] = ()
        self.iou_loss = "ciou"
        self.end2end = False

    def spread_predictions(self) -> None:
        """Scale the last weights of a head with random ones so that what it predicts varies as a trained one's does."""
        raise NotImplementedError

    def start_scores_at(self, score: float) -> None:
        """Set the biases so that a new head scores about `score`, 0-1, everywhere; one without background stays."""

    def check_image_size(self, image_hw: tuple[int, int]) -> None:
        """Refuse images, height and width in pixels, that the head's own settings do not suit.

        Raises:
            OptionsError: they do not.
        """


class PlaceHead(Head):
    """A head that predicts boxes, classes and, as an option, one thing more at each place of each map.

    Per level there are a box branch `cv2`, a class branch `cv3` and a third one `cv4`. A cell has `slots` places; the
    A places run over the levels in order, within a level over the slots, and within a slot row by row.

    With `one_to_one` (consistent dual assignments, YOLOv10, arXiv 2405.14458, section 3.1) it has all of them a second
    time, as `one2one_cv2` and so on; both begin with the same values.

    Args:
        axes: the outputs' names, in order, each with its axes.
        channels: channels of the input maps, finest first.
        values: what the branches predict for each place: of the box, the classes, and the third one, 0 without it.
        slots: places a cell has.
        depthwise: whether the class branch has depthwise convolutions; YOLOv8's has not.
        kernels: one a level: then all branches have depthwise convolutions, of that size. Empty: 3x3.
        bins: of the distribution over a distance; a head without one has box branches as wide as with `REG_MAX`.
        one_to_one: whether there are two of each branch.
    """

    def __init__(
        self,
        axes: Mapping[str, Axes],
        channels: Channels,
        values: tuple[int, int, int],
        *,
        slots: int = 1,
        depthwise: bool = True,
        kernels: tuple[int, ...] = (),
        bins: int = REG_MAX,
        one_to_one: bool = False,
    ) -> None:
        super().__init__(axes)
        self.has_one_to_one = self.end2end = one_to_one
        box, self.nc, self.extra = values
        self.slots, self._box_values = slots, box
        plain = depthwise_branch if kernels else branch
        classes = depthwise_branch if kernels or depthwise else branch
        levels = list(zip(channels, kernels or (3,) * len(channels), strict=True))
        c2 = max(16, channels[0] // 4, 4 * bins)
        c3 = max(channels[0], min(self.nc, 100))
        self.cv2 = nn.ModuleList(plain(c, c2, slots * box, k) for c, k in levels)
        self.cv3 = nn.ModuleList(classes(c, c3, slots * self.nc, k) for c, k in levels)
        if self.extra:
            c4 = max(channels[0] // 4, self.extra)
            self.cv4 = nn.ModuleList(plain(c, c4, slots * self.extra, k) for c, k in levels)
        if one_to_one:
            for name in ("cv2", "cv3", "cv4")[: 2 + bool(self.extra)]:
                self.add_module(f"{_SECOND}{name}", copy.deepcopy(getattr(self, name)))

    def branches(self) -> dict[nn.ModuleList, int]:
        """Return the branches in the order of their logits, each with what it predicts for each place."""
        return self._branches(_SECOND if self.end2end else "")

    def every_branches(self) -> list[dict[nn.ModuleList, int]]:
        """Return the same of all branches there are: those that predict an object at many places come first."""
        return [self._branches(prefix) for prefix in ("", _SECOND)] if self.has_one_to_one else [self.branches()]

    def _branches(self, prefix: str) -> dict[nn.ModuleList, int]:
        counts = {"cv2": self._box_values, "cv3": self.nc, **({"cv4": self.extra} if self.extra else {})}
        return {getattr(self, f"{prefix}{name}"): count for name, count in counts.items()}

    def logits(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the branches' logits for maps (B, Ci, Hi, Wi): (B, box, A), (B, nc, A) and what follows them."""
        branches = self.branches()
        return level_logits(maps, list(branches), self.slots).split(list(branches.values()), 1)

    def start_scores_at(self, score: float) -> None:
        """Set the class branches' biases so that they score about `score` everywhere."""
        for conv in last_convs(self.cv3):
            assert conv.bias is not None
            nn.init.constant_(conv.bias, math.log(score / (1 - score)))

    def spread_scores(self) -> None:
        """Let random class weights raise about as many scores above the usual threshold, however few the classes."""
        for _, classes, *_ in self.every_branches():
            rescale(last_convs(classes), 4.0, -8.0 + math.log(80 / self.nc))


def branch(c: int, hidden: int, out: int, k: int = 3) -> nn.Sequential:
    """Return two k x k convolutions and a plain 1x1 one with a bias: (B, c, H, W) to logits (B, out, H, W)."""
    return nn.Sequential(Conv(c, hidden, k), Conv(hidden, hidden, k), nn.Conv2d(hidden, out, 1))


def depthwise_branch(c: int, hidden: int, out: int, k: int = 3) -> nn.Sequential:
    """Return the same with each k x k convolution split into a depthwise one and a 1x1 one."""
    return nn.Sequential(
        nn.Sequential(depthwise_conv(c, c, k), Conv(c, hidden)),
        nn.Sequential(depthwise_conv(hidden, hidden, k), Conv(hidden, hidden)),
        nn.Conv2d(hidden, out, 1),
    )


def level_logits(maps: Sequence[Tensor], branches: Sequence[Iterable[nn.Module]], slots: int = 1) -> Tensor:
    """Run branches, one module a level each, and concatenate: maps (B, Ci, Hi, Wi) to (B, sum of outputs, A).

    A runs over the levels in order, within each over `slots`, and within a slot row by row. The channels of a branch
    run over its outputs, and for each output over the slots: so no value has to be moved.
    """
    levels = []
    for m, *modules in zip(maps, *branches, strict=True):
        together = torch.cat([module(m) for module in modules], 1)
        if slots > 1:
            together = together.unflatten(1, (-1, slots))  # (B, F*slots, H, W) -> (B, F, slots, H, W)
        levels.append(together.flatten(2))
    return torch.cat(levels, 2)


def last_convs(branches: Iterable[nn.Module]) -> list[nn.Conv2d]:
    """Return the convolution that ends each branch."""
    return [[m for m in module.modules() if isinstance(m, nn.Conv2d)][-1] for module in branches]


def rescale(convs: Iterable[nn.Conv2d], gain: float, bias: float) -> None:
    """Multiply weights by `gain` and set every bias."""
    for conv in convs:
        conv.weight.data *= gain
        conv.bias = nn.Parameter(torch.full((conv.out_channels,), bias))


def cell_centres(maps: Sequence[Tensor], strides: tuple[int, ...]) -> Grid:
    """Return the centre of every cell, (2, A) x then y in cells, and its stride in pixels, (1, A).

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
