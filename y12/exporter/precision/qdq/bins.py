"""The expectation over bins of known range without a softmax, which ONNX Runtime computes slowly over such an axis.

    sum_k k softmax(x)_k   becomes   sum_k k e^(x_k) / sum_k e^(x_k),   both sums as one product of matrices

A softmax takes the largest x off first so that no e^x overflows. Where the bins come from grids of 256 levels their
range is known, and nothing has to be taken off. ONNX Runtime's softmax over channels transposes there and back, on one
thread: more than a tenth of yolo11n's time in INT8.
"""

from collections.abc import Callable

import onnx

from y12.exporter.graph.cpu.expectation import expectation_at, powers_of
from y12.exporter.graph.index import GraphIndex
from y12.exporter.precision.qdq.nodes import Replacements

__all__ = ["expectations_of"]

# e^80 is 5.5e34: a sum of thousands of them, or of e^-80, is a normal FP32 number.
_LARGEST = 80.0


def expectations_of(index: GraphIndex, largest: Callable[[str], float]) -> Replacements:
    """Rewrite the expectations of a graph as published heads compute them, where the bins' range is known.

    Args:
        index: of the graph.
        largest: gives the largest absolute value that a tensor can have; infinity where that is not known.
    """
    nodes: dict[int, list[onnx.NodeProto]] = {}
    for i, node in enumerate(index.graph.node):
        expectation = expectation_at(index, i)
        if expectation is None or largest(expectation.bins) > _LARGEST:
            continue
        nodes |= {j: [] for j in expectation.nodes} | {i: powers_of(expectation, node.output[0], expectation.bins)}
    return nodes
