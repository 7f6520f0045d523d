"""The precision in which losses are computed."""

import torch
from torch import Tensor

__all__ = ["precise"]


def precise(x: Tensor) -> Tensor:
    """Return a tensor of any type in float32, and a float64 one as it is.

    In half precision a sum over an image's cells would stall and a product of probabilities would vanish.
    """
    return x if x.dtype == torch.float64 else x.float()
