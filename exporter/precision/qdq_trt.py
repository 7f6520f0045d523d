"""Q/DQ for TensorRT: int8 around 0 on the inputs and weights of convolutions, everything else as FP16 has it.

    y = conv(x, w) + b   becomes   y = conv(dq(q(x)), dq(w8)) + b

A pair on a convolution's output, or inside an attention, would take fusions away. The graph is cast first and
quantised then: a dequantised tensor has its scale's type, which a cast pass that runs later cannot change.
"""

import numpy as np
import onnx

from exporter.errors import GraphError
from exporter.precision.cast import cast_to_fp16
from exporter.precision.qdq_nodes import QdqNodes
from exporter.precision.qdq_plan import CONVOLUTIONS, IntegerConv, Plan, QdqReport, range_of
from exporter.precision.quantize_weights import ChosenWeights, QuantizedWeight, quantize_weight
from exporter.precision.ranges import INT8_MAX, Grid, Ranges

__all__ = ["quantize_for_trt", "trt_convs", "trt_tensors"]


def trt_tensors(plan: Plan) -> tuple[str, ...]:
    """Name the tensors whose ranges are needed."""
    images = {i.name for i in plan.index.graph.input}
    return tuple(name for name in plan.inputs if name not in images)


def trt_convs(ranges: Ranges, plan: Plan) -> tuple[IntegerConv, ...]:
    """Give the convolutions as they are quantised where nothing else is chosen.

    Raises:
        GraphError: a range is missing or does not fit into FP16.
    """
    convs = []
    for node in (plan.index.graph.node[i] for i in plan.quantized):
        grid = Grid(_half_scale(plan, ranges, node), 0, -INT8_MAX - 1, INT8_MAX)
        convs.append(IntegerConv(node, grid, _weight(plan, node, {})))
    return tuple(convs)


def quantize_for_trt(
    model: onnx.ModelProto, ranges: Ranges, plan: Plan, chosen: ChosenWeights
) -> tuple[onnx.ModelProto, QdqReport]:
    """Give the typed graph: INT8 convolutions, an FP16 remainder, the decode in FP32.

    Raises:
        GraphError: a range is missing or does not fit into FP16.
    """
    typed, cast = cast_to_fp16(model)
    new = QdqNodes(np.float16)
    pairs: dict[str, str] = {}
    originals = iter([i for i, node in enumerate(model.graph.node) if node.op_type in CONVOLUTIONS])
    for node in typed.graph.node:
        if node.op_type in CONVOLUTIONS:
            i = next(originals)  # casting keeps the convolutions' order
            if i in plan.quantized:
                given = model.graph.node[i]
                if node.input[0] not in pairs:
                    pairs[node.input[0]] = new.symmetric_pair(node.input[0], _half_scale(plan, ranges, given))
                node.input[0] = pairs[node.input[0]]
                node.input[1] = new.dequantized_weight(given.input[1], _weight(plan, given, chosen))
        new.nodes.append(node)
    new.write(typed.graph)
    convolutions = len(plan.quantized) + len(plan.left)
    counts = (cast.half_nodes, cast.float_nodes, cast.casts)
    return typed, QdqReport("trt", len(plan.quantized), convolutions, len(pairs), plan.left, *counts)


def _weight(plan: Plan, conv: onnx.NodeProto, chosen: ChosenWeights) -> QuantizedWeight:
    """Give a convolution's weights as int8; rounded from FP32, not from what the cast made of them."""
    name = conv.input[1]
    return chosen[name] if name in chosen else quantize_weight(np.asarray(plan.index.constant(name), np.float32), 0)


def _half_scale(plan: Plan, ranges: Ranges, conv: onnx.NodeProto) -> float:
    """Give the scale of a convolution's input, an FP16 number."""
    tensor = conv.input[0]
    scale = range_of(ranges, tensor, plan.index).symmetric_scale()
    if scale > float(np.finfo(np.float16).max):
        raise GraphError(f"'{tensor}' ranges to {127 * scale:.3g}, whose INT8 scale FP16 cannot hold; keep its reader")
    return float(np.float16(scale))
