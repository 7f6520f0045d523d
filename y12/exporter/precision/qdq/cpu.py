"""Q/DQ for ONNX Runtime's integer kernels: uint8 on everything between convolutions, the rest in FP32.

    y = conv(x, w) + b   becomes   y = conv(dq(q(x)), dq(w8)) + dq(b32),  and a pair on y, on its SiLU, and further on

ONNX Runtime runs an operator in integers where its inputs come from DequantizeLinear and its output goes to
QuantizeLinear. A convolution before the decode, whose output must not lose precision, is written as ConvInteger:

    y = s_x s_w (q_x - z_x) * w8 + b
"""

import math
from collections.abc import Iterable

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from y12.exporter.graph.index import GraphIndex, silu_nodes
from y12.exporter.graph.passes import label
from y12.exporter.precision.qdq.bins import expectations_of
from y12.exporter.precision.qdq.channels import ChannelSources
from y12.exporter.precision.qdq.channels_last import channels_last
from y12.exporter.precision.qdq.nodes import INT8_SUFFIX, QdqNodes
from y12.exporter.precision.qdq.plan import Plan, QdqReport, range_of
from y12.exporter.precision.qdq.weights import QuantizedWeight, quantize_weight, ungrouped
from y12.exporter.precision.ranges import INT8_MAX, UINT8_MAX, Range, Ranges

__all__ = ["cpu_tensors", "quantize_for_cpu"]

