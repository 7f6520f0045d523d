"""Attention's reshapes with the channels last, as ONNX Runtime's integer convolutions have them.

    (B,C,H,W) -> reshape (B,c1..ck,s1..sm) -> transpose        becomes
    (B,C,H,W) -> transpose (B,H,W,C) -> reshape (B,s1..sm,c1..ck) -> transpose,      and so on the way back,

where c1 x..x ck = C and s1 x..x sm = H x W. An integer convolution writes and reads (B,H,W,C), so that the new
transpose and its own cancel out; the other moves whole heads in place of single numbers.
"""

from collections.abc import Set
from itertools import accumulate
from operator import mul

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from y12.exporter.graph.index import GraphIndex
from y12.exporter.graph.passes import constant
from y12.exporter.precision.qdq.channels import ChannelSources
from y12.exporter.precision.qdq.nodes import Replacements

__all__ = ["channels_last"]

_LAST, _FIRST = (0, 2, 3, 1), (0, 3, 1, 2)  # of the channels of a map (B,C,H,W), and back


def channels_last(index: GraphIndex, channels: ChannelSources, convs: Set[str]) -> Replacements:
    """Rewrite each reshape between a map and another shape that has a transpose on the other shape's side.

    Args:
        index: of the graph.
        channels: of the graph, for its shapes.
        convs: outputs of integer convolutions. A map is taken apart where it is one of them, and put together where
            a convolution follows.
    """
    nodes: dict[int, list[onnx.NodeProto]] = {}
    before_conv = index.reaching("Conv")
    for i, node in enumerate(index.graph.node):
        if node.op_type != "Reshape" or i not in before_conv or not channels.same_batch(node.input[0], node.output[0]):
            continue
        apart = node.input[0] in convs
        replacements = _apart(index, channels, i) if apart else _together(index, channels, i)
        # A transpose between two reshapes has one turn.
        if replacements is not None and not nodes.keys() & replacements.keys():
            nodes |= replacements
    return nodes


def _apart(index: GraphIndex, channels: ChannelSources, i: int) -> Replacements | None:
    reshape = index.graph.node[i]
    map_, other = (channels.shape(name) for name in (reshape.input[0], reshape.output[0]))
    sizes, readers = _sizes(index, reshape), index.consumers[reshape.output[0]]
    split = _split(other, map_[1]) if len(map_) == len(_LAST) else 0
    if sizes is None or not split or len(readers) != 1 or reshape.output[0] in index.outputs:
        return None
    perm = _perm(index.graph.node[readers[0]])
    if not perm:
        return None
    out, axes = index.graph.node[readers[0]].output[0], (0, *range(split, len(other)), *range(1, split))
    last, apart = f"{out}_channels_last", f"{out}_apart"
    new = [
        constant(f"{out}_sizes", sizes[list(axes)]),
        _transpose(reshape.input[0], last, _LAST),
        _reshape(last, apart, f"{out}_sizes"),
        _transpose(apart, out, tuple(axes.index(axis) for axis in perm)),
    ]
    return {i: [], readers[0]: new}


def _together(index: GraphIndex, channels: ChannelSources, i: int) -> Replacements | None:
    reshape = index.graph.node[i]
    other, map_ = (channels.shape(name) for name in (reshape.input[0], reshape.output[0]))
    sizes, maker = _sizes(index, reshape), index.producer.get(reshape.input[0])
    split = _split(other, map_[1]) if len(map_) == len(_LAST) else 0
    alone = len(index.consumers[reshape.input[0]]) == 1 and reshape.input[0] not in index.outputs
    if sizes is None or not split or maker is None or not alone:
        return None
    perm = _perm(index.graph.node[maker])
    if not perm:
        return None
    out = reshape.output[0]
    last, turned = f"{out}_channels_last", f"{out}_turned"
    new = [
        constant(f"{out}_sizes", sizes[list(_LAST)]),
        _transpose(index.graph.node[maker].input[0], turned, (perm[0], *perm[split:], *perm[1:split])),
        _reshape(turned, last, f"{out}_sizes"),
        _transpose(last, out, _FIRST),
    ]
    return {maker: [], i: new}


def _split(shape: list[int], count: int) -> int:
    """Return where the axes behind those of the channels begin; 0 where the channels are not axes of their own."""
    ends = [i for i, size in enumerate(accumulate(shape[1:-1], mul), 2) if size == count]
    return ends[0] if count and ends else 0


def _sizes(index: GraphIndex, reshape: onnx.NodeProto) -> NDArray[np.int64] | None:
    """Return the sizes a reshape is told, None where they are computed or refer to axes by their places."""
    sizes = index.constant(reshape.input[1])
    return None if sizes is None or (sizes[1:] == 0).any() else np.asarray(sizes, np.int64)


def _perm(node: onnx.NodeProto) -> tuple[int, ...]:
    """Return a transpose's order of axes, () of other nodes."""
    return next((tuple(a.ints) for a in node.attribute if a.name == "perm" and node.op_type == "Transpose"), ())


def _transpose(source: str, out: str, perm: tuple[int, ...]) -> onnx.NodeProto:
    return helper.make_node("Transpose", [source], [out], name=f"{out}/Transpose", perm=perm)


def _reshape(source: str, out: str, sizes: str) -> onnx.NodeProto:
    return helper.make_node("Reshape", [source, sizes], [out], name=f"{out}/Reshape")
