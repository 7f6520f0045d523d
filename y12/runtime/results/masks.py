"""Instance masks, drawn out at the size of the original image and only when somebody asks.

Equation: the logit of an object at a prototype's pixel is the sum over m of coefficient[m] x prototype[m]. It is
interpolated bilinearly to the centres of the image's pixels (image -> letterbox -> prototypes, each axis by its own
factor, half-pixel convention, clamped at the edge); a pixel belongs to the object where the logit is above 0, which
is sigmoid > 0.5, and where its centre lies in the object's box.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from y12.errors import InputError
from y12.runtime.preprocess.letterbox import Letterbox
from y12.runtime.results.outlines import check_tolerance, outlines_of
from y12.runtime.results.rle import compressed_counts, run_edges

CHUNK = 256  # columns drawn at once: a short stretch needs few prototypes, which keeps the matrix product small
# Multiply-adds at once. OpenBLAS gives larger products to several threads; on a machine that is busy already they
# wait for each other, and 20 masks took 400 ms in place of 16.
TILE = 1 << 18


class Crop(NamedTuple):
    """The part of a mask that can be set: (h, w) bool whose first pixel is at column `left`, row `top`."""

    left: int
    top: int
    bitmap: NDArray[np.bool_]


class Masks:
    """The masks of N objects in one image, sliced like the Detections they belong to.

    Nothing is computed before one of `crops`, `bitmaps`, `areas`, `polygons` and `coco_rle` is asked for; the
    result is kept. All but `bitmaps` work on the objects' boxes alone and need little memory.
    """

    def __init__(self, source: "_Source") -> None:
        self._source: _Source | None = source
        self._count = source.count
        self._crops: list[Crop] | None = None
        self.image_hw = source.image_hw

    @classmethod
    def from_prototypes(
        cls,
        coefficients: NDArray[np.float32],
        prototypes: NDArray[np.float32],
        xyxy: NDArray[np.float32],
        frame: Letterbox,
    ) -> Self:
        """Take what the network gives.

        Args:
            coefficients: (N, M).
            prototypes: (M, Hp, Wp), over the whole of the network's input.
            xyxy: (N, 4), the boxes in pixels of the original image.
            frame: where the image lies in the network's input.

        Raises:
            InputError: the shapes disagree.
        """
        fits = coefficients.ndim == 2 and prototypes.ndim == 3 and coefficients.shape[1] == len(prototypes)
        if not fits or xyxy.shape != (len(coefficients), 4):
            found = f"{coefficients.shape}, {prototypes.shape}, {xyxy.shape}"
            raise InputError(
                f"masks: expected coefficients (N, M), prototypes (M, Hp, Wp), boxes (N, 4), found {found}"
            )
        return cls(_Prototypes(coefficients, prototypes, xyxy, frame))

    @classmethod
    def from_bitmaps(cls, bitmaps: NDArray[np.bool_]) -> Self:
        """Take masks that are there already, (N, H, W) bool.

        Raises:
            InputError: the array has another shape or type.
        """
        if bitmaps.ndim != 3 or bitmaps.dtype != np.bool_:
            raise InputError(f"masks: expected a bool array (N, H, W), found {bitmaps.dtype} {bitmaps.shape}")
        count, height, width = bitmaps.shape
        return cls(_Made(np.arange(count), (height, width), lambda i: Crop(0, 0, np.ascontiguousarray(bitmaps[i]))))

    @classmethod
    def from_packed(cls, places: NDArray[np.void], words: NDArray[np.uint32], image_hw: tuple[int, int]) -> Self:
        """Take what masks.cu draws of one image: (N,) of `MASK_PLACE`, (W,) words, neither of which may change.

        Raises:
            InputError: a mask lies outside the image or the words.
        """
        numbers = [places[name].astype(np.int64) for name in ("left", "top", "width", "height", "offset")]
        left, top, width, height, offset = numbers
        across = -(-width // 32)  # words of a row
        fits = (left + width <= image_hw[1]) & (top + height <= image_hw[0]) & (np.min(numbers, axis=0) >= 0)
        if not (fits & (offset + height * across <= len(words))).all():
            raise InputError(f"masks: expected masks within {image_hw} pixels and {len(words)} words, found {places}")

        def unpacked(i: int) -> Crop:
            rows = words[offset[i] :][: height[i] * across[i]].reshape(height[i], across[i])
            bits = np.unpackbits(rows.view(np.uint8), axis=1, count=int(width[i]), bitorder="little")
            return Crop(int(left[i]), int(top[i]), bits.view(np.bool_))

        return cls(_Made(np.arange(len(places)), image_hw, unpacked))

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, rows: Any) -> Self:
        """Return the masks that a slice, a list of indices or a bool array picks, without computing any.

        Raises:
            IndexError: a row that does not exist.
        """
        picked = np.arange(self._count)[rows]
        if picked.ndim != 1:
            raise IndexError(f"masks: expected a slice or a list of rows, found {rows!r}")
        part = type(self).__new__(type(self))
        part.image_hw = self.image_hw
        part._count = len(picked)
        part._source = None if self._source is None else self._source.rows(picked)
        part._crops = None if self._crops is None else [self._crops[i] for i in picked]
        return part

    def emptied(self, rows: NDArray[np.bool_]) -> Self:
        """Return as many masks, of which those that `rows`, (N,), tells are empty and take no time."""
        nothing = Crop(0, 0, np.empty((0, 0), np.bool_))
        made = _Made(np.arange(len(self)), self.image_hw, lambda i: nothing if rows[i] else self[[i]].crops[0])
        return type(self)(made)

    @property
    def crops(self) -> list[Crop]:
        """Each mask within its box."""
        if self._crops is None:
            assert self._source is not None
            self._crops = [self._source.crop(i) for i in range(self._count)]
            self._source = None  # lets go of the prototypes, 3 MB an image
        return self._crops

    @cached_property
    def bitmaps(self) -> NDArray[np.bool_]:
        """All masks over the whole image, (N, H, W) bool, read-only; N x H x W bytes."""
        bitmaps = np.zeros((self._count, *self.image_hw), dtype=np.bool_)
        for bitmap, (left, top, crop) in zip(bitmaps, self.crops, strict=True):
            height, width = crop.shape
            bitmap[top : top + height, left : left + width] = crop
        bitmaps.flags.writeable = False
        return bitmaps

    @property
    def areas(self) -> NDArray[np.int64]:
        """How many pixels each mask has, (N,)."""
        return np.array([np.count_nonzero(crop.bitmap) for crop in self.crops], dtype=np.int64)

    def polygons(self, tolerance: float = 0.0, *, edges: bool = False) -> list[list[NDArray[np.float32]]]:
        """Return each object's outlines, one array (P, 2) of x, y for each of its parts; none for an empty mask.

        The points are pixels in OpenCV's counting, in which whole numbers are pixel centres: `cv2.fillPoly` with
        them gives the mask back, but for parts that are one pixel thin, which enclose nothing and are left out. With
        `edges` they run along the pixels' edges, as COCO and YOLO count, and none is left out. Holes are filled: only
        outer contours are listed; `coco_rle` keeps holes.

        Args:
            tolerance: how far in pixels an outline may stray to have fewer points.
            edges: count as COCO and YOLO do.

        Raises:
            InputError: `tolerance` is negative or no number.
        """
        check_tolerance(tolerance)
        return [outlines_of(bitmap, left, top, tolerance, edges=edges) for left, top, bitmap in self.crops]

    def coco_rle(self) -> list[dict[str, Any]]:
        """Return each mask as COCO's compressed runs, {"size": [H, W], "counts": text}, column by column."""
        height, width = self.image_hw
        return [
            {"size": [height, width], "counts": compressed_counts(run_edges(bitmap, left, top, height), height * width)}
            for left, top, bitmap in self.crops
        ]


