"""The attentions of an ONNX graph, found by their topology: MatMul → … → Softmax → … → MatMul."""

from dataclasses import dataclass

import onnx

from y12.exporter.graph.index import GraphIndex

__all__ = ["Attention", "attentions_of"]

# What may stand between the matrix products of an attention and its softmax.
_BETWEEN = {"Add", "Cast", "DequantizeLinear", "Div", "Mul", "QuantizeLinear", "Reshape", "Transpose"}


@dataclass(frozen=True)
class Attention:
    """One attention of an ONNX graph: the names of its softmax and of the two matrix products around it."""

    scores: str
    softmax: str
    product: str


def attentions_of(model: onnx.ModelProto) -> tuple[Attention, ...]:
    """Return the attentions of a graph that reach one of its outputs: MatMul → … → Softmax → … → MatMul."""
    index = GraphIndex(model.graph)
    live = _live_nodes(index)
    attentions = []
    for i, node in enumerate(model.graph.node):
        if node.op_type != "Softmax" or i not in live:
            continue
        scores = _walk_back(index, node.input[0])
        product = _walk_on(index, node.output[0])
        if scores and product:
            attentions.append(Attention(scores, node.name, product))
    return tuple(attentions)


def _live_nodes(index: GraphIndex) -> set[int]:
    live: set[int] = set()
    waiting = [index.producer[o.name] for o in index.graph.output if o.name in index.producer]
    while waiting:
        i = waiting.pop()
        if i not in live:
            live.add(i)
            waiting += [index.producer[name] for name in index.graph.node[i].input if name in index.producer]
    return live


def _walk_back(index: GraphIndex, tensor: str) -> str:
    """Return the MatMul a tensor comes from, through what may stand between; empty where there is none."""
    while tensor in index.producer:
        node = index.graph.node[index.producer[tensor]]
        if node.op_type == "MatMul":
            return str(node.name)
        if node.op_type not in _BETWEEN:
            return ""
        tensor = node.input[0]
    return ""


def _walk_on(index: GraphIndex, tensor: str) -> str:
    """Return the MatMul that reads a tensor, through what may stand between; empty where there is none."""
    for i in index.consumers[tensor]:
        node = index.graph.node[i]
        if node.op_type == "MatMul":
            return str(node.name)
        further = _walk_on(index, node.output[0]) if node.op_type in _BETWEEN else ""
        if further:
            return further
    return ""
