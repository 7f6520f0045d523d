"""The pixels of a PIL image, whatever its mode."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from y12.errors import InputError
from y12.runtime.preprocess.depth import Levels, to_bytes

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["bgr_from_pil"]


def bgr_from_pil(image: "Image", levels: Levels) -> NDArray[np.uint8]:
    """Return the pixels as (H, W, 3) BGR.

    Args:
        image: one that is loaded.
        levels: what is black and white in 16 bits.

    Raises:
        InputError: its mode has no meaning in 8 bits.
    """
    import cv2

    pixels = _pixels_from_pil(image, levels)
    code = cv2.COLOR_GRAY2BGR if pixels.ndim == 2 else cv2.COLOR_RGB2BGR
    return np.asarray(cv2.cvtColor(pixels, code), dtype=np.uint8)


def _pixels_from_pil(image: "Image", levels: Levels) -> NDArray[np.uint8]:
    """Return the pixels as (H, W) gray or (H, W, 3) RGB uint8."""
    mode = image.mode
    if mode in ("L", "RGB"):
        return np.asarray(image)
    if mode == "I" or mode.startswith("I;16"):
        return to_bytes(np.asarray(image), levels)
    if mode in ("P", "PA"):
        return np.asarray(image.convert("RGBA").convert("RGB"))  # P to RGB at once warns where tRNS is a table
    if mode in ("1", "LA", "La", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV"):
        return np.asarray(image.convert("RGB"))
    raise InputError(f"expected 8 or 16 bits per channel in gray, RGB, CMYK or a palette, found Pillow's mode {mode!r}")
