"""Prove the choice of the best rows in a graph: what it gives must be the largest scores of the same predictions."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from y12.errors import VerificationError
from y12.exporter.verify.check_nms import matched_pairs
from y12.exporter.verify.compare import Ran
from y12.exporter.verify.differences import Comparison, Shifts, comparison_from
from y12.exporter.verify.verify_options import Tolerance, VerifyOptions
from y12.runtime.artefact.manifest import Manifest
from y12.runtime.artefact.output_layout import output_layout
from y12.runtime.options import DetectOptions
from y12.runtime.postprocess.candidates import xyxy_from_xywh
from y12.runtime.postprocess.predictions import Outputs, predictions_from
from y12.runtime.results.detections import Detections

__all__ = ["check_best_rows", "compare_best_rows"]

_SAME_PX, _SAME = 1e-2, 1e-5  # both sides have the same predictions, corners are computed in another order
_ON_THE_EDGE = 0.05  # rows of one score's two sides: which of them are the last is decided by rounding

Rows = NDArray[np.float32]  # (R, 6 + extras): x1 y1 x2 y2 score class ...; oriented x y width height score class angle


def check_best_rows(raw: list[Outputs], chosen: list[Outputs], manifest: Manifest) -> int:
    """Compare the rows that a graph chooses with the predictions it has them from; return their number.

    The scores must be the R largest ones, best first, and every row another anchor's, or another class' of it. Which of
    several equal scores comes first, or last of all, is left open.

    Args:
        raw: the outputs of the graph before the choice, for each image.
        chosen: those of the graph with it.
        manifest: of the graph.

    Raises:
        VerificationError: they differ.
    """
    for i, (predictions, outputs) in enumerate(zip(raw, chosen, strict=True)):
        rows = outputs["output0"]
        problem = _problem(_best(predictions, manifest, len(rows), slack=_SAME), rows)
        if problem:
            raise VerificationError(f"the best rows that the graph chooses on image {i} are not those: {problem}")
    return sum(len(outputs["output0"]) for outputs in chosen)


def _best(outputs: Outputs, manifest: Manifest, count: int, slack: float = 0.0) -> Rows:
    """Return the `count` best rows of raw outputs, best first, and all that score up to `slack` less than the last."""
    layout = output_layout(manifest.of_predictions)
    assert layout is not None
    parts = predictions_from(outputs, layout, manifest.profile.opt_hw)
    scores = parts.scores.ravel()  # (nc, A)
    least = np.partition(scores, len(scores) - count)[len(scores) - count] - slack
    places = np.flatnonzero(scores >= least)
    places = places[np.argsort(-scores[places], kind="stable")]
    classes, anchors = np.divmod(places, parts.scores.shape[1])
    boxes = parts.xywh[:, anchors].T
    boxes = boxes if layout.is_oriented else xyxy_from_xywh(boxes)
    added = (part[:, anchors].T for part in (parts.coefficients, parts.keypoints, parts.angles))
    return np.concatenate((boxes, scores[places, None], classes[:, None].astype(np.float32), *added), 1)


def _problem(best: Rows, rows: Rows) -> str:
    """Return what is wrong with rows, given the best and those that score as much as the last; empty if nothing is."""
    if np.abs(rows[:, 4] - best[: len(rows), 4]).max(initial=0.0) > _SAME:
        return "expected the largest scores, best first, found others"
    free = np.ones(len(best), np.bool_)
    for place, row in enumerate(rows):
        apart = np.abs(best - row)
        same = (apart[:, :4].max(1) <= _SAME_PX) & (apart[:, 4:6].max(1) <= _SAME)
        same &= apart[:, 6:].max(1, initial=0.0) <= _SAME_PX
        found = np.flatnonzero(same & free)
        if not len(found):
            return f"row {place} is no prediction's, or one that was there before"
        free[found[0]] = False
    return ""


def compare_best_rows(
    reference: Ran, candidate: Ran, manifest: Manifest, tolerance: Tolerance, options: VerifyOptions
) -> Comparison:
    """Compare the predictions of a model with the rows that an engine chooses of its own.

    The best rows of each, `options.max_det` of them, are matched by class and overlap with all of the other's. As the
    last rows may be others by rounding, a share of 5 % may be lost or new.
    """
    shifts = Shifts()
    for predictions, outputs in zip(reference.outputs, candidate.outputs, strict=True):
        shifts.non_finite += sum(int((~np.isfinite(array)).sum()) for array in outputs.values())
        if shifts.non_finite:
            continue
        rows = outputs["output0"]
        expected = _detections(_best(predictions, manifest, len(rows))[: len(rows)], manifest)
        actual = _detections(rows, manifest)
        few = slice(options.max_det)
        pairs = matched_pairs(expected[few], actual)
        shifts.detections += len(expected[few])
        shifts.above_threshold += int((expected[few].confidence > DetectOptions().conf).sum())
        shifts.lost += len(expected[few]) - len(pairs)
        shifts.new += len(actual[few]) - len(matched_pairs(actual[few], expected))
        ours, theirs = actual[[j for _, j in pairs]], expected[[i for i, _ in pairs]]
        shifts.add("box_px", np.abs(ours.xyxy - theirs.xyxy).max(axis=1, initial=0.0))
        shifts.add("score", np.abs(ours.confidence - theirs.confidence))
    names = (reference.description, candidate.description)
    loose = replace(tolerance, max_lost=max(tolerance.max_lost, _ON_THE_EDGE))
    return comparison_from(shifts, names, len(reference.outputs), loose, options.min_matched)


def _detections(rows: Rows, manifest: Manifest) -> Detections:
    boxes = xyxy_from_xywh(rows[:, :4]) if manifest.task == "obb" else rows[:, :4]
    return Detections(boxes, rows[:, 4], rows[:, 5].astype(np.intp), manifest.names, manifest.profile.opt_hw)
