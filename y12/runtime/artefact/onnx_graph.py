"""The operators of an .onnx and what its weights are, read from its bytes as `onnx_header` does; values are skipped.

Field numbers are those of onnx.proto (GraphProto, NodeProto, AttributeProto, TensorProto).
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from y12.runtime.artefact.onnx_header import TYPE_NAMES
from y12.runtime.artefact.wire import Model, children, fields, mapped_model, text, varint

__all__ = ["OnnxGraph", "OnnxNode", "OnnxWeight", "read_onnx_graph"]

_NUMBERS = {(1, 4): "<f", (10, 2): "<e", (7, 8): "<q"}  # how one is packed, by type and bytes
_HAS_NUMBERS = ("Concat", "Constant")  # the operators of which attributes are read


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


def read_onnx_graph(path: Path) -> OnnxGraph:
    """Read which operators an .onnx file has, and of its weights all but the values.

    Raises:
        ArtefactError: the file is missing, empty, cut short, or no ONNX model.
    """
    with mapped_model(path) as model:
        return _graph_from_model(model)


def _graph_from_model(model: Model) -> OnnxGraph:
    nodes: list[OnnxNode] = []
    weights: dict[str, OnnxWeight] = {}
    for graph in children(model, 0, len(model.view), 7):
        for number, start, end, _ in fields(model, *graph):
            if number == 5:
                name, weight = _weight(model, start, end)
                weights[name] = weight
            elif number == 1:
                node, constants = _node(model, start, end)
                nodes.append(node)
                weights |= constants
    return OnnxGraph(tuple(nodes), weights)


def _node(model: Model, start: int, end: int) -> tuple[OnnxNode, dict[str, OnnxWeight]]:
    """Read a NodeProto: input (1), output (2), op_type (4), attribute (5); and the tensor, if it is a Constant."""
    names: dict[int, list[str]] = {1: [], 2: [], 4: []}
    attributes: list[tuple[int, int]] = []
    for number, s, e, _ in fields(model, start, end):
        if number in names:
            names[number].append(text(model, s, e))
        elif number == 5:
            attributes.append((s, e))
    op_type = "".join(names[4])
    axis, weights = 0, {}
    for s, e in attributes if op_type in _HAS_NUMBERS else ():
        for number, first, last, value in fields(model, s, e):  # an AttributeProto: i (3), t (5)
            if number == 3 and op_type == "Concat":  # which has one attribute
                axis = value - (1 << 64) if value >> 63 else value
            elif number == 5 and names[2]:
                weights[names[2][0]] = _weight(model, first, last)[1]
    return OnnxNode(op_type, tuple(names[1]), tuple(names[2]), axis), weights


def _weight(model: Model, start: int, end: int) -> tuple[str, OnnxWeight]:
    """Read a TensorProto: dims (1), data_type (2), float_data (4), name (8), raw_data (9)."""
    name, dtype, count, content = "", 0, 1, b""
    for number, s, e, value in fields(model, start, end):
        if number == 1:
            while s < e:  # one number, or several packed
                size, s = varint(model.view, s, e)
                count *= size
        elif number == 2:
            dtype = value
        elif number == 8:
            name = text(model, s, e)
        elif number in (4, 9) and e - s <= 8:
            content = bytes(model.view[s:e])
    form = _NUMBERS.get((dtype, len(content)))
    (found,) = struct.unpack(form, content) if form and count == 1 else (None,)
    return name, OnnxWeight(TYPE_NAMES.get(dtype, f"type {dtype}"), count, found)
