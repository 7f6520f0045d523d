"""Boxes and classes, anchor-free."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from y12.exporter.model.heads.head import (
    DFL,
    REG_MAX,
    Axes,
    Channels,
    Grid,
    PlaceHead,
    cell_centres,
    last_convs,
    per_anchor,
    rescale,
)

__all__ = ["Detect", "Grid"]

_USUAL_DISTANCE = 4.0  # of a box's side from the cell that tells it, in cells


class Detect(PlaceHead):
    """Per level a box branch `cv2`, a class branch `cv3` and, in the heads made of this one, a third one `cv4`.

    Args:
        nc: number of classes.
        channels: channels of the input maps, finest first.
        depthwise: whether the class branch has depthwise convolutions; YOLOv8's has not.
        extra: what `cv4` predicts for each anchor; 0 leaves it out.
        axes: of the outputs; of `output0` alone where None.
        kernels: see `PlaceHead`.
        bins: of the distribution over a distance; 1 where a box branch says the distances themselves, as YOLO26's does.
        one_to_one: see `PlaceHead`.
    """

    def __init__(
        self,
        nc: int,
        channels: Channels,
        depthwise: bool = True,
        *,
        extra: int = 0,
        axes: Mapping[str, Axes] | None = None,
        kernels: tuple[int, ...] = (),
        bins: int = REG_MAX,
        one_to_one: bool = False,
    ) -> None:
        axes = axes or {"output0": per_anchor(4 + nc + extra)}
        super().__init__(
            axes,
            channels,
            (4 * bins, nc, extra),
            depthwise=depthwise,
            kernels=kernels,
            bins=bins,
            one_to_one=one_to_one,
        )
        self.dfl = DFL(bins) if bins > 1 else nn.Identity()

    def spread_predictions(self) -> None:
        """Make few boxes pass the usual threshold, as in a trained network."""
        gain, bias = (2.0, 0.0) if isinstance(self.dfl, DFL) else (1.0, _USUAL_DISTANCE)
        self.spread_scores()
        for box, _, *others in self.every_branches():
            rescale(last_convs(box), gain, bias)
            for branch in others:
                rescale(last_convs(branch), 1.0, 0.0)

    def grid(self, maps: Sequence[Tensor]) -> Grid:
        """Return the cells of maps (B, Ci, Hi, Wi)."""
        return cell_centres(maps, self.strides)

    def boxes(self, logits: Tensor, grid: Grid) -> Tensor:
        """Map box logits (B, 4 * bins, A) to (B, 4, A): centre x, y, width, height in input pixels."""
        centres, strides = grid
        left_top, right_bottom = self.dfl(logits).chunk(2, 1)
        xy = centres + (right_bottom - left_top) / 2
        wh = left_top + right_bottom
        return torch.cat((xy, wh), 1) * strides

    def forward(self, maps: list[Tensor]) -> dict[str, Tensor]:
        """Map the pyramid's (B, Ci, Hi, Wi) to `output0` (B, 4+nc, A): x, y, w, h in input pixels, then scores."""
        box, cls = self.logits(maps)
        return {"output0": torch.cat((self.boxes(box, self.grid(maps)), cls.sigmoid()), 1)}
