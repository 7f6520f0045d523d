"""Let a convolution of a residual sum read and write its part of a concatenated map where it lies.

    x + conv(h)   becomes   x + max(conv(h), -65504)

which is the same number wherever FP16 has one: -65504 is its lowest. TensorRT-RTX 1.7 computes a convolution, its bias
and a sum by a library's kernel, for which x and the result must lie by themselves: where either is a part of a
concatenation, a kernel of its own copies it. What has another step between is generated, and reads parts in place.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper

from y12.exporter.graph.index import GraphIndex
from y12.exporter.graph.passes import PassReport, constant, label, replace_nodes

__all__ = ["bound_residuals"]

_LOWEST = "lowest_half"


def bound_residuals(model: onnx.ModelProto) -> PassReport:
    """Rewrite every FP16 Conv that only an Add reads, where a Concat reads the sum or what the Conv is added to."""
    index = GraphIndex(model.graph)
    replacements: dict[int, list[onnx.NodeProto]] = {}
    for i, node in enumerate(model.graph.node):
        if node.op_type == "Conv" and _is_half(index, node) and _meets_a_concatenation(index, node.output[0]):
            inner, outer = f"{node.output[0]}_unbounded", node.output[0]
            conv = onnx.NodeProto()
            conv.CopyFrom(node)
            conv.output[:] = [inner]
            bound = helper.make_node("Max", [inner, _LOWEST], [outer], name=f"{label(node)}/Max")
            replacements[i] = [conv, bound]
    if replacements:
        first = min(replacements)
        lowest = np.array(np.finfo(np.float16).min, np.float16)
        replacements[first] = [constant(_LOWEST, lowest), *replacements[first]]
    replace_nodes(model.graph, replacements, [])
    return PassReport("bound_residuals", len(replacements))


def _is_half(index: GraphIndex, conv: onnx.NodeProto) -> bool:
    weight = index.weights.get(conv.input[1])
    return weight is not None and weight.data_type == TensorProto.FLOAT16


def _meets_a_concatenation(index: GraphIndex, tensor: str) -> bool:
    """Return whether an Add alone reads a tensor, and a Concat the sum or the other summand."""
    nodes, readers = index.graph.node, index.consumers[tensor]
    if tensor in index.outputs or len(readers) != 1 or nodes[readers[0]].op_type != "Add":
        return False
    add = nodes[readers[0]]
    beside = {*add.input, *add.output} - {tensor}
    return any(nodes[j].op_type == "Concat" for name in beside for j in index.consumers[name])
