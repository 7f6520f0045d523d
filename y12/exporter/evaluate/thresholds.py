"""At which confidence a candidate keeps the precision, or the recall, that a reference has at a confidence.

A detection counts as kept at `conf` where its score is above it, as the runtime does. Both models' detections are
matched as COCO does at an IoU of 0.5: best score first, class by class, one label each; what falls on a crowd is
neither right nor wrong. Only boxes are looked at, also of masks and keypoints; of oriented boxes the upright ones.

    recall     The number of right detections falls in steps as `conf` rises. The reference's step, from the score of
               one right detection to that of the next, becomes the candidate's step of as many.
    precision  Precision goes up and down with `conf`. As in AP it is replaced by its envelope, the best precision at
               this or any lower `conf`, which never falls. The reference's step of the envelope becomes the
               candidate's step of the same precision, or the lowest `conf` that reaches it where none is equal.

Any `conf` within a step keeps the same detections, right ones or all; the place within the reference's step decides
which is taken. So a candidate that finds the same keeps its confidences, and one whose scores are all 0.8 times the
reference's gets 0.8 times its confidences.
"""

import contextlib
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from y12.exporter.data.dataset import GroundTruth
from y12.exporter.evaluate.coco import Result, prepared

__all__ = ["GRID", "ShiftPoint", "labels_from_results", "shift_points"]

GRID = tuple(i / 20 for i in range(1, 20))  # 0.05 to 0.95: linear between them is finer than the measurement
MIN_DETECTIONS = 20  # with fewer, one detection moves a precision by 5 % or more
MIN_DECIDING = 10  # of the right ones for recall, of the wrong ones for precision: known to a third (1 / sqrt(10))
_ALL = 1 << 30  # detections of a class in an image: the results' own limit has been applied already
_UNITS = 1000  # per 1: a threshold is not known better, and the table has to be small
_SLACK = 1e-6  # 0.29 * 1000 is a bit less than 290, and 0.55 * 1000 a bit more than 550


@dataclass(frozen=True)
class ShiftPoint:
    """One confidence of the reference.

    Attributes:
        conf: the confidence.
        precision, recall: what the reference has there, 0-1, the precision by its envelope; None where nothing is
            above `conf`, or there are no labels.
        keeps_precision, keeps_recall: the candidate's confidences that have them too; None where the candidate does
            not get there, or too few detections decide: `MIN_DETECTIONS` of either model, and `MIN_DECIDING` of the
            reference's wrong ones for precision, of its right ones for recall.
    """

    conf: float
    precision: float | None
    recall: float | None
    keeps_precision: float | None
    keeps_recall: float | None


def shift_points(
    truth: GroundTruth,
    reference: Sequence[Result],
    candidate: Sequence[Result],
    *,
    grid: Sequence[float] = GRID,
    floor: float = 0.0,
) -> tuple[ShiftPoint, ...]:
    """Return how two models compare at each confidence of `grid`.

    Args:
        truth: COCO's images, annotations and categories.
        reference: COCO's results of the reference, with bbox and score.
        candidate: those of the candidate, with the same options.
        grid: the confidences.
        floor: the confidence above which the results were taken: no less is known.
    """
    judged_reference, judged_candidate = _judged(truth, reference, floor), _judged(truth, candidate, floor)
    return _rising([_point(judged_reference, judged_candidate, conf) for conf in grid])


def labels_from_results(
    results: Sequence[Result], conf: float, images: Sequence[int], categories: Sequence[int]
) -> GroundTruth:
    """Return a model's own detections above `conf` as labels, where there are none.

    By them the model is never wrong above `conf` and misses nothing below it. So against such labels only a recall
    above `conf` and a precision below it say something, and other points are left out, but for a candidate that
    misses nothing either.

    Args:
        results: COCO's results, with bbox and score.
        conf: what to take for a label.
        images: the ids of all images, also of those in which nothing is found.
        categories: the ids of all categories.
    """
    boxes = [{key: r[key] for key in ("image_id", "category_id", "bbox")} for r in results if r["score"] > conf]
    return {
        "images": [{"id": i} for i in images],
        "categories": [{"id": i, "name": str(i)} for i in categories],
        "annotations": [{"id": number, **annotation} for number, annotation in enumerate(boxes, 1)],
    }


@dataclass(frozen=True)
class _Judged:
    """A model's detections that are right or wrong.

    Attributes:
        edges: (m + 1,) ascending: the floor, then the scores, each once. Step i is of a conf from edges[i] up to,
            and without, edges[i + 1].
        detections: (m,) how many detections are above a conf of step i.
        envelope: (m,) the best precision at this or any lower conf; never falls.
        right: (r,) the scores of the right ones, ascending.
        labels: how many there are to find.
        floor: the confidence above which detections are known.
    """

    edges: NDArray[np.float64]
    detections: NDArray[np.intp]
    envelope: NDArray[np.float64]
    right: NDArray[np.float64]
    labels: int
    floor: float

    def step(self, conf: float) -> int | None:
        """Return the step that `conf` is in; None where nothing is above it, or it is below what is known."""
        step = int(np.searchsorted(self.edges, conf, side="right")) - 1
        return step if 0 <= step < len(self.detections) else None


