"""Histograms are compared with counting the whole array at once, in float64."""

import numpy as np
import pytest
from numpy.typing import NDArray

from y12.exporter.precision.calibration.histograms import SIDE_BINS, Histogram

RNG = np.random.Generator(np.random.PCG64(12))


def silu(x: NDArray[np.float64]) -> NDArray[np.float32]:
    return (x / (1 + np.exp(-x))).astype(np.float32)


# name → arrays that come one after the other
STREAMS = {
    "noise": [RNG.standard_normal(70_000).astype(np.float32)],
    "SiLU": [silu(RNG.standard_normal((2, 30, 40, 50)) * 4)],
    "it grows by one doubling": [np.float32([0.3, -0.2, 0.9]), np.float32([1.7, 0.1])],
    "it grows by many": [np.float32([1e-6, -2e-6, 3e-6]), np.float32([5.0]), np.float32([-3e4, 12.0])],
    "it shrinks": [np.float32([7.0, -3.0]), np.float32([0.01, -0.01])],
    "the negative side is the larger": [np.float32([-100.0, 1.0, 0.5]), RNG.random(1000, dtype=np.float32) * -300],
    "zeros first": [np.zeros(10, np.float32), np.float32([0.5, -0.25])],
    "zeros only": [np.zeros((3, 4), np.float32), np.zeros(5, np.float32)],
    "one value": [np.full(9, 5.25, np.float32)],
    "powers of two": [np.float32([1, -1, 2, -2, 0.5, -0.5, 4, -4])],
    "tiny": [np.float32([1e-38, -3e-38, 2e-38])],
    "subnormal": [np.float32([1e-42, -1e-41])],
    "huge": [np.float32([3.4e38, -3.4e38, 1.0])],
    "an empty array": [np.float32([]), np.float32([0.5]), np.float32([])],
}


def histogram_of(arrays: list[NDArray[np.float32]]) -> Histogram:
    histogram = Histogram()
    for array in arrays:
        histogram.add(array)
    return histogram


def counted_at_once(arrays: list[NDArray[np.float32]], width: float) -> NDArray[np.int64]:
    whole = np.concatenate([a.ravel() for a in arrays]).astype(np.float64)
    counts = np.zeros(2 * SIDE_BINS, dtype=np.int64)
    np.add.at(counts, np.floor(whole / width).astype(np.int64) + SIDE_BINS, 1)
    return counts


@pytest.mark.parametrize("arrays", STREAMS.values(), ids=STREAMS.keys())
def test_it_counts_as_the_whole_array_would_be_counted(arrays):
    histogram = histogram_of(arrays)
    whole = np.concatenate([a.ravel() for a in arrays])

    assert np.array_equal(histogram.counts, counted_at_once(arrays, histogram.width))
    assert histogram.total == histogram.counts.sum() == whole.size
    assert (histogram.minimum, histogram.maximum) == (whole.min(), whole.max())


@pytest.mark.parametrize("arrays", STREAMS.values(), ids=STREAMS.keys())
def test_absolute_values_are_the_two_sides_together(arrays):
    histogram = histogram_of(arrays)
    whole = np.concatenate([a.ravel() for a in arrays]).astype(np.float64)
    # a bin of the negative side, [-(j + 1) w, -j w), is open where |x| = j w: such an x belongs to bin j - 1
    bins = np.where(whole < 0, np.ceil(-whole / histogram.width) - 1, np.floor(whole / histogram.width))

    assert np.array_equal(histogram.magnitude_counts, np.bincount(bins.astype(int), minlength=SIDE_BINS))


@pytest.mark.parametrize("arrays", STREAMS.values(), ids=STREAMS.keys())
def test_the_order_does_not_matter_to_a_bit(arrays):
    pieces = [piece for array in arrays for piece in np.array_split(array.ravel(), 3)]
    forth, back = histogram_of(pieces), histogram_of(pieces[::-1])

    for other in (forth, back):
        assert np.array_equal(other.counts, histogram_of(arrays).counts)
        assert (other.width, other.minimum, other.maximum, other.total) == (
            forth.width,
            forth.minimum,
            forth.maximum,
            forth.total,
        )


@pytest.mark.parametrize("magnitude", [1e-30, 0.01, 0.999, 1.0, 1.001, 2.0, 3.0, 1000.0, 3e38])
@pytest.mark.parametrize("sign", [1, -1])
def test_half_of_the_bins_or_more_are_used(magnitude, sign):
    histogram = histogram_of([np.float32([sign * magnitude])])
    (used,) = histogram.counts.nonzero()[0]

    assert SIDE_BINS // 2 <= abs(used - SIDE_BINS) <= SIDE_BINS
    assert np.log2(histogram.width) % 1 == 0


def test_widening_adds_the_counts_in_pairs():
    histogram = Histogram()
    histogram.add(RNG.random(50_000, dtype=np.float32) - np.float32(0.5))  # w = 0.5 / 4096
    narrow = histogram.counts
    histogram.add(np.float32([0.75]))

    pairs = narrow.reshape(-1, 2).sum(axis=1)
    wide = histogram.counts
    wide[SIDE_BINS + SIDE_BINS * 3 // 4] -= 1  # the newcomer
    assert np.array_equal(wide[SIDE_BINS // 2 : -SIDE_BINS // 2], pairs)
    assert wide.sum() == narrow.sum() == 50_000


@pytest.mark.parametrize(("bad", "name"), [(np.nan, "NaN"), (np.inf, "Inf"), (-np.inf, "Inf")])
def test_what_is_not_finite_is_refused_and_counts_nothing(bad, name):
    histogram = histogram_of([np.float32([1.0, 2.0])])
    with pytest.raises(ValueError, match=name):
        histogram.add(np.float32([0.5, bad, 9.0]))
    assert (histogram.total, histogram.maximum, histogram.counts.sum()) == (2, 2.0, 2)


def test_a_strided_array_is_counted_like_its_copy():
    array = RNG.standard_normal((40, 50)).astype(np.float32)
    assert np.array_equal(histogram_of([array.T[::2]]).counts, histogram_of([array.T[::2].copy()]).counts)


def test_the_counts_are_a_copy():
    histogram = histogram_of([np.float32([1.0])])
    histogram.counts[:] = 7
    assert histogram.counts.sum() == 1


def test_an_empty_histogram_is_all_zero():
    histogram = Histogram()
    assert (histogram.total, histogram.minimum, histogram.maximum) == (0, 0.0, 0.0)
    assert not histogram.counts.any()
