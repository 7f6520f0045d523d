"""Keep TensorRT-RTX from computing a 1x1 convolution as a matrix product of a copy of its map.

    y = sum_c w_c x_c   at every place, whatever the distance between a kernel's taps: a 1x1 kernel has one

TensorRT-RTX 1.7 makes a matrix product of every 1x1 convolution of 256 channels or more on both sides. A map that is
put together of several is copied first, and a result that is a part of one is copied, with its activation, after it.
A dilated convolution stays one, which reads and writes parts of a map where they lie.
"""

import onnx
from onnx import TensorProto, helper

from y12.exporter.graph.index import GraphIndex
from y12.exporter.graph.passes import PassReport, is_plain_pointwise

__all__ = ["dilate_pointwise"]

LEAST_CHANNELS = 256  # read and written, from which a matrix product takes the place of a convolution


def dilate_pointwise(model: onnx.ModelProto) -> PassReport:
    """Set the dilation of every such FP16 Conv, where it has no meaning, to 2."""
    index = GraphIndex(model.graph)
    changes = 0
    for node in model.graph.node:
        weight = index.weights.get(node.input[1]) if is_plain_pointwise(index, node) else None
        if weight is None or weight.data_type != TensorProto.FLOAT16 or min(weight.dims[:2]) < LEAST_CHANNELS:
            continue
        kept = [a for a in node.attribute if a.name != "dilations"]
        del node.attribute[:]
        node.attribute.extend([*kept, helper.make_attribute("dilations", [2, 2])])
        changes += 1
    return PassReport("dilate_pointwise", changes)
