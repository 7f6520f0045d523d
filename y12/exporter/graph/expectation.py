"""Write the box distances' expectation as a weighted sum instead of a convolution.

    conv1x1(p; w) with one output channel   becomes   sum_k p_k w_k

The published heads compute the expectation of a distance with a 1x1 convolution over the softmax's bins. As a sum it
belongs to the decode, which stays FP32, and TensorRT fuses it with the softmax.
"""

import numpy as np
import onnx
from onnx import helper, numpy_helper

from y12.exporter.graph.index import GraphIndex
from y12.exporter.graph.passes import PassReport, label, replace_nodes

__all__ = ["sum_expectations"]


def sum_expectations(model: onnx.ModelProto) -> PassReport:
    """Rewrite every 1x1 Conv of one output channel, without bias, that reads a Softmax over the channels."""
    index = GraphIndex(model.graph)
    refused: list[str] = []
    replacements: dict[int, list[onnx.NodeProto]] = {}
    weights: list[onnx.TensorProto] = []
    for i, node in enumerate(model.graph.node):
        weight = index.constant(node.input[1]) if node.op_type == "Conv" else None
        if weight is None or weight.shape[0] != 1 or weight.shape[2:] != (1, 1):
            continue
        problem = _problem(index, node)
        if problem:
            refused.append(f"{label(node)}: {problem}")
            continue
        values, axes = f"{node.output[0]}_bins", f"{node.output[0]}_axes"
        weights += [
            numpy_helper.from_array(np.asarray(weight).reshape(1, -1, 1, 1), values),
            numpy_helper.from_array(np.array([1], np.int64), axes),
        ]
        weighted = f"{node.output[0]}_weighted"
        replacements[i] = [
            helper.make_node("Mul", [node.input[0], values], [weighted], name=f"{label(node)}/Mul"),
            helper.make_node(
                "ReduceSum", [weighted, axes], [node.output[0]], name=f"{label(node)}/ReduceSum", keepdims=1
            ),
        ]
    replace_nodes(model.graph, replacements, weights)
    return PassReport("sum_expectations", len(replacements), tuple(refused))


def _problem(index: GraphIndex, conv: onnx.NodeProto) -> str:
    attributes = {a.name: helper.get_attribute_value(a) for a in conv.attribute}
    if len(conv.input) > 2:
        return "it has a bias"
    if any(s != 1 for s in attributes.get("strides", [1])) or any(attributes.get("pads", [0])):
        return "it has a stride or padding"
    source = index.producer.get(conv.input[0])
    # Data may be moved in between; what matters is that the channels are a distribution's bins.
    while source is not None and index.graph.node[source].op_type in ("Transpose", "Reshape"):
        source = index.producer.get(index.graph.node[source].input[0])
    if source is None or index.graph.node[source].op_type != "Softmax":
        return "its input is no softmax"
    return ""
