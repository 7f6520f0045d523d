"""What a graph pass is: a function that changes a model in place and reports what it did."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from y12.errors import GraphError
from y12.exporter.graph.index import GraphIndex, names_read

__all__ = [
    "JOINT",
    "Pass",
    "PassReport",
    "constant",
    "is_plain_pointwise",
    "label",
    "replace_nodes",
    "run_passes",
]

JOINT = " & "  # between the names of which a node or a weight was made one


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


def is_plain_pointwise(index: GraphIndex, node: onnx.NodeProto) -> bool:
    """Return whether a node is a 1x1 Conv of one group, stride 1, dilation 1, no padding, and constant weights."""
    if node.op_type != "Conv" or any(name not in index.weights for name in node.input[1:]):
        return False
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    return (
        tuple(index.weights[node.input[1]].dims[2:]) == (1, 1)
        and attributes.get("group", 1) == 1
        and set(attributes.get("strides", [1])) == set(attributes.get("dilations", [1])) == {1}
        and not any(attributes.get("pads", [0]))
    )


Pass = Callable[[onnx.ModelProto], PassReport]


def run_passes(model: onnx.ModelProto, passes: Sequence[Pass], ran: Sequence[PassReport] = ()) -> list[PassReport]:
    """Run passes on a model, in place, and return the reports of those that ran before and of these.

    Raises:
        GraphError: one failed, or left a graph that is none.
    """
    reports = list(ran)
    for one in passes:
        name = getattr(one, "__name__", str(one))
        try:
            reports.append(one(model))
            onnx.checker.check_model(model)
        # A pass that fails is a fault of ours, whatever it raises; the export must stop and name it.
        except Exception as error:
            before = ", ".join(report.name for report in reports)
            after = f" after {before}" if before else ""
            raise GraphError(f"the pass {name} failed{after} ({error}); --no-simplify leaves it out") from error
    return reports


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
