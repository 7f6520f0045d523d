"""Prove the NMS in a graph: it must leave what the runtime's own NMS leaves of the raw predictions."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from y12.errors import VerificationError
from y12.exporter.verify.compare import Ran, row_ious
from y12.exporter.verify.differences import Comparison, Shifts, comparison_from
from y12.exporter.verify.verify_options import Tolerance, VerifyOptions
from y12.runtime.artefact.manifest import Manifest
from y12.runtime.artefact.output_layout import output_layout
from y12.runtime.options import DetectOptions
from y12.runtime.postprocess.candidates import peaks_only
from y12.runtime.postprocess.predictions import Outputs, predictions_from
from y12.runtime.preprocess.letterbox import Letterbox
from y12.runtime.results.detections import Detections
from y12.runtime.tasks import task_for

__all__ = ["check_nms", "compare_after_nms", "matched_pairs"]

_MIN_IOU = 0.5  # boxes that overlap less are not the same detection
# Two detections of one threshold's two sides: what NMS keeps hangs on them, and rounding decides.
_ON_A_THRESHOLD = 0.05
_SAME_PX, _SAME = 1e-2, 1e-5  # both sides compute in FP32, corners from centres in another order


def check_nms(raw: list[Outputs], after_nms: list[Outputs], manifest: Manifest) -> int:
    """Compare a graph's NMS with the runtime's on the same raw predictions; return the number of detections.

    Args:
        raw: the outputs of the graph without NMS, for each image.
        after_nms: those of the graph with it.
        manifest: of the graph with NMS.

    Raises:
        VerificationError: they differ.
    """
    decoder, count = _Decoder(manifest), 0
    for i, (predictions, outputs) in enumerate(zip(raw, after_nms, strict=True)):
        in_graph = decoder.after_nms(outputs)
        expected = decoder.before_nms(predictions, in_graph.truncated)
        count += len(expected)
        if len(in_graph) != len(expected) or (in_graph.class_id != expected.class_id).any():
            raise VerificationError(
                f"the NMS in the graph differs from y12's: expected {len(expected)} detections on image {i}, "
                f"found {len(in_graph)}, or of other classes"
            )
        for name, limit in (("xyxy", _SAME_PX), ("xywhr", _SAME_PX), ("keypoints", _SAME_PX), ("confidence", _SAME)):
            values, graph_values = getattr(expected, name), getattr(in_graph, name)
            if values is not None and np.abs(values - graph_values).max(initial=0.0) > limit:
                raise VerificationError(f"the NMS in the graph differs from y12's in {name} on image {i}")
        if expected.mask is not None and in_graph.mask is not None and (expected.mask != in_graph.mask).mean() > _SAME:
            raise VerificationError(f"the NMS in the graph differs from y12's in its masks on image {i}")
    return count


def compare_after_nms(
    reference: Ran, candidate: Ran, manifest: Manifest, tolerance: Tolerance, options: VerifyOptions
) -> Comparison:
    """Compare the raw predictions of a model, after the runtime's NMS, with those of an engine that ends in NMS.

    Detections are matched by class and overlap, best first. As two boxes on the NMS threshold may change places, a
    share of 5 % of them may be lost or new.
    """
    decoder, shifts = _Decoder(manifest), Shifts()
    for expected, actual in zip(reference.outputs, candidate.outputs, strict=True):
        shifts.non_finite += sum(int((~np.isfinite(array)).sum()) for array in actual.values())
        if not shifts.non_finite:
            in_graph = decoder.after_nms(actual)
            _collect(decoder.before_nms(expected, in_graph.truncated), in_graph, shifts)
    names = (reference.description, candidate.description)
    loose = replace(tolerance, max_lost=max(tolerance.max_lost, _ON_A_THRESHOLD))
    return comparison_from(shifts, names, len(reference.outputs), loose, options.min_matched)


def _collect(expected: Detections, actual: Detections, shifts: Shifts) -> None:
    pairs = matched_pairs(expected, actual)
    reference, candidate = expected[[i for i, _ in pairs]], actual[[j for _, j in pairs]]
    shifts.detections += len(expected)
    shifts.above_threshold += int((expected.confidence > DetectOptions().conf).sum())
    shifts.lost += len(expected) - len(pairs)
    shifts.new += len(actual) - len(pairs)
    shifts.add("box_px", np.abs(candidate.xyxy - reference.xyxy).max(axis=1, initial=0.0))
    shifts.add("score", np.abs(candidate.confidence - reference.confidence))


def matched_pairs(expected: Detections, actual: Detections) -> list[tuple[int, int]]:
    """Return pairs of detections, matched one to one by class and the largest overlap."""
    every_pair = np.repeat(expected.xyxy, len(actual), axis=0), np.tile(actual.xyxy, (len(expected), 1))
    overlaps = row_ious(*every_pair).reshape(len(expected), len(actual))
    overlaps[expected.class_id[:, None] != actual.class_id] = 0
    pairs = []
    for i in range(len(expected)):
        j = int(overlaps[i].argmax()) if len(actual) else 0
        if len(actual) and overlaps[i, j] >= _MIN_IOU:
            pairs.append((i, j))
            overlaps[:, j] = 0
    return pairs


class _Decoder:
    """Decodes the outputs of a graph with NMS, and those of the same graph without it, in pixels of the input."""

    def __init__(self, manifest: Manifest) -> None:
        layout, settings = output_layout(manifest), manifest.nms
        assert layout is not None
        assert settings is not None
        self._layout, self._settings = layout, settings
        self._frame = Letterbox.fit(manifest.profile.opt_hw, manifest.profile.opt_hw)
        self._raw, self._final = task_for(manifest.of_predictions), task_for(manifest)

    def after_nms(self, outputs: Outputs) -> Detections:
        """Decode what the NMS in the graph left."""
        return self._final.decode(outputs, self._frame, self._settings.options)

    def before_nms(self, outputs: Outputs, truncated: bool) -> Detections:
        """Decode raw outputs with the thresholds of the NMS in the graph, and only as many candidates as it sees."""
        options = self._settings.options
        if truncated:
            options = replace(options, conf=self._score_after(outputs))
        return self._raw.decode(outputs, self._frame, options)

    def _score_after(self, outputs: Outputs) -> float:
        """Return the score of the best anchor that is no longer a candidate."""
        predictions = predictions_from(outputs, self._layout, self._frame.input_hw)
        scores, classes = predictions.scores, self._settings.options.classes
        if predictions.peaks_of is not None:
            scores = peaks_only(scores, predictions.peaks_of)
        best: NDArray[np.float32] = scores.max(axis=0)
        if classes is not None:
            best = np.where(np.isin(scores.argmax(axis=0), classes), best, 0)
        return float(np.sort(best)[::-1][self._settings.candidates])
