"""Fit an image into the network's input without distortion, and take boxes back to the image.

Equation, with (h, w) the image and (H, W) the input: r = min(H/h, W/w); the image is resized bilinearly to
(round(h r), round(w r)) and centred on gray 114; an odd pixel of padding goes to the bottom or the right.
This is what YOLO detectors are trained with, so a pixel more or less here is a pixel more or less in every
box.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from y12.errors import InputError
from y12.runtime.preprocess.reduced import Image, ReducedImage, hw_of

PAD_GRAY = 114


@dataclass(frozen=True)
class Letterbox:
    """Where an image lies in the network's input; all in pixels.

    Attributes:
        scale: r, the factor asked for. `resized_hw` is rounded, so that each axis' true factor differs.
        left, top: the padding before the image.
        resized_hw: the image's size in the input.
        input_hw: the network's input.
        image_hw: the original image.
    """

    scale: float
    left: int
    top: int
    resized_hw: tuple[int, int]
    input_hw: tuple[int, int]
    image_hw: tuple[int, int]

    @classmethod
    def fit(cls, image_hw: tuple[int, int], input_hw: tuple[int, int]) -> "Letterbox":
        """Place an image of `image_hw` in an input of `input_hw`; no side becomes smaller than a pixel."""
        (height, width), (input_height, input_width) = image_hw, input_hw
        if min(height, width, input_height, input_width) < 1:
            raise InputError(f"expected an image and an input of 1x1 pixel or more, found {image_hw} and {input_hw}")
        scale = min(input_height / height, input_width / width)
        resized_hw = max(1, round(height * scale)), max(1, round(width * scale))
        return cls(scale, 0, 0, resized_hw, input_hw, image_hw).in_input(input_hw)

    def in_input(self, input_hw: tuple[int, int]) -> "Letterbox":
        """Return the same image, resized as it is, in the middle of another input that holds it."""
        # -0.1: a half goes to the bottom and the right
        top, left = (round((side - own) / 2 - 0.1) for side, own in zip(input_hw, self.resized_hw, strict=True))
        return replace(self, left=left, top=top, input_hw=input_hw)


def letterbox(image: Image, input_hw: tuple[int, int]) -> tuple[NDArray[np.uint8], Letterbox]:
    """Resize and pad an (h, w, 3) image to (H, W, 3), and say where it lies.

    Raises:
        InputError: the image or the input has no pixels.
    """
    frame = Letterbox.fit(hw_of(image), input_hw)
    return padded_image(image, frame), frame


def padded_image(image: Image, frame: Letterbox) -> NDArray[np.uint8]:
    """Resize and pad an image to the input that it lies in."""
    import cv2

    padded = np.full((*frame.input_hw, 3), PAD_GRAY, dtype=np.uint8)
    height, width = frame.resized_hw
    inside = padded[frame.top : frame.top + height, frame.left : frame.left + width]
    if isinstance(image, ReducedImage):
        image.resize_into(inside)
    elif frame.resized_hw == frame.image_hw:
        inside[...] = image
    else:
        cv2.resize(image, (width, height), dst=inside, interpolation=cv2.INTER_LINEAR)
    return padded


def blob_from(images_bgr: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """Stack (H, W, 3) uint8 BGR images into the network's input, (B, 3, H, W) float32 RGB in 0-1.

    Raises:
        InputError: there is no image, or they differ in size.
    """
    import cv2

    shapes = {image.shape for image in images_bgr}
    if len(shapes) != 1:
        raise InputError(f"expected one or more images of one size, found {sorted(shapes) or 'none'}")
    height, width, _ = shapes.pop()
    planes = np.empty((len(images_bgr), 3, height, width), dtype=np.uint8)
    for rgb, image in zip(planes, images_bgr, strict=True):
        cv2.split(image, list(rgb[::-1]))  # BGR -> RGB
    return np.divide(planes, np.float32(255), dtype=np.float32)  # over all at once: once through the memory


def boxes_to_original(xyxy: NDArray[np.float32], frame: Letterbox) -> NDArray[np.float32]:
    """Take (N, 4) boxes from pixels of the network's input to pixels of the original image, clipped to it.

    Each axis is divided by its own true factor, resized / original: dividing both by `scale` would put boxes
    of a 1689x835 image in a 640x640 input off by up to a pixel at the bottom.
    """
    height, width = frame.image_hw
    limit = np.array([width, height], dtype=np.float32)
    points = points_to_original(xyxy.reshape(-1, 2, 2), frame)
    return np.asarray(np.minimum(np.maximum(points, np.float32(0)), limit).reshape(-1, 4), dtype=np.float32)


def points_to_original(xy: NDArray[np.float32], frame: Letterbox) -> NDArray[np.float32]:
    """Take (..., 2) points from pixels of the network's input to pixels of the original image; not clipped."""
    offset, scale = _offset_and_scale(frame)
    return np.asarray((xy - offset) / scale, dtype=np.float32)


@functools.lru_cache(maxsize=64)  # a video's images all lie alike
def _offset_and_scale(frame: Letterbox) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    offset, scale = np.array([frame.left, frame.top], dtype=np.float32), scale_xy(frame).astype(np.float32)
    for array in (offset, scale):
        array.flags.writeable = False
    return offset, scale


def scale_xy(frame: Letterbox) -> NDArray[np.float64]:
    """Return each axis' true factor from the original image to the network's input, (2,)."""
    factors = [resized / full for resized, full in zip(frame.resized_hw, frame.image_hw, strict=True)]
    return np.array(factors[::-1])
