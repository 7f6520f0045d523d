"""Each method is compared with its definition written out slowly, and with the values themselves."""

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from y12.exporter.precision.calibration import clipping
from y12.exporter.precision.calibration.calibrate import CalibrationError, CalibrationOptions, ranges_from_histograms
from y12.exporter.precision.calibration.clipping import (
    Moments,
    least_error_range,
    max_range,
    mse_range,
    percentile_range,
)
from y12.exporter.precision.calibration.histograms import Histogram
from y12.exporter.precision.quantization_options import CLIPPINGS
from y12.exporter.precision.ranges import Range

RNG = np.random.Generator(np.random.PCG64(5))
NORMAL = RNG.standard_normal(40_000).astype(np.float32)
VALUES = {
    "normal": NORMAL,
    "one side": np.abs(NORMAL),
    "the other side": -np.abs(NORMAL),
    "SiLU": NORMAL * 4 / (1 + np.exp(-NORMAL * 4)),
    "uniform": RNG.random(30_000, dtype=np.float32),
    "Laplace": RNG.laplace(size=40_000).astype(np.float32),
    "outliers": np.concatenate([NORMAL, np.float32([40, -60])]),
}
FLAT = {
    "zeros": np.zeros(100, np.float32),
    "one value": np.full(100, 3.0, np.float32),
    "one negative value": np.full(100, -3.0, np.float32),
    "zeros but one": np.float32([0] * 99 + [5]),
    "nearly constant": np.float32([1, 1 + 1e-6, 1 - 1e-6]),
    "two values": np.float32([-1, 2] * 50),
    "a single value": np.float32([0.3]),
    "tiny": np.float32([1e-42, 3e-42]),
}


def histogram_of(values: NDArray[np.float32]) -> Histogram:
    histogram = Histogram()
    histogram.add(values)
    return histogram


def quantised(values: NDArray[np.float32], r: Range, symmetric: bool) -> NDArray[np.float64]:
    x = values.astype(np.float64)
    if symmetric:
        scale = r.symmetric_scale()
        return np.clip(np.rint(x / scale), -127, 127) * scale
    scale, zero_point = r.affine()
    return (np.clip(np.rint(x / scale) + zero_point, 0, 255) - zero_point) * scale


def powered_error(values: NDArray[np.float32], r: Range, symmetric: bool, power: int = 2) -> float:
    return float((np.abs(values - quantised(values, r, symmetric)) ** power).sum())


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES.keys())
def test_max_clips_nothing(values):
    clipped = max_range(histogram_of(values))
    assert (clipped.low, clipped.high) == (min(0, values.min()), max(0, values.max()))


@pytest.mark.parametrize("percentile", [90.0, 99.9, 99.99, 100.0])
@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES.keys())
def test_percentile_is_numpys_to_a_bin(values, percentile):
    histogram = histogram_of(values)
    near = {"abs": 2 * histogram.width, "rel": 2e-3}  # between two values far apart, numpy takes the one, a bin both

    clip = np.quantile(np.abs(values), percentile / 100, method="inverted_cdf")
    assert percentile_range(histogram, percentile, symmetric=True).magnitude == pytest.approx(clip, **near)
    affine = percentile_range(histogram, percentile, symmetric=False)
    outside = (1 - percentile / 100) / 2
    low, high = (sign * np.quantile(sign * values, 1 - outside, method="inverted_cdf") for sign in (-1, 1))
    assert (affine.low, affine.high) == (pytest.approx(min(0, low), **near), pytest.approx(max(0, high), **near))


def slow_rounding_error(counts: NDArray[np.int64], origin: int, levels: NDArray[np.float64], power: int) -> float:
    """Integrate |x - nearest level|^power over each bin, cut at the levels and where the nearest one changes."""
    cuts = np.sort(np.concatenate([(levels[1:] + levels[:-1]) / 2, levels]))
    total = 0.0
    for j, count in enumerate(counts):
        begin, end = j - origin, j - origin + 1
        ends = [begin, *(c for c in cuts if begin < c < end), end]
        for a, b in itertools.pairwise(ends):
            level = levels[np.abs(levels - (a + b) / 2).argmin()]
            near, far = sorted((abs(a - level), abs(b - level)))
            total += count * (far ** (power + 1) - near ** (power + 1)) / (power + 1)
    return total


