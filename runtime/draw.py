"""An image with its detections drawn in."""

import colorsys
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from runtime.detections import Detections

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont, ImageFont

Rgb = tuple[int, int, int]
_GOLDEN_RATIO = 0.618034  # steps of it round the colour circle never come close to an earlier one
_DARK, _LIGHT = (0, 0, 0), (255, 255, 255)


def annotated(image_bgr: NDArray[np.uint8], detections: Detections) -> NDArray[np.uint8]:
    """Give a copy of an (H, W, 3) image with boxes, class names and scores; the lines grow with the image."""
    from PIL import Image, ImageDraw, ImageFont

    canvas = Image.fromarray(np.ascontiguousarray(image_bgr[..., ::-1]))
    draw = ImageDraw.Draw(canvas)
    side = max(canvas.size)
    thickness = max(1, round(side / 400))
    font = ImageFont.load_default(size=max(10, round(side / 50)))
    for i in reversed(range(len(detections))):  # the best last, on top
        left, top, right, bottom = (round(float(v)) for v in detections.xyxy[i])
        colour = class_colour(int(detections.class_id[i]))
        draw.rectangle((left, top, max(left, right), max(top, bottom)), outline=colour, width=thickness)
        text = f"{detections.class_name[i]} {detections.confidence[i]:.2f}"
        _draw_label(draw, (left, top), text, font, colour)
    return np.ascontiguousarray(np.asarray(canvas)[..., ::-1])


def class_colour(class_id: int) -> Rgb:
    """Give the RGB colour of a class, the same in every image."""
    red, green, blue = colorsys.hsv_to_rgb(class_id * _GOLDEN_RATIO % 1.0, 0.85, 0.95)
    return round(red * 255), round(green * 255), round(blue * 255)


def text_colour(background: Rgb) -> Rgb:
    """Give black or white, whichever is read more easily on `background` (ITU-R BT.601 luma)."""
    red, green, blue = background
    return _DARK if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else _LIGHT


def _draw_label(
    draw: "ImageDraw", corner_xy: tuple[int, int], text: str, font: "FreeTypeFont | ImageFont", colour: Rgb
) -> None:
    """Write `text` on a filled ground above the corner, or below it where there is no room."""
    x, y = corner_xy
    left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
    height = round(bottom - top) + 4
    y = y - height if y >= height else y
    draw.rectangle((x, y, x + round(right - left) + 4, y + height), fill=colour)
    draw.text((x + 2 - left, y + 2 - top), text, fill=text_colour(colour), font=font)
