"""What rewrites of attention share, whatever form they write: candidates, matches, weights, and new nodes."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from y12.errors import Y12Error
from y12.exporter.graph.foreign.attention_candidate import Candidate, NoMatchError, candidate_at
from y12.exporter.graph.foreign.attention_match import ConvAttention, match_of
from y12.exporter.graph.foreign.dead import drop_dead_nodes
from y12.exporter.graph.foreign.moves import trials_of
from y12.exporter.graph.index import GraphIndex
from y12.exporter.graph.passes import PassReport, label, replace_nodes

__all__ = ["Form", "NewNodes", "Shape", "Values", "projections_of", "rewrite_attentions"]

Values = NDArray[np.generic]
Shape = tuple[int, ...] | None  # (B, C, H, W) of the convolutions' output; None where it is not fixed

# Writes an attention's nodes into `nodes`, up to the tensor `output`; gives the name of the map that v is.
Form = Callable[[GraphIndex, ConvAttention, Shape, "NewNodes", str], str]


class NewNodes:
    """Collects the nodes and constants of one attention; all of them are new.

    Args:
        name: what their names begin with.
    """

    def __init__(self, name: str) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.name = name

    def node(self, op_type: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        """Add a node; return its output's name."""
        name = f"{self.name}/{op_type}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, inputs, [output or name], name=name, **attributes))
        return output or name

    def conv(self, like: onnx.NodeProto, weight: Values, bias: Values) -> str:
        """Add a convolution, with the attributes of the one it takes the place of."""
        output = self.node("Conv", [like.input[0], self.constant(weight), self.constant(bias)])
        self.nodes[-1].attribute.extend(like.attribute)
        return output

    def sizes(self, sizes: list[int]) -> str:
        """Add sizes, or other whole numbers."""
        return self.constant(np.array(sizes, np.int64))

    def constant(self, values: Values) -> str:
        """Add an initializer; return its name."""
        name = f"{self.name}/constant_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name


def rewrite_attentions(
    model: onnx.ModelProto, name: str, suffix: str, form: Form, is_written: Callable[[GraphIndex, Candidate], bool]
) -> PassReport:
    """Rewrite, in place, every attention whose q, k and v are convolutions of one map.

    Args:
        model: changed.
        name: of the pass.
        suffix: of the softmax's name, for what the new nodes' names begin with.
        form: writes one attention.
        is_written: tells an attention that has the form already, which stays.
    """
    index = GraphIndex(model.graph)
    refused: list[str] = []
    candidates = [one for one in _candidates(index, refused) if not is_written(index, one)]
    if not candidates:
        return PassReport(name, 0, tuple(refused))
    try:
        convs = (model.graph.node[i].output[0] for candidate in candidates for i in candidate.convs)
        trials = trials_of(index, model, convs)
    except Y12Error as error:
        return PassReport(name, 0, (*refused, f"the graph cannot be run to look at its shapes: {error}"))
    replacements: dict[int, list[onnx.NodeProto]] = {}
    weights: list[onnx.TensorProto] = []
    changes = 0
    for candidate in candidates:
        try:
            match = match_of(index, candidate, trials)
        except NoMatchError as error:
            refused.append(f"{label(model.graph.node[candidate.softmax])}: {error}")
            continue
        changes += 1
        shape = trials[0].shapes[model.graph.node[candidate.v.conv].output[0]] if len(trials) == 1 else None
        new = NewNodes(label(model.graph.node[candidate.softmax]) + suffix)
        values = form(index, match, shape, new, model.graph.node[match.output].output[0])
        _enter(index, match, new, values, replacements)
        weights += new.weights
    if changes:
        replace_nodes(model.graph, replacements, weights)
        drop_dead_nodes(model.graph)
        del model.graph.value_info[:]  # shapes that were noted before are no longer true; all can be inferred
    return PassReport(name, changes, tuple(refused))


def _candidates(index: GraphIndex, refused: list[str]) -> list[Candidate]:
    candidates = []
    for i, node in enumerate(index.graph.node):
        try:
            candidate = candidate_at(index, i) if node.op_type == "Softmax" else None
        except NoMatchError as error:
            refused.append(f"{label(node)}: {error}")
            continue
        if candidate is not None:
            candidates.append(candidate)
    return candidates


def _enter(
    index: GraphIndex, match: ConvAttention, new: NewNodes, values: str, replacements: dict[int, list[onnx.NodeProto]]
) -> None:
    """Put the nodes of one match in place of its own, and the map of v before its readers."""
    nodes = index.graph.node
    for i, slot in match.map_readers:
        replacements.setdefault(i, [_copy(nodes[i])])[-1].input[slot] = values
    first = min(match.candidate.convs)  # all of them read one tensor, so that it is there
    replacements[first] = [*new.nodes, *replacements.get(first, [_copy(nodes[first])])]
    replacements[match.output] = []


def projections_of(index: GraphIndex, match: ConvAttention) -> list[tuple[Values, Values]]:
    """Return weight and bias that give q, k and v, head by head, each (heads, width, ...); q's carry the scale."""
    candidate = match.candidate
    scale = candidate.scale * candidate.q.scale * candidate.k.scale
    projections = []
    for conv, rows, factor in zip(candidate.convs, match.rows, (scale, 1.0, 1.0), strict=True):
        node = index.graph.node[conv]
        weight = numpy_helper.to_array(index.weights[node.input[1]])
        has_bias = len(node.input) > 2 and node.input[2]
        bias = numpy_helper.to_array(index.weights[node.input[2]]) if has_bias else np.zeros(len(weight), weight.dtype)
        of_rows = [(values[rows].astype(np.float64) * factor).astype(values.dtype) for values in (weight, bias)]
        projections.append((of_rows[0], of_rows[1]))
    return projections


def _copy(node: onnx.NodeProto) -> onnx.NodeProto:
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    return copy
