"""Compare two networks by what they predict.

A detection of the reference (after NMS) is compared with what the candidate says, before its NMS, at the same anchor:
its box, its score of the reference's class, and its keypoints, mask and angle where there are any. Two boxes whose
overlap lies on the NMS threshold, or two classes whose scores are equal, may change places by rounding: that is no
difference of the networks, and does not count here; nor does it where either of two neighbours in a heatmap may be the
peak. The same is done the other way round for detections that only the candidate has. Of a classifier, the best classes
of each image are compared in the same way.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from y12.errors import VerificationError
from y12.exporter.verify.differences import Comparison, Shifts, comparison_from
from y12.exporter.verify.verify_images import TestImage
from y12.exporter.verify.verify_options import Tolerance, VerifyOptions
from y12.runtime.artefact.output_layout import OutputLayout
from y12.runtime.executor import Executor
from y12.runtime.options import DetectOptions
from y12.runtime.postprocess.candidates import picked_from_predictions, xyxy_from_xywh
from y12.runtime.postprocess.predictions import Outputs, Predictions, predictions_from

__all__ = ["Ran", "compare", "outputs_of", "row_ious"]

_MIN_IOU = 0.5  # boxes that overlap less are not the same detection
# A score on the threshold may fall below it by rounding: what is looked for may score this much less.
_SCORE_SLACK = 0.5
_TOP = 5  # of a classifier's classes
_SEEN = 0.5  # keypoints of less visibility are not compared


class Ran(NamedTuple):
    """What ran, and its outputs for each image, by name and without the batch axis."""

    description: str
    outputs: list[Outputs]


def outputs_of(executor: Executor, images: tuple[TestImage, ...], batch: int) -> list[Outputs]:
    """Return an executor's outputs for each image, run on batches of them.

    The last batch is filled up with images it already has.
    """
    outputs: list[Outputs] = []
    for start in range(0, len(images), batch):
        group = images[start : start + batch]
        filled = [group[i % len(group)].blob for i in range(batch)]
        together = executor.run(np.concatenate(filled))
        outputs += [{name: array[i] for name, array in together.items()} for i in range(len(group))]
    return outputs


def compare(
    reference: Ran,
    candidate: Ran,
    layout: OutputLayout | None,
    input_hw: tuple[int, int],
    tolerance: Tolerance,
    options: VerifyOptions,
) -> Comparison:
    """Compare what two executors made of the same images.

    Args:
        reference: what the candidate must equal.
        candidate: what is to be verified.
        layout: what the outputs hold; None of classifiers.
        input_hw: height and width of the networks' input, in pixels.
        tolerance: what is allowed.
        options: which detections are compared.

    Raises:
        VerificationError: the outputs differ in name or shape, or the reference itself is not finite.
    """
    shifts = Shifts()
    for expected, actual in zip(reference.outputs, candidate.outputs, strict=True):
        _check_shapes(expected, actual)
        if not all(np.isfinite(array).all() for array in expected.values()):
            raise VerificationError(f"{reference.description} itself gives NaN or infinity: the weights are not usable")
        shifts.non_finite += sum(int((~np.isfinite(array)).sum()) for array in actual.values())
        if not shifts.non_finite:
            _collect(expected, actual, layout, input_hw, (tolerance.conf, options.max_det), shifts)
    names = (reference.description, candidate.description)
    return comparison_from(shifts, names, len(reference.outputs), tolerance, options.min_matched)


def _check_shapes(expected: Outputs, actual: Outputs) -> None:
    shapes = [{name: array.shape for name, array in outputs.items()} for outputs in (expected, actual)]
    if shapes[0] != shapes[1]:
        raise VerificationError(f"expected outputs of the shapes {shapes[0]}, found {shapes[1]}")


def _collect(
    expected: Outputs,
    actual: Outputs,
    layout: OutputLayout | None,
    input_hw: tuple[int, int],
    limits: tuple[float, int],
    shifts: Shifts,
) -> None:
    """Add one image's shifts; the limits are the least score and the most detections to compare."""
    if layout is None:
        _collect_classes(expected["output0"], actual["output0"], shifts)
        return
    reference, candidate = (predictions_from(outputs, layout, input_hw) for outputs in (expected, actual))
    same = _same_detections(reference, candidate, input_hw, *limits)
    shifts.detections += len(same.anchors)
    shifts.above_threshold += int((same.scores > DetectOptions().conf).sum())
    shifts.lost += int((~same.matched).sum())
    shifts.new += int((~_same_detections(candidate, reference, input_hw, *limits).matched).sum())
    anchors, scores = same.anchors[same.matched], same.scores[same.matched]
    other_scores = candidate.scores[same.class_ids[same.matched], anchors]
    boxes, other_boxes = (_clipped_xyxy(p.xywh[:, anchors], input_hw) for p in (reference, candidate))
    shifts.add("box_px", np.abs(other_boxes - boxes).max(axis=1, initial=0.0))
    shifts.add("score", np.abs(other_scores - scores))
    shifts.add("logit", np.abs(_logit(other_scores) - _logit(scores)))
    if len(reference.angles):
        shifts.add("angle_deg", np.rad2deg(np.abs(candidate.angles - reference.angles)[0, anchors]))
    if len(reference.keypoints) and layout.kpt_shape is not None:
        shifts.add("keypoint_px", _keypoint_shifts(reference, candidate, anchors, layout.kpt_shape))
    if reference.protos is not None:
        inside = _inside(boxes, input_hw, reference.protos.shape[1:])
        reference_masks, candidate_masks = (_masks(p, anchors) & inside for p in (reference, candidate))
        shifts.add("mask", _mask_losses(reference_masks, candidate_masks))


