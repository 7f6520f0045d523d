"""nms.cu in numpy: the same masks, bit by bit, and the same result block, byte by byte."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from y12.runtime.kernels.nms_layout import TILE, result_dtype, tiles_of
from y12.runtime.results.oriented import MIN_SIDE

__all__ = ["Candidates", "keep_twin", "mask_twin", "nms_twin", "oriented_overlaps", "upright_overlaps"]

_SLACK = np.float32(2.0**-19)  # of float32's decision on an IoU: derived in nms.cu
_FLOOR = np.float32(2.0**-100)


@dataclass(frozen=True)
class Candidates:
    """What select.cu leaves of B images: each `count` candidates by falling score, in room for K.

    Attributes:
        boxes: (B, K, 4) x1 y1 x2 y2, or (B, K, 5) x y w h angle, float32.
        scores: (B, K) float32.
        class_ids: (B, K) int32.
        anchors: (B, K) int32.
        headers: (B,) of `SELECT_HEADER`.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    class_ids: NDArray[np.int32]
    anchors: NDArray[np.int32]
    headers: NDArray[np.void]

    @property
    def capacity(self) -> int:
        """K."""
        return int(self.boxes.shape[1])


def nms_twin(candidates: Candidates, options: NDArray[np.void], room: int) -> NDArray[np.void]:
    """Return what the two launches leave, (B,) of `result_dtype(room, 4 or 5)`."""
    mask, dead = mask_twin(candidates, options)
    return keep_twin(candidates, options, mask, dead, room)


