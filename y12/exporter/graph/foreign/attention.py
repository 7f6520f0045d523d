"""Write attention in the form that TensorRT fuses, which no other exporter does.

    y = map(v P^T),  P = softmax(s q^T k),  q, k, v cut from the map(s) W x + b
    becomes
    y = map(P v),    P = softmax(q k^T),    (q, k, v) = cut(W' x + b')

W' has all rows of q, then of k, then of v, head by head, those of q multiplied by the scale s; where q and k are
narrower than v, rows of zeros fill them up, which leaves q k^T as it is. The cut is one Reshape and one Transpose to
(3, B * areas, heads, L, d). Convolutions that were separate are one. Whoever read v as a map reads it from the tokens.
This is what `y12.exporter.trace.deploy` makes of a network; why, is in docs/decisions/0006-graph-for-few-kernels.md.
"""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from y12.exporter.graph.foreign.attention_candidate import Candidate
from y12.exporter.graph.foreign.attention_match import ConvAttention
from y12.exporter.graph.foreign.rewriting import NewNodes, Shape, projections_of, rewrite_attentions
from y12.exporter.graph.index import GraphIndex
from y12.exporter.graph.passes import PassReport

__all__ = ["fuse_attention"]


def fuse_attention(model: onnx.ModelProto) -> PassReport:
    """Rewrite every attention whose q, k and v are convolutions of one map; one in that form already stays."""
    return rewrite_attentions(model, "fuse_attention", "/fused", _written, _is_written)


def _is_written(_index: GraphIndex, candidate: Candidate) -> bool:
    return candidate.is_in_deploy_form


def _written(index: GraphIndex, match: ConvAttention, shape: Shape, new: NewNodes, output: str) -> str:
    """Write one attention."""
    writer = _Writer(new, shape)
    qkv = new.conv(index.graph.node[match.candidate.v.conv], *_merged(index, match))
    q, k, v = writer.cut(qkv, match)
    scores = new.node("MatMul", [q, new.node("Transpose", [k], perm=[0, 1, 3, 2])])
    attended = new.node("MatMul", [new.node("Softmax", [scores], axis=-1), v])
    writer.put_together(attended, qkv, match, output)
    return writer.put_together(v, qkv, match) if match.map_readers else ""


def _merged(index: GraphIndex, match: ConvAttention) -> tuple[NDArray[np.generic], NDArray[np.generic]]:
    """Return weight and bias of the one convolution, in which q and k are filled up to v's width."""
    parts: list[list[NDArray[np.generic]]] = [[], []]
    for projection in projections_of(index, match):
        for values, into in zip(projection, parts, strict=True):
            missing = [(0, 0), (0, match.head_dim - values.shape[1]), *[(0, 0)] * (values.ndim - 2)]
            into.append(np.pad(values, missing).reshape(-1, *values.shape[2:]))
    weight, bias = (np.concatenate(part) for part in parts)
    return weight, bias


class _Writer:
    """Writes how q, k and v are cut from a map, and how a map is put together.

    Args:
        new: to write to.
        shape: (B, C, H, W) of the convolutions' output; None where it is not fixed.
    """

    def __init__(self, new: NewNodes, shape: Shape) -> None:
        self._new, self._shape = new, shape

    def cut(self, qkv: str, match: ConvAttention) -> tuple[str, str, str]:
        """Cut the convolution's output into q, k and v, each (B * areas, heads, L, d)."""
        heads, d, areas = match.heads, match.head_dim, match.areas
        # (B, 3 * heads * d, H, W) -> (B, 3, heads, d, areas, L) -> (3, B, areas, heads, L, d)
        batch = 0 if self._shape is None else self._shape[0]
        parts = self._new.node("Reshape", [qkv, self._new.sizes([batch, 3, heads, d, areas, -1])])
        tokens = self._new.node("Transpose", [parts], perm=[1, 0, 4, 2, 5, 3])
        if self._shape is None:
            tail = self._part_of_shape(tokens, 3, 6)
            sizes = self._new.node("Concat", [self._new.sizes([3, -1]), tail], axis=0)
        else:
            sizes = self._new.sizes([3, batch * areas, heads, self._shape[2] * self._shape[3] // areas, d])
        tokens = self._new.node("Reshape", [tokens, sizes])
        split = [f"{self._new.name}/{part}_1" for part in "qkv"]
        name = f"{self._new.name}/Split_{len(self._new.nodes)}"
        self._new.nodes.append(
            helper.make_node("Split", [tokens, self._new.sizes([1, 1, 1])], split, name=name, axis=0)
        )
        q, k, v = (self._new.node("Squeeze", [part, self._new.sizes([0])]) for part in split)
        return q, k, v

    def put_together(self, tokens: str, qkv: str, match: ConvAttention, output: str = "") -> str:
        """Put (B * areas, heads, L, d) together to a map (B, heads * d, H, W)."""
        heads, d, areas = match.heads, match.head_dim, match.areas
        if self._shape is None:
            batch = self._part_of_shape(qkv, 0, 1)
            by_area = self._new.node("Concat", [batch, self._new.sizes([areas, heads, -1, d])], axis=0)
            sides = self._part_of_shape(qkv, 2, 4)
            sizes = self._new.node("Concat", [batch, self._new.sizes([heads * d]), sides], axis=0)
        else:
            by_area = self._new.sizes([self._shape[0], areas, heads, -1, d])
            sizes = self._new.sizes([self._shape[0], heads * d, *self._shape[2:]])
        # (B, areas, heads, L, d) -> (B, heads, d, areas, L)
        cells = self._new.node("Transpose", [self._new.node("Reshape", [tokens, by_area])], perm=[0, 2, 4, 1, 3])
        return self._new.node("Reshape", [cells, sizes], output)

    def _part_of_shape(self, tensor: str, start: int, end: int) -> str:
        shape = self._new.node("Shape", [tensor])
        return self._new.node("Slice", [shape, self._new.sizes([start]), self._new.sizes([end]), self._new.sizes([0])])
