"""Layer normalisation of maps: each cell's channels, by their own mean and variance."""

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm

__all__ = ["LayerNorm"]

LAYER_NORM_EPS = 1e-5


class LayerNorm(nn.Module):
    """`(x - mean) / sqrt(var + eps) * weight + bias` over the channels of each cell (arXiv 1607.06450, section 3).

    Between two transpositions it is traced as ONNX's LayerNormalization, whose mean and variance are FP32 whatever its
    input is; a mean of squares written out in FP16 is infinite where values exceed 256. In an engine it is one kernel,
    the transpositions included.

    Args:
        channels: of the map.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, H, W)."""
        cells = x.permute(0, 2, 3, 1)
        return layer_norm(cells, self.weight.shape, self.weight, self.bias, LAYER_NORM_EPS).permute(0, 3, 1, 2)
