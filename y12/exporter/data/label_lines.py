"""One line of a YOLO label file as values; every coordinate is a fraction of the image's width or height.

class cx cy w h                    a box: centre and size
class x1 y1 x2 y2 x3 y3 …          a polygon of three corners or more; its extent is the box
class x1 y1 x2 y2 x3 y3 x4 y4      an oriented box, for a model of oriented boxes
class cx cy w h (x y [v]) x K      a box and K keypoints; v is 0 not labelled, 1 hidden, 2 visible
"""

import math
from dataclasses import dataclass

from y12.exporter.data.bounds import NothingError, ShapeError, check_place, check_polygons
from y12.text import shown

__all__ = ["TOLERANCE", "Label", "LabelForm", "LabelLineError", "parse_line"]

TOLERANCE = 0.01  # tools round and let outlines overshoot by a pixel or two; farther out, it is another unit or image
_MAX_CHARS = 1 << 20  # 50,000 corners of ten characters a number


class LabelLineError(ValueError):
    """A line is wrong; the message says what was expected and what was found, without file and line."""


@dataclass(frozen=True)
class LabelForm:
    """What the lines of a data set look like: `classes` classes; for pose, `kpt_shape` (K, D); oriented or not."""

    classes: int
    kpt_shape: tuple[int, int] | None = None
    oriented: bool = False


@dataclass(frozen=True)
class Label:
    """One labelled object, in fractions of the image.

    Attributes:
        class_id: the index of its class.
        box: left, top, right, bottom, inside the image.
        outline: x, y of each corner of a polygon (inside the image) or of an oriented box (as labelled).
        keypoints: x, y, visibility of each keypoint; one that is labelled may lie outside the image, as in COCO.
        clipped: the box reached beyond the image by more than rounding.
        sides: how long the outline is to draw, the image's longer side being 1; 0 without one.
    """

    class_id: int
    box: tuple[float, float, float, float]
    outline: tuple[float, ...] | None = None
    keypoints: tuple[float, ...] | None = None
    clipped: bool = False
    sides: float = 0.0


def parse_line(text: str, form: LabelForm) -> Label:
    """Read one line.

    Raises:
        LabelLineError: the number of values, a value or the class is wrong, or the outline is too long to draw.
        NothingError: it is of nothing: no width, no height or no area.
    """
    if len(text) > _MAX_CHARS:
        raise LabelLineError(f"expected at most {_MAX_CHARS} characters in a line, found {len(text)}")
    values = [_number(word) for word in text.split()]
    class_id = _class_id(values[0], form.classes)
    if form.oriented:
        return _oriented(class_id, values[1:])
    if form.kpt_shape is not None:
        return _pose(class_id, values[1:], form.kpt_shape)
    if len(values) == 5:
        box, clipped = _box(values[1:])
        return Label(class_id, box, clipped=clipped)
    if len(values) < 7 or len(values) % 2 == 0:
        raise LabelLineError(
            "expected 5 values (class, centre x, centre y, width, height) or a class and three or more corners x y, "
            f"found {len(values)} values"
        )
    outline = tuple(map(_inside, values[1:]))
    try:
        sides = check_polygons([outline], side=1)
    except ShapeError as error:
        raise LabelLineError(str(error)) from error
    return Label(class_id, _extent(outline), outline, sides=sides)


def _number(word: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or "_" in word:  # Python would read 1_0 as 10
        raise LabelLineError(f"expected numbers, found {shown(word)}")
    return value


def _class_id(value: float, classes: int) -> int:
    if value != int(value) or not 0 <= value < classes:
        raise LabelLineError(f"expected a class from 0 to {classes - 1}, found {value:g}")
    return int(value)


def _inside(value: float) -> float:
    """Clip a coordinate that is outside 0-1 by no more than `TOLERANCE`."""
    _check_range(value)
    return min(max(value, 0.0), 1.0)


def _check_range(value: float) -> None:
    if not -TOLERANCE <= value <= 1 + TOLERANCE:
        raise LabelLineError(f"expected coordinates from 0 to 1 (fractions of the image), found {value:g}")


def _box(values: list[float]) -> tuple[tuple[float, float, float, float], bool]:
    """Return left, top, right, bottom, and whether the image cut off more than `TOLERANCE`."""
    x, y, width, height = values
    for value in values:
        _check_range(value)
    if width <= 0 or height <= 0:
        error = LabelLineError if min(width, height) < 0 else NothingError
        raise error(f"expected a width and height above 0, found {width:g} and {height:g}")
    corners = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    left, top, right, bottom = (min(max(value, 0.0), 1.0) for value in corners)
    if right <= left or bottom <= top:
        raise LabelLineError("expected a box that touches the image, found one outside of it")
    clipped = min(corners) < -TOLERANCE or max(corners) > 1 + TOLERANCE
    return (left, top, right, bottom), clipped


def _extent(outline: tuple[float, ...]) -> tuple[float, float, float, float]:
    xs, ys = outline[0::2], outline[1::2]
    box = (min(xs), min(ys), max(xs), max(ys))
    if box[2] <= box[0] or box[3] <= box[1]:
        raise NothingError("expected an outline that encloses an area, found corners on one line")
    return box


def _oriented(class_id: int, values: list[float]) -> Label:
    if len(values) != 8:
        raise LabelLineError(
            f"expected 9 values (class and four corners x y) for oriented boxes, found {len(values) + 1}"
        )
    for value in values:
        check_place(value, "corners")
    return Label(class_id, _extent(tuple(values)), tuple(values))


def _pose(class_id: int, values: list[float], kpt_shape: tuple[int, int]) -> Label:
    points, size = kpt_shape
    expected = 4 + points * size
    if len(values) != expected:
        raise LabelLineError(
            f"expected {1 + expected} values (class, box and {points} keypoints of {size}), found {len(values) + 1}"
        )
    box, clipped = _box(values[:4])
    rows = [values[start : start + size] for start in range(4, expected, size)]
    return Label(class_id, box, keypoints=tuple(v for row in rows for v in _keypoint(row)), clipped=clipped)


def _keypoint(row: list[float]) -> tuple[float, float, float]:
    """Return x, y, visibility; without a visibility, a point at 0, 0 is one that was not labelled."""
    x, y = row[:2]
    visibility = row[2] if len(row) == 3 else 2.0 * (x != 0 or y != 0)
    if visibility not in (0, 1, 2):
        raise LabelLineError(f"expected a visibility of 0, 1 or 2, found {visibility:g}")
    if not visibility:
        return 0.0, 0.0, 0.0
    return check_place(x, "keypoints"), check_place(y, "keypoints"), visibility