@pytest.mark.parametrize("power", [2, 3])
@pytest.mark.parametrize(
    ("origin", "levels"),
    [
        (0, np.arange(128) * 0.31),
        (0, np.arange(128) * 0.05),  # finer than a bin, and it clips
        (0, np.arange(5) * 9.7),
        (20, (np.arange(256) - 128) * 0.15),
        (20, (np.arange(256) - 3.0) * 0.1),
        (40, (np.arange(256) - 255.0) * 0.16),
    ],
)
def test_the_error_of_a_grid_is_its_integral(origin, levels, power):
    counts = RNG.integers(0, 50, size=40)
    counts[7:12] = 0
    expected = slow_rounding_error(counts, origin, levels, power)
    assert Moments(counts, origin, power).error(levels[None])[0] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", ["normal", "SiLU", "Laplace", "outliers"])
def test_the_error_of_a_grid_is_that_of_the_values(name):
    histogram = histogram_of(VALUES[name])
    clip = float(np.abs(VALUES[name]).max()) * 0.6
    levels = np.arange(128) * clip / 127 / histogram.width
    error = Moments(histogram.magnitude_counts, 0, 2).error(levels[None])[0] * histogram.width**2
    expected = powered_error(VALUES[name], Range(-clip, clip), True)
    assert error == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("power", [2, 3])
@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES.keys())
def test_no_symmetric_clip_has_less_error_than_is_found(values, power):
    clipped = least_error_range(histogram_of(values), True, power)
    top = float(np.abs(values).max())
    least = min(powered_error(values, Range(-c, c), True, power) for c in np.linspace(top / 200, top, 200))
    assert powered_error(values, clipped, True, power) <= least * 1.01


def test_a_higher_power_keeps_more_of_the_outliers():
    magnitudes = [least_error_range(histogram_of(VALUES["outliers"]), True, power).magnitude for power in (2, 3, 4)]
    assert magnitudes[0] < magnitudes[1] <= magnitudes[2]


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES.keys())
def test_no_affine_range_has_less_error_than_mse_finds(values):
    affine = mse_range(histogram_of(values), symmetric=False)
    whole = max_range(histogram_of(values))
    shares = np.linspace(0.1, 1, 13)
    lows = whole.low * shares if whole.low < 0 else [0.0]
    highs = whole.high * shares if whole.high > 0 else [0.0]
    least = min(powered_error(values, Range(low, high), False) for low in lows for high in highs)
    assert powered_error(values, affine, False) <= least * 1.01


@pytest.mark.parametrize(("low", "high"), [(-1.0, 2.0), (-0.278, 7.3), (0.0, 5.0), (-4.0, 0.0), (-2.5, 2.4)])
def test_the_affine_grid_is_the_one_that_is_written(low, high):
    scale, zero_point = Range(low, high).affine()
    expected = (np.arange(256) - zero_point) * scale
    assert clipping._affine_levels(low, np.array([high]))[0] == pytest.approx(expected, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("values", {**VALUES, **FLAT}.values(), ids={**VALUES, **FLAT}.keys())
def test_a_range_lies_within_the_values_and_gives_a_usable_scale(values):
    for method, symmetric in itertools.product(CLIPPINGS, (True, False)):
        options = CalibrationOptions(method, symmetric=symmetric)
        span = ranges_from_histograms({"x": histogram_of(values)}, 1, options).by_tensor["x"]
        assert min(0, values.min()) <= span.low <= 0 <= span.high <= max(0, values.max()), options
        assert span.symmetric_scale() > 0, options
        assert span.affine()[0] > 0, options


@pytest.mark.parametrize("method", ["max", "mse", "l3"])
@pytest.mark.parametrize("name", ["one value", "one negative value", "nearly constant", "two values"])
def test_values_that_hardly_vary_are_kept(name, method):
    options = CalibrationOptions(method)
    span = ranges_from_histograms({"x": histogram_of(FLAT[name])}, 1, options).by_tensor["x"]
    assert quantised(FLAT[name], span, True) == pytest.approx(FLAT[name], rel=0.01)


def test_options_say_what_they_are():
    assert CalibrationOptions("percentile", 99.9, False).in_words() == "percentile 99.9, affine"
    assert CalibrationOptions("mse").in_words() == "mse, symmetric"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "median"}, "auto, mse, l3, percentile, max, found 'median'"),
        ({"percentile": 0.0}, "percentile in 50..100"),
        ({"percentile": 100.1}, "percentile in 50..100"),
        ({"percentile": float("nan")}, "percentile in 50..100"),
    ],
)
def test_options_that_make_no_sense_are_refused(arguments, message):
    with pytest.raises(CalibrationError, match=message):
        CalibrationOptions(**arguments)
