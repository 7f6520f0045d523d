"""Which of the raw predictions become objects: threshold, labels, the best candidates, NMS."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from y12.runtime.options import DetectOptions
from y12.runtime.postprocess.nms import nms, rotated_nms
from y12.runtime.postprocess.predictions import Predictions

MAX_CANDIDATES = 30_000  # the best-scored boxes that NMS sees


@dataclass(frozen=True)
class Picked:
    """The N objects of one image, best first, in pixels of the network's input.

    Attributes:
        boxes: (N, 4) x1 y1 x2 y2; or, of oriented boxes, (N, 5) centre, w, h, angle.
        scores: (N,).
        class_ids: (N,) integers.
        coefficients: (N, M), or M = 0.
        keypoints: (N, K*D), or K*D = 0.
        protos: (M, Hp, Wp); None where there are no masks.
        truncated: the NMS in the graph did not see all candidates.
        anchors: (N,), where in the predictions they are; None where NMS in the graph picked them.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    class_ids: NDArray[np.intp]
    coefficients: NDArray[np.float32]
    keypoints: NDArray[np.float32]
    protos: NDArray[np.float32] | None = None
    truncated: bool = False
    anchors: NDArray[np.intp] | None = None


def picked_from_predictions(predictions: Predictions, options: DetectOptions) -> Picked:
    """Return the objects: scored above `conf`, of the classes asked for, after NMS, `max_det` at most.

    Without `multi_label` a box has one label, its best class, and `classes` filters after that choice.
    """
    assert options.keep is None, "resolved by y12.runtime.tasks.resolved_options"
    scores, best = predictions.scores, predictions.best
    if predictions.peaks_of is not None:
        scores, best = peaks_only(scores, predictions.peaks_of, options.conf), None
    anchors, class_ids, scores = _candidates(scores, best, options)
    if options.classes is not None:
        wanted = np.isin(class_ids, options.classes)
        anchors, class_ids, scores = anchors[wanted], class_ids[wanted], scores[wanted]
    if len(anchors) > MAX_CANDIDATES:
        order = np.argsort(-scores, kind="stable")[:MAX_CANDIDATES]
        anchors, class_ids, scores = anchors[order], class_ids[order], scores[order]
    xywh, angles = predictions.xywh[:, anchors].T, predictions.angles[:, anchors].T  # (4, A) -> (N, 4)
    boxes = np.concatenate([xywh, angles], axis=1) if len(predictions.angles) else xyxy_from_xywh(xywh)
    suppress = nms if boxes.shape[1] == 4 else rotated_nms
    kept = suppress(boxes, scores, class_ids, options.iou, options.max_det, options.agnostic)
    rows = anchors[kept]
    return Picked(
        boxes=boxes[kept],
        scores=scores[kept],
        class_ids=class_ids[kept],
        coefficients=predictions.coefficients[:, rows].T,
        keypoints=predictions.keypoints[:, rows].T,
        protos=predictions.protos,
        anchors=rows,
    )


def peaks_only(
    scores: NDArray[np.float32], levels_hw: Sequence[tuple[int, int]], least: float = 0.0
) -> NDArray[np.float32]:
    """Keep of heatmaps the scores that are the largest of their 3x3 neighbours (CenterNet, arXiv 1904.07850, 4).

    Of equal neighbours all are kept; neighbours outside a level have no score.

    Args:
        scores: (nc, A), 0 or more: the levels one after the other, each row by row.
        levels_hw: height and width of each, in cells.
        least: a score up to this is not looked at.

    Returns:
        (nc, A), 0 where a score is no peak, or not above `least`.
    """
    flat = scores.ravel()
    at = np.flatnonzero(flat > least)
    point = at % scores.shape[1]
    heights, widths = np.array(levels_hw).T
    starts = np.cumsum(heights * widths) - heights * widths
    level = np.searchsorted(starts, point, side="right") - 1
    h, w = heights[level], widths[level]
    y, x = np.divmod(point - starts[level], w)
    is_peak = np.ones(len(at), np.bool_)
    for down, right in product((-1, 0, 1), repeat=2):
        inside = (y + down >= 0) & (y + down < h) & (x + right >= 0) & (x + right < w)
        is_peak &= flat[at] >= flat[at + (down * w + right) * inside]  # outside: itself
    kept = np.zeros_like(flat)
    kept[at[is_peak]] = flat[at[is_peak]]
    return kept.reshape(scores.shape)


def xyxy_from_xywh(xywh: NDArray[np.float32]) -> NDArray[np.float32]:
    """Turn (N, 4) centres and sizes into corners."""
    half = xywh[:, 2:] * np.float32(0.5)
    return np.concatenate([xywh[:, :2] - half, xywh[:, :2] + half], axis=1)


def _candidates(
    scores: NDArray[np.float32], best: NDArray[np.float32] | None, options: DetectOptions
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """Return the anchors, class ids and scores of what passes the threshold; scores are (nc, A), their best (A,)."""
    if options.multi_label:
        anchors, class_ids = np.nonzero((scores > options.conf).T)
        return anchors, class_ids, scores[class_ids, anchors]
    best_scores = scores.max(axis=0) if best is None else best  # (nc, A) -> (A,)
    anchors = np.flatnonzero(best_scores > options.conf)
    return anchors, scores[:, anchors].argmax(axis=0), best_scores[anchors]