class _Same(NamedTuple):
    """The detections of one network, (N,) each, and whether another has them too."""

    anchors: NDArray[np.intp]
    class_ids: NDArray[np.intp]
    scores: NDArray[np.float32]
    matched: NDArray[np.bool_]


def _same_detections(
    own: Predictions, other: Predictions, input_hw: tuple[int, int], conf: float, max_det: int
) -> _Same:
    """Return the detections of `own`, and which of them `other` has: boxes overlap, and the score is not lost.

    It is lost below half the threshold and half of what the detection's is.
    """
    picked = picked_from_predictions(own, DetectOptions(conf=conf, max_det=max_det))
    anchors = picked.anchors
    assert anchors is not None  # there is no NMS in these graphs
    boxes, other_boxes = (_clipped_xyxy(p.xywh[:, anchors], input_hw) for p in (own, other))
    other_scores = other.scores[picked.class_ids, anchors]
    least = _SCORE_SLACK * np.maximum(conf, picked.scores)
    matched = (row_ious(boxes, other_boxes) >= _MIN_IOU) & (other_scores >= least)
    return _Same(anchors, picked.class_ids, picked.scores, matched)


def _collect_classes(expected: NDArray[np.float32], actual: NDArray[np.float32], shifts: Shifts) -> None:
    """Compare the best classes of one image; expected and actual are probabilities (nc,)."""
    top = np.argsort(-expected, kind="stable")[:_TOP]
    shifts.detections += len(top)
    shifts.above_threshold += int((expected[top] > DetectOptions().conf).sum())
    known = actual[top] >= _SCORE_SLACK * expected[top]
    shifts.lost += int((~known).sum())
    other_top = np.argsort(-actual, kind="stable")[:_TOP]
    shifts.new += int((expected[other_top] < _SCORE_SLACK * actual[other_top]).sum())
    shifts.add("score", np.abs(actual - expected)[top[known]])
    shifts.add("logit", np.abs(_logit(actual) - _logit(expected))[top[known]])


def _keypoint_shifts(
    reference: Predictions, candidate: Predictions, anchors: NDArray[np.intp], kpt_shape: tuple[int, int]
) -> NDArray[np.float32]:
    """Return each detection's largest shift of a visible keypoint, (N,), in pixels."""
    points, others = (p.keypoints[:, anchors].T.reshape(-1, *kpt_shape) for p in (reference, candidate))  # (N, K, D)
    moved = np.abs(others[..., :2] - points[..., :2]).max(axis=2)
    seen = points[..., 2] >= _SEEN if kpt_shape[1] == 3 else np.ones(moved.shape, np.bool_)
    return np.asarray(np.where(seen, moved, 0).max(axis=1, initial=0.0), dtype=np.float32)


def _masks(predictions: Predictions, anchors: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Return masks (N, Hp, Wp) at the prototypes' resolution."""
    assert predictions.protos is not None
    return np.asarray(np.tensordot(predictions.coefficients[:, anchors], predictions.protos, (0, 0)) > 0)


def _inside(boxes: NDArray[np.float32], input_hw: tuple[int, int], proto_hw: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return which of the prototypes' pixels lie in each box (N, 4) of the input, (N, Hp, Wp)."""
    y, x = ((np.arange(n) + 0.5) * side / n for n, side in zip(proto_hw, input_hw, strict=True))
    left, top, right, bottom = boxes.T[..., None]  # (N, 1) each
    return np.asarray(((top <= y) & (y < bottom))[:, :, None] & ((left <= x) & (x < right))[:, None])


def _mask_losses(reference: NDArray[np.bool_], candidate: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return 1 - IoU of each pair of masks, (N,); 0 where both are empty."""
    union = (reference | candidate).sum(axis=(1, 2))
    return np.asarray((reference ^ candidate).sum(axis=(1, 2)) / np.maximum(union, 1))


def row_ious(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the intersection over union of each box of a, (N, 4), with the one of b in the same row."""
    sides = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    intersection = np.clip(sides, 0, None).prod(axis=1)
    union = (a[:, 2:] - a[:, :2]).prod(axis=1) + (b[:, 2:] - b[:, :2]).prod(axis=1) - intersection
    return np.asarray(intersection / np.maximum(union, 1e-9), dtype=np.float32)


def _clipped_xyxy(xywh: NDArray[np.float32], input_hw: tuple[int, int]) -> NDArray[np.float32]:
    """Return (4, N) centres and sizes as (N, 4) corners within the input."""
    height, width = input_hw
    return np.clip(xyxy_from_xywh(xywh.T), 0, np.array([width, height] * 2, np.float32))


def _logit(score: NDArray[np.float32]) -> NDArray[np.float64]:
    clipped = np.clip(score.astype(np.float64), 1e-6, 1 - 1e-6)
    return np.asarray(np.log(clipped / (1 - clipped)))
