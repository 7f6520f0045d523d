"""The nodes and weights that quantisation adds to a graph, with names that say what they belong to."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from y12.exporter.precision.qdq.weights import QuantizedWeight

__all__ = ["INT8_SUFFIX", "SCALE_SUFFIX", "QdqNodes", "Replacements"]

INT8_SUFFIX = "_int8"  # of a weight that was quantised
SCALE_SUFFIX = "_scale"  # of the scales of a tensor or weight
_ZERO = "int8_zero_point"  # shared: symmetric grids have no other


# index of a node of an FP32 graph → those in its place before it is quantised; an empty list removes it
Replacements = Mapping[int, list[onnx.NodeProto]]


@dataclass
class QdqNodes:
    """Collects a graph's new nodes, in order, and its new weights.

    Attributes:
        dtype: of the scales, which decides the type of what is dequantised.
        nodes: so far.
        weights: name → initializer.
    """

    dtype: type[np.floating]
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: dict[str, onnx.TensorProto] = field(default_factory=dict)

    def symmetric_pair(self, tensor: str, scale: float) -> str:
        """Quantise a tensor to int8 around 0 and back; return the result's name."""
        step = self.weight(f"{tensor}{SCALE_SUFFIX}", np.array(scale, self.dtype))
        return self.pair(tensor, step, self.weight(_ZERO, np.zeros((), np.int8)))

    def pair(self, tensor: str, step: str, zero: str) -> str:
        """Quantise a tensor by the scale and the zero point of these names, and back; return the result's name."""
        quantized = self.add("QuantizeLinear", [tensor, step, zero], f"{tensor}_quantized", f"quantize/{tensor}")
        return self.add("DequantizeLinear", [quantized, step, zero], f"{tensor}_dequantized", f"dequantize/{tensor}")

    def dequantized_weight(self, name: str, weight: QuantizedWeight) -> str:
        """Store a weight as int8; return the name of its dequantised tensor, the same at a second call."""
        dequantized = f"{name}_dequantized"
        if f"{name}{INT8_SUFFIX}" not in self.weights:
            integers = self.weight(f"{name}{INT8_SUFFIX}", weight.integers)
            scales = self.weight(f"{name}{SCALE_SUFFIX}", weight.scales.astype(self.dtype))
            self.add("DequantizeLinear", [integers, scales], dequantized, f"dequantize/{name}", axis=weight.axis)
        return dequantized

    def add(self, op_type: str, inputs: list[str], output: str, name: str, **attributes: int) -> str:
        """Add a node of one output; return the output's name."""
        node = helper.make_node(op_type, inputs, [output], name=name)
        node.attribute.extend(helper.make_attribute(key, value) for key, value in attributes.items())
        self.nodes.append(node)
        return output

    def weight(self, name: str, values: NDArray[np.generic]) -> str:
        """Add an initializer unless there is one of this name; return the name."""
        if name not in self.weights:
            self.weights[name] = numpy_helper.from_array(values, name)
        return name

    def write(self, graph: onnx.GraphProto) -> None:
        """Replace a graph's nodes, add the weights, and drop those that nobody reads any more."""
        used = {name for node in self.nodes for name in node.input} | {output.name for output in graph.output}
        used_weights = [w for w in (*graph.initializer, *self.weights.values()) if w.name in used]
        del graph.node[:], graph.initializer[:]
        graph.node.extend(self.nodes)
        graph.initializer.extend(used_weights)
