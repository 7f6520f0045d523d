"""Oriented boxes: one angle beside each box."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from y12.exporter.model.heads.detect import Detect, Grid

__all__ = ["OBB"]


class OBB(Detect):
    """Detection with an angle: theta = (sigmoid - 1/4) pi, from -pi/4 to 3 pi/4; the width runs along it.

    Args:
        nc: number of classes.
        channels: channels of the input maps, finest first.
        depthwise: see `Detect`.
    """

    def __init__(self, nc: int, channels: tuple[int, ...], depthwise: bool = True) -> None:
        super().__init__(nc, channels, depthwise, extra=1)

    def angle(self, turn: Tensor) -> Tensor:
        """Map angle logits (B, 1, A) to radians, (B, 1, A)."""
        return (turn.sigmoid() - 0.25) * math.pi

    def rotated_boxes(self, logits: Tensor, angle: Tensor, grid: Grid) -> Tensor:
        """Map box logits (B, 64, A) and angles (B, 1, A) to (B, 4, A): centre x, y, width, height in input pixels.

        The distances l, t, r, b are measured along the box's own axes, so that its centre lies at the cell's centre
        plus ((r - l) / 2, (b - t) / 2) turned by the angle.
        """
        centres, strides = grid
        left_top, right_bottom = self.dfl(logits).chunk(2, 1)
        along, across = ((right_bottom - left_top) / 2).chunk(2, 1)
        cos, sin = angle.cos(), angle.sin()
        xy = centres + torch.cat((along * cos - across * sin, along * sin + across * cos), 1)
        return torch.cat((xy, left_top + right_bottom), 1) * strides

    def forward(self, maps: Sequence[Tensor]) -> dict[str, Tensor]:
        """Map the pyramid to `output0` (B, 4+nc+1, A): x, y, w, h in input pixels, scores, angle in radians."""
        box, cls, turn = self.logits(maps)
        angle = self.angle(turn)
        boxes = self.rotated_boxes(box, angle, self.grid(maps))
        return {"output0": torch.cat((boxes, cls.sigmoid(), angle), 1)}
