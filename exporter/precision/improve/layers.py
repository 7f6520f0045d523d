"""The convolutions that can be improved, as quantisation computes them, and what is in the way of the others."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from exporter.graph.index import GraphIndex
from exporter.graph.passes import label
from exporter.precision.options import QuantizeOptions
from exporter.precision.qdq import integer_convs
from exporter.precision.quantize_weights import QuantizedWeight
from exporter.precision.ranges import Grid, Ranges

__all__ = ["Layer", "Layers", "Window", "layers_of"]


@dataclass(frozen=True)
class Window:
    """Where a convolution's kernel reads: size, stride and dilation by (vertical, horizontal), and padding before."""

    size: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    before: tuple[int, int]
    after: tuple[int, int]

    def outputs(self, height: int, width: int) -> tuple[int, int]:
        """Give the height and width of the output for those of the input."""
        reach = [(k - 1) * d + 1 for k, d in zip(self.size, self.dilation, strict=True)]
        padded = (height + self.before[0] + self.after[0], width + self.before[1] + self.after[1])
        rows, columns = ((n - r) // s + 1 for n, r, s in zip(padded, reach, self.stride, strict=True))
        return rows, columns


@dataclass(frozen=True)
class Layer:
    """One quantised convolution, y = conv(dq(q(x)), dq(w8)) + b.

    Attributes:
        name: of the node.
        tensor: that it reads.
        weight, bias: their names; the bias is empty where there is none.
        values: of the weight, (O, C / groups, kh, kw).
        offsets: of the bias, (O,); 0 where there is none.
        groups: of channels.
        window: where it reads.
        grid: of its input.
        nearest: its integers, rounded to nearest.
    """

    name: str
    tensor: str
    weight: str
    bias: str
    values: NDArray[np.float32]
    offsets: NDArray[np.float32]
    groups: int
    window: Window
    grid: Grid
    nearest: QuantizedWeight

    @property
    def taps(self) -> int:
        """How many inputs each output is a sum over, K."""
        return int(self.values[0].size)

    def by_group(self, weights: NDArray[np.generic]) -> NDArray[np.float64]:
        """Give weights, (O, C / groups, kh, kw), as (G, O / G, K)."""
        return weights.reshape(self.groups, -1, self.taps).astype(np.float64)


@dataclass(frozen=True)
class Layers:
    """The quantised convolutions that can be improved, and of the others name → why not."""

    found: tuple[Layer, ...]
    left: Mapping[str, str] = field(default_factory=dict)


def layers_of(graph: onnx.ModelProto, ranges: Ranges, options: QuantizeOptions) -> Layers:
    """Give the convolutions that `quantize` would quantise, as it would, for `improve`.

    Raises:
        GraphError, RecipeError: as of `quantize`.
    """
    index = GraphIndex(graph.graph)
    layers, left = [], {}
    for conv in integer_convs(graph, ranges, options):
        reason = _reason_to_leave(index, conv.node)
        if reason:
            left[label(conv.node)] = reason
        else:
            layers.append(_layer(index, conv.node, conv.grid, conv.weight))
    return Layers(tuple(layers), left)


def _reason_to_leave(index: GraphIndex, node: onnx.NodeProto) -> str:
    """Say why a convolution cannot be improved; empty where it can."""
    if len(index.consumers[node.input[1]]) > 1:
        return "its weights have other readers"
    if _bias(node) and (len(index.consumers[node.input[2]]) > 1 or node.input[2] not in index.weights):
        return "its bias has other readers, or is no initializer"
    if np.asarray(index.constant(node.input[1])).ndim != 4:
        return "it is not over two axes"
    if _attributes(node).get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        return "its padding is automatic"
    return ""


def _layer(index: GraphIndex, node: onnx.NodeProto, grid: Grid, nearest: QuantizedWeight) -> Layer:
    values = np.asarray(index.constant(node.input[1]), np.float32)
    bias, given = _bias(node), _attributes(node)
    offsets = np.asarray(index.constant(bias), np.float32) if bias else np.zeros(len(values), np.float32)
    top, left, bottom, right = given.get("pads", (0, 0, 0, 0))
    stride, dilation = given.get("strides", (1, 1)), given.get("dilations", (1, 1))
    window = Window(
        (values.shape[2], values.shape[3]),
        (stride[0], stride[1]),
        (dilation[0], dilation[1]),
        (top, left),
        (bottom, right),
    )
    name, groups = label(node), given.get("group", 1)
    return Layer(name, node.input[0], node.input[1], bias, values, offsets, groups, window, grid, nearest)


def _bias(node: onnx.NodeProto) -> str:
    return node.input[2] if len(node.input) > 2 else ""


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}
