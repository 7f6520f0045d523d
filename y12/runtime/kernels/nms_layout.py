"""What the NMS kernels read and write in device memory, and how they are launched. See nms.cu."""

import functools

import numpy as np
from numpy.typing import NDArray

from y12.errors import InputError
from y12.runtime.kernels.layout import MAX_CANDIDATES, SELECT_HEADER

__all__ = [
    "KEEP_THREADS",
    "OPTIONS",
    "TILE",
    "distance_limit",
    "mask_grid",
    "nms_options",
    "result_dtype",
    "tiles_of",
]

TILE = 64  # candidates a word of the mask; threads of a mask block
KEEP_THREADS = 512
_NO_DISTANCE_LEFT = 64.0  # a Bhattacharyya distance whose overlap is 0 in float64

# `NmsOptions` of nms.cu
OPTIONS = np.dtype([("iou", "<f8"), ("distance", "<f8"), ("max_det", "<i4"), ("agnostic", "<i4")])


def nms_options(iou: float, max_det: int, agnostic: bool = False) -> NDArray[np.void]:
    """Return the struct that the kernels read their thresholds from, (1,) of `OPTIONS`.

    Args:
        iou: boxes that overlap by more than this are suppressed, 0-1.
        max_det: the most boxes to keep of an image.
        agnostic: treat all boxes as one class.
    """
    return np.array([(iou, distance_limit(iou), max_det, agnostic)], OPTIONS)


@functools.lru_cache(maxsize=256)  # found in half a millisecond, and asked for with the same few thresholds
def distance_limit(iou: float) -> float:
    """Return the Bhattacharyya distance below which two oriented boxes overlap by more than `iou`.

    The least float64 whose overlap 1 - sqrt(1 - exp(-distance)) (arXiv 2106.06072), rounded as `results.oriented`
    rounds it, is not above `iou`: so comparing distances decides as comparing overlaps does, and spares the kernel the
    exponential and the root. Found by halving over the float64 bit patterns, which are in the order of the numbers.
    """
    low, high = np.array([0.0, _NO_DISTANCE_LEFT]).view(np.int64).tolist()
    while low < high:
        middle = (low + high) // 2
        distance = np.array([middle]).view(np.float64)
        if (1 - np.sqrt(-np.expm1(-distance)))[0] > iou:
            low = middle + 1
        else:
            high = middle
    return float(np.array([low]).view(np.float64)[0])


def result_dtype(room: int, box_values: int) -> np.dtype[np.void]:
    """Return what `nms_keep` writes for one image: its header, and `room` rows, those beyond the count 0.

    The header is `SELECT_HEADER`, its count now of the rows that are kept. A row's `box` is x1 y1 x2 y2, or of oriented
    boxes x y w h angle. The whole block of a batch is one download.

    Args:
        room: the most rows.
        box_values: 4 or 5.
    """
    row = np.dtype([("box", "<f4", box_values), ("score", "<f4"), ("class_id", "<i4"), ("anchor", "<i4")])
    return np.dtype([("header", SELECT_HEADER), ("rows", row, room)])


def tiles_of(capacity: int) -> int:
    """Return the words of a mask row for images of up to `capacity` candidates.

    Raises:
        InputError: the capacity is not 1 to MAX_CANDIDATES.
    """
    if not 1 <= capacity <= MAX_CANDIDATES:
        raise InputError(f"NMS on the GPU: expected room for 1 to {MAX_CANDIDATES} candidates, found {capacity}")
    return -(-capacity // TILE)


def mask_grid(batch: int, capacity: int) -> tuple[int, int, int]:
    """Return the grid of `nms_mask` and `rotated_mask`: column tiles, row tiles, images.

    Raises:
        InputError: the capacity is not 1 to MAX_CANDIDATES.
    """
    return tiles_of(capacity), tiles_of(capacity), batch
