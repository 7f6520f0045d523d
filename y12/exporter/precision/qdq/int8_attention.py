"""INT8 inside attention, on request: int8 on everything that its two products read, and on what it gives.

    S = dq(q(Q)) dq(q(K^T)),   P = dq(q(softmax(S)))  at 1/127,   y = dq(q(P dq(q(V))))

TensorRT fuses an INT8 attention only where all four inputs of the products and the output are quantised, and the
softmax, whose values are 0 to 1, has the scale 1/127. With a free height or width it does not fuse.
"""

from collections.abc import Mapping

import onnx

from y12.errors import OptionsError
from y12.exporter.graph.attention import attentions_of
from y12.exporter.graph.index import GraphIndex
from y12.exporter.graph.passes import label

__all__ = ["attention_tensors", "softmax_outputs"]


def attention_tensors(model: onnx.ModelProto) -> Mapping[str, tuple[int, ...]]:
    """Return the tensors of attentions to quantise → the products that read them.

    What a product of values makes is read by others, and has () here.

    Raises:
        OptionsError: the graph has no attention, or its height or width is free.
    """
    attentions = attentions_of(model)
    if not attentions:
        raise OptionsError("INT8 attention: expected a model with attention, found none; drop --int8-attention")
    dims = model.graph.input[0].type.tensor_type.shape.dim
    if not all(dim.dim_value for dim in dims[2:]):
        raise OptionsError(
            "INT8 attention: expected a fixed size, found a free height or width, with which it does not fuse; give "
            "one --imgsz, or drop --int8-attention"
        )
    by_name = {label(node): i for i, node in enumerate(model.graph.node) if node.op_type == "MatMul"}
    tensors: dict[str, tuple[int, ...]] = {}
    for attention in attentions:
        scores, product = by_name[attention.scores], by_name[attention.product]
        for i in (scores, product):
            for name in model.graph.node[i].input:
                tensors[name] = (*tensors.get(name, ()), i)
        tensors.setdefault(model.graph.node[product].output[0], ())
    return tensors


def softmax_outputs(index: GraphIndex) -> frozenset[str]:
    """Return the names of the outputs of softmaxes."""
    return frozenset(name for node in index.graph.node if node.op_type == "Softmax" for name in node.output)
