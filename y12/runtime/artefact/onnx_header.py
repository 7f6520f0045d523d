"""What an .onnx file says of itself, read from its bytes without any library: metadata, inputs, outputs.

An ONNX file is one protobuf message; messages are walked by their length prefixes, so that weights are
skipped, not read: a 250 MB model takes milliseconds. Field numbers are those of onnx.proto (ModelProto,
GraphProto, ValueInfoProto).
"""

from dataclasses import dataclass
from pathlib import Path

from y12.runtime.artefact.wire import MalformedError as _MalformedError
from y12.runtime.artefact.wire import Model as _Model
from y12.runtime.artefact.wire import children as _children
from y12.runtime.artefact.wire import fields as _fields
from y12.runtime.artefact.wire import mapped_model
from y12.runtime.artefact.wire import text as _text

_MAX_DIMS = 16
TYPE_NAMES = {
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
NUMBERS = frozenset(TYPE_NAMES.values())


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


def read_onnx_header(path: Path) -> OnnxHeader:
    """Read the header of an .onnx file.

    Raises:
        ArtefactError: the file is missing, empty, cut short, or no ONNX model.
    """
    with mapped_model(path) as model:
        return _header_from_model(model)


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
                        dtype = TYPE_NAMES.get(value, f"type {value}")
                    elif field == 2:
                        has_rank = True
                        shape = [_dimension(model, ds, de) for ds, de in _children(model, fs, fe, 1)]
    if len(shape) > _MAX_DIMS:
        raise _MalformedError(f"a tensor of {len(shape)} dimensions")
    return TensorHeader(name, dtype, tuple(shape), has_rank)


def _dimension(model: _Model, start: int, end: int) -> int | None:
    """Read a Dimension: dim_value (1) gives its size; without one it is free."""
    return next((value for number, _, _, value in _fields(model, start, end) if number == 1 and value > 0), None)
