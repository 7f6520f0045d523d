"""Each object cut out of its image; an oriented one turned upright."""

import math
import re
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from y12.runtime.results.objects import Objects
from y12.runtime.results.oriented import corners_from_xywhr

__all__ = ["crops_of", "folder_names"]

_NAME_BYTES = 100  # of a folder: a file system takes 255, and a number may follow
_MAX_SIDE = 1 << 14  # of an oriented box that reaches beyond its image


def crops_of(found: Objects, image_bgr: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    """Yield what lies in each object's box, at least a pixel of it; the others are views of the image."""
    height, width = image_bgr.shape[:2]
    if found.xywhr is not None:
        for box, corners in zip(found.xywhr, corners_from_xywhr(found.xywhr), strict=True):
            yield _upright(image_bgr, corners, (float(box[2]), float(box[3])))
        return
    for x1, y1, x2, y2 in found.xyxy.tolist():
        left, top = min(int(x1), width - 1), min(int(y1), height - 1)
        yield image_bgr[top : max(math.ceil(y2), top + 1), left : max(math.ceil(x2), left + 1)]


def _upright(
    image_bgr: NDArray[np.uint8], corners: NDArray[np.float32], size: tuple[float, float]
) -> NDArray[np.uint8]:
    import cv2

    width, height = (min(max(1, round(side)), _MAX_SIDE) for side in size)
    places = np.array([[0, 0], [width, 0], [width, height]], np.float32) - 0.5  # a pixel's centre is a whole number
    way = cv2.getAffineTransform(corners[:3] - np.float32(0.5), places)
    return np.asarray(cv2.warpAffine(image_bgr, way, (width, height)), np.uint8)


def folder_names(names: Iterable[str]) -> dict[str, str]:
    """Return the name of a folder for each class, by the class's name: one that leads nowhere, and is no other's.

    Letters, digits, spaces, "-", "_" and single dots inside are kept; where anything else was in it, or two would
    differ by their case alone, a number follows.
    """
    found: dict[str, str] = {}
    taken: set[str] = set()
    for number, name in enumerate(dict.fromkeys(names)):
        safe = re.sub(r"[^\w \-.]|\.(?=\.)", "_", name).strip(" .")
        safe = safe.encode(errors="replace")[:_NAME_BYTES].decode(errors="ignore").rstrip(" .")
        folder = safe if safe and safe == name and safe.casefold() not in taken else f"{safe or 'class'}_{number}"
        while folder.casefold() in taken:
            folder += "_"
        taken.add(folder.casefold())
        found[name] = folder
    return found
