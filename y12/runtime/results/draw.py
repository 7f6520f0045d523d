"""An image with its detections drawn in: masks, boxes, skeletons and labels, or a classifier's list.

Masks, boxes and skeletons are drawn by supervision where it is installed, else here, in the same colours. Labels are
y12's in both cases: supervision 0.31 has one font for all of a picture's labels, and of twelve crowded ones its smart
positions leave three or four pairs over each other.
"""

from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from y12.runtime.results.labels import draw_labels
from y12.runtime.results.objects import Objects
from y12.runtime.results.oriented import corners_from_xywhr
from y12.runtime.results.style import (
    MASK_OPACITY,
    VISIBLE,
    Rgb,
    class_colour,
    edges_by_colour,
    side_colour,
    text_colour,
    thickness_for,
)

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

    from y12.runtime.results.masks import Crop

__all__ = ["annotated"]


def annotated(image_bgr: NDArray[np.uint8], found: Objects) -> NDArray[np.uint8]:
    """Return a copy of an (H, W, 3) image with all that was found in it; the best object is on top."""
    from PIL import Image, ImageDraw

    drawn = image_bgr
    if not found.whole_image and len(found):
        if find_spec("supervision") is not None:
            from y12.runtime.results.draw_supervision import drawn_by_supervision

            drawn = drawn_by_supervision(image_bgr, found)
        else:
            drawn = drawn_plainly(image_bgr, found)
    canvas = Image.fromarray(np.array(drawn[..., ::-1], order="C"))  # RGB, a copy
    draw_labels(ImageDraw.Draw(canvas), found)
    return np.ascontiguousarray(np.asarray(canvas)[..., ::-1])


def drawn_plainly(image_bgr: NDArray[np.uint8], found: Objects) -> NDArray[np.uint8]:
    """Return a copy of an (H, W, 3) image with the objects' masks, boxes and skeletons, drawn without supervision."""
    from PIL import Image, ImageDraw

    pixels = np.array(image_bgr[..., ::-1], order="C")
    rows = range(len(found) - 1, -1, -1)
    if found.masks is not None:
        crops = found.masks.crops
        for i in rows:
            _tint(pixels, crops[i], class_colour(int(found.class_id[i])))
    canvas = Image.fromarray(pixels)
    draw, thickness = ImageDraw.Draw(canvas), thickness_for(max(canvas.size))
    for i in rows:
        _draw_object(draw, found, i, thickness)
    return np.ascontiguousarray(np.asarray(canvas)[..., ::-1])


def _tint(pixels: NDArray[np.uint8], crop: "Crop", colour: Rgb) -> None:
    """Blend a colour into the pixels of a mask."""
    height, width = crop.bitmap.shape
    region = pixels[crop.top : crop.top + height, crop.left : crop.left + width]
    tinted = region[crop.bitmap] * (1 - MASK_OPACITY) + np.array(colour) * MASK_OPACITY
    region[crop.bitmap] = np.rint(tinted).astype(np.uint8)


def _draw_object(draw: "ImageDraw", found: Objects, i: int, thickness: int) -> None:
    """Draw one object's box and keypoints."""
    colour = class_colour(int(found.class_id[i]))
    left, top, right, bottom = (round(float(v)) for v in found.xyxy[i])
    if found.xywhr is not None:
        corners = [(float(x), float(y)) for x, y in corners_from_xywhr(found.xywhr[i : i + 1])[0]]
        draw.line([*corners, *corners[:2]], fill=colour, width=thickness, joint="curve")
    else:
        draw.rectangle((left, top, max(left, right), max(top, bottom)), outline=colour, width=thickness)
    if found.keypoints is not None:
        _draw_keypoints(draw, found.keypoints[i], colour, thickness)


def _draw_keypoints(draw: "ImageDraw", keypoints: NDArray[np.float32], middle: Rgb, thickness: int) -> None:
    """Draw (K, 3) points, and the lines between them where the skeleton is known, each side in its colour."""
    points = [(float(x), float(y)) for x, y, _ in keypoints]
    visible = keypoints[:, 2] >= VISIBLE
    for colour, edges in edges_by_colour(len(points), middle).items():
        for a, b in edges:
            if visible[a] and visible[b]:
                draw.line([points[a], points[b]], fill=colour, width=thickness)
    radius = thickness + 1
    for number, (x, y) in enumerate(points):
        if visible[number]:
            colour = side_colour((number,), len(points), middle)
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour, outline=text_colour(colour))
