"""Compare two networks by what they detect.

A detection of the reference (after NMS) is compared with what the candidate says, before its NMS, at the same anchor:
its box, and its score of the reference's class. Two boxes whose overlap lies on the NMS threshold, or two classes whose
scores are equal, may change places by rounding: that is no difference of the networks, and does not count here. The
same is done the other way round for detections that only the candidate has.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from exporter.errors import VerificationError
from exporter.verify.images import TestImage
from exporter.verify.options import Tolerance, VerifyOptions
from runtime.decode import detections_from_output, xyxy_from_xywh
from runtime.detections import Detections
from runtime.executor import Executor
from runtime.letterbox import Letterbox, boxes_to_original
from runtime.options import DetectOptions

__all__ = ["Comparison", "compare", "outputs_of"]

_MIN_IOU = 0.5  # boxes that overlap less are not the same detection
# A score on the threshold may fall below it by rounding: what is looked for may score this much less.
_SCORE_SLACK = 0.5


@dataclass(frozen=True)
class Comparison:
    """How one executor differs from another over all images.

    Attributes:
        reference, candidate: what ran.
        images: their number.
        detections: of the reference.
        above_threshold: those of them scored above 0.25, the usual threshold of use.
        matched: those that the candidate has too.
        lost, new: detections that only the reference, or only the candidate has.
        box_px: median, p95 and max shift of a matched box's sides, in pixels of the network's input.
        score: the same of the scores.
        logit: the same of the scores' logits.
        non_finite: NaN and infinite values in the candidate's outputs.
        verdict: "equal within tolerance", "different" or "inconclusive".
        failures: which limits were exceeded.
    """

    reference: str
    candidate: str
    images: int
    detections: int
    above_threshold: int
    matched: int
    lost: int
    new: int
    box_px: dict[str, float]
    score: dict[str, float]
    logit: dict[str, float]
    non_finite: int
    verdict: str
    failures: tuple[str, ...]


@dataclass
class _Shifts:
    """What is collected image by image."""

    box_px: list[float] = field(default_factory=list)
    score: list[float] = field(default_factory=list)
    logit: list[float] = field(default_factory=list)
    detections: int = 0
    above_threshold: int = 0
    lost: int = 0
    new: int = 0
    non_finite: int = 0


def outputs_of(executor: Executor, images: tuple[TestImage, ...], batch: int) -> list[NDArray[np.float32]]:
    """Run an executor on batches of the images and give its `output0`, (4+nc, A), for each image.

    The last batch is filled up with images it already has.
    """
    outputs: list[NDArray[np.float32]] = []
    for start in range(0, len(images), batch):
        group = images[start : start + batch]
        filled = [group[i % len(group)].blob for i in range(batch)]
        outputs += list(executor.run(np.concatenate(filled))["output0"][: len(group)])
    return outputs


def compare(
    reference: tuple[str, list[NDArray[np.float32]]],
    candidate: tuple[str, list[NDArray[np.float32]]],
    input_hw: tuple[int, int],
    tolerance: Tolerance,
    options: VerifyOptions,
) -> Comparison:
    """Compare what two executors made of the same images.

    Args:
        reference: its description and its outputs, (4+nc, A) an image.
        candidate: the same of what is to be verified.
        input_hw: the network's input, in pixels.
        tolerance: what is allowed.
        options: which detections are compared.

    Raises:
        VerificationError: the outputs differ in shape, or the reference itself is not finite.
    """
    shifts = _Shifts()
    for expected, found in zip(reference[1], candidate[1], strict=True):
        if expected.shape != found.shape:
            raise VerificationError(f"expected an output of shape {expected.shape}, found {found.shape}")
        if not np.isfinite(expected).all():
            raise VerificationError(f"{reference[0]} itself gives NaN or infinity: the weights are not usable")
        shifts.non_finite += int((~np.isfinite(found)).sum())
        if not shifts.non_finite:
            _collect(expected, found, input_hw, options, shifts)
    failures = _failures(shifts, tolerance)
    return Comparison(
        reference=reference[0],
        candidate=candidate[0],
        images=len(reference[1]),
        detections=shifts.detections,
        above_threshold=shifts.above_threshold,
        matched=len(shifts.box_px),
        lost=shifts.lost,
        new=shifts.new,
        box_px=_summary(shifts.box_px),
        score=_summary(shifts.score),
        logit=_summary(shifts.logit),
        non_finite=shifts.non_finite,
        verdict=_verdict(shifts, failures, options),
        failures=failures,
    )


def _collect(
    expected: NDArray[np.float32],
    found: NDArray[np.float32],
    input_hw: tuple[int, int],
    options: VerifyOptions,
    shifts: _Shifts,
) -> None:
    detections = _detections(expected, input_hw, options)
    shifts.detections += len(detections)
    shifts.above_threshold += int((detections.confidence > DetectOptions().conf).sum())
    boxes, scores, matched = _at_same_anchors(detections, expected, found, input_hw, options.conf)
    shifts.lost += int((~matched).sum())
    kept, boxes, scores = detections[matched], boxes[matched], scores[matched]
    shifts.box_px += np.abs(boxes - kept.xyxy).max(axis=1, initial=0.0).tolist()
    shifts.score += np.abs(scores - kept.confidence).tolist()
    shifts.logit += np.abs(_logit(scores) - _logit(kept.confidence)).tolist()
    *_, known = _at_same_anchors(_detections(found, input_hw, options), found, expected, input_hw, options.conf)
    shifts.new += int((~known).sum())


def _detections(output: NDArray[np.float32], input_hw: tuple[int, int], options: VerifyOptions) -> Detections:
    names = tuple(str(i) for i in range(len(output) - 4))
    frame = Letterbox.fit(input_hw, input_hw)
    return detections_from_output(output, frame, names, DetectOptions(conf=options.conf, max_det=options.max_det))


def _at_same_anchors(
    detections: Detections,
    own: NDArray[np.float32],
    other: NDArray[np.float32],
    input_hw: tuple[int, int],
    conf: float,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """Give what another output says where an output has its detections.

    Returns:
        The boxes (N, 4), the scores (N,) of the detections' classes, and whether that is the same detection: boxes
        overlap, and the score is at least half the threshold and half of what the detection's is.
    """
    anchors = _anchors_of(detections, own, input_hw)
    boxes, scores = _clipped_xyxy(other[:4, anchors], input_hw), other[4 + detections.class_id, anchors]
    least = _SCORE_SLACK * np.maximum(conf, detections.confidence)
    return boxes, scores, (_iou(detections.xyxy, boxes) >= _MIN_IOU) & (scores >= least)


def _anchors_of(detections: Detections, output: NDArray[np.float32], input_hw: tuple[int, int]) -> NDArray[np.intp]:
    """Find the anchor each detection was decoded from: of those with its very score, the one with its box."""
    distances = np.abs(_clipped_xyxy(output[:4], input_hw)[None] - detections.xyxy[:, None]).max(axis=2)  # (N, A)
    same_score = output[4 + detections.class_id] == detections.confidence[:, None]
    return np.asarray(np.where(same_score, distances, np.inf).argmin(axis=1), dtype=np.intp)


def _iou(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Give the intersection over union of each box of a, (N, 4), with the one of b in the same row."""
    sides = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    intersection = np.clip(sides, 0, None).prod(axis=1)
    union = (a[:, 2:] - a[:, :2]).prod(axis=1) + (b[:, 2:] - b[:, :2]).prod(axis=1) - intersection
    return np.asarray(intersection / np.maximum(union, 1e-9), dtype=np.float32)