# Operators whose output is on the grid of their first input: they choose or move elements.
_MOVES = {"Flatten", "MaxPool", "Reshape", "Resize", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"}
# Operators with an integer kernel of their own, where all their inputs are quantised.
_COMPUTES = {"Add", "Concat", "Mul", "Sigmoid"}
_SILU_LEAST = -1.2784645  # where x sigmoid(x) is least
_FLOOR_STEP = 1 / 16
# Without groups, which ONNX Runtime's fast integer kernel has not, four take twice the time of four times the products.
_FEW_GROUPS = 4
_LARGEST_BIAS = float(np.iinfo(np.int32).max // 2)  # leaves the other half of the accumulator to the products


def cpu_tensors(plan: Plan) -> tuple[str, ...]:
    """Return the tensors whose ranges are needed: those that no other tensor's or operator's range decides."""
    quantized = _quantized_tensors(plan)
    sources = dict.fromkeys(_source(plan.index, name, quantized) for name in quantized)
    inputs = {i.name for i in plan.index.graph.input}
    return tuple(name for name in sources if name not in inputs and not _is_sigmoid(plan.index, name))


def quantize_for_cpu(model: onnx.ModelProto, ranges: Ranges, plan: Plan) -> tuple[onnx.ModelProto, QdqReport]:
    """Return the graph with integer convolutions and an FP32 remainder."""
    typed = onnx.ModelProto()
    typed.CopyFrom(model)
    writer = _Writer(plan, ranges)
    channels = ChannelSources(model, plan.index)
    convs = frozenset(model.graph.node[i].output[0] for i in plan.quantized)
    instead = (
        expectations_of(plan.index, lambda tensor: writer.largest(channels.nearest(tensor, writer.is_known))),
        channels_last(plan.index, channels, convs),
    )
    nodes = {i: own for replacements in instead for i, own in replacements.items()}
    for i, node in enumerate(typed.graph.node):
        for own in nodes.get(i, [node]):
            writer.write(i, own)
    writer.new.write(typed.graph)
    convolutions = len(plan.quantized) + len(plan.left)
    return typed, QdqReport("cpu", len(plan.quantized), convolutions, len(writer.pairs), plan.left)


class _Writer:
    """Writes one graph's nodes anew; holds which tensor has a pair so that none gets two."""

    def __init__(self, plan: Plan, ranges: Ranges) -> None:
        self.new = QdqNodes(np.float32)
        self.pairs: dict[str, str] = {}
        self._plan, self._index, self._ranges = plan, plan.index, ranges
        self._tensors = _quantized_tensors(plan)
        self._narrow = {_source(plan.index, name, self._tensors) for name in plan.inputs}
        self._joined = _joined(plan.index, self._tensors)

    def is_known(self, tensor: str) -> bool:
        """Return whether to go no further back for what values a tensor can have: it is quantised, or does not say."""
        return tensor in self._tensors or not _passes_on(self._index.graph.node[self._index.producer[tensor]])

    def largest(self, tensors: Iterable[str]) -> float:
        """Return the largest absolute value that tensors can have once they are quantised."""
        largest = 0.0
        for name in tensors:
            if name not in self._tensors:
                return math.inf
            scale, zero_point = self._grid(name)
            largest = max(largest, scale * max(zero_point, UINT8_MAX - zero_point))
        return largest

    def write(self, i: int, node: onnx.NodeProto) -> None:
        """Write a node, with pairs on those of its inputs that are quantised."""
        inputs = list(node.input)
        for slot, name in enumerate(inputs):
            if name in self._tensors:
                node.input[slot] = self._pair(name)
        if node.op_type == "Gather" and inputs[0] in self._tensors:
            self._write_gather(node, inputs)
        elif i not in self._plan.quantized:
            self.new.nodes.append(node)
        elif i in self._plan.exact:
            self._write_integer(node, inputs)
        else:
            weight, bias = self._weight(inputs), self._bias(inputs)
            name = self._weight_name(node, inputs)
            groups = next((a for a in node.attribute if a.name == "group"), None)
            if groups is not None and 1 < groups.i <= _FEW_GROUPS and weight.integers.shape[1] > 1:
                weight = ungrouped(weight, groups.i)
                groups.i = 1
            node.input[1] = self.new.dequantized_weight(name, weight)
            if bias is not None:
                scales = self.new.weight(f"{name}_bias_scale", self._bias_scales(inputs, weight))
                bias32 = self.new.weight(
                    f"{name}_bias_int32", np.rint(bias / self._bias_scales(inputs, weight)).astype(np.int32)
                )
                node.input[2] = self.new.add(
                    "DequantizeLinear", [bias32, scales], f"{name}_bias_dequantized", f"dequantize/{name}_bias", axis=0
                )
            self.new.nodes.append(node)

    def _write_gather(self, node: onnx.NodeProto, inputs: list[str]) -> None:
        """Gather integers and dequantise what is taken; each reader would have all of a tensor dequantised for it."""
        step, zero = self._step(inputs[0]), self._zero_point(inputs[0])
        out, taken = node.output[0], f"{node.output[0]}_taken"
        node.input[0], node.output[0] = f"{inputs[0]}_quantized", taken
        self.new.nodes.append(node)
        self.new.add("DequantizeLinear", [taken, step, zero], out, f"dequantize/{taken}")

    def _write_integer(self, node: onnx.NodeProto, inputs: list[str]) -> None:
        """Write a convolution whose output stays in floating point."""
        weight, bias, name = self._weight(inputs), self._bias(inputs), self._weight_name(node, inputs)
        integers = self.new.weight(f"{name}{INT8_SUFFIX}", weight.integers)
        sums = helper.make_node(
            "ConvInteger",
            [f"{inputs[0]}_quantized", integers, self._zero_point(inputs[0])],
            [f"{node.output[0]}_int32"],
            name=node.name,
        )
        sums.attribute.extend(node.attribute)
        self.new.nodes.append(sums)
        wide = (1, -1, *[1] * (weight.integers.ndim - 2))  # (C,) -> (1, C, 1, 1)
        steps = self.new.weight(f"{name}_sum_scale", self._bias_scales(inputs, weight).reshape(wide))
        real = self.new.add(
            "Cast", [sums.output[0]], f"{node.output[0]}_sums", f"{label(node)}/Cast", to=TensorProto.FLOAT
        )
        scaled = node.output[0] if bias is None else f"{node.output[0]}_scaled"
        self.new.add("Mul", [real, steps], scaled, f"{label(node)}/Mul")
        if bias is not None:
            added = self.new.weight(f"{name}_bias", bias.reshape(wide))
            self.new.add("Add", [scaled, added], node.output[0], f"{label(node)}/Add")

    def _pair(self, tensor: str) -> str:
        if tensor not in self.pairs:
            self.pairs[tensor] = self.new.pair(tensor, self._step(tensor), self._zero_point(tensor))
        return self.pairs[tensor]

    def _step(self, tensor: str) -> str:
        source = _source(self._index, tensor, self._tensors)
        return self.new.weight(f"{source}_scale", np.array(self._grid(tensor)[0], np.float32))

    def _grid(self, tensor: str) -> tuple[float, int]:
        source = _source(self._index, tensor, self._tensors)
        joined = self._joined.get(source, {source})
        ranges = [self._values(name) for name in sorted(joined)]
        values = Range(min(own.low for own in ranges), max(own.high for own in ranges))
        scale, zero_point = values.affine()
        if not joined & self._narrow or scale == 1.0:
            return scale, zero_point
        scale = float(np.float32((values.high - values.low) / INT8_MAX))
        return scale, min(INT8_MAX, round(-values.low / scale))

    def _values(self, source: str) -> Range:
        if _is_sigmoid(self._index, source):
            return Range(0.0, 1.0)
        values = range_of(self._ranges, source, self._index)
        gated = _gated(self._index, source)
        if gated in self._tensors:
            values = Range(max(values.low, _silu_floor(self._grid(gated)[0] / 2)), values.high)
        return values

    def _zero_point(self, tensor: str) -> str:
        source = _source(self._index, tensor, self._tensors)
        return self.new.weight(f"{source}_zero_point", np.array(self._grid(tensor)[1], np.uint8))

    def _weight(self, inputs: list[str]) -> QuantizedWeight:
        values = np.asarray(self._index.constant(inputs[1]), np.float32)
        bias = self._bias(inputs)
        if bias is None:
            return quantize_weight(values, 0)
        least = (np.abs(bias) / (_LARGEST_BIAS * self._grid(inputs[0])[0])).astype(np.float32)
        return quantize_weight(values, 0, least)

    def _bias(self, inputs: list[str]) -> NDArray[np.float32] | None:
        return np.asarray(self._index.constant(inputs[2]), np.float32) if len(inputs) > 2 and inputs[2] else None

    def _bias_scales(self, inputs: list[str], weight: QuantizedWeight) -> NDArray[np.float32]:
        return np.float32(self._grid(inputs[0])[0]) * weight.scales

    def _weight_name(self, node: onnx.NodeProto, inputs: list[str]) -> str:
        """Return the name of a weight's integers; of a weight with several readers each gets its own, for its bias."""
        return inputs[1] if len(self._index.consumers[inputs[1]]) == 1 else f"{label(node)}/{inputs[1]}"


def _quantized_tensors(plan: Plan) -> dict[str, None]:
    """Return the tensors to quantise, in the order they are made."""
    index, inputs = plan.index, set(plan.inputs)
    before_last = index.reaching("Conv")
    tensors = {i.name: None for i in index.graph.input if i.name in inputs}
    for i, node in enumerate(index.graph.node):
        follows = (i in plan.quantized and i not in plan.exact) or (
            i in before_last
            and (
                (_moves(node) and node.input[0] in tensors)
                or (node.op_type in _COMPUTES and all(name in tensors for name in node.input))
            )
        )
        tensors |= {name: None for name in node.output if follows or name in inputs}
    return tensors


def _moves(node: onnx.NodeProto) -> bool:
    if node.op_type == "Resize":
        return any(a.name == "mode" and a.s == b"nearest" for a in node.attribute)
    return node.op_type in _MOVES


def _passes_on(node: onnx.NodeProto) -> bool:
    """Return whether a node's values are all among its inputs'."""
    return node.op_type == "Concat" or _moves(node)


def _source(index: GraphIndex, tensor: str, quantized: dict[str, None]) -> str:
    """Return the tensor whose grid a tensor is on: operators that move elements do not need another."""
    while tensor in index.producer:
        node = index.graph.node[index.producer[tensor]]
        if not _moves(node) or node.input[0] not in quantized:
            break
        tensor = node.input[0]
    return tensor


def _joined(index: GraphIndex, quantized: dict[str, None]) -> dict[str, set[str]]:
    """Return by each source which ones share its grid: a concatenation and its parts, which are copied then."""
    joined: dict[str, set[str]] = {}
    for node in index.graph.node:
        if node.op_type == "Concat" and node.output[0] in quantized and all(name in quantized for name in node.input):
            sources = {_source(index, name, quantized) for name in (*node.input, node.output[0])}
            together = set().union(*(joined.get(source, {source}) for source in sources))
            joined |= dict.fromkeys(together, together)
    return joined


def _gated(index: GraphIndex, tensor: str) -> str:
    """Return the name of a tensor's SiLU, where nothing else reads it; empty where there is none."""
    readers = index.consumers[tensor]
    for mul in readers if len(readers) == 2 and tensor not in index.outputs else ():
        if set(silu_nodes(index, mul)) == set(readers):
            return str(index.graph.node[mul].output[0])
    return ""


def _silu_floor(error: float) -> float:
    """Return the x < 0 below which x sigmoid(x) is nearer to 0 than an error, or that of its least value."""
    x = _SILU_LEAST
    while -x * math.exp(x) / (1 + math.exp(x)) > error:
        x -= _FLOOR_STEP
    return x


def _is_sigmoid(index: GraphIndex, tensor: str) -> bool:
    return tensor in index.producer and index.graph.node[index.producer[tensor]].op_type == "Sigmoid"
