"""Ranges, the scales that follow from them, and their JSON."""

import json

import numpy as np
import pytest

from y12.errors import CalibrationError
from y12.exporter.precision.ranges import Range, Ranges

LEAST = 2.0**-14

# low, high, the symmetric scale
SYMMETRIC = [
    (-1.0, 1.0, 1 / 127),
    (-0.278, 12.7, 0.1),
    (-25.4, 3.0, 0.2),
    (0.0, 1.0, 1 / 127),
    (0.0, 0.0, LEAST),
    (-1e-9, 1e-9, LEAST),
    (0.0, 127 * LEAST, LEAST),
    (0.0, 254 * LEAST, 2 * LEAST),
]

# low, high, the affine scale and zero point
AFFINE = [
    (0.0, 255.0, 1.0, 0),
    (-255.0, 0.0, 1.0, 255),
    (-127.5, 127.5, 1.0, 128),  # a half rounds to even
    (-128.0, 127.0, 1.0, 128),
    (-1.0, 254.0, 1.0, 1),
    (-0.4, 254.6, 1.0, 0),
    (-0.278, 9.922, 0.04, 7),
    (0.0, 0.0, 1.0, 0),
    (-1e-45, 0.0, 1.0, 0),
    (0.0, 1e-30, 1e-30 / 255, 0),
]

WRONG_RANGES = [(0.1, 1.0), (-1.0, -0.1), (float("nan"), 1.0), (0.0, float("nan")), (0.0, float("inf"))]

GOOD = {"schema": 1, "method": "mse, symmetric", "images": 3, "ranges": {"x": [-1.0, 2.5], "y": [0, 1]}}
WRONG_JSON = [
    ("not JSON", "JSON"),
    ("[1, 2]", "expected images, method"),
    ("[" * 100_000, "JSON"),
    (json.dumps({**GOOD, "schema": 2}), "schema"),
    (json.dumps({**GOOD, "more": 1}), "schema"),
    (json.dumps({k: v for k, v in GOOD.items() if k != "images"}), "schema"),
    (json.dumps({**GOOD, "images": 0}), "number of images"),
    (json.dumps({**GOOD, "images": True}), "number of images"),
    (json.dumps({**GOOD, "method": None}), "method"),
    (json.dumps({**GOOD, "ranges": [1]}), "ranges by tensor"),
    (json.dumps({**GOOD, "ranges": {"x": [-1]}}), "'x'"),
    (json.dumps({**GOOD, "ranges": {"x": [1, 2]}}), "'x'.*low <= 0"),
    (json.dumps({**GOOD, "ranges": {"x": [-1, True]}}), "'x'"),
    (json.dumps({**GOOD, "ranges": {"x": ["-1", 1]}}), "'x'"),
    (json.dumps({**GOOD, "ranges": {"x": [-1, float("nan")]}}), "'x'"),
    (json.dumps({**GOOD, "ranges": {"x": [0, 10**400]}}), "'x'"),
]


@pytest.mark.parametrize(("low", "high", "scale"), SYMMETRIC)
def test_symmetric_scale(low, high, scale):
    assert Range(low, high).symmetric_scale() == np.float32(scale)


@pytest.mark.parametrize(("low", "high", "scale", "zero_point"), AFFINE)
def test_affine(low, high, scale, zero_point):
    assert Range(low, high).affine() == (pytest.approx(scale, rel=1e-6), zero_point)


@pytest.mark.parametrize("low, high", [(-3.0, 1.0), (-0.278, 7.0), (0.0, 1e-3), (-1e4, 0.0)])  # noqa: PT006
def test_zero_is_hit_exactly_and_the_ends_to_half_a_step(low, high):
    scale, zero_point = Range(low, high).affine()
    assert 0 <= zero_point <= 255
    assert (0 - zero_point) * scale == pytest.approx(low, abs=scale / 2 * 1.001)
    assert (255 - zero_point) * scale == pytest.approx(high, abs=scale / 2 * 1.001)


@pytest.mark.parametrize(("low", "high"), WRONG_RANGES)
def test_a_range_that_is_none_is_refused(low, high):
    with pytest.raises(CalibrationError, match="low <= 0 <= high"):
        Range(low, high)


@pytest.mark.parametrize(
    ("low", "high", "range_"), [(1, 2, Range(0, 2)), (-2, -1, Range(-2, 0)), (-1, 1, Range(-1, 1))]
)
def test_around_zero_holds_zero(low, high, range_):
    assert Range.around_zero(low, high) == range_


def test_ranges_come_back_from_json_to_the_bit():
    ranges = Ranges({"x/é": Range(-1 / 3, float(np.float32(0.1))), "y": Range(0, 5e-324)}, "max, affine", 128, ("n",))
    again = Ranges.from_json(ranges.to_json())
    assert again == ranges
    assert list(again.by_tensor) == ["x/é", "y"]
    assert again.notes == ()  # they tell of one run


@pytest.mark.parametrize(("text", "message"), WRONG_JSON)
def test_json_that_is_something_else_is_refused(text, message):
    with pytest.raises(CalibrationError, match=message) as caught:
        Ranges.from_json(text)
    assert "\n" not in str(caught.value)
