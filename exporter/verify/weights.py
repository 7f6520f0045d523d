"""Check a typed graph's weights one by one: comparing detections cannot see a single changed weight, this can."""

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from exporter.errors import VerificationError
from exporter.precision.cast import HALF_SUFFIX

__all__ = ["check_weights"]


def check_weights(simplified: onnx.ModelProto, typed: onnx.ModelProto) -> int:
    """Compare every weight of a typed graph with the FP32 graph it was made from, and give their number.

    A weight in FP16 must be the FP32 weight rounded to nearest, any other must be equal.

    Raises:
        VerificationError: one is not; the message names it.
    """
    originals = {w.name: w for w in simplified.graph.initializer}
    for weight in typed.graph.initializer:
        name = weight.name
        if weight.data_type == TensorProto.FLOAT16 and name not in originals:
            name = name.removesuffix(HALF_SUFFIX)
        if name not in originals:
            raise VerificationError(f"the weight '{weight.name}' of the typed graph is not in the model")
        expected, found = numpy_helper.to_array(originals[name]), numpy_helper.to_array(weight)
        if expected.shape != found.shape or not np.array_equal(expected.astype(found.dtype), found):
            raise VerificationError(f"the weight '{weight.name}' of the typed graph is not the model's")
    return len(typed.graph.initializer)
