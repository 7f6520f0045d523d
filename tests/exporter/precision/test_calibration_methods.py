"""Each method is compared with its definition written out slowly, and with the values themselves."""

import itertools
import math

import numpy as np
import pytest
from numpy.typing import NDArray

from exporter.precision import clipping
from exporter.precision.calibrate import CalibrationError, CalibrationOptions, ranges_from_histograms
from exporter.precision.clipping import (
    entropy_range,
    kl_divergences,
    least_error_range,
    max_range,
    mse_range,
    percentile_range,
    rebinned,
    rounding_error,
)
from exporter.precision.histograms import Histogram
from exporter.precision.options import CLIPPINGS
from exporter.precision.ranges import Range

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
    found = max_range(histogram_of(values))
    assert (found.low, found.high) == (min(0, values.min()), max(0, values.max()))


@pytest.mark.parametrize("percentile", [90.0, 99.9, 99.99, 100.0])
@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES.keys())
def test_percentile_is_numpys_to_a_bin(values, percentile):
    histogram = histogram_of(values)
    near = {"abs": 2 * histogram.width, "rel": 2e-3}  # between two values far apart, numpy takes the one, a bin both

    clip = np.quantile(np.abs(values), percentile / 100, method="inverted_cdf")
    assert percentile_range(histogram, percentile, symmetric=True).magnitude == pytest.approx(clip, **near)
    found = percentile_range(histogram, percentile, symmetric=False)
    outside = (1 - percentile / 100) / 2
    low, high = (sign * np.quantile(sign * values, 1 - outside, method="inverted_cdf") for sign in (-1, 1))
    assert (found.low, found.high) == (pytest.approx(min(0, low), **near), pytest.approx(max(0, high), **near))


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
    assert rounding_error(counts, origin, levels[None], power)[0] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", ["normal", "SiLU", "Laplace", "outliers"])
def test_the_error_of_a_grid_is_that_of_the_values(name):
    histogram = histogram_of(VALUES[name])
    clip = float(np.abs(VALUES[name]).max()) * 0.6
    levels = np.arange(128) * clip / 127 / histogram.width
    found = rounding_error(histogram.magnitude_counts, 0, levels[None])[0] * histogram.width**2
    expected = powered_error(VALUES[name], Range(-clip, clip), True)
    assert found == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("power", [2, 3])
@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES.keys())
def test_no_symmetric_clip_has_less_error_than_is_found(values, power):
    found = least_error_range(histogram_of(values), True, power)
    top = float(np.abs(values).max())
    least = min(powered_error(values, Range(-c, c), True, power) for c in np.linspace(top / 200, top, 200))
    assert powered_error(values, found, True, power) <= least * 1.01


def test_a_higher_power_keeps_more_of_the_outliers():
    kept = [least_error_range(histogram_of(VALUES["outliers"]), True, power).magnitude for power in (2, 3, 4)]
    assert kept[0] < kept[1] <= kept[2]


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES.keys())
def test_no_affine_range_has_less_error_than_mse_finds(values):
    found = mse_range(histogram_of(values), symmetric=False)
    whole = max_range(histogram_of(values))
    shares = np.linspace(0.1, 1, 13)
    lows = whole.low * shares if whole.low < 0 else [0.0]
    highs = whole.high * shares if whole.high > 0 else [0.0]
    least = min(powered_error(values, Range(low, high), False) for low in lows for high in highs)
    assert powered_error(values, found, False) <= least * 1.01


@pytest.mark.parametrize(("low", "high"), [(-1.0, 2.0), (-0.278, 7.3), (0.0, 5.0), (-4.0, 0.0), (-2.5, 2.4)])
def test_the_affine_grid_is_the_one_that_is_written(low, high):
    scale, zero_point = Range(low, high).affine()
    expected = (np.arange(256) - zero_point) * scale
    assert clipping._affine_levels(low, np.array([high]))[0] == pytest.approx(expected, rel=1e-6, abs=1e-12)


def slow_divergence(counts: NDArray[np.int64], kept: int, levels: int) -> float:
    """The published algorithm, bin by bin."""
    p = counts[:kept].astype(np.float64)
    p[-1] += counts[kept:].sum()
    q = np.zeros(kept)
    for g in range(levels):
        group = range(g * kept // levels, (g + 1) * kept // levels)
        filled = [j for j in group if counts[j] > 0]
        for j in filled:
            q[j] = sum(counts[k] for k in group) / len(filled)
    if not q.any():
        return math.inf
    p, q = p / p.sum(), q / q.sum()
    if p[-1] > 0 and q[-1] == 0:
        q *= 1 - 1e-4
        q[-1] = 1e-4
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)


