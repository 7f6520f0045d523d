"""Channels weighted by what the whole map holds: adaptive fusion of two paths, and channel attention.

The layers of the gates are linear ones on pooled vectors, not convolutions, so that INT8 leaves them as they are: their
few products take no time, while an error in a gate is one of a whole channel.
"""

from torch import Tensor, nn

__all__ = ["ChannelAttn", "ChannelFusion"]

FUSION_RATIO, FUSION_LEAST = 16, 32  # r and L of selective kernels, arXiv 1903.06586, section 3.1


class ChannelFusion(nn.Module):
    """Channel-wise adaptive fusion of two maps: `g * a + (1 - g) * b`, with a gate g a channel and image.

    `g = sigmoid(W2 relu(W1 mean_hw(a + b)))`. These are selective kernels (arXiv 1903.06586, equations 1 to 6) with
    two paths: their softmax over two logits is the sigmoid of the difference, of which one row of weights is enough.
    Biases take BatchNorm's place in W1, since a training batch of one image has no variance once it is pooled.

    Args:
        channels: of both maps.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(channels // FUSION_RATIO, FUSION_LEAST)
        self.gate = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels))

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Map two (B, C, H, W) to one."""
        g = self.gate((a + b).mean((2, 3))).sigmoid()  # (B, C)
        return b + g[:, :, None, None] * (a - b)


class ChannelAttn(nn.Module):
    """Channel attention: `x * sigmoid(mlp(mean_hw(x)) + mlp(max_hw(x)))` (CBAM, arXiv 1807.06521, equation 2).

    The second layer of the shared MLP is linear, so that it is applied once, to the sum; its bias counts once.

    Args:
        channels: of the map.
        ratio: how many times fewer channels the hidden layer has; at least one is left.
    """

    def __init__(self, channels: int, ratio: int = 16) -> None:
        super().__init__()
        hidden = max(channels // ratio, 1)
        self.reduce = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU())
        self.expand = nn.Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, H, W)."""
        hidden = self.reduce(x.mean((2, 3))) + self.reduce(x.amax((2, 3)))
        return x * self.expand(hidden).sigmoid()[:, :, None, None]
