"""Take the mean error that quantisation causes at a convolution's output off its bias.

    b' = b - (E[w8 * x^] - E[w * x])     per output channel, over what the convolution reads on calibration images

(arXiv:1906.04721, section 4.2, empirically). Rounding to nearest has no mean error over values that are spread evenly;
SiLU's outputs are not, they gather above -0.28, and nor are those of a range that clips.
"""

from collections.abc import Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from exporter.precision.improve.layers import Layer
from exporter.precision.improve.moments import Moments
from exporter.precision.quantize_weights import QuantizedWeight

__all__ = ["mean_errors", "with_shifted_biases"]


def mean_errors(layer: Layer, moments: Moments, weight: QuantizedWeight) -> NDArray[np.float32]:
    """Give the mean error of a convolution's output by channel, (O,), with these integers."""
    rounded, exact = layer.by_group(weight.dequantized()), layer.by_group(layer.values)  # (G, O / G, K)
    seen, given = moments.seen[:, :, None], moments.given[:, :, None]  # (G, K, 1)
    return np.asarray((rounded @ seen - exact @ given).ravel() / moments.count, np.float32)


def with_shifted_biases(graph: onnx.ModelProto, shifts: Mapping[str, NDArray[np.float32]]) -> onnx.ModelProto:
    """Give a copy of a graph with these shifts, (O,) by the bias's name, taken off its biases."""
    shifted = onnx.ModelProto()
    shifted.CopyFrom(graph)
    for weight in shifted.graph.initializer:
        if weight.name in shifts:
            values = np.asarray(numpy_helper.to_array(weight)) - shifts[weight.name]
            weight.CopyFrom(numpy_helper.from_array(values.astype(np.float32), weight.name))
    return shifted
