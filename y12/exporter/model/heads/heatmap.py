"""Objects as the peaks of heatmaps of their centres (CenterNet, arXiv 1904.07850)."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from y12.exporter.model.heads.head import (
    Channels,
    Grid,
    PlaceHead,
    cell_centres,
    last_convs,
    per_anchor,
    prototype_axes,
    rescale,
)
from y12.exporter.model.heads.segment import Proto

__all__ = ["RANGE", "HeatmapDetect"]

RANGE = 8  # strides: an object whose longest side is up to this long is its level's; the coarsest has all the larger
_FIRST_SIZE = math.log(RANGE / 2)  # of a new head's boxes, in strides, as a logarithm
_LARGEST_SIZE = 9.0  # e^9 strides are more than an image may have; without a limit exp overflows


class HeatmapDetect(PlaceHead):
    """Per level a heatmap of centres for each class and, at each cell, where in it a centre lies and the box's size.

    CenterNet (arXiv 1904.07850, section 4) on a pyramid. With (cx, cy) the cell's column and row:

        x = (cx + 1/2 + tx) stride    w = exp(tw) stride
        y = (cy + 1/2 + ty) stride    h = exp(th) stride

    An object belongs to the finest level of which its longest side is up to `RANGE` strides long, or to the coarsest
    one. With strides from 8 that makes 64, 128 pixels and so on the bounds, as in FCOS (arXiv 1904.01355, section 3.2).

    The output holds every cell. Who reads it keeps, by level and class, those whose score is the largest among their
    3x3 neighbours.

    Args:
        nc: number of classes.
        channels: channels of the input maps, finest first.
        masks: number of mask prototypes; 0 leaves masks out.
        hidden: channels of the prototypes' convolutions.
        kernels: see `PlaceHead`.
    """

    localisation = "heatmap"

    def __init__(
        self,
        nc: int,
        channels: Channels,
        *,
        masks: int = 0,
        hidden: int = 256,
        kernels: tuple[int, ...] = (),
    ) -> None:
        axes = {"output0": per_anchor(4 + nc + masks)} | ({"protos": prototype_axes(masks)} if masks else {})
        super().__init__(axes, channels, (4, nc, masks), kernels=kernels)
        self.proto = Proto(channels[0], hidden, masks) if masks else None
        self._set_first_sizes()

    def _set_first_sizes(self) -> None:
        """Let new boxes be half as large as the level's largest: from far smaller ones an overlap teaches little."""
        for conv in last_convs(self.cv2):
            assert conv.bias is not None
            conv.bias.data[:2] = 0.0
            conv.bias.data[2:] = _FIRST_SIZE

    def spread_predictions(self) -> None:
        """Make few boxes pass the usual threshold, as in a trained network."""
        rescale(last_convs(self.cv2), 0.5, 0.0)
        self._set_first_sizes()
        self.spread_scores()
        for others in list(self.branches())[2:]:
            rescale(last_convs(others), 1.0, 0.0)

    def grid(self, maps: Sequence[Tensor]) -> Grid:
        """Return the cells of maps (B, Ci, Hi, Wi)."""
        return cell_centres(maps, self.strides)

    def boxes(self, logits: Tensor, grid: Grid) -> Tensor:
        """Map box logits (B, 4, A) to (B, 4, A): centre x, y, width, height in input pixels."""
        centres, strides = grid
        offset, size = logits.chunk(2, 1)
        return torch.cat((centres + offset, size.clamp(max=_LARGEST_SIZE).exp()), 1) * strides

    def forward(self, maps: list[Tensor]) -> dict[str, Tensor]:
        """Map the pyramid's (B, Ci, Hi, Wi) to `output0` (B, 4+nc+masks, A), and `protos` where there are masks.

        The rows are x, y, w, h in input pixels, class scores, mask coefficients; A runs over the levels in order, each
        row by row. `protos` is (B, masks, H/4, W/4).
        """
        box, cls, *coefficients = self.logits(maps)
        protos = {} if self.proto is None else {"protos": self.proto(maps[0])}
        return {"output0": torch.cat((self.boxes(box, self.grid(maps)), cls.sigmoid(), *coefficients), 1), **protos}
