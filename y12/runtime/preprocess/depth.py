"""What the numbers of a 16-bit image mean: which of them is black, and which white.

They are what the user says (`bits`); else what the file says of itself; else 0 and 65,535. A file says it by

    PNG     sBIT, where no value has more bits than that. (By the standard values are scaled up to 16 bits, and sBIT
            tells what they came from: such a file is read by its full range, and looks the same.)
    TIFF    WhiteLevel and BlackLevel of DNG; else MaxSampleValue and MinSampleValue; else BitsPerSample, where it is
            less than 16
    PPM     its header, by which Pillow has scaled them

A statement that a value exceeds is none. Numbers below 0 and floating point have no white, and are refused.
"""

import logging
import os
import struct
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from y12.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = [
    "DARK",
    "FULL",
    "Levels",
    "check_bits",
    "content_of",
    "deep_colours",
    "extremes_of",
    "has_deep_colours",
    "is_scaled",
    "levels_of",
    "refuse_samples",
    "stated_levels",
    "to_bytes",
    "unread_samples",
]

MAX_BITS = 16
_TOP = (1 << MAX_BITS) - 1
DARK = (1 << MAX_BITS) // 8  # where no value reaches this, the image would be nearly black
_USUAL_BITS = (8, 10, 12, 14)  # of cameras; all hold less than `DARK` but the last
_MAX_CHUNKS = 1000  # before a PNG's first pixels
_BITS_PER_SAMPLE, _MIN_SAMPLE, _MAX_SAMPLE, _SAMPLE_FORMAT = 258, 280, 281, 339  # TIFF 6.0
_BLACK_LEVEL, _WHITE_LEVEL = 50714, 50717  # DNG 1.7
_UNSIGNED, _SIGNED, _FLOAT = 1, 2, 3
_WORDS = {_SIGNED: "numbers with a sign", _FLOAT: "floating-point numbers"}

LOG = logging.getLogger("y12.images")
_TOLD: set[int] = set()  # of which bits it was told that they fit
_TELLING = threading.Lock()


@dataclass(frozen=True)
class Levels:
    """The number that is black, and the one that is white."""

    black: int
    white: int


FULL = Levels(0, _TOP)


def check_bits(bits: int | None) -> None:
    """Refuse a number of bits that no image has.

    Raises:
        InputError: it is none.
    """
    if bits is not None and not (isinstance(bits, int) and 1 <= bits <= MAX_BITS):
        raise InputError(f"bits: expected a whole number from 1 to {MAX_BITS}, or None, found {bits!r}")


def levels_of(name: str, extremes: tuple[int, int], stated: Levels | None = None, bits: int | None = None) -> Levels:
    """Return what is black and white in an image.

    Where no value reaches 1/8 of the range and nothing is stated, it is told once which `bits` fit.

    Args:
        name: of the image, in messages.
        extremes: its smallest and its largest number.
        stated: what its file says.
        bits: what the user says.

    Raises:
        InputError: there are numbers below 0, or beyond what the user says or 16 bits hold.
    """
    smallest, largest = extremes
    if smallest < 0:
        raise InputError(f"expected numbers of 0 or more, found negative ones, down to {smallest}: shift them")
    if largest > _TOP:
        raise InputError(f"expected 16 bits per channel, found numbers up to {largest}: convert to 16 bits")
    if bits is not None:
        if largest >> bits:
            raise InputError(
                f"bits: expected numbers below {1 << bits}, as {bits} bits have, found {largest}: choose "
                f"{largest.bit_length()} or more"
            )
        return Levels(0, (1 << bits) - 1)
    if stated is not None and largest <= stated.white:
        return stated
    if 0 < largest < DARK:
        _tell_dark(name, largest)
    return FULL


def to_bytes(numbers: NDArray[Any], levels: Levels) -> NDArray[np.uint8]:
    """Return numbers of 16 bits, none below 0, as 8 bits: of full ones the high byte, as Pillow and OpenCV do."""
    if levels == FULL:
        return (numbers >> 8).astype(np.uint8)
    return np.asarray(_table(levels)[numbers])


