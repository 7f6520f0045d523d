"""A drawn scene: objects that overlap, before a textured background, and the labels of what can be seen of them.

Objects are placed from the front to the back; one of which too little would be seen is not drawn at all, so that
nothing of a class is in the picture without a label. They are painted from the back to the front.
"""

from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from y12.exporter.train.batch import MASK_STRIDE
from y12.exporter.train.scenes.forms import CLASS_NAMES, outline
from y12.exporter.train.scenes.paint import background, fill

Pixel = TypeVar("Pixel", np.uint8, np.bool_)

__all__ = ["SMALLEST_SIDE", "Scene", "draw_scene"]

SMALLEST_SIDE = 64  # of a scene, in pixels: its smallest objects are then 3 pixels and not drawn

_MOST_OBJECTS = 12
_SMALLEST, _LARGEST = 14 / 320, 160 / 320  # of an object, as shares of the image's side
_MIN_VISIBLE = 0.4  # of an object's pixels; less of a circle might be taken for a crescent
_MIN_PIXELS = 6  # of a visible object's box, along each side
_SHIFT = 4  # fractional bits of the coordinates that OpenCV is given


@dataclass(frozen=True)
class Scene:
    """A drawn image and its N objects, from the front to the back.

    Attributes:
        image: (side, side, 3) uint8, RGB.
        labels: (N,) int64, into `CLASS_NAMES`.
        boxes: (N, 4) float32: left, top, right, bottom of the visible pixels.
        masks: (N, side, side) bool, the visible pixels; no two share one.
    """

    image: NDArray[np.uint8]
    labels: NDArray[np.int64]
    boxes: NDArray[np.float32]
    masks: NDArray[np.bool_]


@dataclass(frozen=True)
class _Placed:
    """An object: its class, its contours in pixels, the thickness of its line (0: none) and where it lies."""

    class_id: int
    contours: tuple[NDArray[np.int32], ...]
    line: int
    left: int
    top: int
    cover: NDArray[np.uint8]  # (h, w) of the box at left, top: how much of each pixel it covers, of 255

    def of(self, canvas: NDArray[Pixel]) -> NDArray[Pixel]:
        """Return the canvas' pixels under `cover`."""
        return canvas[self.top : self.top + self.cover.shape[0], self.left : self.left + self.cover.shape[1]]


def draw_scene(seed: int, index: int, side: int = 320) -> Scene:
    """Draw a scene of up to 12 objects, none where a small side has no room; a pure function of its arguments.

    Args:
        seed: 0 or more.
        index: 0 or more, which of the seed's scenes.
        side: of the image, in pixels; a multiple of 4, 64 or more.

    Raises:
        ValueError: the side is none of these.
    """
    if side < SMALLEST_SIDE or side % MASK_STRIDE:
        raise ValueError(f"expected a side of 64 pixels or more, a multiple of {MASK_STRIDE}, found {side}")
    rng = np.random.default_rng([seed, index])
    placed, masks = _place(rng, side)
    image = background(rng, side)
    for one in reversed(placed):
        _paint(rng, image, one)
    image = _photographed(rng, image)
    labels = np.array([one.class_id for one in placed], np.int64)
    boxes = np.array([_box(mask) for mask in masks], np.float32).reshape(-1, 4)  # also of no objects
    return Scene(image, labels, boxes, masks)


def _place(rng: np.random.Generator, side: int) -> tuple[list[_Placed], NDArray[np.bool_]]:
    """Place objects from the front to the back; small ones tend to be in front."""
    wanted = int(rng.integers(1, _MOST_OBJECTS + 1))
    sizes = np.exp(rng.uniform(np.log(_SMALLEST), np.log(_LARGEST), wanted)) * side
    sizes = sizes[np.argsort(sizes * rng.uniform(0.5, 2.0, wanted))]
    free = np.ones((side, side), bool)
    placed: list[_Placed] = []
    masks: list[NDArray[np.bool_]] = []
    for size in sizes:
        for _ in range(4):
            one, whole = _candidate(rng, float(size), side)
            mask = np.zeros((side, side), bool)
            visible = one.of(mask)
            np.logical_and(one.cover >= 128, one.of(free), out=visible)
            seen = int(np.count_nonzero(visible))
            left, top, right, bottom = _box(mask)
            if seen >= _MIN_VISIBLE * whole and min(right - left, bottom - top) >= _MIN_PIXELS:
                placed.append(one)
                masks.append(mask)
                free &= ~mask
                break
    return placed, np.array(masks, bool).reshape(-1, side, side)


def _candidate(rng: np.random.Generator, size: float, side: int) -> tuple[_Placed, int]:
    """Draw an object anywhere; give it and how many pixels it would have if nothing cut it."""
    class_id = int(rng.integers(len(CLASS_NAMES)))
    angle, stretch = rng.uniform(0, 2 * np.pi), rng.uniform(0.85, 1.0)
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.array([[cos, -sin], [sin, cos]]) @ np.diag([1.0, stretch]) * size
    centre = rng.uniform(0.3 * size, side - 0.3 * size, 2)
    line = int(rng.integers(1, max(1, int(size / 25)) + 1)) if rng.random() < 0.35 and size > 24 else 0
    contours = [contour @ turn.T for contour in outline(class_id)]
    reach = max(float(np.abs(contour).max()) for contour in contours) + line + 1
    corner = np.floor(centre - reach).astype(int)
    extent = int(np.ceil(2 * reach)) + 1
    fixed = tuple(np.round((contour + centre - corner) * 2**_SHIFT).astype(np.int32) for contour in contours)
    cover = np.zeros((extent, extent), np.uint8)
    cv2.fillPoly(cover, fixed, 255, cv2.LINE_AA, _SHIFT)
    if line:
        cv2.polylines(cover, fixed, True, 255, line, cv2.LINE_AA, _SHIFT)
    low, high = np.maximum(-corner, 0), np.minimum(side - corner, extent)
    inside = cover[low[1] : high[1], low[0] : high[0]]
    moved = tuple(contour - (low * 2**_SHIFT).astype(np.int32) for contour in fixed)
    left, top = (corner + low).tolist()
    return _Placed(class_id, moved, line, left, top, inside), int(np.count_nonzero(cover >= 128))


def _paint(rng: np.random.Generator, image: NDArray[np.uint8], one: _Placed) -> None:
    """Paint an object over the image, in place, in a colour that differs from what it covers."""
    under = one.of(image)
    behind = np.array(cv2.mean(under, one.cover)[:3], np.float64)
    patch = fill(rng, one.cover.shape, behind)
    if one.line:
        colour = rng.uniform(0, 255, 3).tolist()
        cv2.polylines(patch, one.contours, True, colour, one.line, cv2.LINE_AA, _SHIFT)
    alpha = one.cover[:, :, None].astype(np.uint16)
    under[...] = (under * (255 - alpha) + patch * alpha + 127) // 255


def _photographed(rng: np.random.Generator, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Blur a little, now and then, and add grain."""
    if rng.random() < 0.3:
        image = np.asarray(cv2.GaussianBlur(image, (3, 3), rng.uniform(0.3, 0.9)), np.uint8)
    grain = np.frombuffer(rng.bytes(image.size), np.uint8).reshape(image.shape)
    return np.asarray(cv2.addWeighted(image, 1.0, grain, share := rng.uniform(0, 0.08), -127.5 * share), np.uint8)


def _box(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Return left, top, right, bottom of the pixels set in a mask (H, W); zeros where none is."""
    left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
    return left, top, left + width, top + height
