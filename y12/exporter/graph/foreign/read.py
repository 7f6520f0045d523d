"""Read an .onnx of any exporter: refuse what y12 does not take, then bring the rest to one form.

One form is: FP32, opset 17 or later, nodes sorted and named, constants as initialisers, one input called `images`.
"""

from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx.external_data_helper import load_external_data_for_model

from y12.errors import GraphError
from y12.exporter.graph.foreign.constants import lift_constants, name_nodes
from y12.exporter.graph.foreign.refusals import check_external_data, check_kinds
from y12.exporter.graph.foreign.sort_nodes import sort_nodes
from y12.exporter.graph.foreign.widen import widen_halves
from y12.exporter.graph.index import names_read
from y12.runtime.artefact.manifest import INPUT_NAME
from y12.text import one_line

__all__ = ["ForeignGraph", "graph_from_file", "normalised"]

OLDEST_OPSET = 17  # that y12's passes write, and TensorRT builds in every form


@dataclass(frozen=True)
class ForeignGraph:
    """A graph in the form that y12's passes take, and what the user must be told of how it got there."""

    model: onnx.ModelProto
    notes: tuple[str, ...] = ()


def graph_from_file(path: Path, least_opset: int = 0) -> ForeignGraph:
    """Read an .onnx file; an opset older than the least is converted to it.

    Raises:
        GraphError: the file is no sound ONNX, or holds what y12 does not take; the message begins with its path.
    """
    try:
        model = onnx.load(path, load_external_data=False)
    # The protobuf and onnx libraries raise many kinds for a damaged file.
    except Exception as error:
        raise _unsound(path, error) from error
    try:
        check_kinds(model)
        check_external_data(model, path.parent)
        try:
            load_external_data_for_model(model, str(path.parent))
            graph = normalised(model, least_opset)
            onnx.checker.check_model(graph.model)
        except GraphError:
            raise
        except Exception as error:
            raise _unsound(path, error) from error
    except GraphError as error:
        raise error if str(error).startswith(f"{path}: ") else GraphError(f"{path}: {error}") from error
    return graph


def normalised(model: onnx.ModelProto, least_opset: int = 0) -> ForeignGraph:
    """Return a model in the form that y12's passes take; the one that is given is changed.

    Raises:
        GraphError: its nodes go in a circle, it has other inputs than images, or its opset cannot be raised.
    """
    notes = []
    sort_nodes(model)
    lift_constants(model)
    if widen_halves(model).changes:
        notes.append(
            "its weights are FP16: they were rounded when the .onnx was made, and everything is compared with the "
            "graph as it is, computed in FP32"
        )
    opset, least_opset = _opset(model), max(least_opset, OLDEST_OPSET)
    if opset < least_opset:
        model = _raised(model, opset, least_opset)
        lift_constants(model)
        notes.append(f"its opset {opset} was converted to {least_opset}")
    name_nodes(model)
    notes += _named_input(model)
    return ForeignGraph(model, tuple(notes))


def _opset(model: onnx.ModelProto) -> int:
    return max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=1)


def _raised(model: onnx.ModelProto, opset: int, least: int) -> onnx.ModelProto:
    from onnx import version_converter

    try:
        raised: onnx.ModelProto = version_converter.convert_version(model, least)
    # The converter raises whatever its C++ part throws.
    except Exception as error:
        raise GraphError(
            f"expected opset {least} or later, found {opset}, which could not be converted "
            f"({one_line(str(error)):.120}); export with a newer opset"
        ) from error
    del raised.metadata_props[:]
    raised.metadata_props.extend(model.metadata_props)
    return raised


def _named_input(model: onnx.ModelProto) -> list[str]:
    """Call the input by the name that y12's artefacts have; return what is to be told of it."""
    names = [value.name for value in model.graph.input]
    if len(names) != 1:
        raise GraphError(
            f"expected one input, images (B, 3, H, W), found {len(names)}: {', '.join(names):.120}; export a graph "
            "that takes images alone"
        )
    (name,) = names
    if name == INPUT_NAME:
        return []
    if any(INPUT_NAME in (*node.output, *names_read(node)) for node in model.graph.node):
        raise GraphError(f"expected the input to be called {INPUT_NAME}, found '{name:.60}', and another {INPUT_NAME}")
    model.graph.input[0].name = INPUT_NAME
    for node in model.graph.node:
        node.input[:] = [INPUT_NAME if read == name else read for read in node.input]
    return [f"its input '{name:.60}' is called {INPUT_NAME} in what was made of it"]


def _unsound(path: Path, error: Exception) -> GraphError:
    problem = " ".join(str(error).split()) or type(error).__name__
    return GraphError(f"{path}: not a sound ONNX file ({problem:.160})")
