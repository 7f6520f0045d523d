"""Q/DQ for TensorRT: int8 around 0 on the inputs and weights of convolutions, everything else as FP16 has it.

    y = conv(x, w) + b   becomes   y = conv(dq(q(x)), dq(w8)) + b

A pair on a convolution's output, or inside an attention, would take fusions away. The graph is cast first and
quantised then: a dequantised tensor has its scale's type, which a cast pass that runs later cannot change.
"""

import numpy as np
import onnx

from y12.errors import GraphError
from y12.exporter.precision.cast import cast_to_fp16
from y12.exporter.precision.qdq.int8_attention import softmax_outputs
from y12.exporter.precision.qdq.nodes import QdqNodes
from y12.exporter.precision.qdq.plan import CONVOLUTIONS, Plan, QdqReport, range_of
from y12.exporter.precision.qdq.weights import quantize_weight
from y12.exporter.precision.ranges import INT8_MAX, Ranges

__all__ = ["quantize_for_trt", "trt_tensors"]

_RETYPED = (*CONVOLUTIONS, "MatMul")  # what may read quantised tensors


def trt_tensors(plan: Plan) -> tuple[str, ...]:
    """Return the tensors whose ranges are needed."""
    known = {i.name for i in plan.index.graph.input} | softmax_outputs(plan.index)
    calibrated = {*plan.inputs, *plan.attention} - known
    return tuple(sorted(calibrated, key=lambda name: plan.index.producer[name]))


def quantize_for_trt(model: onnx.ModelProto, ranges: Ranges, plan: Plan) -> tuple[onnx.ModelProto, QdqReport]:
    """Return the typed graph: INT8 convolutions, an FP16 remainder, the decode in FP32."""
    typed, cast = cast_to_fp16(model)
    new = QdqNodes(np.float16)
    pairs: dict[str, str] = {}

    def pair(tensor: str, calibrated: str) -> str:
        if tensor not in pairs:
            pairs[tensor] = new.symmetric_pair(tensor, _half_scale(plan, ranges, calibrated))
        return pairs[tensor]

    products = {i for readers in plan.attention.values() for i in readers}
    attention_outputs = {name for name, readers in plan.attention.items() if not readers}
    originals = iter([i for i, node in enumerate(model.graph.node) if node.op_type in _RETYPED])
    for node in typed.graph.node:
        node.input[:] = [pairs[name] if name in attention_outputs else name for name in node.input]
        if node.op_type in _RETYPED:
            i = next(originals)  # casting keeps their order
            fp32_node = model.graph.node[i]
            if i in plan.quantized:
                node.input[0] = pair(node.input[0], fp32_node.input[0])
                # Rounded from FP32, not from what the cast made of it.
                weight = np.asarray(plan.index.constant(fp32_node.input[1]), np.float32)
                node.input[1] = new.dequantized_weight(fp32_node.input[1], quantize_weight(weight, 0))
            elif i in products:
                node.input[:] = [pair(name, own) for name, own in zip(node.input, fp32_node.input, strict=True)]
        new.nodes.append(node)
        for name in node.output:
            if name in attention_outputs:
                pair(name, name)
    new.write(typed.graph)
    convolutions = len(plan.quantized) + len(plan.left)
    counts = (cast.half_nodes, cast.float_nodes, cast.casts, len(attention_outputs))
    return typed, QdqReport("trt", len(plan.quantized), convolutions, len(pairs), plan.left, *counts)


def _half_scale(plan: Plan, ranges: Ranges, tensor: str) -> float:
    """Return the scale of a tensor, an FP16 number."""
    if tensor in softmax_outputs(plan.index):
        return float(np.float16(1 / INT8_MAX))
    scale = range_of(ranges, tensor, plan.index).symmetric_scale()
    if scale > float(np.finfo(np.float16).max):
        raise GraphError(f"'{tensor}' ranges to {127 * scale:.3g}, whose INT8 scale FP16 cannot hold; keep its reader")
    return float(np.float16(scale))