@lru_cache(maxsize=8)
def _table(levels: Levels) -> NDArray[np.uint8]:
    """Return the byte for each of the 65,536 numbers."""
    numbers = np.arange(_TOP + 1, dtype=np.int64) - levels.black
    span = levels.white - levels.black
    if not levels.black and not levels.white & (levels.white + 1) and span > 255:  # so many bits: the highest eight
        table = np.minimum(numbers >> span.bit_length() - 8, 255)
    else:
        table = np.clip(np.rint(numbers * (255 / span)), 0, 255)
    table = table.astype(np.uint8)
    table.flags.writeable = False
    return np.asarray(table)


def has_deep_colours(image: "Image") -> bool:
    """Return whether an image, not yet loaded, has 16 bits for each of several channels, of which Pillow keeps 8."""
    if image.mode not in ("RGB", "RGBA", "RGBX", "RGBa", "LA", "CMYK"):
        return False
    if image.format == "PNG":
        tile = getattr(image, "tile", None)
        return ";16" in str(tile[0][3]) if tile else False
    return image.format == "TIFF" and max(_numbers(image, _BITS_PER_SAMPLE), default=8) == MAX_BITS


def is_scaled(image: "Image") -> bool:
    """Return whether the numbers of an image, not yet loaded, are scaled to 16 bits as its header says: of a PPM."""
    tile = getattr(image, "tile", None)
    return tile[0][0] == "ppm" if tile and image.format == "PPM" else False


def stated_levels(image: "Image") -> Levels | None:
    """Return what the file of an image, not yet loaded, says of its 16-bit numbers; None where it says nothing."""
    if image.format == "PNG":
        stream = getattr(image, "fp", None)
        bits = None if stream is None else _significant_bits(stream)
        return Levels(0, (1 << bits) - 1) if bits is not None and bits < MAX_BITS else None
    if image.format != "TIFF":
        return None
    black, white = max(_numbers(image, _BLACK_LEVEL), default=0), max(_numbers(image, _WHITE_LEVEL), default=0)
    if not white:
        black, white = min(_numbers(image, _MIN_SAMPLE), default=0), max(_numbers(image, _MAX_SAMPLE), default=0)
    if not white and (depth := max(_numbers(image, _BITS_PER_SAMPLE), default=MAX_BITS)) < MAX_BITS:
        white = (1 << depth) - 1
    return Levels(black, white) if 0 <= black < white < _TOP else None