def mask_twin(candidates: Candidates, options: NDArray[np.void]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Return what `nms_mask` or, for boxes of five values, `rotated_mask` writes; words it does not write are 0.

    Returns:
        (B, K, W) words: bit j of word w of row i says that i would suppress candidate 64 w + j, which comes later.
        (B, W) words: which candidates are not finite.
    """
    batch, capacity, box_values = candidates.boxes.shape
    words = tiles_of(capacity)
    mask = np.zeros((batch, capacity, words), np.uint64)
    dead = np.zeros((batch, words), np.uint64)
    overlaps = upright_overlaps if box_values == 4 else oriented_overlaps
    for image in range(batch):
        count = _bounded_count(candidates, image)
        boxes, scores = candidates.boxes[image, :count], candidates.scores[image, :count]
        class_ids = candidates.class_ids[image, :count]
        finite = np.isfinite(boxes).all(axis=1) & np.isfinite(scores)
        dead[image, : -(-count // TILE)] = _words(~finite[None])[0]
        for start in range(0, count, TILE):  # as many rows at a time as a block has: the memory stays small
            rows = np.arange(start, min(start + TILE, count))
            related = (class_ids[rows, None] == class_ids[start:]) | bool(options["agnostic"][0])
            related &= np.arange(start, count) > rows[:, None]
            bits = np.zeros(related.shape, np.bool_)
            row, column = np.nonzero(related)
            bits[row, column] = overlaps(boxes[start + row], boxes[start + column], options)
            mask[image, rows, start // TILE : -(-count // TILE)] = _words(bits)
    return mask, dead


def keep_twin(
    candidates: Candidates,
    options: NDArray[np.void],
    mask: NDArray[np.uint64],
    dead: NDArray[np.uint64],
    room: int,
) -> NDArray[np.void]:
    """Return what `nms_keep` writes, (B,) of `result_dtype(room, 4 or 5)`."""
    result = np.zeros(len(candidates.boxes), result_dtype(room, candidates.boxes.shape[2]))
    wanted = min(int(options["max_det"][0]), room)
    for image in range(len(result)):
        removed = dead[image].copy()
        kept: list[int] = []
        for place in range(_bounded_count(candidates, image)):
            if len(kept) >= wanted:
                break
            if not int(removed[place // TILE]) >> place % TILE & 1:
                kept.append(place)
                removed |= mask[image, place]
        rows = result["rows"][image, : len(kept)]
        rows["box"], rows["score"] = candidates.boxes[image, kept], candidates.scores[image, kept]
        rows["class_id"], rows["anchor"] = candidates.class_ids[image, kept], candidates.anchors[image, kept]
        header = result["header"][image : image + 1]
        header[:] = candidates.headers[image]
        header["count"], header["nonfinite"] = len(kept), bool(header["nonfinite"][0]) or bool(dead[image].any())
    return result


def upright_overlaps(
    one: NDArray[np.float32], other: NDArray[np.float32], options: NDArray[np.void]
) -> NDArray[np.bool_]:
    """Return which pairs of boxes (..., 4) have an IoU above the threshold, as float64 decides: (...).

    Float32 decides where it cannot be wrong, float64 the rest.
    """
    iou = np.float64(options["iou"][0])
    with np.errstate(all="ignore"):  # what overflows is decided in float64
        intersection, areas, meets = _meeting(one, other)
        least = np.float32(iou) * (areas - intersection)
        excess = intersection - least
        sure = np.abs(excess) > _SLACK * (intersection + least) + _FLOOR
    sure &= bool(np.float32(iou) >= np.finfo(np.float32).tiny or iou == 0)
    result = np.asarray(meets & (excess > 0))
    unsure = np.nonzero(meets & ~sure)
    one, other = np.broadcast_arrays(one, other)
    with np.errstate(invalid="ignore"):  # a candidate that is not finite is compared, and left out later
        close, areas, _ = _meeting(one[unsure].astype(np.float64), other[unsure].astype(np.float64))
        result[unsure] = close > iou * (areas - close)
    return result


def oriented_overlaps(
    one: NDArray[np.float32], other: NDArray[np.float32], options: NDArray[np.void]
) -> NDArray[np.bool_]:
    """Return which pairs of oriented boxes (..., 5) have a Bhattacharyya distance below the limit: (...).

    Float32 tells which are too far apart for that, float64 decides the rest.
    """
    limit = np.float64(options["distance"][0])
    with np.errstate(all="ignore"):
        dx, dy = one[..., 0] - other[..., 0], one[..., 1] - other[..., 1]
        near = ~(dx * dx + dy * dy > _reach(one, limit) + _reach(other, limit))
    pairs = np.nonzero(near)
    one, other = np.broadcast_arrays(one, other)
    result = np.zeros(near.shape, np.bool_)
    with np.errstate(all="ignore"):  # as above
        result[pairs] = _distance(one[pairs].astype(np.float64), other[pairs].astype(np.float64)) < limit
    return result


def _bounded_count(candidates: Candidates, image: int) -> int:
    """Return the number of candidates of an image, 0 to K whatever is in memory."""
    return int(np.clip(candidates.headers["count"][image], 0, candidates.capacity))


def _meeting(
    one: NDArray[np.floating], other: NDArray[np.floating]
) -> tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.bool_]]:
    """Return intersection, sum of areas and whether they meet, of boxes (..., 4), in their own precision."""
    width = np.minimum(one[..., 2], other[..., 2]) - np.maximum(one[..., 0], other[..., 0])
    height = np.minimum(one[..., 3], other[..., 3]) - np.maximum(one[..., 1], other[..., 1])
    area, area2 = ((box[..., 2] - box[..., 0]) * (box[..., 3] - box[..., 1]) for box in (one, other))
    return width * height, area + area2, np.asarray((width > 0) & (height > 0))


def _reach(boxes: NDArray[np.float32], limit: np.float64) -> NDArray[np.float32]:
    """Return 4 limit v, and a little more, of oriented boxes (..., 5) with v the larger variance."""
    side = np.maximum(boxes[..., 2:4].astype(np.float64), MIN_SIDE)
    return np.asarray(4 * limit * (side * side / 12).max(axis=-1) * (1 + 1e-5), dtype=np.float32)


def _distance(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the Bhattacharyya distance of oriented boxes (N, 5), (N,), as `results.oriented.probiou` writes it."""
    dx, dy = one[:, 0] - other[:, 0], one[:, 1] - other[:, 1]
    (a, b, root, c, s), (a2, b2, root2, c2, s2) = _gaussians(one), _gaussians(other)
    determinant = (
        root * root
        + root2 * root2
        + (c * c2 + s * s2) ** 2 * (a * b2 + a2 * b)
        + (s * c2 - c * s2) ** 2 * (a * a2 + b * b2)
    )
    spread = b * (dx * c + dy * s) ** 2 + a * (dy * c - dx * s) ** 2
    spread2 = b2 * (dx * c2 + dy * s2) ** 2 + a2 * (dy * c2 - dx * s2) ** 2
    apart = (spread + spread2) / (4 * determinant)
    return np.maximum(apart + 0.5 * np.log(determinant / (4 * root * root2)), 0)


def _gaussians(xywhr: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Return variances along and across, area / 12, cos and sin of (N, 5) boxes."""
    w, h = np.maximum(xywhr[:, 2], MIN_SIDE), np.maximum(xywhr[:, 3], MIN_SIDE)
    return w * w / 12, h * h / 12, w * h / 12, np.cos(xywhr[:, 4]), np.sin(xywhr[:, 4])


def _words(bits: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Pack bits (R, n), the first lowest, into words (R, ceil(n / 64))."""
    padded = np.zeros((len(bits), -(-bits.shape[1] // TILE) * TILE), np.bool_)
    padded[:, : bits.shape[1]] = bits
    return np.packbits(padded, axis=1, bitorder="little").view("<u8")