def _judged(truth: GroundTruth, results: Sequence[Result], floor: float) -> _Judged:
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints as it goes
        evaluation = prepared(truth, results, "bbox", by_size=False)
        evaluation.params.iouThrs = np.array([0.5])
        evaluation.params.maxDets = [_ALL]
        evaluation.evaluate()
    seen = [one for one in evaluation.evalImgs if one is not None]  # of each image and class
    scores = np.array([score for one in seen for score in one["dtScores"]], np.float64)
    right = np.concatenate([np.zeros(0, bool), *(one["dtMatches"][0] > 0 for one in seen)])
    counts = ~np.concatenate([np.zeros(0, bool), *(one["dtIgnore"][0].astype(bool) for one in seen)])
    labels = sum(int((np.asarray(one["gtIgnore"]) == 0).sum()) for one in seen)
    counts &= scores > floor
    return _judged_scores(scores[counts], right[counts], labels, floor)


def _judged_scores(scores: NDArray[np.float64], right: NDArray[np.bool_], labels: int, floor: float) -> _Judged:
    """Return the steps of scores (N,), of which `right` (N,) says whether each is right."""
    steps, step_of = np.unique(scores, return_inverse=True)  # (m,) ascending, (N,)
    detections = np.bincount(step_of, minlength=len(steps))[::-1].cumsum()[::-1]  # of this score or a higher one
    hits = np.bincount(step_of, weights=right, minlength=len(steps))[::-1].cumsum()[::-1]
    return _Judged(
        edges=np.concatenate([[floor], steps]),
        detections=detections,
        envelope=np.maximum.accumulate(hits / np.maximum(detections, 1)),
        right=np.sort(scores[right]),
        labels=labels,
        floor=floor,
    )


def _point(reference: _Judged, candidate: _Judged, conf: float) -> ShiftPoint:
    step = reference.step(conf)
    if step is None:
        return ShiftPoint(conf, None, None, None, None)
    hits = int((reference.right > conf).sum())
    detections = int(reference.detections[step])
    sure_of_wrong, sure_of_right = (
        detections >= MIN_DETECTIONS and n >= MIN_DECIDING for n in (detections - hits, hits)
    )
    return ShiftPoint(
        conf=conf,
        precision=float(reference.envelope[step]) if reference.labels else None,
        recall=hits / reference.labels if reference.labels else None,
        keeps_precision=_same_precision(reference, candidate, conf, step) if sure_of_wrong else None,
        keeps_recall=_same_recall(reference, candidate, conf, hits) if sure_of_right else None,
    )


def _rising(points: Sequence[ShiftPoint]) -> tuple[ShiftPoint, ...]:
    """Return points none of whose columns falls: of many equal scores two confs may land in one step out of order.

    Each is moved to the safe side: a lower conf finds no fewer, a higher one is no less precise.
    """
    lowest, highest = 1.0, 0.0
    recalls, precisions = [], []
    for point in reversed(points):
        lowest = lowest if point.keeps_recall is None else min(lowest, point.keeps_recall)
        recalls.append(None if point.keeps_recall is None else lowest)
    for point in points:
        highest = highest if point.keeps_precision is None else max(highest, point.keeps_precision)
        precisions.append(None if point.keeps_precision is None else highest)
    return tuple(
        replace(point, keeps_precision=precision, keeps_recall=recall)
        for point, precision, recall in zip(points, precisions, reversed(recalls), strict=True)
    )


def _same_recall(reference: _Judged, candidate: _Judged, conf: float, hits: int) -> float | None:
    """Return where the candidate has `hits` right detections too: within the highest step that has as many."""
    if hits > len(candidate.right):
        return None
    moved = _moved(conf, _step_below(reference, hits), _step_below(candidate, hits))
    return math.floor(moved * _UNITS + _SLACK) / _UNITS  # down: that finds no fewer


def _step_below(judged: _Judged, hits: int) -> tuple[float, float]:
    """Return the confs, from and up to, of the highest step with `hits` right detections or more."""
    top = judged.right[-hits]
    lower = judged.right[judged.right < top]
    return float(lower[-1]) if len(lower) else judged.floor, float(top)


def _same_precision(reference: _Judged, candidate: _Judged, conf: float, step: int) -> float | None:
    """Return where the candidate's envelope has the reference's precision, or gets above it."""
    precision = reference.envelope[step]
    if precision == 0:
        return None  # nothing is right: there is no precision to keep
    first = int(np.searchsorted(candidate.envelope, precision, side="left"))
    if first == len(candidate.envelope):
        return None  # never as precise
    if first == 0 and candidate.envelope[0] > precision:
        return None  # more precise wherever it is known: the same precision is below that
    moved = _moved(conf, _plateau(reference, precision), _plateau(candidate, precision))
    moved = math.ceil(moved * _UNITS - _SLACK) / _UNITS  # up: below it the precision may not be reached
    at = candidate.step(moved)
    return None if at is None or candidate.detections[at] < MIN_DETECTIONS else moved


def _plateau(judged: _Judged, precision: float) -> tuple[float, float]:
    """Return the confs, from and up to, at which the envelope is `precision`; the same twice where it is not."""
    first = np.searchsorted(judged.envelope, precision, side="left")
    behind = np.searchsorted(judged.envelope, precision, side="right")
    return float(judged.edges[first]), float(judged.edges[behind])


def _moved(conf: float, step: tuple[float, float], to_step: tuple[float, float]) -> float:
    """Return the place in a step that `conf` has in another."""
    (low, high), (to_low, to_high) = step, to_step
    return to_low + (conf - low) / (high - low) * (to_high - to_low)
