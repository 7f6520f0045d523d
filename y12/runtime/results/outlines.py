"""The outlines of a mask: through the centres of its outermost pixels, as OpenCV counts, or along their edges.

COCO's and YOLO's coordinates are those of edges: the first pixel of a row lies between 0 and 1. Drawn by pycocotools,
an outline along the edges gives the mask back exactly, one through the centres loses half a pixel all around.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from y12.errors import InputError

__all__ = ["check_tolerance", "joined", "outlines_of"]

Outline = NDArray[np.float32]  # (P, 2) x, y; closed


def check_tolerance(tolerance: float) -> None:
    """Refuse what is no distance in pixels.

    Raises:
        InputError: it is negative, infinite or no number.
    """
    if not isinstance(tolerance, int | float) or not 0 <= tolerance < math.inf:
        raise InputError(f"tolerance: expected pixels, a number of 0 or more, found {tolerance!r}")


def outlines_of(
    bitmap: NDArray[np.bool_], left: int, top: int, tolerance: float = 0.0, *, edges: bool = False
) -> list[Outline]:
    """Return an outline for each part of a mask whose first pixel is at column `left`, row `top`; holes are filled.

    What has fewer than three points, or no area, is no outline and is left out: through the centres, a part that is
    one pixel thin. Along the edges every part has one.

    Args:
        bitmap: (h, w).
        left: of the bitmap in the image.
        top: of the bitmap in the image.
        tolerance: how far in pixels the outline may stray to have fewer points. A part that would be left with no area
            keeps its points: none vanishes by it.
        edges: along the edges of the pixels, in place of their centres.
    """
    import cv2

    if not bitmap.any():
        return []
    pixels = bitmap.view(np.uint8)
    if edges:  # of a pixel's two columns, the first is its left edge, the second its right one
        pixels = np.repeat(np.repeat(pixels, 2, axis=0), 2, axis=1)
    contours, _ = cv2.findContours(pixels, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    places = [np.asarray(contour).reshape(-1, 2) for contour in contours]
    if edges:
        places = [(place + 1) // 2 for place in places]
    outlines = [np.asarray(place + np.array([left, top]), np.float32) for place in places]
    return [_simplified(outline, tolerance) for outline in outlines if _encloses(outline)]


def joined(outlines: Sequence[Outline]) -> Outline:
    """Return one outline of several: where two are nearest, the line goes over to the next one, around it, and back.

    A line of a YOLO label has one outline; the bridges have no area.
    """
    whole, *rest = outlines
    for other in rest:
        apart = ((whole[:, None] - other[None]) ** 2).sum(axis=2)
        i, j = np.unravel_index(int(apart.argmin()), apart.shape)
        around = np.roll(other, -int(j), axis=0)
        whole = np.concatenate([whole[: i + 1], around, around[:1], whole[i:]])
    return whole


def _encloses(outline: Outline) -> bool:
    import cv2

    return len(outline) >= 3 and cv2.contourArea(outline) > 0


def _simplified(outline: Outline, tolerance: float) -> Outline:
    if not tolerance:
        return outline
    import cv2

    fewer = np.asarray(cv2.approxPolyDP(outline, tolerance, closed=True), np.float32).reshape(-1, 2)
    return fewer if _encloses(fewer) else outline
