"""What an .onnx file says of itself, read from its bytes without any library: metadata, inputs, outputs, operators.

An ONNX file is one protobuf message; messages are walked by their length prefixes, so that weights are
skipped, not read: a 250 MB model takes milliseconds. Field numbers are those of onnx.proto (ModelProto,
GraphProto, ValueInfoProto, NodeProto, TensorProto).
"""

import mmap
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from y12.errors import ArtefactError
from y12.files import check_file

MAX_ONNX_BYTES = 2 << 30  # protobuf's own limit; larger models keep their weights outside
_MAX_DIMS = 16
_MAX_FIELDS = 250_000  # that are looked at, some 1 µs each; a detector's model and graph have some thousand
_MAX_TEXT_BYTES = 64 << 20  # of names and metadata together
_TYPE_NAMES = {
    1: "float32",
    2: "uint8",
    3: "int8",
    6: "int32",
    7: "int64",
    9: "bool",
    10: "float16",
    11: "float64",
    16: "bfloat16",
}
NUMBERS = frozenset(_TYPE_NAMES.values())
_NUMBERS = {(1, 4): "<f", (10, 2): "<e", (7, 8): "<q"}  # how one is packed, by type and bytes
_HAS_NUMBERS = ("Concat", "Constant")  # the operators of which attributes are read
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # protobuf wire types


@dataclass(frozen=True)
class TensorHeader:
    """One input or output of the graph; a dimension that is free is None, and without a rank there is no shape."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]
    has_rank: bool = True


@dataclass(frozen=True)
class OnnxHeader:
    """The metadata_props of an ONNX model, and its graph's inputs and outputs; weights may be among the inputs."""

    metadata: dict[str, str]
    inputs: tuple[TensorHeader, ...]
    outputs: tuple[TensorHeader, ...]


@dataclass(frozen=True)
class OnnxNode:
    """One operator: what it reads and makes, and of a Concat its axis."""

    op_type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    axis: int = 0


@dataclass(frozen=True)
class OnnxWeight:
    """One tensor that is part of the model: its type, how many values it has, and of one number its value."""

    dtype: str
    count: int
    value: float | None = None


@dataclass(frozen=True)
class OnnxGraph:
    """The operators of an ONNX graph, without those inside of others, and its weights by name."""

    nodes: tuple[OnnxNode, ...]
    weights: Mapping[str, OnnxWeight]


Read = TypeVar("Read", OnnxHeader, OnnxGraph)


class _MalformedError(ValueError):
    """The bytes are no protobuf message of this kind."""


@dataclass
class _Model:
    """The bytes of a model, and how much of them may still be looked at and copied."""

    view: memoryview
    fields_left: int = _MAX_FIELDS
    text_left: int = _MAX_TEXT_BYTES


def read_onnx_header(path: Path) -> OnnxHeader:
    """Read the header of an .onnx file.

    Raises:
        ArtefactError: the file is missing, empty, cut short, or no ONNX model.
    """
    return _read(path, _header_from_model)


def read_onnx_graph(path: Path) -> OnnxGraph:
    """Read which operators an .onnx file has, and of its weights all but the values.

    Raises:
        ArtefactError: the file is missing, empty, cut short, or no ONNX model.
    """
    return _read(path, _graph_from_model)


def _read(path: Path, read: "Callable[[_Model], Read]") -> Read:
    check_file(path, "an ONNX model", MAX_ONNX_BYTES, ArtefactError)
    try:
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            view = memoryview(mapped)
            try:
                return read(_Model(view))
            finally:
                view.release()
    except (_MalformedError, UnicodeDecodeError) as error:
        raise ArtefactError(
            f"{path}: expected an ONNX model, found one damaged, cut short or of another kind ({error})"
        ) from error
    except OSError as error:
        raise ArtefactError(f"{path}: cannot be read ({error.strerror or error})") from error


def _header_from_model(model: _Model) -> OnnxHeader:
    metadata: dict[str, str] = {}
    graph: tuple[int, int] | None = None
    for number, start, end, _ in _fields(model, 0, len(model.view)):
        if number == 14:
            entry = {n: _text(model, s, e) for n, s, e, _ in _fields(model, start, end)}
            metadata[entry.get(1, "")] = entry.get(2, "")
        elif number == 7:
            graph = start, end
    if graph is None:
        raise _MalformedError("there is no graph in it")
    tensors: dict[int, list[TensorHeader]] = {11: [], 12: []}
    for number, start, end, _ in _fields(model, *graph):
        if number in tensors:
            tensors[number].append(_tensor(model, start, end))
    return OnnxHeader(metadata, tuple(tensors[11]), tuple(tensors[12]))


def _graph_from_model(model: _Model) -> OnnxGraph:
    nodes: list[OnnxNode] = []
    weights: dict[str, OnnxWeight] = {}
    for graph in _children(model, 0, len(model.view), 7):
        for number, start, end, _ in _fields(model, *graph):
            if number == 5:
                name, weight = _weight(model, start, end)
                weights[name] = weight
            elif number == 1:
                node, constants = _node(model, start, end)
                nodes.append(node)
                weights |= constants
    return OnnxGraph(tuple(nodes), weights)


