"""letterbox.cu in numpy, operation by operation: what the kernel must give, bit for bit.

Positions are whole numbers over whole numbers, which is exact. OpenCV blends with weights of 11 bits: a level may round
the other way.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import DTypeLike, NDArray

from y12.runtime.preprocess.letterbox import PAD_GRAY, Letterbox

__all__ = ["letterboxed", "resized"]


def letterboxed(
    images_bgr: Sequence[NDArray[np.uint8]], frames: Sequence[Letterbox], dtype: DTypeLike = np.float32
) -> NDArray[np.floating]:
    """Fit (h, w, 3) BGR images into the network's input: (B, 3, H, W) RGB in 0-1, float32 or float16."""
    height, width = frames[0].input_hw
    out = np.full((len(frames), 3, height, width), np.float32(PAD_GRAY) / np.float32(255), np.float32)
    for planes, image, frame in zip(out, images_bgr, frames, strict=True):
        levels = resized(image, frame.resized_hw)
        bottom, right = frame.top + frame.resized_hw[0], frame.left + frame.resized_hw[1]
        planes[:, frame.top : bottom, frame.left : right] = levels[:, :, ::-1].transpose(2, 0, 1) / np.float32(255)
    return out.astype(dtype)


def resized(image: NDArray[np.uint8], out_hw: tuple[int, int]) -> NDArray[np.float32]:
    """Resize (h, w, 3) to `out_hw`, levels as whole numbers in float32."""
    top, bottom, down = _taps(image.shape[0], out_hw[0])
    left, right, across = _taps(image.shape[1], out_hw[1])
    source = image.astype(np.float32)
    wide = source[:, left] + (source[:, right] - source[:, left]) * across[None, :, None]  # (h, W, 3)
    tall = wide[top] + (wide[bottom] - wide[top]) * down[:, None, None]  # (H, W, 3)
    return np.asarray(np.rint(tall), np.float32)


def _taps(size: int, out_size: int) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]:
    """Return for each output sample the two source indices and the second's weight, each (out_size,)."""
    i, n = np.arange(out_size, dtype=np.int32), np.int32(out_size)
    position = np.clip((2 * i + 1) * np.int32(size) - n, 0, np.int32(size - 1) * 2 * n)  # in 1 / (2 n) pixels
    low = position // (2 * n)
    weight = (position - low * 2 * n).astype(np.float32) / np.float32(2 * n)
    return low, np.minimum(low + 1, np.int32(size - 1)), weight
