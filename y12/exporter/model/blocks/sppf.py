"""Spatial pyramid pooling, fast (after SPP, arXiv 1406.4729): chained poolings see ever larger windows."""

import torch
from torch import Tensor, nn

from y12.exporter.model.blocks.conv import Conv

__all__ = ["SPPF"]


class SPPF(nn.Module):
    """`cv2(cat(y, p(y), p(p(y)), p(p(p(y)))))` with y = cv1(x) and p a max-pooling of kernel k that keeps H and W.

    Args:
        c1: input channels.
        c2: output channels.
        k: kernel of the pooling, odd.
    """

    def __init__(self, c1: int, c2: int, k: int = 5) -> None:
        super().__init__()
        hidden = c1 // 2
        self.cv1 = Conv(c1, hidden)
        self.cv2 = Conv(4 * hidden, c2)
        self.pool = nn.MaxPool2d(k, 1, k // 2)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, c1, H, W) to (B, c2, H, W)."""
        y = [self.cv1(x)]
        for _ in range(3):
            y.append(self.pool(y[-1]))
        return self.cv2(torch.cat(y, 1))
