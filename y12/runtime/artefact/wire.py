"""Protobuf messages, walked by their length prefixes without any library: what is not asked for is skipped, not read.

A walk is bounded by the fields that it looks at and by the text that it copies.
"""

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from y12.errors import ArtefactError
from y12.files import check_file

__all__ = ["MAX_ONNX_BYTES", "MalformedError", "Model", "children", "fields", "mapped_model", "text", "varint"]

MAX_ONNX_BYTES = 2 << 30  # protobuf's own limit; larger models keep their weights outside
_MAX_FIELDS = 250_000  # that are looked at, some 1 µs each; a detector's model and graph have some thousand
_MAX_TEXT_BYTES = 64 << 20  # of names and metadata together
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # protobuf wire types


class MalformedError(ValueError):
    """The bytes are no protobuf message of this kind."""


@dataclass
class Model:
    """The bytes of a model, and how much of them may still be looked at and copied."""

    view: memoryview
    fields_left: int = _MAX_FIELDS
    text_left: int = _MAX_TEXT_BYTES


@contextmanager
def mapped_model(path: Path) -> Iterator[Model]:
    """Map an .onnx file, to be walked.

    Raises:
        ArtefactError: the file is missing, empty or too large, or what is walked in it is malformed.
    """
    check_file(path, "an ONNX model", MAX_ONNX_BYTES, ArtefactError)
    try:
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            view = memoryview(mapped)
            try:
                yield Model(view)
            finally:
                view.release()
    except (MalformedError, UnicodeDecodeError) as error:
        raise ArtefactError(
            f"{path}: expected an ONNX model, found one damaged, cut short or of another kind ({error})"
        ) from error
    except OSError as error:
        raise ArtefactError(f"{path}: cannot be read ({error.strerror or error})") from error


def children(model: Model, start: int, end: int, wanted: int) -> Iterator[tuple[int, int]]:
    """Return the byte ranges of the submessages with the field number `wanted`."""
    return ((s, e) for number, s, e, _ in fields(model, start, end) if number == wanted)


def text(model: Model, start: int, end: int) -> str:
    """Return a text, which counts towards what may be copied."""
    model.text_left -= end - start
    if model.text_left < 0:
        raise MalformedError(f"more than {_MAX_TEXT_BYTES} bytes of names and metadata")
    return bytes(model.view[start:end]).decode()


def fields(model: Model, position: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Walk the fields of the message in [position, end): number, start and end of the payload, varint."""
    view = model.view
    while position < end:
        model.fields_left -= 1
        if model.fields_left < 0:
            raise MalformedError(f"more than {_MAX_FIELDS} fields")
        key, position = varint(view, position, end)
        number, wire = key >> 3, key & 7
        value, start = 0, position
        if wire == _VARINT:
            value, position = varint(view, position, end)
        elif wire == _BYTES:
            length, start = varint(view, position, end)
            position = start + length
        elif wire in (_FIXED64, _FIXED32):
            position += 8 if wire == _FIXED64 else 4
        else:
            raise MalformedError(f"wire type {wire} at byte {start}")
        if number == 0 or position > end:
            raise MalformedError(f"a field at byte {start} ends at {position}, after the end at {end}")
        yield number, start, position, value


def varint(view: memoryview, position: int, end: int) -> tuple[int, int]:
    """Read a base-128 number; give it and the position after it."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= end:
            raise MalformedError(f"cut short at byte {position}")
        byte = view[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise MalformedError(f"no number at byte {position}")
