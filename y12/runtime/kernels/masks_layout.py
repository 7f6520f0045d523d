"""What the mask kernels read and write in device memory, and how they are launched. See masks.cu."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from y12.errors import InputError
from y12.runtime.kernels.layout import MAX_CANDIDATES, MAX_SIDE_PX

__all__ = [
    "DRAW_BLOCK",
    "MASK_HEADER",
    "MASK_PLACE",
    "MASK_PLAN",
    "MAX_COEFFICIENTS",
    "PLACE_BLOCK",
    "MaskShape",
    "mask_draw_grid",
    "mask_plan",
]

MAX_COEFFICIENTS = 128
PLACE_BLOCK = (256,)  # of `mask_place`; its grid is (B,)
DRAW_BLOCK = (256,)
DRAW_BLOCKS = 512  # of a batch: they take tile after tile, and fill any GPU

MASK_PLAN = np.dtype(
    [
        ("coefficient_stride", np.int64),
        ("arena_words", np.int64),
        *[(name, np.int32) for name in ("anchors", "coefficients", "proto_height", "proto_width")],
        *[(name, np.int32) for name in ("input_height", "input_width", "room", "unused")],
    ]
)
MASK_PLACE = np.dtype(
    [
        *[(name, np.int32) for name in ("left", "top", "width", "height")],  # pixels of the original image
        ("offset", np.int64),  # of the mask's first word among those of its image
        ("first_tile", np.int32),
        ("anchor", np.int32),
    ]
)
MASK_HEADER = np.dtype([("words", np.int64), ("tiles", np.int32), ("overflow", np.int32)])


@dataclass(frozen=True)
class MaskShape:
    """What the network gives, and how much of it was kept.

    Attributes:
        anchors: A, floats from one coefficient of an anchor to the next.
        coefficient_stride: floats from the coefficients of an image to those of the next.
        protos_mhw: M, Hp, Wp: of the prototypes of an image.
        input_hw: height and width of the network's input, in pixels.
        room: rows an image has in the result of NMS.

    Raises:
        InputError: a size is out of the range that the kernels can compute with, or images overlap.
    """

    anchors: int
    coefficient_stride: int
    protos_mhw: tuple[int, int, int]
    input_hw: tuple[int, int]
    room: int

    def __post_init__(self) -> None:
        ranges = {
            "prototypes": (self.protos_mhw[:1], MAX_COEFFICIENTS),
            "pixels a side": ((*self.protos_mhw[1:], *self.input_hw), MAX_SIDE_PX),
            "rows": ((self.room,), MAX_CANDIDATES),
            "anchors": ((self.anchors,), 2**31 - 1),
        }
        for name, (sizes, most) in ranges.items():
            if not 1 <= min(sizes) <= max(sizes) <= most:
                raise InputError(f"masks on the GPU: expected 1 to {most} {name}, found {', '.join(map(str, sizes))}")
        least = self.protos_mhw[0] * self.anchors
        if self.coefficient_stride < least:
            raise InputError(f"coefficient_stride: expected {least} floats or more, found {self.coefficient_stride}")


def mask_plan(shape: MaskShape, arena_words: int) -> NDArray[np.void]:
    """Write the plan of masks.cu, (1,) of MASK_PLAN.

    Args:
        shape: of what the kernels read.
        arena_words: words of 32 bits an image has for its masks.

    Raises:
        InputError: there is no room for a word.
    """
    if arena_words < 1:
        raise InputError(f"arena_words: expected 1 or more, found {arena_words}")
    sizes = (shape.anchors, *shape.protos_mhw, *shape.input_hw, shape.room, 0)
    return np.array([(shape.coefficient_stride, arena_words, *sizes)], MASK_PLAN)


def mask_draw_grid(batch: int) -> tuple[int, int]:
    """Return the blocks of `mask_draw`: as many for each image."""
    return max(1, DRAW_BLOCKS // batch), batch
