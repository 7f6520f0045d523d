"""A JPEG that was decoded at 1/2, 1/4 or 1/8 of its size, as the network's input is smaller still.

A JPEG's blocks of 8x8 coefficients give 4x4, 2x2 or 1x1 pixels as well, each the mean of those it stands for: a decoder
that is asked for them does a part of the work. The network's input is then made of means, where of the whole image
only every so many pixels are looked at; results differ (docs/decisions/0054-jpeg-decoding.md says by how much).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Image", "ReducedImage", "ScaleOf", "factor_for", "hw_of"]

ScaleOf = Callable[[tuple[int, int]], float]  # from an image's height and width to the scale at which it is looked at


@dataclass(frozen=True)
class ReducedImage:
    """An image at a part of its size.

    Attributes:
        bgr: (h, w, 3) uint8, upright.
        image_hw: height and width of the whole image.
        region_xyxy: where in `bgr` that lies, in its pixels: all of it, but for part of a pixel at one or two edges
            where the factor does not divide the image's sides.
    """

    bgr: NDArray[np.uint8]
    image_hw: tuple[int, int]
    region_xyxy: tuple[float, float, float, float]

    @property
    def nbytes(self) -> int:
        """What its pixels take."""
        return self.bgr.nbytes

    def resize_into(self, out_bgr: NDArray[np.uint8]) -> None:
        """Write the image bilinearly into an (H, W, 3) array, as if the whole one were resized to it."""
        import cv2

        (height, width), (x1, y1, x2, y2) = out_bgr.shape[:2], self.region_xyxy
        if (x1, y1, y2, x2) == (0, 0, *self.bgr.shape[:2]):
            cv2.resize(self.bgr, (width, height), dst=out_bgr, interpolation=cv2.INTER_LINEAR)
            return
        x, y = (x2 - x1) / width, (y2 - y1) / height
        matrix = np.array([[x, 0, x1 + x / 2 - 0.5], [0, y, y1 + y / 2 - 0.5]])  # from centres of pixels to such
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        out_bgr[...] = cv2.warpAffine(self.bgr, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)

    def box_in_bgr(self, xyxy: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
        """Return where in `bgr` a box of the whole image lies."""
        (height, width), (left, top, right, bottom) = self.image_hw, self.region_xyxy
        x, y = (right - left) / width, (bottom - top) / height
        return left + xyxy[0] * x, top + xyxy[1] * y, left + xyxy[2] * x, top + xyxy[3] * y


Image = NDArray[np.uint8] | ReducedImage


def hw_of(image: Image) -> tuple[int, int]:
    """Return the height and width of an image; of a reduced one, those of the whole."""
    return image.image_hw if isinstance(image, ReducedImage) else (image.shape[0], image.shape[1])


def factor_for(scale: float) -> int:
    """Return the most by which an image may be reduced that is then resized to `scale` of its whole size: 8, 4, 2; 1.

    What is left has at least as many pixels a side as is needed.
    """
    return next((factor for factor in (8, 4, 2) if factor * scale <= 1), 1)
