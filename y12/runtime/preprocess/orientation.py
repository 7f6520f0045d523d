"""How an image is put upright that EXIF says lies on its side, or is mirrored."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["ON_ITS_SIDE", "UNDONE_BY", "UPRIGHT", "as_stored"]


def as_stored(bgr: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an image as it is."""
    return bgr


# What undoes each EXIF orientation (Exif 2.32, tag 0x0112) on (H, W, 3); other values mean "as stored".
UPRIGHT: dict[int | None, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    2: lambda bgr: bgr[:, ::-1],
    3: lambda bgr: bgr[::-1, ::-1],
    4: lambda bgr: bgr[::-1],
    5: lambda bgr: bgr.transpose(1, 0, 2),
    6: lambda bgr: bgr.transpose(1, 0, 2)[:, ::-1],
    7: lambda bgr: bgr[::-1, ::-1].transpose(1, 0, 2),
    8: lambda bgr: bgr.transpose(1, 0, 2)[::-1],
}
ON_ITS_SIDE = (5, 6, 7, 8)  # they exchange height and width
UNDONE_BY: dict[int | None, int] = {6: 8, 8: 6}  # the others undo themselves
