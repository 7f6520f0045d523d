"""Spatial pyramid pooling, fast (after SPP, arXiv 1406.4729): chained poolings see ever larger windows."""

import torch
from torch import Tensor, nn

from y12.exporter.model.blocks.conv import Conv

__all__ = ["SPPF"]


class SPPF(nn.Module):
    """`cv2(cat(y, p(y), p(p(y)), ...))` with y = cv1(x) and p a max-pooling of kernel k that keeps H and W.

    Args:
        c1: input channels.
        c2: output channels.
        k: kernel of the pooling, odd.
        n: how often it is pooled.
        shortcut: add the input, as YOLO26 does; `cv1` has no activation then.
    """

    def __init__(self, c1: int, c2: int, k: int = 5, n: int = 3, shortcut: bool = False) -> None:
        super().__init__()
        hidden = c1 // 2
        self.n, self.add = n, shortcut
        self.cv1 = Conv(c1, hidden, act=not shortcut)
        self.cv2 = Conv((n + 1) * hidden, c2)
        self.pool = nn.MaxPool2d(k, 1, k // 2)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, c1, H, W) to (B, c2, H, W)."""
        y = [self.cv1(x)]
        for _ in range(self.n):
            y.append(self.pool(y[-1]))
        out: Tensor = self.cv2(torch.cat(y, 1))
        return x + out if self.add else out
