"""Pad the channels between two convolutions to a multiple of eight.

    W2 silu(W1 x + b1)   becomes   [W2 0] silu([W1; 0] x + [b1; 0])

The padding computes silu(0) = 0, so that the result is the same. FP16 tensor cores work on eight channels at a time;
where the number of channels is no multiple of it, TensorRT puts kernels that pad and unpad around each convolution.
"""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from y12.exporter.graph.index import GraphIndex, silu_nodes
from y12.exporter.graph.passes import PassReport, label, replace_nodes

__all__ = ["align_channels"]

MULTIPLE = 8


def align_channels(model: onnx.ModelProto) -> PassReport:
    """Rewrite every dense Conv whose output, after SiLU or nothing, only dense Convs read."""
    index = GraphIndex(model.graph)
    refused: list[str] = []
    replacements: dict[int, list[onnx.NodeProto]] = {}
    weights: list[onnx.TensorProto] = []
    changes = 0
    for i, node in enumerate(model.graph.node):
        weight = index.weights.get(node.input[1]) if node.op_type == "Conv" else None
        if weight is None or weight.dims[0] % MULTIPLE == 0:
            continue
        readers = _readers(index, node.output[0])
        problem = _problem(index, node, readers)
        if problem:
            refused.append(f"{label(node)}: {problem}")
            continue
        changes += 1
        padding = -weight.dims[0] % MULTIPLE
        for j, axis in [(i, 0), *((j, 1) for j in readers)]:
            replacements[j] = [_padded(index, replacements.get(j, [model.graph.node[j]])[0], axis, padding, weights)]
    replace_nodes(model.graph, replacements, weights)
    if changes:
        del model.graph.value_info[:]  # shapes that were noted before are no longer true; all can be inferred
    return PassReport("align_channels", changes, tuple(refused))


def _readers(index: GraphIndex, tensor: str) -> list[int]:
    """Return the nodes that read a convolution's output, behind its SiLU if any; none where it leaves the graph."""
    readers = sorted(set(index.consumers[tensor]))
    inner = [tensor]
    activation = silu_nodes(index, readers[-1]) if len(readers) == 2 else ()
    if activation and list(activation) == readers:
        gate, activated = (index.graph.node[j].output[0] for j in activation)
        inner += [gate, activated]
        readers = sorted({*index.consumers[activated], *index.consumers[gate]} - set(activation))
    return [] if index.outputs & set(inner) else readers


def _problem(index: GraphIndex, conv: onnx.NodeProto, readers: list[int]) -> str:
    convs = [conv, *(index.graph.node[j] for j in readers)]
    if any(node.op_type != "Conv" for node in convs) or len(convs) == 1:
        return "its output has other readers than convolutions"
    for node in convs:
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        if attributes.get("group", 1) != 1:
            return f"{label(node)} has {attributes['group']} groups, expected 1"
        changed = node.input[1 : None if node is conv else 2]  # of those that read it, the weights alone
        if any(name not in index.weights or len(index.consumers[name]) != 1 for name in changed):
            return f"the weights of {label(node)} are not constant, or shared"
    return ""


def _padded(
    index: GraphIndex, node: onnx.NodeProto, axis: int, padding: int, weights: list[onnx.TensorProto]
) -> onnx.NodeProto:
    """Return a copy of a Conv with zeros added to its output channels (axis 0) or input channels (axis 1)."""
    added = {w.name: w for w in weights}
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    for slot, name in enumerate(node.input[1 : 2 if axis == 1 else None], start=1):
        values: NDArray[np.generic] = numpy_helper.to_array(added.get(name) or index.weights[name])
        widths = [(0, padding if dimension == axis else 0) for dimension in range(values.ndim)]
        copy.input[slot] = f"{name}_padded{axis}"
        weights.append(numpy_helper.from_array(np.pad(values, widths), copy.input[slot]))
    return copy
