"""Keypoints beside each box."""

import torch
from torch import Tensor

from y12.exporter.model.heads.detect import Detect, Grid

__all__ = ["Pose", "keypoints_from_logits"]


def keypoints_from_logits(logits: Tensor, kpt_shape: tuple[int, int], grid: Grid) -> Tensor:
    """Map logits (B, K*D, A) to keypoints (B, K*D, A), point by point x, y in input pixels and, for D = 3, visibility.

    (x, y) = (2 t + cell index) * stride; visibility = sigmoid.
    """
    points, values = kpt_shape
    centres, strides = grid
    t = logits.unflatten(1, (points, values))  # (B, K*D, A) -> (B, K, D, A)
    xy = (t[:, :, :2] * 2 + (centres - 0.5)) * strides
    return torch.cat((xy, t[:, :, 2:].sigmoid()), 2).flatten(1, 2)


class Pose(Detect):
    """Detection with K keypoints of D values each: x, y and, where D is 3, visibility.

    Args:
        nc: number of classes.
        channels: channels of the input maps, finest first.
        kpt_shape: (K, D).
        depthwise: see `Detect`.
    """

    def __init__(self, nc: int, channels: tuple[int, ...], kpt_shape: tuple[int, int], depthwise: bool = True) -> None:
        super().__init__(nc, channels, depthwise, extra=kpt_shape[0] * kpt_shape[1])
        self.kpt_shape = kpt_shape

    def forward(self, maps: list[Tensor]) -> dict[str, Tensor]:
        """Map the pyramid to `output0` (B, 4+nc+K*D, A): as in `Detect`, then the keypoints in input pixels."""
        box, cls, points = self.logits(maps)
        grid = self.grid(maps)
        keypoints = keypoints_from_logits(points, self.kpt_shape, grid)
        return {"output0": torch.cat((self.boxes(box, grid), cls.sigmoid(), keypoints), 1)}
