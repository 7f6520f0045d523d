"""Who makes and who reads each tensor of an ONNX graph."""

from collections import defaultdict
from collections.abc import Iterator

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

__all__ = ["GraphIndex", "constant_tensor", "inner_graphs", "lift_constant_nodes", "names_read", "silu_nodes"]


class GraphIndex:
    """Look-ups into a graph whose nodes are in topological order. It does not follow later changes of the graph.

    Attributes:
        producer: tensor name → index of the node that makes it.
        consumers: tensor name → indices of the nodes that read it.
        weights: initializer name → tensor.
        outputs: names of the tensors that leave the graph.
    """

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.graph = graph
        self.producer = {name: i for i, node in enumerate(graph.node) for name in node.output if name}
        self.consumers: defaultdict[str, list[int]] = defaultdict(list)
        for i, node in enumerate(graph.node):
            for name in node.input:
                self.consumers[name].append(i)
        self.weights = {w.name: w for w in graph.initializer}
        self.outputs = {output.name for output in graph.output}

    def constant(self, name: str) -> NDArray[np.generic] | None:
        """Return the value of a tensor that is an initializer or a Constant node; None where it is computed."""
        if name in self.weights:
            return numpy_helper.to_array(self.weights[name])
        node = self.graph.node[self.producer[name]] if name in self.producer else None
        tensor = constant_tensor(node) if node is not None and node.op_type == "Constant" else None
        return None if tensor is None else numpy_helper.to_array(tensor)

    def maker(self, tensor: str, op_type: str) -> onnx.NodeProto | None:
        """Return the node that makes a tensor, where it is of this type."""
        node = self.graph.node[self.producer[tensor]] if tensor in self.producer else None
        return node if node is not None and node.op_type == op_type else None

    def reaching(self, op_type: str) -> set[int]:
        """Return the nodes from which a node of this type can be reached, those nodes themselves included."""
        reaching: set[int] = set()
        for i in range(len(self.graph.node) - 1, -1, -1):
            node = self.graph.node[i]
            if node.op_type == op_type or any(j in reaching for name in node.output for j in self.consumers[name]):
                reaching.add(i)
        return reaching


def inner_graphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """Yield the graphs that a node holds, such as a loop's body."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def names_read(node: onnx.NodeProto) -> set[str]:
    """Return the tensors that a node reads, those included that a graph inside of it takes from around it."""
    inside = {name for graph in inner_graphs(node) for inner in graph.node for name in names_read(inner)}
    left = {output.name for graph in inner_graphs(node) for output in graph.output}
    return {name for name in node.input if name} | inside | left


def silu_nodes(index: GraphIndex, mul: int) -> tuple[int, ...]:
    """Return (Sigmoid, Mul) where the node is a Mul and computes x * sigmoid(x)."""
    if index.graph.node[mul].op_type != "Mul":
        return ()
    a, b = index.graph.node[mul].input
    for x, gate in ((a, b), (b, a)):
        sigmoid = index.producer.get(gate)
        maker = index.graph.node[sigmoid] if sigmoid is not None else None
        if sigmoid is not None and maker is not None and maker.op_type == "Sigmoid" and maker.input[0] == x:
            return sigmoid, mul
    return ()


def lift_constant_nodes(graph: onnx.GraphProto) -> int:
    """Make an initializer of every Constant node that holds a tensor of numbers, and return how many there were."""
    nodes = []
    for node in graph.node:
        tensor = constant_tensor(node) if node.op_type == "Constant" else None
        if tensor is None:
            nodes.append(node)
        else:
            graph.initializer.append(tensor)
    lifted = len(graph.node) - len(nodes)
    if lifted:
        del graph.node[:]
        graph.node.extend(nodes)
    return lifted


def constant_tensor(node: onnx.NodeProto) -> onnx.TensorProto | None:
    """Return what a Constant node holds, under its output's name; None where it is no tensor of numbers."""
    (attribute,) = node.attribute
    if attribute.name == "value":
        tensor = onnx.TensorProto()
        tensor.CopyFrom(attribute.t)
        tensor.name = node.output[0]
        return tensor
    types = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}
    if attribute.name not in types:
        return None
    values = np.asarray(helper.get_attribute_value(attribute), types[attribute.name])
    return numpy_helper.from_array(values, node.output[0])
