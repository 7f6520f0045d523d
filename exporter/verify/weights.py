"""Check a typed graph's weights one by one: comparing detections cannot see a single changed weight, this can."""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from exporter.errors import VerificationError
from exporter.graph.index import GraphIndex
from exporter.precision.cast import HALF_SUFFIX
from exporter.precision.improve.improve import Improved
from exporter.precision.qdq_nodes import INT8_SUFFIX, SCALE_SUFFIX
from exporter.precision.qdq_plan import CONVOLUTIONS
from exporter.precision.quantize_weights import weight_scales

__all__ = ["check_weights"]

# What quantisation for ONNX Runtime calls what it makes of a bias, after the weight it goes with; and zero points.
INT32_BIAS_SUFFIX, BIAS_SUFFIX, ZERO_SUFFIX = "_bias_int32", "_bias", "zero_point"


def check_weights(simplified: onnx.ModelProto, typed: onnx.ModelProto, improved: Improved | None = None) -> int:
    """Compare every weight of a typed graph with the FP32 graph it was made from, and give their number.

    A weight in FP16 must be the FP32 weight rounded to nearest, one in INT8 the nearest step of its channel's scale, a
    bias in INT32 likewise, any other must be equal. Scales and zero points have no counterpart: running the graph
    judges them.

    Args:
        simplified: the FP32 graph, without what was improved of it.
        typed: the graph to judge.
        improved: what `typed` was quantised with. Integers that it chose must be those, and one of the two steps around
            the FP32 weight; a bias that it shifted must be the FP32 bias less that shift.

    Raises:
        VerificationError: one is not; the message names it.
    """
    model = _Model(simplified, improved)
    stored = {weight.name: weight for weight in typed.graph.initializer}
    for weight in typed.graph.initializer:
        name = weight.name
        if name.endswith((SCALE_SUFFIX, ZERO_SUFFIX)):
            continue
        found = np.asarray(numpy_helper.to_array(weight))
        if weight.data_type == TensorProto.INT8:
            scale = stored.get(f"{name.removesuffix(INT8_SUFFIX)}{SCALE_SUFFIX}")
            _check_steps(model, name, found, None if scale is None else np.asarray(numpy_helper.to_array(scale)))
            continue
        if weight.data_type == TensorProto.INT32 and name.endswith(INT32_BIAS_SUFFIX):
            base = name.removesuffix(INT32_BIAS_SUFFIX)
            scale = stored[f"{base}_bias{SCALE_SUFFIX}"]
            _check_bias(weight.name, model.constant(model.biases.get(base, "")), found, numpy_helper.to_array(scale))
            continue
        if name.endswith(BIAS_SUFFIX) and name.removesuffix(BIAS_SUFFIX) in model.biases:
            name, found = model.biases[name.removesuffix(BIAS_SUFFIX)], found.reshape(-1)
        elif weight.data_type == TensorProto.FLOAT16 and model.constant(name) is None:
            name = name.removesuffix(HALF_SUFFIX)
        expected = model.constant(name)
        if expected is None:
            raise VerificationError(f"the weight '{weight.name}' of the typed graph is not in the model")
        if expected.shape != found.shape or not np.array_equal(expected.astype(found.dtype), found):
            raise VerificationError(f"the weight '{weight.name}' of the typed graph is not the model's")
    return len(typed.graph.initializer)


class _Model:
    """The FP32 model's weights, its biases less what was taken off them, and the integers that were chosen.

    Attributes:
        biases: name of a convolution's weight → of its bias.
        chosen: name of a weight → its integers.

    Raises:
        VerificationError: something else than a convolution's bias was to be shifted.
    """

    def __init__(self, simplified: onnx.ModelProto, improved: Improved | None) -> None:
        self._index = GraphIndex(simplified.graph)
        self._shifts = {} if improved is None else improved.shifts
        self.chosen = {} if improved is None else {name: w.integers for name, w in improved.weights.items()}
        convolutions = [n for n in simplified.graph.node if n.op_type in CONVOLUTIONS and len(n.input) > 2]
        self.biases = {node.input[1]: node.input[2] for node in convolutions}
        for name, shift in self._shifts.items():
            readers = [node.input[2] for node in convolutions].count(name)
            if readers != 1 or len(self._index.consumers[name]) != 1 or not np.isfinite(shift).all():
                raise VerificationError(f"'{name}' was shifted, which is not the bias of one convolution")

    def constant(self, name: str) -> NDArray[np.generic] | None:
        """Give the value that a weight is to have; None where there is no such weight."""
        value = self._index.constant(name)
        if value is None or name not in self._shifts:
            return value
        shifted: NDArray[np.generic] = np.asarray(value, np.float32) - self._shifts[name]
        return shifted


def _check_steps(model: _Model, name: str, found: NDArray[np.generic], scales: NDArray[np.generic] | None) -> None:
    """Check that each weight is the nearest step of its channel's scale, (C,) along axis 0, or what was chosen.

    ConvInteger takes integers without their scales; there they are those that the model's weights ask for.
    """
    expected = model.constant(name.removesuffix(INT8_SUFFIX))
    if expected is None:
        raise VerificationError(f"the weight '{name}' of the typed graph is not in the model")
    wanted = np.asarray(expected, np.float64).reshape(len(expected), -1)  # (C, rest)
    steps = np.asarray(found, np.float64).reshape(len(found), -1)
    if wanted.shape != steps.shape:
        raise VerificationError(f"the weight '{name}' of the typed graph is not the model's in INT8")
    step = np.asarray(weight_scales(np.asarray(expected, np.float32), 0) if scales is None else scales, np.float64)
    chosen = model.chosen.get(name.removesuffix(INT8_SUFFIX))
    if chosen is not None and not np.array_equal(chosen, found):
        raise VerificationError(f"the weight '{name}' of the typed graph has other integers than were chosen")
    reach = 0.5 if chosen is None else 1.0
    # And FP32's own rounding of the quotient.
    if (np.abs(wanted - steps * step[:, None]) > step[:, None] * (reach + 1e-4)).any():
        raise VerificationError(f"the weight '{name}' of the typed graph is not the model's in INT8")


def _check_bias(
    name: str, expected: NDArray[np.generic] | None, found: NDArray[np.generic], scales: NDArray[np.generic]
) -> None:
    """Check that each bias (C,) is the nearest step of its channel's scale, but for FP32's own rounding."""
    if expected is None or expected.shape != found.shape:
        raise VerificationError(f"the weight '{name}' of the typed graph is not in the model")
    wanted, step = np.asarray(expected, np.float64), np.asarray(scales, np.float64)
    off = np.abs(wanted - np.asarray(found, np.float64) * step)
    if (off > (0.5 + 1e-4) * step + 1e-6 * np.abs(wanted)).any():
        raise VerificationError(f"the weight '{name}' of the typed graph is not the model's")
