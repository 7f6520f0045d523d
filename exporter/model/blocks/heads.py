"""Heads: from the pyramid's maps to raw predictions, one `forward` each."""

import torch
from torch import Tensor, nn

from exporter.model.blocks.conv import Conv, depthwise_conv

__all__ = ["DFL", "Detect", "cell_centres"]

REG_MAX = 16  # bins of the distribution over a box side's distance


def cell_centres(maps: list[Tensor], strides: tuple[int, ...]) -> tuple[Tensor, Tensor]:
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


class Detect(nn.Module):
    """Anchor-free detection: per level a box branch `cv2` and a class branch `cv3`.

    Args:
        nc: number of classes.
        channels: channels of the input maps, finest first.
    """

    def __init__(self, nc: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.nc = nc
        self.strides: tuple[int, ...] = ()  # pixels per cell of each level; set where the whole network is known
        c2 = max(16, channels[0] // 4, 4 * REG_MAX)
        c3 = max(channels[0], min(nc, 100))
        self.cv2 = nn.ModuleList(
            nn.Sequential(Conv(c, c2, 3), Conv(c2, c2, 3), nn.Conv2d(c2, 4 * REG_MAX, 1)) for c in channels
        )
        self.cv3 = nn.ModuleList(
            nn.Sequential(
                nn.Sequential(depthwise_conv(c, c, 3), Conv(c, c3)),
                nn.Sequential(depthwise_conv(c3, c3, 3), Conv(c3, c3)),
                nn.Conv2d(c3, nc, 1),
            )
            for c in channels
        )
        self.dfl = DFL()

    def last_convs(self) -> list[tuple[nn.Conv2d, nn.Conv2d]]:
        """Give, per level, the convolutions that end the box and the class branch."""
        branches = [[m for m in branch.modules() if isinstance(m, nn.Conv2d)] for branch in (*self.cv2, *self.cv3)]
        ends = [convs[-1] for convs in branches]
        return list(zip(ends[: len(self.cv2)], ends[len(self.cv2) :], strict=True))

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Map the pyramid's (B, Ci, Hi, Wi) to `output0` (B, 4+nc, A): x, y, w, h in input pixels, then scores."""
        logits = [
            torch.cat((box(m), cls(m)), 1).flatten(2) for m, box, cls in zip(maps, self.cv2, self.cv3, strict=True)
        ]
        box, cls = torch.cat(logits, 2).split((4 * REG_MAX, self.nc), 1)
        centres, strides = cell_centres(maps, self.strides)
        left_top, right_bottom = self.dfl(box).chunk(2, 1)
        xy = centres + (right_bottom - left_top) / 2
        wh = left_top + right_bottom
        return torch.cat((torch.cat((xy, wh), 1) * strides, cls.sigmoid()), 1)