def _node(model: _Model, start: int, end: int) -> tuple[OnnxNode, dict[str, OnnxWeight]]:
    """Read a NodeProto: input (1), output (2), op_type (4), attribute (5); and the tensor, if it is a Constant."""
    names: dict[int, list[str]] = {1: [], 2: [], 4: []}
    attributes: list[tuple[int, int]] = []
    for number, s, e, _ in _fields(model, start, end):
        if number in names:
            names[number].append(_text(model, s, e))
        elif number == 5:
            attributes.append((s, e))
    op_type = "".join(names[4])
    axis, weights = 0, {}
    for s, e in attributes if op_type in _HAS_NUMBERS else ():
        for number, first, last, value in _fields(model, s, e):  # an AttributeProto: i (3), t (5)
            if number == 3 and op_type == "Concat":  # which has one attribute
                axis = value - (1 << 64) if value >> 63 else value
            elif number == 5 and names[2]:
                weights[names[2][0]] = _weight(model, first, last)[1]
    return OnnxNode(op_type, tuple(names[1]), tuple(names[2]), axis), weights


def _weight(model: _Model, start: int, end: int) -> tuple[str, OnnxWeight]:
    """Read a TensorProto: dims (1), data_type (2), float_data (4), name (8), raw_data (9)."""
    name, dtype, count, content = "", 0, 1, b""
    for number, s, e, value in _fields(model, start, end):
        if number == 1:
            while s < e:  # one number, or several packed
                size, s = _varint(model.view, s, e)
                count *= size
        elif number == 2:
            dtype = value
        elif number == 8:
            name = _text(model, s, e)
        elif number in (4, 9) and e - s <= 8:
            content = bytes(model.view[s:e])
    form = _NUMBERS.get((dtype, len(content)))
    (found,) = struct.unpack(form, content) if form and count == 1 else (None,)
    return name, OnnxWeight(_TYPE_NAMES.get(dtype, f"type {dtype}"), count, found)


def _tensor(model: _Model, start: int, end: int) -> TensorHeader:
    """Read a ValueInfoProto: name (1), type (2) > tensor_type (1) > elem_type (1) and shape (2) > dim (1)."""
    name, dtype, has_rank = "", "unknown", False
    shape: list[int | None] = []
    for number, s, e, _ in _fields(model, start, end):
        if number == 1:
            name = _text(model, s, e)
        elif number == 2:
            for tensor_start, tensor_end in _children(model, s, e, 1):
                for field, fs, fe, value in _fields(model, tensor_start, tensor_end):
                    if field == 1:
                        dtype = _TYPE_NAMES.get(value, f"type {value}")
                    elif field == 2:
                        has_rank = True
                        shape = [_dimension(model, ds, de) for ds, de in _children(model, fs, fe, 1)]
    if len(shape) > _MAX_DIMS:
        raise _MalformedError(f"a tensor of {len(shape)} dimensions")
    return TensorHeader(name, dtype, tuple(shape), has_rank)


def _dimension(model: _Model, start: int, end: int) -> int | None:
    """Read a Dimension: dim_value (1) gives its size; without one it is free."""
    return next((value for number, _, _, value in _fields(model, start, end) if number == 1 and value > 0), None)


def _children(model: _Model, start: int, end: int, wanted: int) -> Iterator[tuple[int, int]]:
    """Return the byte ranges of the submessages with the field number `wanted`."""
    return ((s, e) for number, s, e, _ in _fields(model, start, end) if number == wanted)


def _text(model: _Model, start: int, end: int) -> str:
    model.text_left -= end - start
    if model.text_left < 0:
        raise _MalformedError(f"more than {_MAX_TEXT_BYTES} bytes of names and metadata")
    return bytes(model.view[start:end]).decode()


def _fields(model: _Model, position: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Walk the fields of the message in [position, end): number, start and end of the payload, varint."""
    view = model.view
    while position < end:
        model.fields_left -= 1
        if model.fields_left < 0:
            raise _MalformedError(f"more than {_MAX_FIELDS} fields")
        key, position = _varint(view, position, end)
        number, wire = key >> 3, key & 7
        value, start = 0, position
        if wire == _VARINT:
            value, position = _varint(view, position, end)
        elif wire == _BYTES:
            length, start = _varint(view, position, end)
            position = start + length
        elif wire in (_FIXED64, _FIXED32):
            position += 8 if wire == _FIXED64 else 4
        else:
            raise _MalformedError(f"wire type {wire} at byte {start}")
        if number == 0 or position > end:
            raise _MalformedError(f"a field at byte {start} ends at {position}, after the end at {end}")
        yield number, start, position, value


def _varint(view: memoryview, position: int, end: int) -> tuple[int, int]:
    """Read a base-128 number; give it and the position after it."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= end:
            raise _MalformedError(f"cut short at byte {position}")
        byte = view[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise _MalformedError(f"no number at byte {position}")
