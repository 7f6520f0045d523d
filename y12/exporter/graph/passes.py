"""What a graph pass is: a function that changes a model in place and reports what it did."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from y12.exporter.graph.index import names_read

__all__ = ["Pass", "PassReport", "constant", "label", "replace_nodes"]


@dataclass(frozen=True)
class PassReport:
    """What one pass did.

    Attributes:
        name: of the pass.
        changes: how often it rewrote something; 0 when it is run a second time.
        refused: why it left alone what looked like a match, with the node's name.
    """

    name: str
    changes: int
    refused: tuple[str, ...] = ()


def label(node: onnx.NodeProto) -> str:
    """Return a node's name, or where it has none, that of its output: both are unique in a graph."""
    return str(node.name or node.output[0])


def constant(name: str, values: NDArray[np.generic]) -> onnx.NodeProto:
    """Return a node that holds numbers which are no weights of the model, such as sizes: its weights are audited."""
    return helper.make_node("Constant", [], [name], name=name, value=numpy_helper.from_array(values, name))


Pass = Callable[[onnx.ModelProto], PassReport]


def replace_nodes(
    graph: onnx.GraphProto, replacements: dict[int, list[onnx.NodeProto]], weights: list[onnx.TensorProto]
) -> None:
    """Replace nodes by new ones, add weights, and drop the weights nobody reads any more.

    Args:
        graph: changed in place; its order stays topological where each replacement's inputs come before it.
        replacements: index of an old node → the nodes that take its place; an empty list removes it.
        weights: initializers to add.
    """
    nodes = [new for i, node in enumerate(graph.node) for new in replacements.get(i, [node])]
    del graph.node[:]
    graph.node.extend(nodes)
    used = {name for node in nodes for name in names_read(node)} | {output.name for output in graph.output}
    used_weights = [w for w in (*graph.initializer, *weights) if w.name in used]
    del graph.initializer[:]
    graph.initializer.extend(used_weights)
