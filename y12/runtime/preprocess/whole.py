"""Whether a file ends where it says that it does: what was cut short is told, also where a decoder stops in silence.

Sizes and ends are read, not pictures, by hops from one header to the next. A file that does not say where it ends, or
is of another form, is not judged: whoever decodes it says what is wrong.
"""

import os
import struct
from collections.abc import Callable
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

__all__ = ["early_end"]

_MAX_HOPS = 500_000  # some 1 µs each; a GIF of 100 MB has so many
_MAX_BYTES = 1 << 60  # of any file; a header may claim more than can be sought


def early_end(file: BinaryIO) -> str | None:
    """Return in words how a file ends before its time; None where it does not, or does not say where it ends."""
    file.seek(0)
    start = file.read(12)
    size = file.seek(0, os.SEEK_END)
    for begins_so, end_of in _FORMS:
        if begins_so(start):
            try:
                end = end_of(file, size)
            except struct.error:  # less was read than a header has
                end = size + 1
            missing = None if end is None else end - size
            return None if missing is None or missing <= 0 else f"it ends at byte {size}, and says that it goes on"
    return None


def _at(file: BinaryIO, position: int, form: str) -> tuple[int, ...]:
    return struct.unpack(form, _bytes(file, position, struct.calcsize(form)))


def _end_of_gif(file: BinaryIO, size: int) -> int | None:
    """Walk the blocks of a GIF (GIF89a specification) to its trailer."""
    position = 13 + _colours(_at(file, 10, "<B")[0])
    in_data = False  # parts of 1 to 255 bytes, up to an empty one
    for _ in range(_MAX_HOPS):
        (byte,) = _at(file, position, "<B")
        position += 1
        if in_data:
            position += byte
            in_data = byte > 0
        elif byte == 0x3B:
            return position
        elif byte == 0x2C:
            position += 10 + _colours(_at(file, position + 8, "<B")[0])
            in_data = True
        elif byte == 0x21:
            position += 1
            in_data = True
    return None


