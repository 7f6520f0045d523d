"""Check a typed graph's weights one by one: comparing detections cannot see a single changed weight, this can."""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from y12.errors import VerificationError
from y12.exporter.graph.index import GraphIndex
from y12.exporter.graph.passes import JOINT
from y12.exporter.precision.cast import HALF_SUFFIX
from y12.exporter.precision.qdq.nodes import INT8_SUFFIX, SCALE_SUFFIX
from y12.exporter.precision.qdq.plan import CONVOLUTIONS
from y12.exporter.precision.qdq.weights import weight_scales

__all__ = ["check_weights"]

# What quantisation for ONNX Runtime calls what it makes of a bias, after the weight it goes with; and zero points.
INT32_BIAS_SUFFIX, BIAS_SUFFIX, ZERO_SUFFIX = "_bias_int32", "_bias", "zero_point"


def check_weights(simplified: onnx.ModelProto, typed: onnx.ModelProto) -> int:
    """Compare every weight of a typed graph with the FP32 graph it was made from; return their number.

    A weight in FP16 must be the FP32 weight rounded to nearest, one in INT8 the nearest step of its channel's scale, a
    bias in INT32 likewise, any other must be equal. One made of several holds each on its diagonal, and else zeros.
    Scales and zero points have no counterpart: running the graph judges them.

    Raises:
        VerificationError: one is not; the message names it.
    """
    index = GraphIndex(simplified.graph)
    convolutions = [node for node in simplified.graph.node if node.op_type in CONVOLUTIONS and len(node.input) > 2]
    biases = {node.input[1]: node.input[2] for node in convolutions}  # by the name of the weight they go with
    stored = {weight.name: weight for weight in typed.graph.initializer}
    for weight in typed.graph.initializer:
        name = weight.name
        if name.endswith((SCALE_SUFFIX, ZERO_SUFFIX)):
            continue
        values = np.asarray(numpy_helper.to_array(weight))
        if weight.data_type == TensorProto.INT8:
            base = name.removesuffix(INT8_SUFFIX)
            scale = stored.get(f"{base}{SCALE_SUFFIX}")
            scales = None if scale is None else np.asarray(numpy_helper.to_array(scale))
            _check_steps(name, index.constant(base), values, scales)
            continue
        if weight.data_type == TensorProto.INT32 and name.endswith(INT32_BIAS_SUFFIX):
            base = name.removesuffix(INT32_BIAS_SUFFIX)
            scale = stored[f"{base}_bias{SCALE_SUFFIX}"]
            _check_bias(weight.name, index.constant(biases.get(base, "")), values, numpy_helper.to_array(scale))
            continue
        if JOINT in name:
            _check_joined(name, [index.constant(part.removesuffix(HALF_SUFFIX)) for part in name.split(JOINT)], values)
            continue
        if name.endswith(BIAS_SUFFIX) and name.removesuffix(BIAS_SUFFIX) in biases:
            name, values = biases[name.removesuffix(BIAS_SUFFIX)], values.reshape(-1)
        elif weight.data_type == TensorProto.FLOAT16 and index.constant(name) is None:
            name = name.removesuffix(HALF_SUFFIX)
        expected = index.constant(name)
        if expected is None:
            raise VerificationError(f"the weight '{weight.name}' of the typed graph is not in the model")
        if expected.shape != values.shape or not np.array_equal(expected.astype(values.dtype), values):
            raise VerificationError(f"the weight '{weight.name}' of the typed graph is not the model's")
    return len(typed.graph.initializer)


def _check_joined(name: str, expected: list[NDArray[np.generic] | None], values: NDArray[np.generic]) -> None:
    """Check weights (O, I, 1, 1) that are several of them along a diagonal, or biases (O,) one after the other."""
    at = [0] * min(values.ndim, 2)
    rest = values.copy()
    for part in expected:
        if part is None or part.ndim != values.ndim:
            raise VerificationError(f"the weight '{name}' of the typed graph is not in the model")
        block = tuple(slice(start, start + size) for start, size in zip(at, part.shape, strict=False))
        if rest[block].shape != part.shape or not np.array_equal(part.astype(values.dtype), rest[block]):
            raise VerificationError(f"the weight '{name}' of the typed graph is not the model's")
        rest[block] = 0
        at = [one.stop for one in block]
    if rest.any() or at != list(values.shape[: len(at)]):
        raise VerificationError(f"the weight '{name}' of the typed graph holds more than the model's")


def _check_steps(
    name: str, expected: NDArray[np.generic] | None, integers: NDArray[np.generic], scales: NDArray[np.generic] | None
) -> None:
    """Check that each weight is the nearest step of its channel's scale, (C,) along axis 0.

    ConvInteger takes integers without their scales; there they are those that the model's weights ask for.
    """
    if expected is None:
        raise VerificationError(f"the weight '{name}' of the typed graph is not in the model")
    fp32 = _without_groups(np.asarray(expected, np.float64), integers.shape).reshape(len(expected), -1)  # (C, rest)
    steps = np.asarray(integers, np.float64).reshape(len(integers), -1)
    if fp32.shape != steps.shape:
        raise VerificationError(f"the weight '{name}' of the typed graph is not the model's in INT8")
    step = np.asarray(weight_scales(np.asarray(expected, np.float32), 0) if scales is None else scales, np.float64)
    # And FP32's own rounding of the quotient.
    if (np.abs(fp32 - steps * step[:, None]) > step[:, None] * (0.5 + 1e-4)).any():
        raise VerificationError(f"the weight '{name}' of the typed graph is not the model's in INT8")


def _without_groups(weights: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return weights (O, C/groups, ...) of a convolution in groups as (O, C, ...), where that is the shape."""
    outs, ins = weights.shape[:2]
    groups = shape[1] // ins if weights.ndim == len(shape) and ins else 0
    if groups < 2 or outs % groups or shape != (outs, groups * ins, *weights.shape[2:]):
        return weights
    whole = np.zeros(shape)
    for group in range(groups):
        own = slice(group * outs // groups, (group + 1) * outs // groups)
        whole[own, group * ins : (group + 1) * ins] = weights[own]
    return whole


def _check_bias(
    name: str, expected: NDArray[np.generic] | None, integers: NDArray[np.generic], scales: NDArray[np.generic]
) -> None:
    """Check that each bias (C,) is the nearest step of its channel's scale, but for FP32's own rounding."""
    if expected is None or expected.shape != integers.shape:
        raise VerificationError(f"the weight '{name}' of the typed graph is not in the model")
    fp32, step = np.asarray(expected, np.float64), np.asarray(scales, np.float64)
    off = np.abs(fp32 - np.asarray(integers, np.float64) * step)
    if (off > (0.5 + 1e-4) * step + 1e-6 * np.abs(fp32)).any():
        raise VerificationError(f"the weight '{name}' of the typed graph is not the model's")
