"""A small network with every kind of convolution, photographs for it, and convolutions written out in float64."""

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from text_models import model_of, noise

from exporter.precision.calibrate import CalibrationOptions, calibrate
from exporter.precision.improve.layers import Layer, Layers, layers_of
from exporter.precision.qdq import QuantizeOptions, tensors_to_calibrate
from exporter.precision.ranges import Ranges
from exporter.verify.images import photos_dir
from runtime.manifest import AxisRange, InputProfile, Manifest

HW = (32, 48)
NODES = """{
    [stem] a = Conv<strides=[2,2],pads=[1,1,1,1]>(images, w0, b0)
    s = Sigmoid(a)
    y = Mul(a, s)
    [depth] d = Conv<group=8,pads=[1,1,1,1]>(y, w1, b1)
    [mid] p = Conv<strides=[1,2],pads=[0,1,2,0],dilations=[2,1]>(d, w2, b2)
    [grouped] q = Conv<group=2>(p, w3)
    [last] out = Conv(q, w4, b4)
}"""
WEIGHTS = {
    "w0": noise(8, 3, 3, 3, seed=1),
    "w1": noise(8, 1, 3, 3, seed=2),
    "w2": noise(8, 8, 2, 2, seed=3) / 4,
    "w3": noise(8, 4, 1, 1, seed=4),
    "w4": noise(4, 8, 1, 1, seed=5),
    "b0": noise(8, seed=6) / 4,
    "b1": noise(8, seed=7),
    "b2": noise(8, seed=8),
    "b4": noise(4, seed=9),
}
OPTIONS = {"trt": QuantizeOptions("trt", image=True), "cpu": QuantizeOptions("cpu")}
PHOTOS = sorted(photos_dir().glob("*.jpg"))
MANIFEST = Manifest("detect", ("thing",), (8,), InputProfile(*(AxisRange(n, n, n) for n in (1, *HW))))


def network(nodes: str = NODES, **more: NDArray[np.generic]) -> onnx.ModelProto:
    used = {name: w for name, w in (WEIGHTS | more).items() if f"{name})" in nodes or f"{name}," in nodes}
    return model_of(f"(float[1,3,32,48] images) => (float[1,4,H,W] out) {nodes}", **used)


def ranges_for(model: onnx.ModelProto, target: str = "trt") -> Ranges:
    tensors = tensors_to_calibrate(model, OPTIONS[target])
    return calibrate(model, tensors, PHOTOS, MANIFEST, CalibrationOptions("mse", symmetric=target == "trt"))[0]


def layers_for(model: onnx.ModelProto, target: str = "trt") -> Layers:
    return layers_of(model, ranges_for(model, target), OPTIONS[target])


def by_name(layers: Layers) -> dict[str, Layer]:
    return {layer.name: layer for layer in layers.found}


def convolved(layer: Layer, values: NDArray[np.generic], weights: NDArray[np.generic]) -> NDArray[np.float64]:
    """The convolution of (B, C, H, W), without its bias, by its definition: one output after the other, in float64."""
    window, share = layer.window, values.shape[1] // layer.groups
    (top, left), (bottom, right) = window.before, window.after
    padded = np.pad(values.astype(np.float64), ((0, 0), (0, 0), (top, bottom), (left, right)))
    (kh, kw), (dh, dw), (sh, sw) = window.size, window.dilation, window.stride
    height = (padded.shape[2] - (kh - 1) * dh - 1) // sh + 1
    width = (padded.shape[3] - (kw - 1) * dw - 1) // sw + 1
    result = np.zeros((len(values), len(weights), height, width))
    per_group = len(weights) // layer.groups
    for o, kernel in enumerate(weights.astype(np.float64)):
        first = o // per_group * share
        for i in range(kh):
            for j in range(kw):
                rows, columns = slice(i * dh, i * dh + sh * height, sh), slice(j * dw, j * dw + sw * width, sw)
                seen = padded[:, first : first + share, rows, columns][:, :, :height, :width]
                result[:, o] += (seen * kernel[:, i, j, None, None]).sum(axis=1)
    return result


def inputs_of(model: onnx.ModelProto, layers: Layers, images: list[Path]) -> dict[str, NDArray[np.float32]]:
    """What each convolution reads on all images, (B, C, H, W), by its name."""
    from exporter.precision.activations import activations

    tensors = list({layer.tensor for layer in layers.found})
    batches = [values for _, _, values in activations(model, tensors, images, MANIFEST)]
    return {layer.name: np.concatenate([values[layer.tensor] for values in batches]) for layer in layers.found}
