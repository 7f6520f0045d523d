"""Give a graph the outputs of y12's own: `output0`, raw predictions of centres and sizes, and `protos`.

Where it picks objects itself, it is cut at what they are picked from:

    rows = NMS(raw)  or  best(raw)    becomes   output0 = raw
    Concat(corner, other corner)      becomes   Concat((corner + other) / 2, other - corner)

Everything behind the cut is y12's to write: its own NMS, or the best rows (`y12.exporter.graph.nms.best_rows`).
"""

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from y12.errors import GraphError
from y12.exporter.graph.foreign.dead import drop_dead_nodes
from y12.exporter.graph.index import names_read
from y12.runtime.artefact.graph_outputs import BOXES, GraphOutputs
from y12.runtime.artefact.nms_settings import NmsSettings
from y12.runtime.artefact.output_layout import PROTOS

__all__ = ["Given", "with_raw_outputs"]

_PREFIX = "centres/"  # of the names of what is added


@dataclass(frozen=True)
class Given:
    """A graph of another exporter as it was given, in one form.

    Attributes:
        graph: with its own outputs.
        nms: how it picks objects; None of raw predictions.
        halves: its weights were FP16.
    """

    graph: onnx.ModelProto
    nms: NmsSettings | None = None
    halves: bool = False


def with_raw_outputs(model: onnx.ModelProto, found: GraphOutputs) -> onnx.ModelProto:
    """Return a graph of another exporter with the outputs of y12's own.

    Args:
        model: in one form (`y12.exporter.graph.foreign.read`).
        found: what its outputs hold.

    Raises:
        GraphError: what was found is no longer there, or a name is taken.
    """
    given = onnx.ModelProto()
    given.CopyFrom(model)
    graph = given.graph
    beside = [output for output in graph.output if output.name != BOXES]
    if found.nms is not None:
        if all(found.raw not in node.output for node in graph.node):
            raise GraphError(f"expected a tensor '{found.raw:.60}', from which the objects are picked, found none")
        batch = next(output for output in graph.output if output.name == BOXES).type.tensor_type.shape.dim[0]
        raw = helper.make_tensor_value_info(found.raw, TensorProto.FLOAT, [None, None, None])
        raw.type.tensor_type.shape.dim[0].CopyFrom(batch)
        del graph.output[:]
        del graph.value_info[:]  # of what had these names
        graph.output.extend([raw, *beside])
        drop_dead_nodes(graph)
        if found.corners:
            _join_centres(graph, found.corners)
        _rename(graph, found.raw, BOXES)
        _state_shape(given)
    for output in beside:
        _rename(graph, output.name, PROTOS)
    return given


def _state_shape(model: onnx.ModelProto) -> None:
    """Write down how many channels and anchor points the first output has, where that can be told."""
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph.output[0].type.tensor_type.shape.dim
    for dim, known in zip(model.graph.output[0].type.tensor_type.shape.dim, inferred, strict=True):
        dim.CopyFrom(known)


def _join_centres(graph: onnx.GraphProto, joined: str) -> None:
    """Join centres and sizes where two corners are joined."""
    at, node = next((i, node) for i, node in enumerate(graph.node) if joined in node.output)
    near, far = node.input
    total, middle, size = (f"{_PREFIX}{name}" for name in ("sum", "middle", "size"))
    half = numpy_helper.from_array(np.array(0.5, np.float32), f"{_PREFIX}half")
    added = [
        helper.make_node("Add", [near, far], [total], name=total),
        helper.make_node("Mul", [total, half.name], [middle], name=middle),
        helper.make_node("Sub", [far, near], [size], name=size),
    ]
    node.input[:] = [middle, size]
    graph.initializer.append(half)
    for new in reversed(added):
        graph.node.insert(at, new)


def _rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    """Call a tensor otherwise."""
    if old == new:
        return
    if any(new in (*node.output, *names_read(node)) for node in graph.node):
        raise GraphError(f"expected no other tensor called {new} than an output, found one; rename it")
    for node in graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
        node.output[:] = [new if name == old else name for name in node.output]
    for output in graph.output:
        output.name = new if output.name == old else output.name
