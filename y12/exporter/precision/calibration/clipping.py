"""Where to clip a tensor, given its histogram: the methods of calibration.

A smaller range has finer steps but saturates the largest values; the methods differ in how they weigh the two. All
compute in units of a bin's width, with the values of a bin taken as spread evenly over it.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from y12.exporter.precision.calibration.histograms import SIDE_BINS, Histogram
from y12.exporter.precision.ranges import INT8_MAX, UINT8_MAX, Range

__all__ = [
    "Moments",
    "least_error_range",
    "max_range",
    "mse_range",
    "percentile_range",
]

Array = NDArray[np.float64]
# Fractions of the largest value that are tried: down to 1/245 in steps of 4.4 %, then 0.14 % around the best.
_COARSE = 2.0 ** (-np.arange(128) / 16)
_FINE_STEPS = 65
_ROUNDS = 2  # of the search for both ends in turn: a third moves no end of yolo11n's by 1 % of the range
_INT8_LEVELS = INT8_MAX + 1  # of |x|


def max_range(histogram: Histogram) -> Range:
    """Return the range that clips nothing."""
    return Range.around_zero(histogram.minimum, histogram.maximum)


def percentile_range(histogram: Histogram, percentile: float, symmetric: bool) -> Range:
    """Return the range that holds `percentile` percent of the values; an affine one leaves out as many on each side."""
    share = percentile / 100
    if symmetric:
        return _clipped(histogram, _quantile(histogram.magnitude_counts, share))
    counts, outside = histogram.counts, (1 - share) / 2
    low = SIDE_BINS - _quantile(counts[::-1], 1 - outside)
    high = _quantile(counts, 1 - outside) - SIDE_BINS
    return _within(histogram, low, high)


def mse_range(histogram: Histogram, symmetric: bool) -> Range:
    """Return the range with the least sum of squared quantisation errors, of rounding and of clipping."""
    return least_error_range(histogram, symmetric, power=2)


def least_error_range(histogram: Histogram, symmetric: bool, power: int) -> Range:
    """Return the range with the least sum of |error|^power, of rounding and of clipping (arXiv:1911.07190, L_p).

    The higher the power, the more a few large values weigh against many small ones.
    """
    low, high = min(0.0, histogram.minimum) / histogram.width, max(0.0, histogram.maximum) / histogram.width
    if low == high:
        return max_range(histogram)
    least = _least_error_symmetric if symmetric else _least_error
    return least(histogram, low, high, power)


def _least_error_symmetric(histogram: Histogram, low: float, high: float, power: int) -> Range:
    top = max(-low, high)
    moments = Moments(histogram.magnitude_counts, 0, power)
    steps = np.arange(_INT8_LEVELS) / INT8_MAX  # the levels of |x| as fractions of the clip
    return _clipped(histogram, top * _best_fraction(lambda f: moments.error((top * f)[:, None] * steps)))


def _least_error(histogram: Histogram, low: float, high: float, power: int) -> Range:
    """Search each end in turn, from the range of all values, in bins."""
    moments = Moments(histogram.counts, SIDE_BINS, power)
    best = [low, high]
    for _ in range(_ROUNDS):
        if high > 0:
            best[1] = high * _best_fraction(lambda f: moments.error(_affine_levels(best[0], high * f)))
        if low < 0:
            best[0] = low * _best_fraction(lambda f: moments.error(_affine_levels(low * f, best[1])))
    return _within(histogram, *best)


class Moments:
    """The sums of 1, x, .. x^power over all values below a point, in units of a bin.

    In a bin that begins at a, F_k(t) = F_k(a) + h (t^(k+1) - a^(k+1)) / (k + 1): the values are spread evenly. Kept for
    each bin is what does not depend on t.

    Args:
        counts: (bins,); bin j begins at j - origin.
        origin: the bin that begins at 0.
        power: of the errors that are summed.
    """

    def __init__(self, counts: NDArray[np.int64], origin: int, power: int) -> None:
        self._counts = counts.astype(np.float64)
        self._origin, self._power = origin, power
        self._edges = np.arange(counts.size + 1, dtype=np.float64) - origin
        self._constants: list[Array] = []
        for k in range(1, power + 2):
            edges = self._edges**k
            below = np.concatenate(([0.0], np.cumsum(self._counts * np.diff(edges) / k)))
            self._constants.append(below[:-1] - self._counts * edges[:-1] / k)

    def error(self, levels: Array) -> Array:
        """Return sum |x - nearest level|^p for each of the (grids, L) ascending levels, as (grids,).

        Over the upper half of a level v's cell: sum_k C(p, k) (-v)^(p-k) sum x^k; over the lower half, where x < v,
        (-1)^p times that.
        """
        points = np.empty((len(levels), 2 * levels.shape[1] + 1))  # a cell's end, its level, the next cell's end, …
        points[:, 0], points[:, -1] = self._edges[0], self._edges[-1]
        points[:, 1::2] = levels
        points[:, 2:-1:2] = (levels[:, 1:] + levels[:, :-1]) / 2
        np.clip(points, self._edges[0], self._edges[-1], out=points)
        bins = np.minimum((points + self._origin).astype(np.intp), self._counts.size - 1)
        moments: list[Array] = []  # sum x^k over each level's halves
        raised = self._counts.take(bins)  # h t^(k+1), by products: numpy's ** takes ten times as long above squares
        for k, constants in enumerate(self._constants):
            raised *= points
            sums = np.diff(constants.take(bins) + raised / (k + 1), axis=1)
            moments.append(sums[:, 1::2] + (-1) ** self._power * sums[:, ::2])
        total = moments[0]
        for k, moment in enumerate(moments[1:], start=1):  # Horner's scheme in -v
            total = total * -levels + math.comb(self._power, k) * moment
        return np.asarray(total.sum(axis=1))


def _affine_levels(low: float | Array, high: float | Array) -> Array:
    """Return the 256 values of the uint8 grids between ends that are (grids,), as (grids, 256), zero point rounded."""
    low, high = np.broadcast_arrays(np.asarray(low), np.asarray(high))
    scale = (high - low) / UINT8_MAX
    zero_point = np.rint(-low / scale)
    return np.asarray((np.arange(UINT8_MAX + 1) - zero_point[:, None]) * scale[:, None])


def _best_fraction(error_of: Callable[[Array], Array]) -> float:
    """Return the fraction in 1/245..1 with the least error: a coarse search, then a fine one beside the best."""
    best = int(error_of(_COARSE).argmin())
    below, above = _COARSE[min(best + 1, _COARSE.size - 1)], _COARSE[max(best - 1, 0)]
    fine = np.linspace(above, below, _FINE_STEPS)
    return float(fine[error_of(fine).argmin()])


def _quantile(counts: NDArray[np.int64], share: float) -> float:
    """Return the point, in bins, below which this share of the counts lies."""
    below = np.cumsum(counts)
    target = share * below[-1]
    i = int(np.searchsorted(below, target))
    return i + 1 - float(below[i] - target) / max(int(counts[i]), 1)


def _clipped(histogram: Histogram, clip: float) -> Range:
    return _within(histogram, -clip, clip)


def _within(histogram: Histogram, low: float, high: float) -> Range:
    """Return the range from `low` to `high`, in bins, as far as there are values."""
    whole = max_range(histogram)
    return Range.around_zero(max(whole.low, low * histogram.width), min(whole.high, high * histogram.width))
