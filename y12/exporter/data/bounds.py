"""Checks of a stranger's boxes, masks and keypoints, before pycocotools' C code gets them: the one door, of any source.

pycocotools draws an outline point by point, 5 points a pixel and 16 bytes a point. An outline is therefore measured in
*sides*, the image's longer side being 1: that needs no pixels, and holds wherever the image is resized to.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from y12.exporter.data.rle import lengths_in
from y12.runtime.preprocess.images import MAX_PIXELS
from y12.text import shown

__all__ = [
    "MAX_LABELS",
    "ImageTotals",
    "NothingError",
    "ShapeError",
    "check_box",
    "check_keypoints",
    "check_place",
    "check_polygons",
    "check_segmentation",
    "numbers",
]

MAX_LABELS = 10_000  # of one image: pycocotools takes 1 ms for each; the densest public sets have some 8,000
_MAX_COORDINATE = 1e6
_MAX_SIDES = 200  # of one object: 128,000 pixels around at 640x480, 190 MB while it is drawn on 11,648x8,736
_MAX_SIDES_OF_IMAGE = 5_000  # of all its objects: 20 MB of label text, and some seconds to draw on the largest image
_MAX_POLYGONS = 1_000  # of one object; pycocotools merges them one by one
_MAX_RLE_CHARS = 16 << 20


class ShapeError(ValueError):
    """An entry is wrong; the message says what was expected and what was found."""


class NothingError(ShapeError):
    """A label is of nothing: it has no area. It is left out and told, unless all has to be in order."""


def numbers(value: object, what: str, count: int | None = None) -> list[float]:
    """Return a list of finite numbers, `count` of them.

    Raises:
        ShapeError: it is something else.
    """
    if isinstance(value, list) and count in (None, len(value)) and all(map(_is_number, value)):
        return value
    expected = f"{'' if count is None else f'{count} '}numbers of at most {_MAX_COORDINATE:g}"
    raise ShapeError(f"expected {what} of {expected}, found {shown(value)}")


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and abs(value) <= _MAX_COORDINATE  # type: ignore[arg-type]  # False for NaN


def check_box(value: object) -> None:
    """Refuse what is no [left, top, width, height] in pixels.

    Raises:
        ShapeError: it is not.
    """
    box = numbers(value, "a bbox", 4)
    if min(box[2:]) < 0:
        raise ShapeError(f"expected a bbox [left, top, width, height], found {shown(value)}")


def check_place(value: float, what: str) -> float:
    """Return a coordinate, as a fraction of the picture's side, that lies on the picture or not far beside it.

    Corners of turned boxes and points of bodies at the border lie outside; beyond twice the picture it is a mistake.

    Raises:
        ShapeError: it is farther out than the picture is large.
    """
    if not -1 <= value <= 2:
        raise ShapeError(f"expected {what} from 0 to 1 (fractions of the image; outside it up to 2), found {value:g}")
    return value


def check_keypoints(value: object, points: int | None = None) -> int:
    """Return the number of keypoints of a list x, y, visibility for each.

    Raises:
        ShapeError: it is no such list, or has not `points` of them.
    """
    values = numbers(value, "keypoints", None if points is None else 3 * points)
    if not values or len(values) % 3:
        raise ShapeError(f"expected keypoints as x, y, visibility for each, found {len(values)} numbers")
    return len(values) // 3


@dataclass
class ImageTotals:
    """What the labels of one image have come to so far."""

    labels: int = 0
    sides: float = 0.0

    def add(self, sides: float) -> None:
        """Count one label, whose outline is so many sides long.

        Raises:
            ShapeError: with this one there are more labels, or more outline, than an image may have. Told once.
        """
        self.labels += 1
        self.sides += sides
        if self.labels == MAX_LABELS + 1:
            raise ShapeError(f"expected at most {MAX_LABELS} labels of one image, found more")
        if self.sides - sides <= _MAX_SIDES_OF_IMAGE < self.sides:
            raise ShapeError(f"expected at most {_MAX_SIDES_OF_IMAGE} image sides of outlines in one image, found more")


def check_segmentation(value: object, image_hw: tuple[int, int]) -> float:
    """Return how many sides long polygons or a run-length mask of the image's size are; a mask has no outline.

    Raises:
        ShapeError: it is neither, or too much to draw.
    """
    if image_hw[0] * image_hw[1] > MAX_PIXELS:
        raise ShapeError(f"expected an image of at most {MAX_PIXELS} pixels, found {image_hw}")
    if isinstance(value, dict):
        _check_rle(value, image_hw)
        return 0.0
    if not isinstance(value, list) or not value:
        raise ShapeError(f"expected a segmentation of polygons or a run-length mask, found {shown(value)}")
    if len(value) > _MAX_POLYGONS:
        raise ShapeError(f"expected at most {_MAX_POLYGONS} polygons of one object, found {len(value)}")
    return check_polygons([numbers(polygon, "a polygon") for polygon in value], max(image_hw))


def check_polygons(polygons: Sequence[Sequence[float]], side: float) -> float:
    """Return how many sides long the polygons of one object are together.

    Args:
        polygons: x, y of each corner, finite numbers.
        side: the image's longer side in their unit; for fractions of width and height, 1.

    Raises:
        ShapeError: one has not three corners, or they are too long to draw.
    """
    sides = 0.0
    for values in polygons:
        if len(values) < 6 or len(values) % 2:
            raise ShapeError(f"expected a polygon of three corners x, y or more, found {len(values)} numbers")
        corners = np.array(values, np.float64).reshape(-1, 2)
        steps = np.abs(corners - np.roll(corners, 1, axis=0))
        sides += float(steps.max(axis=1).sum()) / side
    if sides > _MAX_SIDES:
        raise ShapeError(
            f"expected an outline of at most {_MAX_SIDES} image sides in length, found {sides:.0f} "
            f"({sum(map(len, polygons)) // 2} corners)"
        )
    return sides


def _check_rle(value: dict[str, Any], image_hw: tuple[int, int]) -> None:
    if value.get("size") != list(image_hw):
        raise ShapeError(f"expected a mask of the image's size {list(image_hw)}, found {shown(value.get('size'))}")
    runs = _runs(value.get("counts"))
    pixels = image_hw[0] * image_hw[1]
    in_range = len(runs) <= pixels + 1 and runs.min(initial=0) >= 0 and runs.max(initial=0) <= pixels
    if not in_range or int(runs.sum()) != pixels:
        raise ShapeError(f"expected a mask's counts to add up to {image_hw[0]} x {image_hw[1]}, found a damaged mask")


def _runs(counts: object) -> NDArray[np.int64]:
    if isinstance(counts, str) and len(counts) <= _MAX_RLE_CHARS and counts.isascii():
        try:
            return lengths_in(counts)
        except ValueError as error:
            raise ShapeError(f"expected a mask's counts in COCO's compressed form, found {error}") from error
    if isinstance(counts, list) and all(type(run) is int and abs(run) <= MAX_PIXELS for run in counts):
        return np.array(counts, np.int64)
    raise ShapeError(f"expected a mask's counts as text or whole numbers, found {shown(counts)}")
