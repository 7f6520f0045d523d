"""Boxes and classes, anchor-free."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from exporter.model.heads.head import (
    DFL,
    REG_MAX,
    Axes,
    Head,
    branch,
    cell_centres,
    depthwise_branch,
    last_convs,
    level_logits,
    per_anchor,
    rescale,
)

__all__ = ["Detect", "Grid"]

Grid = tuple[Tensor, Tensor]  # the cells' centres (2, A), x then y in cells, and their strides (1, A) in pixels


class Detect(Head):
    """Per level a box branch `cv2`, a class branch `cv3` and, in the heads made of this one, a third one `cv4`.

    Args:
        nc: number of classes.
        channels: channels of the input maps, finest first.
        depthwise: whether the class branch has depthwise convolutions; YOLOv8's has not.
        extra: what `cv4` predicts for each anchor; 0 leaves it out.
        axes: of the outputs; of `output0` alone where None.
    """

    def __init__(
        self,
        nc: int,
        channels: tuple[int, ...],
        depthwise: bool = True,
        *,
        extra: int = 0,
        axes: Mapping[str, Axes] | None = None,
    ) -> None:
        super().__init__(axes or {"output0": per_anchor(4 + nc + extra)})
        self.nc, self.extra = nc, extra
        c2 = max(16, channels[0] // 4, 4 * REG_MAX)
        c3 = max(channels[0], min(nc, 100))
        class_branch = depthwise_branch if depthwise else branch
        self.cv2 = nn.ModuleList(branch(c, c2, 4 * REG_MAX) for c in channels)
        self.cv3 = nn.ModuleList(class_branch(c, c3, nc) for c in channels)
        if extra:
            self.cv4 = nn.ModuleList(branch(c, max(channels[0] // 4, extra), extra) for c in channels)
        self.dfl = DFL()

    def branches(self) -> dict[nn.ModuleList, int]:
        """Give the branches in the order of their logits, each with what it predicts for each anchor."""
        branches = {self.cv2: 4 * REG_MAX, self.cv3: self.nc}
        return {**branches, self.cv4: self.extra} if self.extra else branches

    def spread_predictions(self) -> None:
        """Make few boxes pass the usual threshold, as in a trained network."""
        rescale(last_convs(self.cv2), 2.0, 0.0)
        rescale(last_convs(self.cv3), 4.0, -8.0)
        for others in list(self.branches())[2:]:
            rescale(last_convs(others), 1.0, 0.0)

    def logits(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Give the branches' logits for maps (B, Ci, Hi, Wi): (B, 64, A), (B, nc, A) and what follows them."""
        branches = self.branches()
        return level_logits(maps, list(branches)).split(list(branches.values()), 1)

    def grid(self, maps: Sequence[Tensor]) -> Grid:
        """Give the cells of maps (B, Ci, Hi, Wi)."""
        return cell_centres(maps, self.strides)

    def boxes(self, logits: Tensor, grid: Grid) -> Tensor:
        """Map box logits (B, 64, A) to (B, 4, A): centre x, y, width, height in input pixels."""
        centres, strides = grid
        left_top, right_bottom = self.dfl(logits).chunk(2, 1)
        xy = centres + (right_bottom - left_top) / 2
        wh = left_top + right_bottom
        return torch.cat((xy, wh), 1) * strides

    def forward(self, maps: list[Tensor]) -> dict[str, Tensor]:
        """Map the pyramid's (B, Ci, Hi, Wi) to `output0` (B, 4+nc, A): x, y, w, h in input pixels, then scores."""
        box, cls = self.logits(maps)
        return {"output0": torch.cat((self.boxes(box, self.grid(maps)), cls.sigmoid()), 1)}