def _colours(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _end_of_png(file: BinaryIO, size: int) -> int | None:
    """Walk the chunks of an animated PNG to its end; of one picture the decoder says what is missing."""
    position, animated = 8, False
    for _ in range(_MAX_HOPS):
        length, kind = struct.unpack(">I4s", _bytes(file, position, 8))
        position += 12 + int(length)
        animated |= kind == b"acTL"
        if kind == b"IEND":
            return position
        if kind == b"IDAT" and not animated:
            break
    return None


def _bytes(file: BinaryIO, position: int, count: int) -> bytes:
    file.seek(min(position, _MAX_BYTES))
    return file.read(count)


def _end_of_riff(file: BinaryIO, size: int) -> int | None:
    """Add up the RIFF chunks: one of a WebP, one or, above 1 GB, more of an AVI."""
    position = 0
    while position < size and _bytes(file, position, 4) == b"RIFF":
        (length,) = _at(file, position + 4, "<I")
        if length in (0, 0xFFFFFFFF):  # never filled in
            return None
        position += 8 + length
    return position


def _end_of_tiff(file: BinaryIO, size: int) -> int | None:
    """Walk the directories of a TIFF 6.0 or BigTIFF; of all pages but the first also find where their data end.

    The first page is decoded, which tells more.
    """
    order = "<" if _bytes(file, 0, 1) == b"I" else ">"
    is_big = _at(file, 2, order + "H") == (43,)
    count_form, entry, offset_form = ("Q", "HHQQ", "Q") if is_big else ("H", "HHII", "I")
    entries_at, entry_bytes = struct.calcsize("<" + count_form), struct.calcsize("<" + entry)
    (page,) = _at(file, 8 if is_big else 4, order + offset_form)
    end, seen, entries_left = 0, {0}, _MAX_HOPS
    while page not in seen:
        (count,) = _at(file, page, order + count_form)
        after = page + entries_at + count * entry_bytes
        entries_left -= count + 1
        if after > size or entries_left < 0:
            return after
        if len(seen) > 1:
            entries = (_at(file, page + entries_at + i * entry_bytes, order + entry) for i in range(count))
            end = max(end, _end_of_data(file, order, [e for e in entries if e[0] in _OFFSETS + _LENGTHS], is_big))
        seen.add(page)
        (page,) = _at(file, after, order + offset_form)
    return end


_OFFSETS, _LENGTHS = (273, 324), (279, 325)  # TIFF 6.0: StripOffsets and TileOffsets, and their ByteCounts
_TIFF_TYPES = {3: "u2", 4: "u4", 16: "u8"}
_MAX_STRIPS = 1 << 20


def _end_of_data(file: BinaryIO, order: str, entries: list[tuple[int, ...]], is_big: bool) -> int:
    """Return where the last strip or tile of a page ends; 0 where too many to look at are claimed."""
    found: dict[bool, NDArray[np.uint64]] = {}
    for tag, kind, count, value in entries:
        if (tag in _OFFSETS) in found:  # said twice
            continue
        if kind not in _TIFF_TYPES or count > _MAX_STRIPS:
            return 0
        dtype = np.dtype(order + _TIFF_TYPES[kind])
        if count * dtype.itemsize <= (8 if is_big else 4):
            raw = struct.pack(order + ("Q" if is_big else "I"), value)[: count * dtype.itemsize]
        else:
            raw = _bytes(file, value, count * dtype.itemsize)
        found[tag in _OFFSETS] = np.frombuffer(raw[: len(raw) // dtype.itemsize * dtype.itemsize], dtype).astype("u8")
    if len(found) < 2 or len(found[True]) != len(found[False]) or not len(found[True]):
        return 0
    return int((found[True] + found[False]).max())


def _end_of_ebml(file: BinaryIO, size: int) -> int | None:
    """Return where the segment of a Matroska or WebM file ends (RFC 8794, RFC 9559); None of one that was streamed."""
    length, position = _ebml_size(file, 4)
    position += length or 0
    if _bytes(file, position, 4) != b"\x18\x53\x80\x67":
        return None
    length, start = _ebml_size(file, position + 4)
    return None if length is None else start + length


def _ebml_size(file: BinaryIO, position: int) -> tuple[int | None, int]:
    """Read the size of an element, None where it is unknown, and say where its content begins."""
    (first,) = _at(file, position, ">B")
    width = 9 - first.bit_length()
    value = int.from_bytes(_bytes(file, position, width)) & ((1 << 7 * width) - 1)
    return None if value == (1 << 7 * width) - 1 else value, position + width


def _end_of_boxes(file: BinaryIO, size: int) -> int | None:
    """Add up the boxes of an MP4, QuickTime or AVIF file (ISO/IEC 14496-12); None where the last one is open."""
    position = 0
    for _ in range(_MAX_HOPS):
        if position + 8 > size:  # a few bytes more belong to nobody
            return position
        length, kind = struct.unpack(">I4s", _bytes(file, position, 8))
        if length == 1:
            (length,) = _at(file, position + 8, ">Q")
        if length < 8 or not kind.isascii():
            return None
        position += length
    return None


def _end_of_flv(file: BinaryIO, size: int) -> int | None:
    """Add up the tags of an FLV file (Adobe Flash Video File Format Specification 10.1, annex E)."""
    (position,) = _at(file, 5, ">I")
    position += 4
    for _ in range(_MAX_HOPS):
        if position >= size:
            return position
        position += 15 + int.from_bytes(_bytes(file, position + 1, 3))
    return None


_Form = tuple[Callable[[bytes], bool], Callable[[BinaryIO, int], int | None]]
_FORMS: tuple[_Form, ...] = (
    (lambda start: start[:6] in (b"GIF87a", b"GIF89a"), _end_of_gif),
    (lambda start: start[:8] == b"\x89PNG\r\n\x1a\n", _end_of_png),
    (lambda start: start[:4] == b"RIFF", _end_of_riff),
    (lambda start: start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), _end_of_tiff),
    (lambda start: start[:4] == b"\x1a\x45\xdf\xa3", _end_of_ebml),
    (lambda start: start[:4] == b"FLV\x01", _end_of_flv),
    (lambda start: start[4:8] in (b"ftyp", b"styp", b"moov", b"mdat", b"wide", b"free", b"skip"), _end_of_boxes),
)
