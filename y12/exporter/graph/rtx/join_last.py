"""Make one convolution of the last ones of a head's branches, whose outputs are concatenated.

    [W1 x1 + b1; W2 x2 + b2]   becomes   diag(W1, W2) [x1; x2] + [b1; b2]

The zeros of the block diagonal add nothing; x1 and x2 are written where the concatenation wants them. One kernel a
level takes the place of one a branch, and the decode reads one map a level, which saves the copies of heads with
three branches. The last 1x1 convolutions are a hundredth of a network's arithmetic.
"""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from y12.exporter.graph.index import GraphIndex
from y12.exporter.graph.passes import JOINT, PassReport, is_plain_pointwise, label, replace_nodes

__all__ = ["join_last"]


def join_last(model: onnx.ModelProto) -> PassReport:
    """Rewrite every Concat of 1x1 Convs along the channels behind which no Conv comes."""
    index = GraphIndex(model.graph)
    inner = index.reaching("Conv")
    refused: list[str] = []
    replacements: dict[int, list[onnx.NodeProto]] = {}
    weights: dict[str, onnx.TensorProto] = {}  # biases may be shared between levels
    changes = 0
    for i, node in enumerate(model.graph.node):
        if node.op_type != "Concat" or i in inner:
            continue
        makers = [index.maker(name, "Conv") for name in node.input]
        convs = [conv for conv in makers if conv is not None]
        if len(convs) != len(makers) or len(convs) < 2:
            continue
        problem = _problem(index, node, convs)
        if problem:
            refused.append(f"{label(node)}: {problem}")
            continue
        changes += 1
        replacements |= {index.producer[name]: [] for name in node.input}
        replacements[i] = _joined(index, node, convs, weights)
    replace_nodes(model.graph, replacements, list(weights.values()))
    if changes:
        del model.graph.value_info[:]  # of tensors that are no longer there
    return PassReport("join_last", changes, tuple(refused))


def _problem(index: GraphIndex, concat: onnx.NodeProto, convs: list[onnx.NodeProto]) -> str:
    axis = next(a.i for a in concat.attribute if a.name == "axis")
    if axis != 1:
        return f"it is along axis {axis}, expected 1"
    for conv in convs:
        if not is_plain_pointwise(index, conv):
            return f"{label(conv)} is no plain 1x1 convolution of constant weights"
        if len(conv.input) != len(convs[0].input):
            return "some have a bias and some have none"
        if index.weights[conv.input[1]].data_type != index.weights[convs[0].input[1]].data_type:
            return "they are of several precisions"
        if len(index.consumers[conv.output[0]]) != 1 or conv.output[0] in index.outputs:
            return f"{label(conv)} has other readers"
    if len({conv.input[0] for conv in convs}) != len(convs):
        return "several read one map"
    return ""


def _joined(
    index: GraphIndex, concat: onnx.NodeProto, convs: list[onnx.NodeProto], weights: dict[str, onnx.TensorProto]
) -> list[onnx.NodeProto]:
    """Return the nodes of one match, and add the weights they read."""
    together = f"{concat.output[0]}_read"
    names = [JOINT.join(of_one) for of_one in zip(*(conv.input[1:] for conv in convs), strict=True)]
    for name in names:
        parts = [numpy_helper.to_array(index.weights[part]) for part in name.split(JOINT)]
        whole = _block_diagonal(parts) if parts[0].ndim > 1 else np.concatenate(parts)
        weights[name] = numpy_helper.from_array(whole, name)
    name = JOINT.join(label(conv) for conv in convs)
    return [
        helper.make_node("Concat", [conv.input[0] for conv in convs], [together], name=label(concat), axis=1),
        helper.make_node("Conv", [together, *names], [concat.output[0]], name=name, kernel_shape=[1, 1]),
    ]


def _block_diagonal(parts: list[NDArray[np.generic]]) -> NDArray[np.generic]:
    """Put weights (Oi, Ii, 1, 1) on the diagonal of one, (sum of O, sum of I, 1, 1), else 0."""
    outputs, inputs = (sum(part.shape[axis] for part in parts) for axis in (0, 1))
    whole = np.zeros((outputs, inputs, 1, 1), parts[0].dtype)
    row = column = 0
    for part in parts:
        whole[row : row + part.shape[0], column : column + part.shape[1]] = part
        row, column = row + part.shape[0], column + part.shape[1]
    return whole
