"""Which channels of which tensors a tensor is made of, node by node from a reader back to what made it.

Published heads concatenate distances and scores, reshape, concatenate the levels, and split again: by nodes alone
everything is reachable from everything, and only the channels tell the branches apart.
"""

from collections.abc import Callable
from itertools import accumulate, pairwise

import numpy as np
import onnx
from onnx import helper

from y12.exporter.graph.index import GraphIndex

__all__ = ["ChannelSources"]

Span = tuple[int, int]  # of channels: the first, and the one behind the last
Part = tuple[str, Span | None]  # of a tensor; None is all of it, whatever its shape
_AXIS = 1  # of the channels
# What gives element by element, or within a channel: channel i is made of channels i, where both have as many.
_KEEPS = {"Cast", "Exp", "Identity", "MaxPool", "Relu", "Resize", "Sigmoid", "Tanh", "Add", "Div", "Mul", "Sub"}


class ChannelSources:
    """Follows channels back through a graph.

    Args:
        model: whose shapes are inferred; where they stay unknown, all channels count as read.
        index: of its graph.
    """

    def __init__(self, model: onnx.ModelProto, index: GraphIndex) -> None:
        self._index = index
        inferred = onnx.shape_inference.infer_shapes(model).graph
        self._dims = {
            value.name: [(dim.dim_value, dim.dim_param) for dim in value.type.tensor_type.shape.dim]
            for value in (*inferred.input, *inferred.value_info, *inferred.output)
            if value.type.tensor_type.HasField("shape")
        }

    def shape(self, tensor: str) -> list[int]:
        """Return the shape of an activation, with 0 for an axis that is free; empty where it is unknown."""
        return [size for size, _ in self._dims.get(tensor, [])]

    def same_batch(self, a: str, b: str) -> bool:
        """Return whether two activations' first axes are known to be the same."""
        first, second = (self._dims.get(name, [(0, "")])[:1] for name in (a, b))
        return first == second and first not in ([], [(0, "")])

    def nearest(self, tensor: str, stop: Callable[[str], bool]) -> frozenset[str]:
        """Return the tensors that a tensor is made of: going back, the first at which to stop, or made by no node."""
        waiting: list[Part] = [(tensor, self._all(tensor))]
        seen, sources = set(waiting), set()
        while waiting:
            part = waiting.pop()
            if part[0] not in self._index.producer or stop(part[0]):
                sources.add(part[0])
                continue
            new = [other for other in self._made_of(*part) if other not in seen]
            seen.update(new)
            waiting += new
        return frozenset(sources)

    def _made_of(self, tensor: str, channels: Span | None) -> list[Part]:
        node = self._index.graph.node[self._index.producer[tensor]]
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        parts: list[Part] | None = None
        if channels is not None:
            if node.op_type == "Concat":
                parts = self._of_concat(node, attributes["axis"], channels)
            elif node.op_type == "Split":
                parts = self._of_split(node, attributes.get("axis", 0), tensor, channels)
            elif node.op_type == "Slice":
                parts = self._of_slice(node, channels)
            elif node.op_type in _KEEPS or self._leaves_channels(node):
                same = self._count(tensor)
                parts = [(name, channels if self._count(name) == same else self._all(name)) for name in node.input]
        if parts is None:  # not to be followed: all of everything
            parts = [(name, self._all(name)) for name in node.input]
        return [(name, own) for name, own in parts if name and name not in self._index.weights]

    def _of_concat(self, node: onnx.NodeProto, axis: int, channels: Span) -> list[Part] | None:
        if axis % len(self.shape(node.output[0])) != _AXIS:
            return [(name, channels) for name in node.input]
        counts = [self._count(name) for name in node.input]
        if 0 in counts:
            return None
        parts: list[Part] = []
        for name, (first, end) in zip(node.input, pairwise(accumulate(counts, initial=0)), strict=True):
            own = (max(channels[0], first) - first, min(channels[1], end) - first)
            if own[0] < own[1]:
                parts.append((name, own))
        return parts

    def _of_split(self, node: onnx.NodeProto, axis: int, tensor: str, channels: Span) -> list[Part] | None:
        if axis % len(self.shape(tensor)) != _AXIS:
            return [(node.input[0], channels)]
        counts = [self._count(name) for name in node.output[: list(node.output).index(tensor)]]
        return None if 0 in counts else [(node.input[0], _moved(channels, sum(counts)))]

    def _of_slice(self, node: onnx.NodeProto, channels: Span) -> list[Part] | None:
        starts, axes, steps = (self._numbers(node, slot) for slot in (1, 3, 4))
        if starts is None or axes is None or steps is None:
            return None
        axes = [axis % len(self.shape(node.output[0])) for axis in axes or range(len(starts))]
        if _AXIS not in axes:
            return [(node.input[0], channels)]
        i, count = axes.index(_AXIS), self._count(node.input[0])
        if not count or (steps and steps[i] != 1):
            return None
        return [(node.input[0], _moved(channels, starts[i] + count if starts[i] < 0 else starts[i]))]

    def _leaves_channels(self, node: onnx.NodeProto) -> bool:
        """Return whether a node that moves elements leaves channels in place, where there are as many."""
        if node.op_type == "Transpose":
            perm = next((list(a.ints) for a in node.attribute if a.name == "perm"), [])
            return perm[: _AXIS + 1] == [0, _AXIS]
        return node.op_type == "Reshape" and self.same_batch(node.input[0], node.output[0])

    def _numbers(self, node: onnx.NodeProto, slot: int) -> list[int] | None:
        """Return the numbers of an input that is constant: none where it is absent, None where it is computed."""
        if len(node.input) <= slot or not node.input[slot]:
            return []
        value = self._index.constant(node.input[slot])
        return None if value is None else [int(number) for number in np.asarray(value).reshape(-1)]

    def _count(self, tensor: str) -> int:
        """Return the number of channels, 0 where it is unknown."""
        shape = self.shape(tensor)
        return shape[_AXIS] if len(shape) > _AXIS else 0

    def _all(self, tensor: str) -> Span | None:
        return (0, self._count(tensor)) if self._count(tensor) else None


def _moved(channels: Span, by: int) -> Span:
    return channels[0] + by, channels[1] + by
