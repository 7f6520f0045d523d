"""Widen a graph of half precision to FP32, in which y12's passes are exact and its precisions begin.

    every tensor of FP16 becomes one of FP32: weights, constants, what Cast makes; inputs and outputs too

Weights keep their values, which were rounded to FP16 when the graph was made; nothing brings that back.
"""

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from y12.exporter.graph.passes import PassReport

__all__ = ["widen_halves"]

_TYPE_ATTRIBUTES = {"to", "dtype"}  # of Cast, of EyeLike and the random operators


def widen_halves(model: onnx.ModelProto) -> PassReport:
    """Make FP32 of whatever is FP16; the number of changes counts weights, constants and casts."""
    graph = model.graph
    changes = 0
    for weight in graph.initializer:
        if weight.data_type == TensorProto.FLOAT16:
            weight.CopyFrom(_wide(weight))
            changes += 1
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t") and attribute.t.data_type == TensorProto.FLOAT16:
                attribute.t.CopyFrom(_wide(attribute.t))
                changes += 1
            if attribute.name in _TYPE_ATTRIBUTES and attribute.i == TensorProto.FLOAT16:
                attribute.i = TensorProto.FLOAT
                changes += 1
    for value in (*graph.input, *graph.output):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT16:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
            changes += 1
    if changes:
        del graph.value_info[:]  # their types are no longer true
    return PassReport("widen_halves", changes)


def _wide(tensor: onnx.TensorProto) -> onnx.TensorProto:
    return numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name)
