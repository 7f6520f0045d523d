"""Write attention in the form that TensorRT fuses, which no other exporter does.

    y = map(v P^T),  P = softmax(s q^T k),  q, k, v cut from the map(s) W x + b
    becomes
    y = map(P v),    P = softmax(q k^T),    (q, k, v) = cut(W' x + b')

W' has all rows of q, then of k, then of v, head by head, those of q multiplied by the scale s; where q and k are
narrower than v, rows of zeros fill them up, which leaves q k^T as it is. The cut is one Reshape and one Transpose to
(3, B * areas, heads, L, d). Convolutions that were separate are one. Whoever read v as a map reads it from the tokens.
This is what `y12.exporter.trace.deploy` makes of a network; why, is in docs/decisions/0006-graph-for-few-kernels.md.
"""

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

__all__ = ["fuse_attention"]


def fuse_attention(model: onnx.ModelProto) -> PassReport:
    """Rewrite every attention whose q, k and v are convolutions of one map; one in that form already stays."""
    index = GraphIndex(model.graph)
    refused: list[str] = []
    candidates = _candidates(index, refused)
    if not candidates:
        return PassReport("fuse_attention", 0, tuple(refused))
    try:
        convs = (model.graph.node[i].output[0] for candidate in candidates for i in candidate.convs)
        trials = trials_of(index, model, convs)
    except Y12Error as error:
        return PassReport("fuse_attention", 0, (*refused, f"the graph cannot be run to look at its shapes: {error}"))
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
        _rewrite(index, match, shape, replacements, weights)
    if changes:
        replace_nodes(model.graph, replacements, weights)
        drop_dead_nodes(model.graph)
        del model.graph.value_info[:]  # shapes that were noted before are no longer true; all can be inferred
    return PassReport("fuse_attention", changes, tuple(refused))


def _candidates(index: GraphIndex, refused: list[str]) -> list[Candidate]:
    """Return the attentions that are not in the deploy form yet."""
    candidates = []
    for i, node in enumerate(index.graph.node):
        try:
            candidate = candidate_at(index, i) if node.op_type == "Softmax" else None
        except NoMatchError as error:
            refused.append(f"{label(node)}: {error}")
            continue
        if candidate is not None and not candidate.is_in_deploy_form:
            candidates.append(candidate)
    return candidates


def _rewrite(
    index: GraphIndex,
    match: ConvAttention,
    shape: tuple[int, ...] | None,
    replacements: dict[int, list[onnx.NodeProto]],
    weights: list[onnx.TensorProto],
) -> None:
    """Enter the nodes of one match into `replacements`, and the constants they read into `weights`."""
    nodes, candidate = index.graph.node, match.candidate
    writer = _Writer(label(nodes[candidate.softmax]), shape)
    qkv = writer.conv(nodes[candidate.v.conv], *_merged(index, match))
    q, k, v = writer.cut(qkv, match)
    scores = writer.node("MatMul", [q, writer.node("Transpose", [k], perm=[0, 1, 3, 2])])
    attended = writer.node("MatMul", [writer.node("Softmax", [scores], axis=-1), v])
    output = nodes[match.output].output[0]
    writer.put_together(attended, qkv, match, output)
    if match.map_readers:
        values = writer.put_together(v, qkv, match)
        for i, slot in match.map_readers:
            replacements.setdefault(i, [_copy(nodes[i])])[-1].input[slot] = values
    first = min(candidate.convs)  # all of them read one tensor, so that it is there
    replacements[first] = [*writer.nodes, *replacements.get(first, [_copy(nodes[first])])]
    replacements[match.output] = []
    weights += writer.weights


def _merged(index: GraphIndex, match: ConvAttention) -> tuple[NDArray[np.generic], NDArray[np.generic]]:
    """Return weight and bias of the one convolution."""
    candidate = match.candidate
    scale = candidate.scale * candidate.q.scale * candidate.k.scale
    parts: list[NDArray[np.generic]] = []
    biases: list[NDArray[np.generic]] = []
    for conv, rows, factor in zip(candidate.convs, match.rows, (scale, 1.0, 1.0), strict=True):
        node = index.graph.node[conv]
        weight = numpy_helper.to_array(index.weights[node.input[1]])
        has_bias = len(node.input) > 2 and node.input[2]
        bias = numpy_helper.to_array(index.weights[node.input[2]]) if has_bias else np.zeros(len(weight), weight.dtype)
        for values, into in ((weight, parts), (bias, biases)):
            chosen = values[rows].astype(np.float64) * factor
            missing = [(0, 0), (0, match.head_dim - rows.shape[1]), *[(0, 0)] * (values.ndim - 1)]
            into.append(np.pad(chosen, missing).reshape(-1, *values.shape[1:]).astype(values.dtype))
    return np.concatenate(parts), np.concatenate(biases)


