"""masks.cu in numpy, operation by operation: the same places, and the same words, bit for bit.

`results.masks` computes positions in float64 and sums by matrix products; here positions are whole numbers over whole
numbers, and sums have one order. A bit differs only where the logit is within the rounding of float32 of 0.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from y12.runtime.kernels.masks_layout import MASK_HEADER, MASK_PLACE
from y12.runtime.preprocess.letterbox import Letterbox, boxes_to_original

__all__ = ["Drawn", "drawn", "logits_of", "mask_words", "placed"]

TILE_HW = (32, 128)


@dataclass(frozen=True)
class Drawn:
    """The masks of one image.

    Attributes:
        words: (W,), as many as fit into the arena.
        nonfinite: a logit within a box that fits is NaN or infinite.
    """

    words: NDArray[np.uint32]
    nonfinite: bool


def mask_words(height: int, width: int) -> int:
    """Return the words that a mask of so many pixels takes: each of its rows begins a word."""
    return height * -(-width // 32)


def placed(
    xyxy: NDArray[np.float32], anchors: NDArray[np.int32], frame: Letterbox, arena_words: int
) -> tuple[NDArray[np.void], NDArray[np.void]]:
    """Return what `mask_place` writes of one image.

    Args:
        xyxy: (N, 4) boxes in pixels of the network's input.
        anchors: (N,), where in the network's output they are.
        frame: where the image lies in it.
        arena_words: room for the image's masks.

    Returns:
        (N,) of MASK_PLACE, and (1,) of MASK_HEADER.
    """
    with np.errstate(over="ignore"):  # a box far outside: clipped
        edges = np.ceil(boxes_to_original(xyxy, frame) - np.float32(0.5)).astype(np.int32)
    places, header = np.zeros(len(xyxy), MASK_PLACE), np.zeros(1, MASK_HEADER)
    words = tiles = 0
    for i, (left, top, right, bottom) in enumerate(edges.tolist()):
        width, height = max(right - left, 0), max(bottom - top, 0)
        places[i] = (left, top, width, height, words, tiles, anchors[i])
        words += mask_words(height, width)
        if words <= arena_words:
            tiles += -(-height // TILE_HW[0]) * -(-width // TILE_HW[1])
    header["words"], header["tiles"], header["overflow"] = words, tiles, words > arena_words
    return places, header


def drawn(
    places: NDArray[np.void],
    coefficients: NDArray[np.float32],
    prototypes: NDArray[np.float32],
    frame: Letterbox,
    arena_words: int,
) -> Drawn:
    """Return what `mask_draw` writes of one image: of places (N,), coefficients (N, M), prototypes (M, Hp, Wp)."""
    pieces, nonfinite = [np.empty(0, np.uint32)], False
    for place, own in zip(places, coefficients, strict=True):
        left, top, width, height = (int(place[name]) for name in ("left", "top", "width", "height"))
        if int(place["offset"]) + mask_words(height, width) > arena_words:
            break  # so are all that follow behind the arena's end
        if mask_words(height, width) == 0:
            continue
        logits = logits_of(own, prototypes, frame, (top, left, height, width))
        finite = np.isfinite(logits)
        nonfinite |= not finite.all()
        bits = np.zeros((height, -(-width // 32) * 32), np.bool_)
        bits[:, :width] = finite & (logits > 0)
        pieces.append(np.packbits(bits, axis=1, bitorder="little").reshape(-1).view("<u4"))
    return Drawn(np.concatenate(pieces), bool(nonfinite))


def logits_of(
    coefficients: NDArray[np.float32],
    prototypes: NDArray[np.float32],
    frame: Letterbox,
    area: tuple[int, int, int, int],
) -> NDArray[np.float32]:
    """Return the logits (h, w) at the pixels of an area of the image: its first row and column, h, w."""
    top, left, height, width = area
    (upper, lower, down), (before, after, across) = (
        _taps(axis, np.arange(start, start + size), frame, prototypes.shape[1 + axis])
        for axis, start, size in ((0, top, height), (1, left, width))
    )
    region = prototypes[:, upper[0] : lower[-1] + 1, before[0] : after[-1] + 1]
    with np.errstate(all="ignore"):  # what is not finite is told of
        values = coefficients[0] * region[0]
        for coefficient, prototype in zip(coefficients[1:], region[1:], strict=True):
            values = values + coefficient * prototype
        tall = _between(values[upper - upper[0]], values[lower - upper[0]], down[:, None])
        return _between(tall[:, before - before[0]], tall[:, after - before[0]], across)


def _taps(
    axis: int, pixels: NDArray[np.int64], frame: Letterbox, size: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Return for each pixel of an axis (0: y, 1: x) two prototype pixels and the second's weight, each (n,)."""
    image, resized, input_size = frame.image_hw[axis], frame.resized_hw[axis], frame.input_hw[axis]
    offset = (frame.top, frame.left)[axis]
    whole = 2 * image * input_size
    position = ((2 * pixels + 1) * resized + 2 * image * offset) * size - image * input_size
    position = np.clip(position, 0, (size - 1) * whole)  # in 1 / whole prototype pixels
    low = position // whole
    weight = (position - low * whole).astype(np.float32) / np.float32(whole)
    return low, np.minimum(low + 1, size - 1), weight


def _between(one: NDArray[np.float32], other: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(one + (other - one) * weight)
