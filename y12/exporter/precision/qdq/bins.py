"""The expectation over bins of known range without a softmax, which ONNX Runtime computes slowly over such an axis.

    sum_k k softmax(x)_k   becomes   sum_k k e^(x_k) / sum_k e^(x_k),   both sums as one product of matrices

A softmax takes the largest x off first so that no e^x overflows. Where the bins come from grids of 256 levels their
range is known, and nothing has to be taken off. ONNX Runtime's softmax over channels transposes there and back, on one
thread: more than a tenth of yolo11n's time in INT8.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper

from y12.exporter.graph.index import GraphIndex
from y12.exporter.precision.qdq.nodes import Replacements, constant

__all__ = ["expectations_of"]

# e^80 is 5.5e34: a sum of thousands of them, or of e^-80, is a normal FP32 number.
_LARGEST = 80.0
_PERM = (0, 2, 1, 3)  # (B, sides, bins, anchors) <-> (B, bins, sides, anchors)


def expectations_of(index: GraphIndex, largest: Callable[[str], float]) -> Replacements:
    """Rewrite the expectations of a graph as published heads compute them, where the bins' range is known.

    Args:
        index: of the graph.
        largest: gives the largest absolute value that a tensor can have; infinity where that is not known.
    """
    nodes: dict[int, list[onnx.NodeProto]] = {}
    for i, node in enumerate(index.graph.node):
        expectation = _expectation(index, i)
        if expectation is None or largest(expectation.bins) > _LARGEST:
            continue
        nodes |= {j: [] for j in expectation.nodes} | {i: _without_softmax(expectation, node.output[0])}
    return nodes


@dataclass(frozen=True)
class _Expectation:
    """A tensor of bins, (B, sides, bins, anchors), the weight that says what each stands for, and the nodes between."""

    bins: str
    values: str
    count: int
    nodes: tuple[int, ...]


def _expectation(index: GraphIndex, i: int) -> _Expectation | None:
    """Match sum_axis=1(values * softmax_axis=1(transpose(bins))), of which nothing else is read."""
    node = index.graph.node[i]
    axes = index.constant(node.input[1]) if node.op_type == "ReduceSum" and len(node.input) > 1 else None
    if axes is None or np.asarray(axes).tolist() != [1] or _attribute(node, "keepdims", 1) != 1:
        return None
    weighted = _only(index, node.input[0], "Mul")
    if weighted is None:
        return None
    probabilities, values = index.graph.node[weighted].input
    bins = index.constant(values)
    softmax = _only(index, probabilities, "Softmax")
    if bins is None or softmax is None or bins.shape != (1, bins.size, 1, 1):
        return None
    if _attribute(index.graph.node[softmax], "axis", -1) != 1:
        return None
    transpose = _only(index, index.graph.node[softmax].input[0], "Transpose")
    if transpose is None or tuple(_attribute(index.graph.node[transpose], "perm", ())) != _PERM:
        return None
    source = index.graph.node[transpose].input[0]
    return _Expectation(source, values, bins.size, (transpose, softmax, weighted))


def _only(index: GraphIndex, tensor: str, op_type: str) -> int | None:
    """Return the node that makes a tensor, where it is of this type and the tensor has one reader."""
    i = index.producer.get(tensor)
    fits = i is not None and index.graph.node[i].op_type == op_type and len(index.consumers[tensor]) == 1
    return i if fits and tensor not in index.outputs else None


def _attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    return next((helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)


def _without_softmax(expectation: _Expectation, out: str) -> list[onnx.NodeProto]:
    """Return the nodes; the weight stays the model's own, and ONNX Runtime folds what is made of it."""

    def node(op_type: str, inputs: list[str], outputs: list[str], **attributes: Any) -> onnx.NodeProto:
        return helper.make_node(op_type, inputs, outputs, name=f"{outputs[0]}/{op_type}", **attributes)

    row, ones, halves, values, moments, exp, sums, first, zeroth, mean = (
        f"{out}_{part}"
        for part in ("row", "ones", "halves", "values", "moments", "exp", "sums", "first", "zeroth", "mean")
    )
    return [
        constant(row, np.array([1, expectation.count], np.int64)),
        constant(ones, np.ones((1, expectation.count), np.float32)),
        constant(halves, np.array([1, 1], np.int64)),
        node("Reshape", [expectation.values, row], [values]),  # (1, bins, 1, 1) -> (1, bins)
        node("Concat", [values, ones], [moments], axis=0),  # -> (2, bins)
        node("Exp", [expectation.bins], [exp]),  # (B, sides, bins, anchors)
        node("MatMul", [moments, exp], [sums]),  # -> (B, sides, 2, anchors)
        node("Split", [sums, halves], [first, zeroth], axis=2),
        node("Div", [first, zeroth], [mean]),
        node("Transpose", [mean], [out], perm=_PERM),
    ]