class _Writer:
    """Collects the nodes and constants of one attention; all of them are new.

    Args:
        name: of the attention: what its nodes' and tensors' names begin with.
        shape: (B, C, H, W) of the convolutions' output; None where it is not fixed.
    """

    def __init__(self, name: str, shape: tuple[int, ...] | None) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self._name, self._shape = name, shape

    def node(self, op_type: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        """Add a node; return its output's name."""
        name = f"{self._name}/fused/{op_type}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, inputs, [output or name], name=name, **attributes))
        return output or name

    def conv(self, like: onnx.NodeProto, weight: NDArray[np.generic], bias: NDArray[np.generic]) -> str:
        """Add the convolution, with the attributes of the one it takes the place of."""
        inputs = [like.input[0], self._constant(weight), self._constant(bias)]
        output = self.node("Conv", inputs)
        self.nodes[-1].attribute.extend(like.attribute)
        return output

    def cut(self, qkv: str, match: ConvAttention) -> tuple[str, str, str]:
        """Cut the convolution's output into q, k and v, each (B * areas, heads, L, d)."""
        heads, d, areas = match.heads, match.head_dim, match.areas
        # (B, 3 * heads * d, H, W) -> (B, 3, heads, d, areas, L) -> (3, B, areas, heads, L, d)
        batch = 0 if self._shape is None else self._shape[0]
        parts = self.node("Reshape", [qkv, self._sizes([batch, 3, heads, d, areas, -1])])
        tokens = self.node("Transpose", [parts], perm=[1, 0, 4, 2, 5, 3])
        if self._shape is None:
            tail = self._part_of_shape(tokens, 3, 6)
            sizes = self.node("Concat", [self._sizes([3, -1]), tail], axis=0)
        else:
            sizes = self._sizes([3, batch * areas, heads, self._shape[2] * self._shape[3] // areas, d])
        tokens = self.node("Reshape", [tokens, sizes])
        split = [f"{self._name}/fused/{part}_1" for part in "qkv"]
        name = f"{self._name}/fused/Split_{len(self.nodes)}"
        self.nodes.append(helper.make_node("Split", [tokens, self._sizes([1, 1, 1])], split, name=name, axis=0))
        q, k, v = (self.node("Squeeze", [part, self._sizes([0])]) for part in split)
        return q, k, v

    def put_together(self, tokens: str, qkv: str, match: ConvAttention, output: str = "") -> str:
        """Put (B * areas, heads, L, d) together to a map (B, heads * d, H, W)."""
        heads, d, areas = match.heads, match.head_dim, match.areas
        if self._shape is None:
            batch = self._part_of_shape(qkv, 0, 1)
            by_area = self.node("Concat", [batch, self._sizes([areas, heads, -1, d])], axis=0)
            sides = self._part_of_shape(qkv, 2, 4)
            sizes = self.node("Concat", [batch, self._sizes([heads * d]), sides], axis=0)
        else:
            by_area = self._sizes([self._shape[0], areas, heads, -1, d])
            sizes = self._sizes([self._shape[0], heads * d, *self._shape[2:]])
        # (B, areas, heads, L, d) -> (B, heads, d, areas, L)
        cells = self.node("Transpose", [self.node("Reshape", [tokens, by_area])], perm=[0, 2, 4, 1, 3])
        return self.node("Reshape", [cells, sizes], output)

    def _part_of_shape(self, tensor: str, start: int, end: int) -> str:
        shape = self.node("Shape", [tensor])
        return self.node("Slice", [shape, self._sizes([start]), self._sizes([end]), self._sizes([0])])

    def _sizes(self, sizes: list[int]) -> str:
        return self._constant(np.array(sizes, np.int64))

    def _constant(self, values: NDArray[np.generic]) -> str:
        name = f"{self._name}/fused/constant_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name


def _copy(node: onnx.NodeProto) -> onnx.NodeProto:
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    return copy
