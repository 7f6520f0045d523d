"""The labels of a picture: inside it, and none over another."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from y12.runtime.results.fonts import font_for
from y12.runtime.results.objects import Objects
from y12.runtime.results.style import Rgb, class_colour, text_colour
from y12.text import NAME, visible

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

    from y12.runtime.results.fonts import Font

__all__ = ["draw_labels", "placed"]

Box = tuple[int, int, int, int]  # left, top, right, bottom
_PADDING = 2
_MIN_TEXT = 10  # pixels, below which nobody reads it


@dataclass(frozen=True)
class _Label:
    """A name in a font of its script, and behind it a score in one that has digits, on one line; in pixels."""

    name: str
    name_font: "Font"
    score: str
    score_font: "Font"
    score_x: int
    baseline: int
    size_wh: tuple[int, int]


def draw_labels(draw: "ImageDraw", found: Objects) -> None:
    """Write each object's class and confidence beside its box; of a classifier, a list in the corner.

    The best object's label comes first: where a picture is full, the last ones are left out. A confidence of NaN, of
    what somebody has labelled, is not written.
    """
    height, width = found.image_hw
    size = max(_MIN_TEXT, round(max(width, height) / 50))
    taken: list[Box] = []
    too_large = (width + 1, height + 1)  # a label had no place: one as large has none either, and is not tried
    rows = zip(found.class_id.tolist(), found.class_name, found.confidence.tolist(), strict=True)
    for i, (class_id, name, confidence) in enumerate(rows):
        label = _fitted(draw, name, "" if math.isnan(confidence) else f"{confidence:.2f}", size, width)
        if label is None or (label.size_wh[0] >= too_large[0] and label.size_wh[1] >= too_large[1]):
            continue
        box: Box = (0, 0, 0, 0)
        if not found.whole_image:
            left, top, right, bottom = (round(float(v)) for v in found.xyxy[i])
            box = (left, top, right, bottom)
        place = placed(box, label.size_wh, taken, (width, height))
        if place is None:
            too_large = label.size_wh
            continue
        taken.append(place)
        colour = class_colour(class_id)
        if not found.whole_image:
            _join(draw, place, box, colour)
        draw.rectangle((place[0], place[1], place[2] - 1, place[3] - 1), fill=colour)
        _write(draw, label, place, text_colour(colour))


def placed(box: Box, size_wh: tuple[int, int], taken: list[Box], picture_wh: tuple[int, int]) -> Box | None:
    """Return where a label goes: at its box if there is room, else at the nearest free place; None in a full picture.

    Args:
        box: the object's.
        size_wh: of the label.
        taken: the labels that are there.
        picture_wh: width and height of the picture.
    """
    (width, height), (picture_width, picture_height) = size_wh, picture_wh
    if width > picture_width or height > picture_height:
        return None
    others = np.array(taken, np.int64).reshape(-1, 4)
    for x, y in _at_box(box, size_wh):
        x = min(max(x, 0), picture_width - width)
        if 0 <= y <= picture_height - height and _is_free(np.array([[x, y]]), size_wh, others)[0]:
            return x, y, x + width, y + height
    xs = np.unique([*range(0, picture_width - width, max(1, width // 4)), picture_width - width])
    ys = np.unique([*range(0, picture_height - height, max(1, height // 2)), picture_height - height])
    places = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)
    free = places[_is_free(places, size_wh, others)]
    if not len(free):
        return None
    nearest = free[np.abs(free - (box[0], box[1] - height)).sum(axis=1).argmin()]
    x, y = int(nearest[0]), int(nearest[1])
    return x, y, x + width, y + height


def _at_box(box: Box, size_wh: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Yield the corners of the places at a box, the best first: above it, in it, below it; left, then right."""
    (left, top, right, bottom), (width, height) = box, size_wh
    for x in (left, right - width):
        yield x, top - height
        yield x, top
    for x in (left, right - width):
        yield x, bottom
        yield x, bottom - height


def _is_free(places: NDArray[np.int64], size_wh: tuple[int, int], taken: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which (P, 2) corners leave a label clear of all that are there."""
    low, high = places[:, None], places[:, None] + size_wh
    apart: NDArray[np.bool_] = (low >= taken[:, 2:]) | (high <= taken[:, :2])
    return np.asarray(np.all(np.any(apart, axis=2), axis=1))


def _join(draw: "ImageDraw", place: Box, box: Box, colour: Rgb) -> None:
    """Draw a line from a label to its box where they do not touch."""
    apart = place[0] > box[2] or place[2] < box[0] or place[1] > box[3] or place[3] < box[1]
    if apart:
        draw.line([((place[0] + place[2]) / 2, (place[1] + place[3]) / 2), (box[0], box[1])], fill=colour, width=1)


def _write(draw: "ImageDraw", label: _Label, place: Box, colour: Rgb) -> None:
    x, y = place[0] + _PADDING, place[1] + label.baseline
    draw.text((x, y), label.name, fill=colour, font=label.name_font, anchor="ls")
    draw.text((place[0] + label.score_x, y), label.score, fill=colour, font=label.score_font, anchor="ls")


def _fitted(draw: "ImageDraw", name: str, score: str, size: int, width: int) -> _Label | None:
    """Return the label, its name cut where the picture is narrower; None where not even the score fits."""
    shown = visible(name, NAME)
    name_font, score_font = font_for(shown, size), font_for(score, size)
    space = round(draw.textlength(" ", score_font))
    _, score_top, score_right, score_bottom = draw.textbbox((0, 0), score, font=score_font, anchor="ls")
    for length in range(len(shown), -1, -1):
        cut = shown if length == len(shown) else f"{shown[:length]}.."
        _, top, right, bottom = draw.textbbox((0, 0), cut, font=name_font, anchor="ls")
        score_x = _PADDING + math.ceil(right) + space
        wide = score_x + math.ceil(score_right) + _PADDING
        if wide <= width:
            above, below = math.ceil(-min(top, score_top)), math.ceil(max(bottom, score_bottom))
            size_wh = (wide, above + below + 2 * _PADDING)
            return _Label(cut, name_font, score, score_font, score_x, above + _PADDING, size_wh)
    return None
