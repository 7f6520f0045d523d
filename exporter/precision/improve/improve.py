"""The passes in order, between calibration and quantisation: integers first, then biases, which make up for them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from exporter.precision.improve.bias import mean_errors, with_shifted_biases
from exporter.precision.improve.layers import Layer, Layers
from exporter.precision.improve.moments import Moments, Progress, in_portions, moments_of
from exporter.precision.improve.rounding import chosen_steps, forms
from exporter.precision.options import ImproveOptions
from exporter.precision.quantize_weights import ChosenWeights, QuantizedWeight
from runtime.manifest import Manifest

__all__ = ["ImproveReport", "Improved", "improve", "improved_from"]


@dataclass(frozen=True)
class ImproveReport:
    """What was done, and what it brought on the places of the images that were looked at.

    Attributes:
        convolutions: looked at.
        left: names of quantised convolutions that were not → why.
        corrected: biases that were shifted.
        mean_error_share: how much of the squared error of a convolution's output, with weights rounded to nearest, is
            its mean, which the bias takes off: 0-1, the mean of all convolutions.
        turned: weights that are not at their nearest step, of `weights`.
        weight_error_share: what is left of the squared error that weights cause at a convolution's output, of that
            with rounding to nearest: 0-1, the mean of all convolutions.
    """

    convolutions: int
    left: Mapping[str, str]
    corrected: int = 0
    mean_error_share: float = 0.0
    weights: int = 0
    turned: int = 0
    weight_error_share: float = 1.0


@dataclass(frozen=True)
class Improved:
    """What to quantise, and how.

    Attributes:
        graph: the FP32 graph, with shifted biases.
        weights: integers by the weight's name; what is not in it is rounded to nearest.
        shifts: name of a bias → what was taken off it, (O,).
        report: of what was done.
    """

    graph: onnx.ModelProto
    weights: ChosenWeights
    shifts: Mapping[str, NDArray[np.float32]]
    report: ImproveReport


def improve(
    graph: onnx.ModelProto,
    layers: Layers,
    images: Sequence[Path],
    manifest: Manifest,
    options: ImproveOptions,
    progress: Progress | None = None,
) -> Improved:
    """Choose integers and biases so that quantised convolutions give what the FP32 graph's give.

    Args:
        graph: the simplified FP32 graph; it stays as it is. A graph with shifted biases must not come again: what is
            taken off them would be taken off twice.
        layers: `layers_of` it, with the ranges and options that it will be quantised with.
        images: to calibrate on.
        manifest: of the graph.
        options: what to do.
        progress: called after each batch with how much is done, and of how much.

    Raises:
        CalibrationError: there are no images, or one cannot be used.
        Y12Error: ONNX Runtime failed.
    """
    looked_at = _looked_at(graph, layers, images, manifest, options, progress) if options.does_something else ()
    return improved_from(graph, layers, looked_at, options)


def improved_from(
    graph: onnx.ModelProto, layers: Layers, looked_at: Iterable[tuple[Layer, Moments]], options: ImproveOptions
) -> Improved:
    """Do the passes for convolutions and what they read, which must have its squares for adaptive rounding."""
    result = _Result()
    for layer, moments in looked_at:
        result.add(layer, moments, options)
    shifted = with_shifted_biases(graph, result.shifts)
    return Improved(shifted, result.weights, result.shifts, result.report(layers))


@dataclass
class _Result:
    """Collects what the passes decide, convolution after convolution."""

    weights: dict[str, QuantizedWeight] = field(default_factory=dict)
    shifts: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    mean_shares: list[float] = field(default_factory=list)
    form_shares: list[float] = field(default_factory=list)
    turned: int = 0
    convolutions: int = 0

    def add(self, layer: Layer, moments: Moments, options: ImproveOptions) -> None:
        """Do the passes that are asked for."""
        self.convolutions += 1
        corrects = options.correct_bias and bool(layer.bias)
        weight = layer.nearest
        if options.rounding == "adaptive" and not _is_ternary(layer.values):
            weight, share = _adapted(layer, moments)
            self.weights[layer.weight] = weight
            self.form_shares.append(share)
            self.turned += int((weight.integers != layer.nearest.integers).sum())
        if corrects:
            self.shifts[layer.bias] = mean_errors(layer, moments, weight)
            mean_squares = float((moments.errors**2).sum()) / moments.count
            self.mean_shares.append(mean_squares / max(float(moments.squared_errors.sum()), 1e-30))

    def report(self, layers: Layers) -> ImproveReport:
        return ImproveReport(
            convolutions=self.convolutions,
            left=layers.left,
            corrected=len(self.shifts),
            mean_error_share=float(np.mean(self.mean_shares or [0.0])),
            weights=sum(weight.integers.size for weight in self.weights.values()),
            turned=self.turned,
            weight_error_share=float(np.mean(self.form_shares or [1.0])),
        )


def _looked_at(
    graph: onnx.ModelProto,
    layers: Layers,
    images: Sequence[Path],
    manifest: Manifest,
    options: ImproveOptions,
    progress: Progress | None,
) -> Iterator[tuple[Layer, Moments]]:
    """Give each convolution with what it reads, which is freed after it."""
    squares = options.rounding == "adaptive"
    portions = list(in_portions(layers.found)) if squares else [layers.found]
    for number, portion in enumerate(portions):
        told = _share(progress, number, len(portions))
        found = moments_of(graph, portion, images, manifest, squares, told)
        for layer in portion:
            yield layer, found.pop(layer.name)


def _adapted(layer: Layer, moments: Moments) -> tuple[QuantizedWeight, float]:
    """Choose a convolution's integers, and give what is left of the error of rounding to nearest.

    H is taken around 0 also where the bias takes the mean error off, so that neither pass leans on the other.
    """
    assert moments.squares is not None
    nearest = layer.nearest
    scales = nearest.scales.astype(np.float64).reshape(layer.groups, -1)  # (G, O / G)
    steps = np.empty((layer.groups, len(nearest.scales) // layer.groups, layer.taps), np.int8)
    before = after = 0.0
    for g, wanted in enumerate(layer.by_group(layer.values) / scales[:, :, None]):
        squares = moments.squares[g].astype(np.float64) / moments.count
        steps[g] = chosen_steps(wanted, squares)
        old = layer.by_group(nearest.integers)[g]
        before += float((forms(old - wanted, squares) * scales[g] ** 2).sum())
        after += float((forms(steps[g] - wanted, squares) * scales[g] ** 2).sum())
    integers = steps.reshape(nearest.integers.shape)
    return QuantizedWeight(integers, nearest.scales, nearest.axis), after / before if before else 1.0


def _is_ternary(values: NDArray[np.float32]) -> bool:
    """Tell whether each channel of a weight (O, ...) has 0 and one number with either sign; integers can hold these."""
    sizes = np.abs(values.reshape(len(values), -1))
    return bool(((sizes == 0) | (sizes == sizes.max(axis=1, keepdims=True))).all())


def _share(progress: Progress | None, number: int, portions: int) -> Progress | None:
    """Tell of one portion's images as a part of all portions'."""
    if progress is None:
        return None
    return lambda done, total: progress(number * total + done, portions * total)