def deep_colours(stream: BinaryIO, hw: tuple[int, int]) -> NDArray[np.uint16]:
    """Return all bits of an image in a file, (h, w, 3) BGR as stored: OpenCV reads them, Pillow does not.

    Raises:
        InputError: it does not, or not as Pillow.
    """
    import cv2

    stream.seek(0)
    try:
        numbers = cv2.imdecode(np.frombuffer(stream.read(), np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        numbers = None
    if numbers is None or numbers.dtype != np.uint16 or numbers.ndim != 3 or numbers.shape[:2] != hw:
        raise InputError("expected RGB or gray with 16 bits per channel, found another form of it: convert to RGB")
    return np.asarray(numbers[..., :3], np.uint16)


def content_of(stream: BinaryIO | None) -> bytes:
    """Return all of the file that a PIL image is of, and leave it where it was.

    Raises:
        InputError: it is closed.
    """
    if stream is None or stream.closed:
        raise InputError("expected the image's file, as Pillow keeps 8 of its 16 bits: give the path")
    before = stream.tell()
    stream.seek(0)
    content = stream.read()
    stream.seek(before)
    return content


def extremes_of(image: "Image", band_pixels: int) -> tuple[int, int]:
    """Return the smallest and the largest number of a loaded image, but for its alpha; so many pixels at a time."""
    width, height = image.size
    rows = max(band_pixels // width, 1)
    found: list[int] = []
    for top in range(0, height, rows):
        band = np.asarray(image.crop((0, top, width, min(top + rows, height))))
        band = band[..., :1] if image.mode in ("LA", "La") else band[..., :3] if band.ndim == 3 else band
        found += [int(band.min()), int(band.max())]
    return min(found), max(found)


def refuse_samples(image: "Image") -> None:
    """Refuse floating point by name, and 32 bits, for which no number is white.

    Raises:
        InputError: it is such an image.
    """
    formats = set(_numbers(image, _SAMPLE_FORMAT)) if image.format == "TIFF" else set()
    deepest = max(_numbers(image, _BITS_PER_SAMPLE), default=8) if image.format == "TIFF" else 8
    if image.mode == "F" or _FLOAT in formats:
        raise _not_whole(f"{_WORDS[_FLOAT]} (Pillow's mode {image.mode!r})")
    if _SIGNED in formats and image.mode != "I":
        raise _not_whole(_WORDS[_SIGNED])
    if deepest > MAX_BITS:
        raise _not_whole(f"{deepest}")


def unread_samples(stream: BinaryIO) -> str | None:
    """Return what a TIFF file holds that Pillow does not know, in words; None of one that is damaged or another."""
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    with suppress(Exception):  # what is damaged raises anything
        stream.seek(0)
        head = stream.read(8)
        if head[:4] in (b"II*\0", b"MM\0*"):
            directory = ImageFileDirectory_v2(head)
            stream.seek(directory.next)
            directory.load(stream)
            bits, formats = (_as_numbers(directory.get(tag)) for tag in (_BITS_PER_SAMPLE, _SAMPLE_FORMAT))
            named = [words for kind, words in _WORDS.items() if kind in formats]
            return named[0] if named else ", ".join(f"{n:g}" for n in bits) + " bits"
    return None


def _not_whole(found: str) -> InputError:
    found = f"{found} bits" if found.isdecimal() else found
    return InputError(f"expected 8 or 16 bits per channel, whole numbers of 0 or more, found {found}: convert to those")


def _numbers(image: "Image", tag: int) -> Sequence[int]:
    """Return the values of a TIFF tag as whole numbers; none where there are none."""
    tags = getattr(image, "tag_v2", None)
    return () if tags is None else _as_numbers(tags.get(tag))


def _as_numbers(value: Any) -> Sequence[int]:
    values = value if isinstance(value, tuple | list) else (value,)
    with suppress(TypeError, ValueError, OverflowError, ZeroDivisionError):  # a stranger's: text, 1/0
        return tuple(round(float(one)) for one in values if one is not None)
    return ()


def _significant_bits(stream: BinaryIO) -> int | None:
    """Return what a PNG's chunk sBIT says of its colours; the stream is left where it was."""
    with suppress(OSError, ValueError, struct.error):  # closed, or cut short
        before = stream.tell()
        try:
            stream.seek(8)
            for _ in range(_MAX_CHUNKS):
                length, kind = struct.unpack(">I4s", stream.read(8))
                if kind == b"sBIT":
                    counts = stream.read(min(length, 4))
                    colours = counts[: len(counts) - (len(counts) in (2, 4))]  # the last one is of alpha
                    return max(colours, default=0) or None
                if kind in (b"IDAT", b"IEND"):
                    return None
                stream.seek(length + 4, os.SEEK_CUR)
        finally:
            stream.seek(before)
    return None


def _tell_dark(name: str, largest: int) -> None:
    """Tell once for each number of bits which of them an image fits."""
    bits = next(bits for bits in _USUAL_BITS if not largest >> bits)
    with _TELLING:
        is_new = bits not in _TOLD
        _TOLD.add(bits)
    if is_new:
        LOG.warning(
            "%s: no number of this 16-bit image reaches 1/8 of the range (the largest is %d): if it holds %d bits, say "
            "so by --bits %d or Runtime(bits=%d); others like it are not told",
            *(name, largest, bits, bits, bits),
        )
