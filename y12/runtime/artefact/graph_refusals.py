"""What y12 runs of no .onnx, found in the file's bytes before a library that runs graphs has seen them.

ONNX Runtime puts functions into each other while it loads a graph, which nothing can stop; a file of 10 kB of them may
take for ever. Field numbers are those of onnx.proto.
"""

from collections.abc import Iterator
from pathlib import Path

from y12.errors import ArtefactError
from y12.runtime.artefact.external_data import external_data_problem
from y12.runtime.artefact.wire import Model, fields, mapped_model, text
from y12.text import shown

__all__ = ["check_graph"]

# ONNX's own, and ONNX Runtime's, which its optimiser and its quantiser write.
_DOMAINS = ("", "ai.onnx", "com.microsoft")
_GRAPH, _OPSET, _FUNCTION = 7, 8, 25  # of a model
_NODE, _INITIALIZER, _SPARSE = 1, 5, 15  # of a graph
_ATTRIBUTE, _OP_TYPE, _DOMAIN = 5, 4, 7  # of a node
_TENSORS, _GRAPHS, _SPARSES = (5, 10), (6, 11), (22, 23)  # of an attribute
_EXTERNAL_DATA, _NAME = 13, 8  # of a tensor

_Range = tuple[int, int]


def check_graph(path: Path) -> None:
    """Refuse an .onnx with functions, with custom operators, or with data in files that are not the model's own.

    Raises:
        ArtefactError: it is one, or it is damaged.
    """
    with mapped_model(path) as model:
        graphs, is_custom = _of_model(path, model)
        while graphs:
            graphs += _of_graph(path, model, graphs.pop(), is_custom)


def _of_model(path: Path, model: Model) -> tuple[list[_Range], bool]:
    """Return the graph (each part of it, as protobuf joins them), and whether custom operators are spoken of."""
    graphs, is_custom = [], False
    for number, start, end, _ in fields(model, 0, len(model.view)):
        if number == _FUNCTION:
            name = _first_text(model, (start, end), 1)
            raise ArtefactError(
                f"{path}: expected plain operators, found the function {shown(name)}; export without functions, or "
                "inline them with onnx.inliner"
            )
        if number == _GRAPH:
            graphs.append((start, end))
        elif number == _OPSET:
            is_custom |= _first_text(model, (start, end), 1) not in _DOMAINS
    return graphs, is_custom


def _of_graph(path: Path, model: Model, graph: _Range, is_custom: bool) -> list[_Range]:
    """Check a graph's nodes and tensors; give the graphs inside of it."""
    inner: list[_Range] = []
    for number, start, end, _ in fields(model, *graph):
        if number == _NODE:
            if is_custom:
                _check_node(path, model, (start, end))
            for attribute in _ranges(model, (start, end), _ATTRIBUTE):
                inner += _of_attribute(path, model, attribute)
        elif number == _INITIALIZER:
            _check_tensor(path, model, (start, end))
        elif number == _SPARSE:
            _check_sparse(path, model, (start, end))
    return inner


def _check_node(path: Path, model: Model, node: _Range) -> None:
    domain = _first_text(model, node, _DOMAIN)
    if domain not in _DOMAINS:
        operator = f"{domain:.60}::{_first_text(model, node, _OP_TYPE):.60}"
        raise ArtefactError(
            f"{path}: expected operators of ONNX, found the custom operator {shown(operator, 130)}; export without it"
        )


def _of_attribute(path: Path, model: Model, attribute: _Range) -> list[_Range]:
    inner: list[_Range] = []
    for number, start, end, _ in fields(model, *attribute):
        if number in _GRAPHS:
            inner.append((start, end))
        elif number in _TENSORS:
            _check_tensor(path, model, (start, end))
        elif number in _SPARSES:
            _check_sparse(path, model, (start, end))
    return inner


def _check_sparse(path: Path, model: Model, tensor: _Range) -> None:
    for number, start, end, _ in fields(model, *tensor):
        if number in (1, 2):  # values, indices
            _check_tensor(path, model, (start, end))


def _check_tensor(path: Path, model: Model, tensor: _Range) -> None:
    entries = [_entry(model, entry) for entry in _ranges(model, tensor, _EXTERNAL_DATA)]
    if entries and (problem := external_data_problem(path.parent, dict(entries))):
        raise ArtefactError(f"{path}: the tensor {shown(_first_text(model, tensor, _NAME))}: {problem}")


def _entry(model: Model, entry: _Range) -> tuple[str, str]:
    found = {number: text(model, start, end) for number, start, end, _ in fields(model, *entry)}
    return found.get(1, ""), found.get(2, "")


def _ranges(model: Model, message: _Range, wanted: int) -> Iterator[_Range]:
    return ((start, end) for number, start, end, _ in fields(model, *message) if number == wanted)


def _first_text(model: Model, message: _Range, wanted: int) -> str:
    return next((text(model, start, end) for start, end in _ranges(model, message, wanted)), "")
