"""One labelled image as training is given it, before it is put in a batch with others."""

from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from y12.exporter.train.batch import MASK_STRIDE

__all__ = ["Example", "reduced_mask"]


@dataclass(frozen=True)
class Example:
    """An image of (H, W) pixels, multiples of `MASK_STRIDE`, and its N objects; N may be 0.

    Attributes:
        image: (H, W, 3) uint8, RGB.
        labels: (N,) int64, class ids from 0.
        boxes: (N, 4) float32: left, top, right, bottom in pixels.
        masks: (N, H/4, W/4) bool, made by `reduced_mask`; None where not labelled.
        keypoints: (N, K, 3) float32: x, y in pixels and visibility 0, 1 or 2; None where not labelled.
        angles: (N,) float32, radians, of oriented boxes (see `Targets`); None for upright boxes.
    """

    image: NDArray[np.uint8]
    labels: NDArray[np.int64]
    boxes: NDArray[np.float32]
    masks: NDArray[np.bool_] | None = None
    keypoints: NDArray[np.float32] | None = None
    angles: NDArray[np.float32] | None = None


def reduced_mask(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return (..., H/4, W/4) for masks (..., H, W): set where at least half of a pixel's 4x4 pixels are.

    Raises:
        ValueError: H or W is no multiple of 4.
    """
    if mask.shape[-2] % MASK_STRIDE or mask.shape[-1] % MASK_STRIDE:
        raise ValueError(f"expected a mask whose sides are multiples of {MASK_STRIDE}, found {mask.shape}")
    count = mask.view(np.uint8)
    # Sums of strided views: several times faster than one over the axes of a reshape.
    rows = reduce(np.add, [count[..., i::MASK_STRIDE, :] for i in range(MASK_STRIDE)])
    cells = reduce(np.add, [rows[..., i::MASK_STRIDE] for i in range(MASK_STRIDE)])
    return np.asarray(cells >= MASK_STRIDE**2 // 2)
