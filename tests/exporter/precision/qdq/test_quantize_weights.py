"""Weights as int8: the grid, how they are rounded to it, and what a scale may be."""

import numpy as np
import pytest
from text_models import noise

from y12.exporter.precision.qdq.weights import quantize_weight, round_to_nearest, weight_scales


def test_a_channels_largest_weight_is_127_steps():
    weight = np.array([[1.0, -127.0], [0.5, 0.25]], np.float32)
    quantized = quantize_weight(weight, 0)
    assert quantized.integers.dtype == np.int8
    np.testing.assert_array_equal(quantized.scales, [1.0, np.nextafter(np.float16(0.5 / 127), np.float16(1))])
    np.testing.assert_array_equal(quantized.integers, [[1, -127], [127, 63]])


@pytest.mark.parametrize(
    ("value", "expected"), [(0.5, 0), (1.5, 2), (-0.5, 0), (-1.5, -2), (126.6, 127), (300, 127), (-300, -127), (0, 0)]
)
def test_rounding_is_to_nearest_ties_to_even_and_never_reaches_minus_128(value, expected):
    assert round_to_nearest(np.float32([value]), np.float32([1])) == [expected]


@pytest.mark.parametrize("axis", [0, 1])
def test_no_weight_is_off_by_more_than_half_a_step(axis):
    weight = noise(6, 5, 3, 3) * np.float32([1e-6, 1e-3, 0.1, 1, 30]).reshape(1, 5, 1, 1)
    quantized = quantize_weight(weight, axis)
    steps = quantized.scales.reshape((-1, 1, 1, 1) if axis == 0 else (1, -1, 1, 1))
    assert quantized.scales.shape == (weight.shape[axis],)
    assert (np.abs(quantized.integers * steps - weight) <= 0.5001 * steps).all()


@pytest.mark.parametrize("largest", [0.0, 1e-9, 3e-6, 0.001, 0.33, 5.0, 1e4])
def test_scales_are_fp16_numbers_that_reach_the_largest_weight(largest):
    (scale,) = weight_scales(np.float32([[largest]]), 0)
    assert scale > 0
    assert scale == np.float32(np.float16(scale))
    assert scale * 127 >= np.float32(largest) * (1 - 1e-6)
    assert scale * 127 <= max(largest * 1.001, 127 * 2**-24) + 127 * 2**-24


def test_a_channel_of_zeros_stays_zero():
    assert not quantize_weight(np.zeros((2, 3), np.float32), 0).integers.any()


def test_a_scale_is_at_least_what_is_asked_for_each_channel():
    quantized = quantize_weight(np.float32([[127], [127]]), 0, np.float32([4, 0.5]))
    np.testing.assert_array_equal(quantized.scales, [4, 1])
    np.testing.assert_array_equal(quantized.integers, [[32], [127]])