def _clipped_xyxy(xywh: NDArray[np.float32], input_hw: tuple[int, int]) -> NDArray[np.float32]:
    """Turn (4, A) centres and sizes into (A, 4) corners within the input, as the runtime does."""
    return boxes_to_original(xyxy_from_xywh(xywh.T), Letterbox.fit(input_hw, input_hw))


def _logit(score: NDArray[np.float32]) -> NDArray[np.float64]:
    clipped = np.clip(score.astype(np.float64), 1e-6, 1 - 1e-6)
    return np.asarray(np.log(clipped / (1 - clipped)))


def _summary(values: list[float]) -> dict[str, float]:
    if not values:
        return {"median": 0.0, "p95": 0.0, "max": 0.0}
    return {"median": float(np.median(values)), "p95": float(np.percentile(values, 95)), "max": max(values)}


def _failures(shifts: _Shifts, tolerance: Tolerance) -> tuple[str, ...]:
    box, logit = _summary(shifts.box_px), _summary(shifts.logit)
    allowed = int(tolerance.max_lost * max(shifts.detections, 1))
    checks = (
        ("median box shift", box["median"], tolerance.median_box_px, " px"),
        ("p95 box shift", box["p95"], tolerance.p95_box_px, " px"),
        ("largest box shift", box["max"], tolerance.max_box_px, " px"),
        ("p95 score shift (logit)", logit["p95"], tolerance.p95_logit, ""),
        ("lost detections", shifts.lost, allowed, f" of {shifts.detections}"),
        ("new detections", shifts.new, allowed, ""),
        ("NaN or infinite values", shifts.non_finite, 0, ""),
    )
    return tuple(
        f"{what} {found:.4g}{unit}, allowed {limit:.4g}" for what, found, limit, unit in checks if found > limit
    )


def _verdict(shifts: _Shifts, failures: tuple[str, ...], options: VerifyOptions) -> str:
    if failures:
        return "different"
    return "inconclusive" if len(shifts.box_px) < options.min_matched else "equal within tolerance"
