"""An image in which each object has a colour of its own, so that after anything it is known where it lies."""

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle

from y12.exporter.train.examples.augment import Fitted
from y12.exporter.train.examples.objects import Objects, Outline
from y12.runtime.preprocess.letterbox import Letterbox

COLOURS = np.array(
    [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255), (0, 255, 255)], np.uint8
)  # RGB; each other colour, black, gray and all mixtures of two are far from these
Polygons = list[list[tuple[float, float]]]

# Left, top of six cells; in each an L, or a square, of 60 pixels.
_CELLS = [(20, 16), (130, 16), (240, 16), (20, 130), (130, 130), (240, 130)]
_L = [(0, 0), (60, 0), (60, 24), (24, 24), (24, 60), (0, 60)]
_SQUARE = [(0, 0), (60, 0), (60, 60), (0, 60)]
IMAGE_HW = (220, 320)


def painted(colours: tuple[int, ...], *, runs: bool = False, outlined: bool = True, side: int = 320) -> Fitted:
    """Paint the objects `colours`, each in its cell; class = colour. It needs no resizing for a side of 320."""
    image = np.zeros((*IMAGE_HW, 3), np.uint8)
    outlines: list[Outline] = []
    boxes, points = [], []
    for colour in colours:
        corner = np.array(_CELLS[colour], float)
        polygon = np.array(_L if colour % 2 else _SQUARE) + corner
        mask = _filled(polygon)
        image[mask] = COLOURS[colour]
        as_runs = rle.encode(np.asfortranarray(mask.astype(np.uint8)))
        outlines.append(as_runs if runs else (polygon,))
        boxes.append([*corner, *(corner + 60)])
        x, y = corner
        points.append([(x + 8, y + 12, 2), (x + 52, y + 12, 1), (0, 0, 0)])
    objects = Objects(
        IMAGE_HW,
        np.array(colours, np.int64),
        np.array(boxes, float).reshape(-1, 4),
        tuple(outlines) if outlined else None,
        np.array(points, float).reshape(-1, 3, 3),
    )
    return Fitted(image, Letterbox.fit(IMAGE_HW, (side, side)), objects)


def _filled(polygon: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Fill a rectilinear polygon of whole coordinates: pixels whose centre is inside, by the even-odd rule."""
    ys, xs = np.mgrid[: IMAGE_HW[0], : IMAGE_HW[1]] + 0.5
    inside = np.zeros(IMAGE_HW, bool)
    for (x1, y1), (x2, y2) in zip(polygon, np.roll(polygon, -1, 0), strict=True):
        if x1 == x2:
            inside ^= (xs > x1) & (ys > min(y1, y2)) & (ys < max(y1, y2))
    return inside


def where(image: NDArray[np.uint8], colour: int) -> NDArray[np.bool_]:
    """Return the pixels that are more of a colour than of anything else."""
    return np.asarray(np.abs(image.astype(int) - COLOURS[colour]).max(2) < 128)
