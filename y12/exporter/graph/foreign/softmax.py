"""Recognise a softmax that is written by hand.

    m = max(x),  e = exp(x - m),  e / sum(e)   becomes   softmax(x)

with all along one axis. TensorRT knows an attention by its Softmax.
"""

import numpy as np
import onnx
from onnx import helper

from y12.exporter.graph.foreign.dead import drop_dead_nodes
from y12.exporter.graph.index import GraphIndex
from y12.exporter.graph.passes import PassReport, label, replace_nodes

__all__ = ["write_softmax"]


def write_softmax(model: onnx.ModelProto) -> PassReport:
    """Rewrite every Div that ends such a softmax."""
    index = GraphIndex(model.graph)
    refused: list[str] = []
    replacements: dict[int, list[onnx.NodeProto]] = {}
    for i, node in enumerate(model.graph.node):
        match = _match(index, node) if node.op_type == "Div" else None
        if match is None:
            continue
        source, axes = match
        if axes[0] is None or axes[0] != axes[1]:
            refused.append(f"{label(node)}: its maximum and its sum are not both along one and the same axis")
            continue
        softmax = helper.make_node("Softmax", [source], [node.output[0]], name=f"{label(node)}/Softmax", axis=axes[0])
        replacements[i] = [softmax]
    if replacements:
        replace_nodes(model.graph, replacements, [])
        drop_dead_nodes(model.graph)
    return PassReport("write_softmax", len(replacements), tuple(refused))


def _match(index: GraphIndex, division: onnx.NodeProto) -> tuple[str, list[int | None]] | None:
    """Return what the softmax is of, and the axes of its maximum and its sum; None where it is none."""
    exponential, total = index.maker(division.input[0], "Exp"), index.maker(division.input[1], "ReduceSum")
    if exponential is None or total is None or total.input[0] != division.input[0]:
        return None
    difference = index.maker(exponential.input[0], "Sub")
    largest = None if difference is None else index.maker(difference.input[1], "ReduceMax")
    if difference is None or largest is None or largest.input[0] != difference.input[0]:
        return None
    return str(difference.input[0]), [_axis(index, node) for node in (largest, total)]


def _axis(index: GraphIndex, node: onnx.NodeProto) -> int | None:
    """Return the one axis that a reduction is along and keeps; None where it is none such."""
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    given = index.constant(node.input[1]) if len(node.input) > 1 and node.input[1] else attributes.get("axes")
    axes = [] if given is None else [int(axis) for axis in np.asarray(given).reshape(-1)]
    return axes[0] if len(axes) == 1 and attributes.get("keepdims", 1) else None
