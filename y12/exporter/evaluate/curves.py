"""Precision, recall and F1 against confidence, at an overlap of 0.5: of each class, and their mean.

A result counts at a confidence where its score is above it, as in the runtime. With h right ones and w wrong ones of l
labels, precision = h / (h + w), recall = h / l and F1 = 2h / (l + h + w). The mean is over the classes that have
labels, as in AP; precision's is over those of them that find something there.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from y12.exporter.evaluate.bootstrap import ClassMatches

__all__ = ["CONFS", "ConfidenceCurves", "curves_from"]

CONFS = np.linspace(0, 1, 1001)
_SAME = 1e-9  # F1s that differ by less are the same: sums of the same numbers in another order


@dataclass(frozen=True)
class ConfidenceCurves:
    """The curves of one kind at each of `CONFS`.

    Attributes:
        classes: (K,) the numbers of the classes that have labels; only these are in what follows.
        precision: (K, C), NaN where nothing of the class is found.
        recall, f1: (K, C).
    """

    classes: NDArray[np.intp]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]

    @cached_property
    def mean_precision(self) -> NDArray[np.float64]:
        """The classes' mean, (C,)."""
        return _mean(self.precision)

    @cached_property
    def mean_recall(self) -> NDArray[np.float64]:
        """The classes' mean, (C,)."""
        return _mean(self.recall)

    @cached_property
    def mean_f1(self) -> NDArray[np.float64]:
        """The classes' mean, (C,)."""
        return _mean(self.f1)

    @property
    def best(self) -> int | None:
        """Which of `CONFS` has the best mean F1: the middle of the first stretch of them; None where nothing is right.

        At the middle no score that decides is near.
        """
        if not len(self.classes) or self.mean_f1.max() <= 0:
            return None
        top = self.mean_f1 >= self.mean_f1.max() - _SAME
        first = int(top.argmax())
        behind = np.flatnonzero(~top[first:])
        return first + (int(behind[0]) - 1 if behind.size else len(top) - 1 - first) // 2


def curves_from(matches: Sequence[ClassMatches]) -> ConfidenceCurves:
    """Return the curves of the classes' matches, in their order."""
    labelled = [k for k, one in enumerate(matches) if one.labels.sum()]
    curves = [_of_class(matches[k]) for k in labelled]
    precision, recall, f1 = np.array(curves, np.float64).reshape(-1, 3, len(CONFS)).transpose(1, 0, 2)
    return ConfidenceCurves(np.array(labelled, np.intp), precision, recall, f1)


def _of_class(one: ClassMatches) -> NDArray[np.float64]:
    """Return precision, recall and F1, (3, C)."""
    above = np.searchsorted(-one.scores, -CONFS, side="left")  # how many results have a score above each
    hits, misses = (np.concatenate([[0], np.cumsum(each[0])])[above] for each in (one.hits, one.misses))
    labels = int(one.labels.sum())
    found = (hits + misses).astype(np.float64)
    precision = np.divide(hits, found, out=np.full(len(CONFS), np.nan), where=found > 0)
    return np.stack([precision, hits / labels, 2 * hits / (labels + found)])


def _mean(curves: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean over classes, (C,), of those that have a value."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # none has: NaN
        return np.asarray(np.nanmean(curves, axis=0)) if len(curves) else np.full(len(CONFS), np.nan)
