"""Make two convolutions of one whose output is split.

    y0, y1 = split(silu(W x + b))   becomes   y0 = silu(W0 x + b0),  y1 = silu(W1 x + b1)

with W = [W0; W1] and b = [b0; b1] cut along the output channels. TensorRT writes the halves where their readers want
them, so that the kernels that copy a slice, and those that put slices together again, go away.
"""

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper

from y12.exporter.graph.index import GraphIndex, silu_nodes
from y12.exporter.graph.passes import PassReport, label, replace_nodes

__all__ = ["split_convs"]


@dataclass(frozen=True)
class _Match:
    """The nodes of one match, as indices: Conv, its activation (none, or Sigmoid and Mul), Split."""

    conv: int
    activation: tuple[int, ...]
    split: int
    sizes: tuple[int, ...]


def split_convs(model: onnx.ModelProto) -> PassReport:
    """Rewrite every Conv (with SiLU or nothing after it) whose only reader is a Split along the channels."""
    index = GraphIndex(model.graph)
    refused: list[str] = []
    replacements: dict[int, list[onnx.NodeProto]] = {}
    weights: dict[str, onnx.TensorProto] = {}
    changes = 0
    for i, node in enumerate(model.graph.node):
        if node.op_type != "Split":
            continue
        match = _match(index, i, refused)
        if match is not None:
            changes += 1
            nodes = _rewritten(index, match, weights)
            replacements |= {j: [] for j in (match.conv, *match.activation)} | {i: nodes}
    replace_nodes(model.graph, replacements, list(weights.values()))
    return PassReport("split_convs", changes, tuple(refused))


def _match(index: GraphIndex, split: int, refused: list[str]) -> _Match | None:
    node = index.graph.node[split]
    source = index.producer.get(node.input[0])
    if source is None:
        return None
    activation: tuple[int, ...] = ()
    maker = index.graph.node[source]
    if maker.op_type == "Mul":
        activation = silu_nodes(index, source)
        if not activation:
            return None
        source = index.producer.get(index.graph.node[activation[0]].input[0])
        if source is None:
            return None
        maker = index.graph.node[source]
    if maker.op_type != "Conv":
        return None
    problem = _problem(index, split, source, activation)
    if problem:
        refused.append(f"{label(maker)}: {problem}")
        return None
    sizes = index.constant(node.input[1])
    return _Match(source, activation, split, tuple(int(s) for s in np.asarray(sizes)))


def _problem(index: GraphIndex, split: int, conv: int, activation: tuple[int, ...]) -> str:
    node, split_node = index.graph.node[conv], index.graph.node[split]
    attributes = {a.name: helper.get_attribute_value(a) for a in (*node.attribute, *split_node.attribute)}
    if attributes.get("group", 1) != 1:
        return f"group is {attributes['group']}, expected 1"
    if attributes.get("axis", 0) != 1:
        return f"it is split along axis {attributes.get('axis', 0)}, expected 1"
    if any(name not in index.weights for name in node.input[1:]):
        return "its weights are not constant"
    if len(split_node.input) < 2 or index.constant(split_node.input[1]) is None:
        return "the sizes of the split are not constant"
    if _is_read_elsewhere(index, split, conv, activation):
        return "its output has other readers than the split"
    return ""


def _is_read_elsewhere(index: GraphIndex, split: int, conv: int, activation: tuple[int, ...]) -> bool:
    """Return whether a tensor that the rewrite removes leaves the graph or has readers outside of the match."""
    removed = [index.graph.node[i].output[0] for i in (conv, *activation)]
    return any(name in index.outputs or not set(index.consumers[name]) <= {split, *activation} for name in removed)


def _rewritten(index: GraphIndex, match: _Match, weights: dict[str, onnx.TensorProto]) -> list[onnx.NodeProto]:
    """Return the nodes of one match, and add the weights they read; who shares a weight shares its parts."""
    conv, split = index.graph.node[match.conv], index.graph.node[match.split]
    nodes: list[onnx.NodeProto] = []
    start = 0
    for part, (size, output) in enumerate(zip(match.sizes, split.output, strict=True)):
        inputs = [conv.input[0]]
        for name in conv.input[1:]:
            rows = numpy_helper.to_array(index.weights[name])[start : start + size]
            cut = f"{name}_{start}_{start + size}"
            weights[cut] = numpy_helper.from_array(np.ascontiguousarray(rows), cut)
            inputs.append(cut)
        start += size
        raw = f"{output}_conv" if match.activation else output
        part_conv = onnx.NodeProto()
        part_conv.CopyFrom(conv)
        part_conv.name = f"{label(conv)}_{part}"
        part_conv.input[:], part_conv.output[:] = inputs, [raw]
        nodes.append(part_conv)
        if match.activation:
            nodes.append(helper.make_node("Sigmoid", [raw], [f"{output}_gate"], name=f"{label(conv)}_{part}/Sigmoid"))
            nodes.append(helper.make_node("Mul", [raw, f"{output}_gate"], [output], name=f"{label(conv)}_{part}/Mul"))
    return nodes
