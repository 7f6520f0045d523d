"""What the host and the kernels share: structs in device memory, and how many blocks of threads are launched."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from y12.errors import InputError
from y12.runtime.options import DetectOptions
from y12.runtime.preprocess.letterbox import Letterbox

__all__ = [
    "GATHER_BLOCK",
    "LETTERBOX_BLOCK",
    "LETTERBOX_IMAGE",
    "MAX_CANDIDATES",
    "MAX_LEVELS",
    "SELECT_BEST_BLOCK",
    "SELECT_COUNTERS",
    "SELECT_HEADER",
    "SELECT_PLAN",
    "SELECT_SCAN_BLOCK",
    "WIDEN_BLOCK",
    "SelectShape",
    "gather_grid",
    "letterbox_grid",
    "letterbox_images",
    "select_plan",
    "select_scan_grid",
    "wanted_classes",
    "widen_grid",
]

MAX_SIDE_PX = 32_767  # letterbox.cu computes with 2 * side * side in 32 bits
MAX_CANDIDATES = 4096  # that select.cu sorts: 32 KiB of keys in shared memory
MAX_LEVELS = 8  # of heatmaps, in a plan of select.cu

LETTERBOX_BLOCK = (32, 8)
SELECT_SCAN_BLOCK = (32, 8)
SELECT_BEST_BLOCK = (1024,)  # its grid is (B,)
GATHER_BLOCK = (256,)
WIDEN_BLOCK = (256,)
MAX_WIDEN_BLOCKS = 2048  # enough to fill any GPU

LETTERBOX_IMAGE = np.dtype(
    [
        ("data", np.uint64),  # device address of (h, w, 3) BGR bytes
        *[(name, np.int32) for name in ("height", "width", "pitch", "left", "top", "resized_height", "resized_width")],
        ("unused", np.int32),
    ]
)
_PLAN_SIZES = ("anchors", "classes", "box_stride", "score_stride", "limit", "capacity", "levels")
SELECT_PLAN = np.dtype(
    [
        ("conf", np.float32),
        ("multi_label", np.int32),
        *[(name, np.int32) for name in _PLAN_SIZES],
        *[(name, np.int32, MAX_LEVELS) for name in ("heights", "widths", "starts")],
    ]
)
SELECT_COUNTERS = np.dtype([("candidates", np.uint32), ("nonfinite", np.uint32)])
SELECT_HEADER = np.dtype([(name, np.int32) for name in ("count", "candidates", "truncated", "nonfinite")])


@dataclass(frozen=True)
class SelectShape:
    """How boxes (4, A) and scores (nc, A) of a batch lie in memory: in rows of one output, or in outputs of their own.

    Attributes:
        anchors: A.
        classes: nc.
        box_stride: floats from the boxes of an image to those of the next; objectness and angles go with them.
        score_stride: the same, of scores.
        oriented: there are angles.
        levels_hw: height and width in cells of each level's heatmap, in which only peaks are scores; else None.

    Raises:
        InputError: images overlap, A * nc or a stride does not fit into 32 bits, or the levels are not the anchors.
    """

    anchors: int
    classes: int
    box_stride: int
    score_stride: int
    oriented: bool = False
    levels_hw: tuple[tuple[int, int], ...] | None = None

    def __post_init__(self) -> None:
        if min(self.anchors, self.classes) < 1:
            raise InputError(f"expected an anchor and a class or more, found {self}")
        needed = ("box_stride", 4 * self.anchors), ("score_stride", self.classes * self.anchors)
        for name, least in needed:
            if not least <= getattr(self, name) < 2**31:
                raise InputError(f"{name}: expected {least} floats or more, below 2^31, found {getattr(self, name)}")
        if self.levels_hw is not None:
            _check_levels(self.levels_hw, self.anchors)

    @property
    def box_size(self) -> int:
        """Numbers of a box: 4 corners; or 5, centre, size and angle."""
        return 5 if self.oriented else 4

    def capacity(self, multi_label: bool) -> int:
        """Return the most candidates an image can have."""
        return self.anchors * self.classes if multi_label else self.anchors


def _check_levels(levels_hw: tuple[tuple[int, int], ...], anchors: int) -> None:
    if not 1 <= len(levels_hw) <= MAX_LEVELS or min(min(hw) for hw in levels_hw) < 1:
        raise InputError(f"levels_hw: expected 1 to {MAX_LEVELS} levels of a cell or more, found {levels_hw}")
    if sum(h * w for h, w in levels_hw) != anchors:
        raise InputError(f"levels_hw: expected {anchors} cells, one for each anchor, found {levels_hw}")


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
    """Return the blocks for an output (B, 3, H, W): a thread has 4 pixels of a row."""
    across, down = LETTERBOX_BLOCK
    return -(-input_hw[1] // (4 * across)), -(-input_hw[0] // down), batch


def select_scan_grid(anchors: int, batch: int) -> tuple[int, int]:
    """Return the blocks that look at the scores, (B, nc, A)."""
    return -(-anchors // SELECT_SCAN_BLOCK[0]), batch


def select_plan(shape: SelectShape, options: DetectOptions, limit: int, capacity: int) -> NDArray[np.void]:
    """Write the plan of select.cu, (1,) of SELECT_PLAN.

    Args:
        shape: of what the network gives.
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
    plan = np.zeros(1, SELECT_PLAN)
    plan["conf"], plan["multi_label"], plan["limit"], plan["capacity"] = (
        options.conf,
        options.multi_label,
        limit,
        capacity,
    )
    for name in ("anchors", "classes", "box_stride", "score_stride"):
        plan[name] = getattr(shape, name)
    if shape.levels_hw is not None:
        levels, (heights, widths) = len(shape.levels_hw), np.array(shape.levels_hw, np.int32).T
        plan["levels"] = levels
        plan["heights"][0, :levels], plan["widths"][0, :levels] = heights, widths
        plan["starts"][0, :levels] = np.cumsum(heights * widths) - heights * widths
    return plan


def wanted_classes(options: DetectOptions, class_count: int) -> NDArray[np.uint32]:
    """Return one bit a class, set where it is asked for: (ceil(nc / 32),), the lowest bit first."""
    bits = np.zeros(-(-class_count // 32) * 32, np.bool_)
    bits[:class_count] = options.classes is None
    if options.classes is not None:
        options.check_classes(class_count)
        bits[list(options.classes)] = True
    return np.packbits(bits, bitorder="little").view("<u4").astype(np.uint32)


def gather_grid(values: int, room: int, batch: int) -> tuple[int, int]:
    """Return the blocks of `gather`, which writes (B, room, values)."""
    return max(1, -(-values * room // GATHER_BLOCK[0])), batch


def widen_grid(count: int) -> tuple[int]:
    """Return the blocks of `widen` for `count` values: a thread has 8, and more from so many blocks on."""
    return (min(max(1, -(-count // (8 * WIDEN_BLOCK[0]))), MAX_WIDEN_BLOCKS),)
