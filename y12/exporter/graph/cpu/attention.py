"""Write attention so that nothing but whole rows is moved around it, as a CPU computes it fastest.

    y = map(softmax(q k^T) v),  (q, k, v) = cut(W x + b)
    becomes
    y = map((softmax(q k^T) v)^T),  q = (W_q x + b_q)^T,  k^T = W_k x + b_k,  v = (W_v x + b_v)^T

A map (B, heads * d, H, W) already is (B, heads, d, L), L cells, where one area is all of it. ONNX Runtime's matrix
product reads either operand transposed, so that q, k and v are not moved at all; where there are several areas, each
channel's row of a band is moved as a whole. A convolution of its own each keeps the map of v in the layout in which the
depthwise convolution behind it reads it. Channels of q and k that are zeros, which TensorRT's form fills in, are left
out. TensorRT-RTX needs more kernels for it than for the form of its own (docs/decisions/0048-graphs-for-cpus.md).
"""

import numpy as np
import onnx

from y12.exporter.graph.foreign.attention_candidate import Candidate
from y12.exporter.graph.foreign.attention_match import ConvAttention
from y12.exporter.graph.foreign.rewriting import NewNodes, Shape, Values, projections_of, rewrite_attentions
from y12.exporter.graph.index import GraphIndex
from y12.exporter.graph.passes import PassReport

__all__ = ["map_attention"]

_SWAPPED = (0, 1, 3, 2)  # the two sides of a matrix
_BANDS = (0, 2, 1, 3)  # (B, C, areas, L) <-> (B, areas, C, L)


def map_attention(model: onnx.ModelProto) -> PassReport:
    """Rewrite every attention whose q, k and v are convolutions of one map; one in this form already stays."""
    return rewrite_attentions(model, "map_attention", "/maps", _written, _is_written)


def _is_written(index: GraphIndex, candidate: Candidate) -> bool:
    """Return whether three convolutions make q, k and v, and k is read as it lies in the map."""
    nodes = index.graph.node
    chains = [[nodes[i] for i, _ in operand.chain] for operand in (candidate.q, candidate.k, candidate.v)]
    q, k, v = ([node.op_type for node in chain] for chain in chains)
    return (
        len(set(candidate.convs)) == 3
        and not candidate.is_flipped
        and candidate.scale * candidate.q.scale * candidate.k.scale == 1
        and k in (["Reshape"], ["Reshape", "Transpose", "Reshape"])
        and q == v == [*k, "Transpose"]
    )


def _written(index: GraphIndex, match: ConvAttention, shape: Shape, new: NewNodes, output: str) -> str:
    """Write one attention."""
    like = index.graph.node[match.candidate.v.conv]
    projections = _without_zeros(projections_of(index, match))
    maps = [new.conv(like, *(values.reshape(-1, *values.shape[2:]) for values in one)) for one in projections]
    widths = [weight.shape[1] for weight, _ in projections]
    q, k, v = (_matrices(new, map_, match, width) for map_, width in zip(maps, widths, strict=True))
    # (B * areas, heads, L, d) x (B * areas, heads, d, L)
    scores = new.node("MatMul", [new.node("Transpose", [q], perm=_SWAPPED), k])
    values = new.node("Transpose", [v], perm=_SWAPPED)
    attended = new.node("MatMul", [new.node("Softmax", [scores], axis=-1), values])
    _put_together(new, new.node("Transpose", [attended], perm=_SWAPPED), match, maps[2], shape, output)
    return maps[2]


def _matrices(new: NewNodes, map_: str, match: ConvAttention, width: int) -> str:
    """Cut a map (B, heads * width, H, W) into (B * areas, heads, width, L)."""
    if match.areas == 1:
        return new.node("Reshape", [map_, new.sizes([0, match.heads, width, -1])])
    bands = new.node("Reshape", [map_, new.sizes([0, match.heads * width, match.areas, -1])])
    return new.node("Reshape", [new.node("Transpose", [bands], perm=_BANDS), new.sizes([-1, match.heads, width, 0])])


def _put_together(new: NewNodes, matrices: str, match: ConvAttention, map_: str, shape: Shape, output: str) -> None:
    """Put (B * areas, heads, d, L) together to a map of the shape of `map_`, (B, heads * d, H, W)."""
    channels = match.heads * match.head_dim
    if match.areas > 1:
        bands = new.node("Reshape", [matrices, new.sizes([-1, match.areas, channels, 0])])
        matrices = new.node("Transpose", [bands], perm=_BANDS)
    sizes = new.node("Shape", [map_]) if shape is None else new.sizes([0, channels, *shape[2:]])
    new.node("Reshape", [matrices, sizes], output)


def _without_zeros(projections: list[tuple[Values, Values]]) -> list[tuple[Values, Values]]:
    """Leave out the channels that are zero in q or in k of every head: they add nothing to q k^T."""
    q, k, v = projections
    used = np.logical_and(*(_used(*projection) for projection in (q, k)))
    if not used.any():
        return projections
    return [*((weight[:, used], bias[:, used]) for weight, bias in (q, k)), v]


def _used(weight: Values, bias: Values) -> Values:
    """Return which channels of (heads, width, ...) have a number other than 0 in any head."""
    by_channel = np.concatenate([values.swapaxes(0, 1).reshape(values.shape[1], -1) for values in (weight, bias)], 1)
    return np.asarray((by_channel != 0).any(axis=1))
