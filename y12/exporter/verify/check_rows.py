"""Prove that a graph's rows of objects are what the runtime picks of the raw predictions that they come from."""

import numpy as np
from numpy.typing import NDArray

from y12.errors import VerificationError
from y12.exporter.verify.compare import Ran
from y12.runtime.artefact.manifest import Manifest
from y12.runtime.artefact.output_layout import output_layout
from y12.runtime.postprocess.candidates import Picked, picked_from_predictions
from y12.runtime.postprocess.in_graph import picked_from_graph
from y12.runtime.postprocess.predictions import predictions_from

__all__ = ["check_rows"]

# Both sides compute in FP32, in another order, and boxes of random networks move by some hundredths of a pixel.
_SAME_PX, _SAME_SCORE, _SAME_COEFFICIENT = 0.1, 1e-3, 1e-2
_ON_A_THRESHOLD = 0.05  # share of boxes that an NMS written otherwise may keep or leave by rounding


def check_rows(raw: Ran, rows: Ran, manifest: Manifest) -> int:
    """Compare rows of objects with what is picked of raw predictions; return how many are the same.

    Of scores that are equal to the last row's, either may be that row: they are not compared. Another exporter's NMS
    may leave more out than a greedy one: then only what it gives is looked for.

    Args:
        raw: the outputs of a graph with raw predictions.
        rows: those of the same graph where it picks objects itself.
        manifest: of the latter.

    Raises:
        VerificationError: they differ.
    """
    layout, nms = output_layout(manifest), manifest.nms
    assert layout is not None
    assert nms is not None
    matched = lost = 0
    for predictions, outputs in zip(raw.outputs, rows.outputs, strict=True):
        expected = picked_from_predictions(predictions_from(predictions, layout, manifest.profile.opt_hw), nms.options)
        actual = picked_from_graph(outputs, layout, nms, nms.options)
        full = min(len(expected.scores), len(actual.scores)) >= nms.options.max_det
        least = max(expected.scores[-1], actual.scores[-1]) if full else 0.0
        wanted, found = (_table(picked)[picked.scores > least] for picked in (expected, actual))
        same = _same_rows(wanted, found)
        matched += same
        lost += (max(len(wanted), len(found)) if nms.is_end_to_end else len(found)) - same
    if lost > _ON_A_THRESHOLD * (matched + lost):
        raise VerificationError(
            f"the rows of {rows.description} are not what is picked of its raw predictions: {matched} of "
            f"{matched + lost} are the same"
        )
    return matched


def _table(picked: Picked) -> NDArray[np.float32]:
    """Return a row for each object, in which a difference of 1 is one that matters."""
    columns = [
        picked.boxes / _SAME_PX,
        picked.scores[:, None] / _SAME_SCORE,
        picked.class_ids[:, None] * 2,
        picked.coefficients / _SAME_COEFFICIENT,
        picked.keypoints / _SAME_PX,
    ]
    return np.concatenate(columns, axis=1).astype(np.float32)


def _same_rows(wanted: NDArray[np.float32], found: NDArray[np.float32]) -> int:
    """Return how many rows are in both tables, each counted once."""
    free = np.ones(len(found), np.bool_)
    for row in wanted:
        near = np.flatnonzero(free & (np.abs(found - row).max(axis=1, initial=0.0) < 1))
        free[near[:1]] = False
    return int((~free).sum())
