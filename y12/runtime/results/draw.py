"""An image with its detections drawn in: masks, boxes, skeletons and labels, or a classifier's list."""

import colorsys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from y12.runtime.results.detections import Detections
from y12.text import NAME, visible

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont, ImageFont

    from y12.runtime.results.masks import Crop

Rgb = tuple[int, int, int]
_GOLDEN_RATIO = 0.618034  # steps of it round the colour circle never come close to an earlier one
_DARK, _LIGHT = (0, 0, 0), (255, 255, 255)
MASK_OPACITY = 0.45
VISIBLE = 0.5  # keypoints with a lower visibility are not drawn
# COCO's person: which of the 17 keypoints are joined, counted from 0 (nose, eyes, ears, shoulders, … ankles).
PERSON = (
    *((15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (6, 8)),
    *((7, 9), (8, 10), (1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6)),
)
SKELETONS = {17: PERSON}  # by the number of keypoints; others are drawn as points only


@dataclass(frozen=True)
class _Pen:
    """What is drawn with; the lines grow with the image."""

    draw: "ImageDraw"
    font: "FreeTypeFont | ImageFont"
    thickness: int


def annotated(image_bgr: NDArray[np.uint8], detections: Detections) -> NDArray[np.uint8]:
    """Return a copy of an (H, W, 3) image with all that was found in it; the best object is on top."""
    from PIL import Image, ImageDraw, ImageFont

    pixels = np.array(image_bgr[..., ::-1], order="C")  # RGB, a copy
    order = range(len(detections) - 1, -1, -1)
    if detections.masks is not None:
        crops = detections.masks.crops
        for i in order:
            _tint(pixels, crops[i], class_colour(int(detections.class_id[i])))
    canvas = Image.fromarray(pixels)
    side = max(canvas.size)
    font = ImageFont.load_default(size=max(10, round(side / 50)))
    pen = _Pen(ImageDraw.Draw(canvas), font, max(1, round(side / 400)))
    if detections.whole_image:
        _draw_list(pen, detections)
    else:
        for i in order:
            _draw_object(pen, detections, i)
    return np.ascontiguousarray(np.asarray(canvas)[..., ::-1])


def class_colour(class_id: int) -> Rgb:
    """Return the RGB colour of a class, the same in every image."""
    red, green, blue = colorsys.hsv_to_rgb(class_id * _GOLDEN_RATIO % 1.0, 0.85, 0.95)
    return round(red * 255), round(green * 255), round(blue * 255)


def text_colour(background: Rgb) -> Rgb:
    """Return black or white, whichever is read more easily on `background` (ITU-R BT.601 luma)."""
    red, green, blue = background
    return _DARK if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else _LIGHT


def _tint(pixels: NDArray[np.uint8], crop: "Crop", colour: Rgb) -> None:
    """Blend a colour into the pixels of a mask."""
    height, width = crop.bitmap.shape
    region = pixels[crop.top : crop.top + height, crop.left : crop.left + width]
    tinted = region[crop.bitmap] * (1 - MASK_OPACITY) + np.array(colour) * MASK_OPACITY
    region[crop.bitmap] = np.rint(tinted).astype(np.uint8)


def _draw_object(pen: _Pen, detections: Detections, i: int) -> None:
    """Draw one object's box, keypoints and label."""
    colour = class_colour(int(detections.class_id[i]))
    left, top, right, bottom = (round(float(v)) for v in detections.xyxy[i])
    if detections.xywhr is not None:
        corners = [(float(x), float(y)) for x, y in detections.data["xyxyxyxy"][i]]
        pen.draw.line([*corners, *corners[:2]], fill=colour, width=pen.thickness, joint="curve")
    else:
        pen.draw.rectangle((left, top, max(left, right), max(top, bottom)), outline=colour, width=pen.thickness)
    if detections.keypoints is not None:
        _draw_keypoints(pen, detections.keypoints[i], colour)
    _draw_label(pen, (left, top), _label(detections, i), colour)


def _draw_keypoints(pen: _Pen, keypoints: NDArray[np.float32], colour: Rgb) -> None:
    """Draw (K, 3) points, and the lines between them where the skeleton is known."""
    points = [(float(x), float(y)) for x, y, _ in keypoints]
    visible = keypoints[:, 2] >= VISIBLE
    for a, b in SKELETONS.get(len(points), ()):
        if visible[a] and visible[b]:
            pen.draw.line([points[a], points[b]], fill=colour, width=pen.thickness)
    radius = pen.thickness + 1
    for (x, y), shown in zip(points, visible, strict=True):
        if shown:
            pen.draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour, outline=text_colour(colour))


def _draw_list(pen: _Pen, detections: Detections) -> None:
    """Write the classes one under the other into the top left corner."""
    y = 0
    for i, class_id in enumerate(detections.class_id.tolist()):
        y += _draw_text(pen, (0, y), _label(detections, i), class_colour(class_id))


def _label(detections: Detections, i: int) -> str:
    return f"{visible(detections.class_name[i], NAME)} {detections.confidence[i]:.2f}"


def _draw_label(pen: _Pen, corner_xy: tuple[int, int], text: str, colour: Rgb) -> None:
    """Write `text` above the corner, or below it where there is no room."""
    x, y = corner_xy
    height = _text_height(pen, text)
    _draw_text(pen, (x, y - height if y >= height else y), text, colour)


def _draw_text(pen: _Pen, corner_xy: tuple[int, int], text: str, colour: Rgb) -> int:
    """Write `text` on a filled ground below and right of the corner, and give the ground's height."""
    x, y = corner_xy
    left, top, right, _ = pen.draw.textbbox((0, 0), text, font=pen.font)
    height = _text_height(pen, text)
    pen.draw.rectangle((x, y, x + round(right - left) + 4, y + height), fill=colour)
    pen.draw.text((x + 2 - left, y + 2 - top), text, fill=text_colour(colour), font=pen.font)
    return height


def _text_height(pen: _Pen, text: str) -> int:
    _, top, _, bottom = pen.draw.textbbox((0, 0), text, font=pen.font)
    return round(bottom - top) + 4
