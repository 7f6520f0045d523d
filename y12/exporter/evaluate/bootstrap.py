"""How sure a figure is: average precision over images that are drawn again and again (the bootstrap, paired).

Matches are pycocotools', made once; each draw only weights the images they are in. Two graphs are compared over the
same draws, so that what is hard in an image is hard for both, and only what differs between them is left in the
interval (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 13 and 16).
"""

import contextlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from y12.exporter.data.dataset import GroundTruth
from y12.exporter.evaluate.coco import Result, prepared

__all__ = ["DRAWS", "ClassMatches", "average_precision", "draws_of", "interval_of", "matches_in", "matches_of"]

DRAWS = 400
_LEVEL = 90  # percent, of the interval: 5 % of the draws lie below it, 5 % above
_AT_A_TIME = 1 << 20  # numbers: draws x results, 8 MiB


@dataclass(frozen=True)
class ClassMatches:
    """How the results of one class match its labels, in all images.

    Attributes:
        images: (D,) of each result the number of its image, 0 to I-1; the best result first.
        hits: (T, D) whether it matches a label, at each of COCO's T thresholds of overlap.
        misses: (T, D) whether it counts as wrong; neither where it lies on what is not to be found.
        labels: (I,) of each image how many labels count.
        scores: (D,) of the results.
    """

    images: NDArray[np.intp]
    hits: NDArray[np.bool_]
    misses: NDArray[np.bool_]
    labels: NDArray[np.int64]
    scores: NDArray[np.float64]


def draws_of(images: int) -> NDArray[np.float64]:
    """Return how often each image is in each draw, (`DRAWS`, images); the same ones every time."""
    shares = np.full(images, 1 / images)
    return np.random.default_rng(0).multinomial(images, shares, DRAWS).astype(np.float64)


def interval_of(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the bounds between which the middle 90 % of the draws' values lie; draws without a value do not count."""
    low, high = np.nanpercentile(values, ((100 - _LEVEL) / 2, (100 + _LEVEL) / 2))
    return float(low), float(high)


def matches_of(truth: GroundTruth, results: Sequence[Result], kind: str) -> tuple[ClassMatches, ...]:
    """Match results with labels as COCO's evaluation does, of any size; images are in the order of their ids.

    Args:
        truth: COCO's images, annotations and categories.
        results: COCO's results.
        kind: "bbox", "segm", "keypoints" or "obb".

    Raises:
        MissingPackageError: pycocotools is not installed.
    """
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints as it goes
        evaluation = prepared(truth, results, kind, by_size=False)
        evaluation.evaluate()
    return tuple(matches_in(evaluation))


def average_precision(classes: Sequence[ClassMatches], draws: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return AP50-95 of each draw, 0 to 1, (B,): COCO's, with the images as often as the draw has them.

    NaN where a draw has no label at all. Of a single draw that has each image once it is pycocotools' figure.
    """
    total, counted = np.zeros(len(draws)), np.zeros(len(draws))
    for one in classes:
        labels = draws @ one.labels
        has_labels = labels > 0
        if one.images.size and has_labels.any():
            total[has_labels] += _of_class(one, draws[has_labels], labels[has_labels])
        counted += has_labels
    with np.errstate(invalid="ignore"):
        return total / counted


def _of_class(one: ClassMatches, draws: NDArray[np.float64], labels: NDArray[np.float64]) -> NDArray[np.float64]:
    one = _up_to_the_last_hit(one)
    if not one.images.size:
        return np.zeros(len(draws))
    rows = max(1, _AT_A_TIME // one.images.size)
    parts = range(0, len(draws), rows)
    return np.concatenate([_of_draws(one, draws[at : at + rows], labels[at : at + rows]) for at in parts])


def _up_to_the_last_hit(one: ClassMatches) -> ClassMatches:
    """Leave out the results behind it: of average precision they change nothing."""
    last = int(np.flatnonzero(one.hits.any(axis=0)).max(initial=-1)) + 1
    return ClassMatches(one.images[:last], one.hits[:, :last], one.misses[:, :last], one.labels, one.scores[:last])


def _of_draws(one: ClassMatches, draws: NDArray[np.float64], labels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the area below the envelope of precision over recall, at COCO's 101 recalls, (B,)."""
    often = draws[:, one.images]
    areas = np.zeros(len(draws))
    for hits, misses in zip(one.hits, one.misses, strict=True):  # of the T thresholds
        at = np.flatnonzero(hits)  # H of the D results; recall grows nowhere else, and precision falls
        right = np.cumsum(often[:, at], axis=-1)  # (B, H), as what follows
        found = np.cumsum(often * (hits | misses), axis=-1)[:, at]
        precision = np.divide(right, found, out=np.zeros_like(right), where=found > 0)
        envelope = np.maximum.accumulate(precision[:, ::-1], axis=-1)[:, ::-1]
        reached = np.searchsorted(_RECALLS, right / labels[:, None], "right")  # how many of the 101 recalls are
        areas += (np.diff(reached, axis=-1, prepend=0) * envelope).sum(axis=-1)
    return areas / (len(one.hits) * len(_RECALLS))


_RECALLS = np.linspace(0, 1, 101)


def matches_in(evaluation: Any) -> Iterator[ClassMatches]:
    """Yield the matches of each category, of any size, in an evaluation of pycocotools that has run."""
    count, sizes = len(evaluation.params.imgIds), len(evaluation.params.areaRng)
    most, thresholds = evaluation.params.maxDets[-1], len(evaluation.params.iouThrs)
    for k in range(len(evaluation.params.catIds)):
        first = k * sizes * count  # of a category the sizes one after the other, any size first
        found = [(i, one) for i, one in enumerate(evaluation.evalImgs[first : first + count]) if one is not None]
        labels = np.zeros(count, np.int64)
        for i, one in found:
            labels[i] = np.count_nonzero(np.asarray(one["gtIgnore"]) == 0)
        scores = np.concatenate([one["dtScores"][:most] for _, one in found]) if found else np.empty(0)
        best = np.argsort(-scores, kind="mergesort")
        images = np.concatenate([np.full(len(one["dtScores"][:most]), i) for i, one in found]) if found else best
        matched, ignored = (_side_by_side(found, key, most, thresholds)[:, best] for key in ("dtMatches", "dtIgnore"))
        hits, misses = matched & ~ignored, ~matched & ~ignored
        yield ClassMatches(images[best].astype(np.intp), hits, misses, labels, np.asarray(scores[best], np.float64))


def _side_by_side(found: Sequence[tuple[int, Any]], key: str, most: int, thresholds: int) -> NDArray[np.bool_]:
    parts = [np.asarray(one[key]).reshape(thresholds, -1)[:, :most] != 0 for _, one in found]
    return np.concatenate(parts, axis=1) if parts else np.zeros((thresholds, 0), bool)