HISTOGRAMS = {
    "full": RNG.integers(1, 1000, size=150),
    "with empty bins": RNG.integers(0, 3, size=150) * 7,
    "falling": (1e6 * np.exp(-np.arange(160) / 12)).astype(np.int64),
    "an outlier": np.r_[RNG.integers(1, 99, size=60), np.zeros(99, np.int64), 3],
    "empty below": np.r_[np.zeros(70, np.int64), RNG.integers(1, 99, size=60)],
    "one bin": np.r_[np.zeros(120, np.int64), 12],
}


@pytest.mark.parametrize("levels", [16, 100])
@pytest.mark.parametrize("counts", HISTOGRAMS.values(), ids=HISTOGRAMS.keys())
def test_the_divergences_are_those_of_the_published_algorithm(counts, levels):
    counts = np.asarray(counts)[: int(np.flatnonzero(counts)[-1]) + 1]
    found = kl_divergences(counts, levels)
    expected = [slow_divergence(counts, kept, levels) for kept in range(levels, counts.size + 1)]
    assert found == pytest.approx(np.array(expected), rel=1e-9, abs=1e-12)


def test_entropy_takes_the_threshold_with_the_least_divergence():
    values = np.abs(VALUES["outliers"])
    counts, _ = np.histogram(values, bins=2048, range=(0, 60))  # as the paper has it
    divergences = [slow_divergence(counts, kept, 128) for kept in range(128, 2048, 8)]
    found = entropy_range(histogram_of(VALUES["outliers"]), symmetric=True)
    assert found.low == -found.high
    kept = found.high / 60 * 2048 - 0.5
    assert kept == round(kept)
    assert slow_divergence(counts, int(kept), 128) <= min(divergences) * 1.05  # the bins were cut differently
    assert 2.5 < found.high < 10  # the outliers lie at 40 and 60


REBINNED = [
    ([4, 2, 6, 8], 4.0, 4, [4, 2, 6, 8]),
    ([4, 2, 6, 8], 4.0, 2, [6, 14]),
    ([4, 2, 6, 8], 4.0, 8, [2, 2, 1, 1, 3, 3, 4, 4]),
    ([4, 2, 6, 8, 0], 3.5, 2, [6, 14]),  # cut at 1.75, 5.5 rounds to even; the last bin ends at the top
    ([0, 0, 5], 2.5, 5, [0, 0, 0, 0, 5]),
    ([0, 0, 0], 1.0, 2, [0, 0]),
]


@pytest.mark.parametrize(("counts", "top", "bins", "expected"), REBINNED)
def test_rebinning_loses_no_count(counts, top, bins, expected):
    assert rebinned(np.array(counts), top, bins).tolist() == expected


def test_entropy_keeps_all_of_what_is_spread_evenly():
    assert entropy_range(histogram_of(VALUES["uniform"]), symmetric=True).high > 0.97


def test_entropy_gives_one_sided_values_all_levels_of_an_affine_grid():
    histogram = histogram_of(VALUES["one side"])
    counts = rebinned(histogram.magnitude_counts, histogram.maximum / histogram.width, 2048)
    kept = 256 + kl_divergences(counts, 256).argmin()
    assert entropy_range(histogram, symmetric=False).high == pytest.approx((kept + 0.5) * histogram.maximum / 2048)


@pytest.mark.parametrize("values", {**VALUES, **FLAT}.values(), ids={**VALUES, **FLAT}.keys())
def test_a_range_lies_within_the_values_and_gives_a_usable_scale(values):
    for method, symmetric in itertools.product(CLIPPINGS, (True, False)):
        options = CalibrationOptions(method, symmetric=symmetric)
        found = ranges_from_histograms({"x": histogram_of(values)}, 1, options).by_tensor["x"]
        assert min(0, values.min()) <= found.low <= 0 <= found.high <= max(0, values.max()), options
        assert found.symmetric_scale() > 0, options
        assert found.affine()[0] > 0, options


@pytest.mark.parametrize("method", ["max", "mse", "entropy"])
@pytest.mark.parametrize("name", ["one value", "one negative value", "nearly constant", "two values"])
def test_values_that_hardly_vary_are_kept(name, method):
    options = CalibrationOptions(method)
    found = ranges_from_histograms({"x": histogram_of(FLAT[name])}, 1, options).by_tensor["x"]
    assert quantised(FLAT[name], found, True) == pytest.approx(FLAT[name], rel=0.01)


def test_options_say_what_they_are():
    assert CalibrationOptions("percentile", 99.9, False).in_words() == "percentile 99.9, affine"
    assert CalibrationOptions("mse").in_words() == "mse, symmetric"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "median"}, "auto, max, percentile, mse, l3, entropy, found 'median'"),
        ({"percentile": 0.0}, "percentile in 50..100"),
        ({"percentile": 100.1}, "percentile in 50..100"),
        ({"percentile": float("nan")}, "percentile in 50..100"),
    ],
)
def test_options_that_make_no_sense_are_refused(arguments, message):
    with pytest.raises(CalibrationError, match=message):
        CalibrationOptions(**arguments)
