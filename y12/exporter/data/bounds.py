"""Checks of a stranger's boxes, masks and keypoints, before pycocotools' C code gets them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from y12.runtime.preprocess.images import MAX_PIXELS
from y12.text import shown

__all__ = ["ShapeError", "check_box", "check_keypoints", "check_segmentation", "is_whole", "numbers"]

_MAX_COORDINATE = 1e6
_MAX_OUTLINE_PX = 1e7  # the C code draws an outline point by point: bounds its memory
_MAX_RLE_CHARS = 16 << 20


class ShapeError(ValueError):
    """An entry is wrong; the message says what was expected and what was found."""


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


def is_whole(value: object) -> bool:
    """Return whether a value is an int and no bool."""
    return isinstance(value, int) and not isinstance(value, bool)


def check_box(value: object) -> None:
    """Refuse what is no [left, top, width, height] in pixels.

    Raises:
        ShapeError: it is not.
    """
    box = numbers(value, "a bbox", 4)
    if min(box[2:]) < 0:
        raise ShapeError(f"expected a bbox [left, top, width, height], found {shown(value)}")


def check_keypoints(value: object, points: int | None = None) -> int:
    """Return the number of keypoints of a list x, y, visibility for each.

    Raises:
        ShapeError: it is no such list, or has not `points` of them.
    """
    values = numbers(value, "keypoints", None if points is None else 3 * points)
    if not values or len(values) % 3:
        raise ShapeError(f"expected keypoints as x, y, visibility for each, found {len(values)} numbers")
    return len(values) // 3


def check_segmentation(value: object, image_hw: tuple[int, int]) -> None:
    """Refuse what is neither a list of polygons nor a run-length mask of the image's size.

    Raises:
        ShapeError: it is neither.
    """
    if image_hw[0] * image_hw[1] > MAX_PIXELS:
        raise ShapeError(f"expected an image of at most {MAX_PIXELS} pixels, found {image_hw}")
    if isinstance(value, dict):
        _check_rle(value, image_hw)
    elif isinstance(value, list) and value:
        for polygon in value:
            _check_polygon(polygon)
    else:
        raise ShapeError(f"expected a segmentation of polygons or a run-length mask, found {shown(value)}")


def _check_polygon(value: object) -> None:
    values = numbers(value, "a polygon")
    if len(values) < 6 or len(values) % 2:
        raise ShapeError(f"expected a polygon of three corners x, y or more, found {len(values)} numbers")
    corners = np.array(values).reshape(-1, 2)
    if np.abs(np.diff(corners, axis=0)).max(axis=1).sum() > _MAX_OUTLINE_PX:
        raise ShapeError(f"expected a polygon of at most {_MAX_OUTLINE_PX:g} pixels around, found a longer one")


def _check_rle(value: dict[str, Any], image_hw: tuple[int, int]) -> None:
    if value.get("size") != list(image_hw):
        raise ShapeError(f"expected a mask of the image's size {list(image_hw)}, found {shown(value.get('size'))}")
    counts = value.get("counts")
    runs: Sequence[int]
    if isinstance(counts, str) and len(counts) <= _MAX_RLE_CHARS and counts.isascii():
        runs = _runs(counts.encode())
    elif isinstance(counts, list) and all(is_whole(run) for run in counts):
        runs = counts
    else:
        raise ShapeError(f"expected a mask's counts as text or whole numbers, found {shown(counts)}")
    if any(run < 0 for run in runs) or sum(runs) != image_hw[0] * image_hw[1]:
        raise ShapeError(f"expected a mask's counts to add up to {image_hw[0]} x {image_hw[1]}, found a damaged mask")


def _runs(text: bytes) -> list[int]:
    """Decode COCO's compressed counts: 5 bits a character, a sixth says that more follow, signed differences."""
    runs: list[int] = []
    value = shift = 0
    for byte in text:
        six = byte - 48
        if not 0 <= six < 64 or shift > 35:
            raise ShapeError("expected a mask's counts in COCO's compressed form, found a damaged text")
        value |= (six & 31) << shift
        shift += 5
        if six & 32:
            continue
        if six & 16:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value = shift = 0
    if shift:
        raise ShapeError("expected a mask's counts in COCO's compressed form, found a text that breaks off")
    return runs
