"""A convolution's weights as int8, one scale for each output channel.

    w ~ s q,   s = max|w| / 127 of the channel,   q = round(w / s) in -127..127

Scales are FP16 numbers, rounded up so that the largest weight still fits: the same integers serve a graph whose scales
are FP16 and one whose scales are FP32.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from y12.exporter.precision.ranges import INT8_MAX

__all__ = ["QuantizedWeight", "quantize_weight", "round_to_nearest", "ungrouped", "weight_scales"]

# FP16's smallest number. A channel whose weights are all 0, as padding is, has it.
_LEAST_SCALE = float(np.finfo(np.float16).smallest_subnormal)


@dataclass(frozen=True)
class QuantizedWeight:
    """A weight's integers, its scales (channels,), and the axis the channels are on."""

    integers: NDArray[np.int8]
    scales: NDArray[np.float32]
    axis: int


def round_to_nearest(weights: NDArray[np.float32], scales: NDArray[np.float32]) -> NDArray[np.int8]:
    """Round each weight to the nearest step, ties to even as QuantizeLinear does."""
    steps: NDArray[np.float32] = np.clip(np.rint(weights / scales), -INT8_MAX, INT8_MAX)
    return steps.astype(np.int8)


def quantize_weight(
    weights: NDArray[np.float32], axis: int, least_scales: NDArray[np.float32] | float = 0.0
) -> QuantizedWeight:
    """Quantise a weight per channel.

    Args:
        weights: of any shape.
        axis: of the output channels, 0 of a Conv.
        least_scales: a channel's scale is at least this, where something else has to fit its grid.
    """
    scales = weight_scales(weights, axis, least_scales)
    return QuantizedWeight(round_to_nearest(weights, _along(scales, axis, weights.ndim)), scales, axis)


def ungrouped(weight: QuantizedWeight, groups: int) -> QuantizedWeight:
    """Return a Conv's weight in groups, (O, C/groups, ...), as (O, C, ...), with zeros where a group does not look."""
    outs, ins, *kernel = weight.integers.shape
    whole = np.zeros((groups, outs // groups, groups, ins, *kernel), np.int8)
    of_group = weight.integers.reshape(groups, outs // groups, ins, *kernel)
    whole[np.arange(groups), :, np.arange(groups)] = of_group
    return QuantizedWeight(whole.reshape(outs, groups * ins, *kernel), weight.scales, weight.axis)


def weight_scales(
    weights: NDArray[np.float32], axis: int, least: NDArray[np.float32] | float = 0.0
) -> NDArray[np.float32]:
    """Return each channel's scale (channels,): an FP16 number, held as FP32, that reaches its largest weight."""
    others = tuple(a for a in range(weights.ndim) if a != axis)
    exact = np.maximum(np.abs(weights).max(axis=others, initial=0.0) / np.float32(INT8_MAX), least)
    half = np.maximum(exact, _LEAST_SCALE).astype(np.float16)
    up = np.nextafter(half, np.float16(np.inf))
    scales: NDArray[np.float32] = np.where(half.astype(np.float32) < exact, up, half).astype(np.float32)
    return scales


def _along(scales: NDArray[np.float32], axis: int, ndim: int) -> NDArray[np.float32]:
    # (C,) -> (1, C, 1, 1) with C at `axis`
    return scales.reshape([-1 if a == axis else 1 for a in range(ndim)])
