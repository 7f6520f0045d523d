"""What the host and the kernels share: structs in device memory, and how many blocks of threads are launched."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.errors import InputError
from runtime.letterbox import Letterbox
from runtime.options import DetectOptions

__all__ = [
    "LETTERBOX_BLOCK",
    "LETTERBOX_IMAGE",
    "MAX_CANDIDATES",
    "SELECT_BEST_BLOCK",
    "SELECT_COUNTERS",
    "SELECT_HEADER",
    "SELECT_PLAN",
    "SELECT_SCAN_BLOCK",
    "SelectShape",
    "letterbox_grid",
    "letterbox_images",
    "select_plan",
    "select_scan_grid",
    "wanted_classes",
]

MAX_SIDE_PX = 32_767  # letterbox.cu computes with 2 * side * side in 32 bits
MAX_CANDIDATES = 4096  # that select.cu sorts: 32 KiB of keys in shared memory

LETTERBOX_BLOCK = (32, 8)
SELECT_SCAN_BLOCK = (32, 8)
SELECT_BEST_BLOCK = (1024,)  # its grid is (B,)

LETTERBOX_IMAGE = np.dtype(
    [
        ("data", np.uint64),  # device address of (h, w, 3) BGR bytes
        *[(name, np.int32) for name in ("height", "width", "pitch", "left", "top", "resized_height", "resized_width")],
        ("unused", np.int32),
    ]
)
_PLAN_SIZES = ("anchors", "classes", "rows", "objectness", "angle_row", "limit", "capacity")
SELECT_PLAN = np.dtype([("conf", np.float32), ("multi_label", np.int32), *[(name, np.int32) for name in _PLAN_SIZES]])
SELECT_COUNTERS = np.dtype([("found", np.uint32), ("nonfinite", np.uint32)])
SELECT_HEADER = np.dtype([(name, np.int32) for name in ("count", "found", "truncated", "nonfinite")])


@dataclass(frozen=True)
class SelectShape:
    """How an output (rows, A) is laid out: x, y, w, h, objectness if any, class scores, other rows.

    Attributes:
        anchors: A.
        classes: nc.
        rows: all of them.
        objectness: the fifth row multiplies all scores.
        angle_row: the row of angles in radians, of oriented boxes; else None.

    Raises:
        InputError: the rows do not suffice, or A * nc does not fit into a key's 32 bits.
    """

    anchors: int
    classes: int
    rows: int
    objectness: bool = False
    angle_row: int | None = None

    def __post_init__(self) -> None:
        needed = 4 + self.objectness + self.classes
        if min(self.anchors, self.classes) < 1 or self.rows < needed:
            raise InputError(f"expected an anchor, a class and {needed} rows or more, found {self}")
        if self.angle_row is not None and not needed <= self.angle_row < self.rows:
            raise InputError(f"angle_row: expected a row from {needed} to {self.rows - 1}, found {self.angle_row}")
        if self.anchors * self.classes >= 2**31:
            raise InputError(f"expected fewer than 2^31 scores, found {self.anchors * self.classes}")

    @property
    def box_size(self) -> int:
        """Numbers of a box: 4 corners; or 5, centre, size and angle."""
        return 4 if self.angle_row is None else 5

    def capacity(self, multi_label: bool) -> int:
        """Give the most candidates an image can have."""
        return self.anchors * self.classes if multi_label else self.anchors


def letterbox_images(addresses: Sequence[int], pitches: Sequence[int], frames: Sequence[Letterbox]) -> NDArray[np.void]:
    """Describe B images for the letterbox kernels: (B,) of LETTERBOX_IMAGE.

    Args:
        addresses: of (h, w, 3) BGR bytes in device memory.
        pitches: bytes from one row to the next.
        frames: where they lie in the input.

    Raises:
        InputError: a side is longer than the kernel can compute with, or a row than its pitch.
    """
    images = np.zeros(len(frames), LETTERBOX_IMAGE)
    for i, (address, pitch, frame) in enumerate(zip(addresses, pitches, frames, strict=True)):
        height, width = frame.image_hw
        if max(*frame.image_hw, *frame.input_hw) > MAX_SIDE_PX:
            raise InputError(
                f"expected an image and an input of {MAX_SIDE_PX} pixels a side or less, found {frame.image_hw} and "
                f"{frame.input_hw}: make it smaller"
            )
        if pitch < 3 * width:
            raise InputError(f"expected {3 * width} bytes or more from row to row of a {width} px image, found {pitch}")
        images[i] = (address, height, width, pitch, frame.left, frame.top, *frame.resized_hw, 0)
    return images


def letterbox_grid(input_hw: tuple[int, int], batch: int) -> tuple[int, int, int]:
    """Give the blocks for an output (B, 3, H, W): a thread has 4 pixels of a row."""
    across, down = LETTERBOX_BLOCK
    return -(-input_hw[1] // (4 * across)), -(-input_hw[0] // down), batch


def select_scan_grid(anchors: int, batch: int) -> tuple[int, int]:
    """Give the blocks that look at (B, rows, A)."""
    return -(-anchors // SELECT_SCAN_BLOCK[0]), batch


def select_plan(shape: SelectShape, options: DetectOptions, limit: int, capacity: int) -> NDArray[np.void]:
    """Write the plan of select.cu, (1,) of SELECT_PLAN.

    Args:
        shape: of the output.
        options: `conf` and `multi_label` are taken.
        limit: the most candidates an image gives.
        capacity: places an image has in the keys.

    Raises:
        InputError: `limit` is not 1 to MAX_CANDIDATES, or `capacity` less than an image may have.
    """
    if not 1 <= limit <= MAX_CANDIDATES:
        raise InputError(f"limit: expected 1 to {MAX_CANDIDATES} candidates, found {limit}")
    needed = shape.capacity(options.multi_label)
    if capacity < needed:
        raise InputError(f"capacity: expected {needed} places for keys or more, found {capacity}")
    angle_row = -1 if shape.angle_row is None else shape.angle_row
    sizes = (shape.anchors, shape.classes, shape.rows, int(shape.objectness), angle_row, limit, capacity)
    return np.array([(options.conf, int(options.multi_label), *sizes)], SELECT_PLAN)


def wanted_classes(options: DetectOptions, class_count: int) -> NDArray[np.uint32]:
    """Give one bit a class, set where it is asked for: (ceil(nc / 32),), the lowest bit first."""
    bits = np.zeros(-(-class_count // 32) * 32, np.bool_)
    bits[:class_count] = options.classes is None
    if options.classes is not None:
        options.check_classes(class_count)
        bits[list(options.classes)] = True
    return np.packbits(bits, bitorder="little").view("<u4").astype(np.uint32)
