"""Check a typed graph's weights one by one: comparing detections cannot see a single changed weight, this can."""

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from exporter.errors import VerificationError
from exporter.graph.index import GraphIndex
from exporter.precision.cast import HALF_SUFFIX

__all__ = ["check_weights"]


def check_weights(simplified: onnx.ModelProto, typed: onnx.ModelProto) -> int:
    """Compare every weight of a typed graph with the FP32 graph it was made from, and give their number.

    A weight in FP16 must be the FP32 weight rounded to nearest, any other must be equal.

    Raises:
        VerificationError: one is not; the message names it.
    """
    index = GraphIndex(simplified.graph)
    for weight in typed.graph.initializer:
        name = weight.name
        if weight.data_type == TensorProto.FLOAT16 and index.constant(name) is None:
            name = name.removesuffix(HALF_SUFFIX)
        expected, found = index.constant(name), numpy_helper.to_array(weight)
        if expected is None:
            raise VerificationError(f"the weight '{weight.name}' of the typed graph is not in the model")
        if expected.shape != found.shape or not np.array_equal(expected.astype(found.dtype), found):
            raise VerificationError(f"the weight '{weight.name}' of the typed graph is not the model's")
    return len(typed.graph.initializer)