class _Source(Protocol):
    """Where masks come from."""

    @property
    def count(self) -> int: ...

    @property
    def image_hw(self) -> tuple[int, int]: ...

    def rows(self, picked: NDArray[np.intp]) -> "_Source": ...

    def crop(self, i: int) -> Crop: ...


@dataclass(frozen=True, eq=False)
class _Made:
    """Masks that `make` gives by number; `picked` (N,) of them."""

    picked: NDArray[np.intp]
    image_hw: tuple[int, int]
    make: Callable[[int], Crop]

    @property
    def count(self) -> int:
        return len(self.picked)

    def rows(self, picked: NDArray[np.intp]) -> "_Made":
        return _Made(self.picked[picked], self.image_hw, self.make)

    def crop(self, i: int) -> Crop:
        return self.make(int(self.picked[i]))


@dataclass(frozen=True, eq=False)
class _Prototypes:
    """Masks that have to be drawn: coefficients (N, M), prototypes (M, Hp, Wp), boxes (N, 4), the frame."""

    coefficients: NDArray[np.float32]
    prototypes: NDArray[np.float32]
    xyxy: NDArray[np.float32]
    frame: Letterbox

    @property
    def count(self) -> int:
        return len(self.coefficients)

    @property
    def image_hw(self) -> tuple[int, int]:
        return self.frame.image_hw

    def rows(self, picked: NDArray[np.intp]) -> "_Prototypes":
        return _Prototypes(self.coefficients[picked], self.prototypes, self.xyxy[picked], self.frame)

    def crop(self, i: int) -> Crop:
        """Draw one mask within its box."""
        left, top, right, bottom = self._pixels_inside(i)
        bitmap = np.empty((bottom - top, right - left), dtype=np.bool_)
        if not bitmap.size:
            return Crop(left, top, bitmap)
        ys, xs = self._positions(0, top, bottom), self._positions(1, left, right)
        region = self.prototypes[:, int(ys[0]) : int(np.ceil(ys[-1])) + 1, int(xs[0]) : int(np.ceil(xs[-1])) + 1]
        logits = np.einsum("m,mhw->hw", self.coefficients[i], region)
        tall = np.empty((bottom - top, logits.shape[1]), dtype=np.float32)
        for start in range(0, bottom - top, CHUNK):
            rows = slice(start, start + CHUNK)
            first, down = _interpolation(ys[rows])  # (h, few rows)
            _tiled(down, logits[first - int(ys[0]) :][: down.shape[1]], tall[rows])
        for start in range(0, right - left, CHUNK):
            columns = slice(start, start + CHUNK)
            first, across = _interpolation(xs[columns])  # (w, few columns)
            _tiled(tall[:, first - int(xs[0]) :][:, : across.shape[1]], across.T, bitmap[:, columns])
        return Crop(left, top, bitmap)

    def _pixels_inside(self, i: int) -> tuple[int, int, int, int]:
        """Return the first columns and rows inside a box and those after it; a pixel is inside by its centre."""
        height, width = self.image_hw
        edges = np.ceil(np.clip(self.xyxy[i].astype(np.float64), 0, (width, height, width, height)) - 0.5)
        left, top, right, bottom = (int(edge) for edge in edges)
        return left, top, max(left, right), max(top, bottom)

    def _positions(self, axis: int, start: int, stop: int) -> NDArray[np.float64]:
        """Return where the centres of pixels `start` to `stop` of an axis (0: y, 1: x) lie in the prototypes."""
        frame, size = self.frame, self.prototypes.shape[1 + axis]
        scale = frame.resized_hw[axis] / frame.image_hw[axis]
        in_input = (np.arange(start, stop) + 0.5) * scale + (frame.top, frame.left)[axis]
        return np.asarray(np.clip(in_input * (size / frame.input_hw[axis]) - 0.5, 0, size - 1))


def _interpolation(positions: NDArray[np.float64]) -> tuple[int, NDArray[np.float32]]:
    """Return the first sample needed at rising `positions` (n,), and the samples' shares in each, (n, samples)."""
    first, last = int(positions[0]), int(np.ceil(positions[-1]))
    shares = np.maximum(1 - np.abs(positions[:, None] - np.arange(first, last + 1)), 0)
    return first, shares.astype(np.float32)


def _tiled(one: NDArray[np.float32], other: NDArray[np.float32], out: NDArray[Any]) -> None:
    """Write the product of (h, k) and (k, w) into `out`; where that is bool, whether it is above 0."""
    other = np.ascontiguousarray(other)
    step = max(1, TILE // max(1, other.size))
    for start in range(0, len(one), step):
        rows = slice(start, start + step)
        if out.dtype == np.bool_:
            np.greater(one[rows] @ other, 0, out=out[rows])
        else:
            np.matmul(one[rows], other, out=out[rows])
