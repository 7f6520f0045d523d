"""What differs between two networks, collected image by image and judged against limits."""

from dataclasses import dataclass, field

import numpy as np

from y12.exporter.verify.verify_options import Tolerance

__all__ = ["Comparison", "Shifts", "comparison_from"]

Summaries = dict[str, dict[str, float]]  # by what is compared, then by statistic


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
        shifts: of the matched ones, if any, median, p95 and max, by what is compared: "box_px", the largest shift of
            a box's sides in pixels of the network's input; "score"; "logit" of the score; and where the task has
            them "keypoint_px", "mask" (1 - IoU) and "angle_deg".
        limits: of the shifts, by the same names; a figure without one is told, and not judged.
        max_lost: how many detections may be lost, and how many new.
        non_finite: NaN and infinite values in the candidate's outputs.
        verdict: "equal within tolerance", "within its limits" (of wider ones), "different" or "inconclusive".
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
    shifts: Summaries
    limits: Summaries
    max_lost: int
    non_finite: int
    verdict: str
    failures: tuple[str, ...]


@dataclass
class Shifts:
    """What is collected; `values` as `Comparison.shifts` names them, one of each for every matched detection."""

    values: dict[str, list[float]] = field(default_factory=lambda: {"box_px": [], "score": [], "logit": []})
    detections: int = 0
    above_threshold: int = 0
    lost: int = 0
    new: int = 0
    non_finite: int = 0

    def add(self, name: str, values: np.ndarray) -> None:
        """Add the shifts (N,) of one image."""
        self.values.setdefault(name, []).extend(np.asarray(values, np.float64).tolist())


def comparison_from(
    shifts: Shifts, names: tuple[str, str], images: int, tolerance: Tolerance, min_matched: int
) -> Comparison:
    """Return what was collected, judged against limits.

    Args:
        shifts: of all images.
        names: of the reference and the candidate.
        images: their number.
        tolerance: what is allowed.
        min_matched: with fewer matched detections the verdict is "inconclusive".
    """
    summaries = {name: _summary(values) for name, values in shifts.values.items() if values}
    limits = _limits(tolerance, summaries)
    max_lost = int(tolerance.max_lost * max(shifts.detections, 1))
    failures = _failures(shifts, summaries, limits, max_lost)
    matched = len(shifts.values["score"])
    verdict = "inconclusive" if matched < min_matched else tolerance.verdict
    return Comparison(
        reference=names[0],
        candidate=names[1],
        images=images,
        detections=shifts.detections,
        above_threshold=shifts.above_threshold,
        matched=matched,
        lost=shifts.lost,
        new=shifts.new,
        shifts=summaries,
        limits=limits,
        max_lost=max_lost,
        non_finite=shifts.non_finite,
        verdict="different" if failures else verdict,
        failures=failures,
    )


def _summary(values: list[float]) -> dict[str, float]:
    return {"median": float(np.median(values)), "p95": float(np.percentile(values, 95)), "max": max(values)}


def _limits(tolerance: Tolerance, summaries: Summaries) -> Summaries:
    """Return the limits of what was measured, in the form of what was measured."""
    return {
        name: {s: tolerance.shifts[f"{s} {name}"] for s in summary if f"{s} {name}" in tolerance.shifts}
        for name, summary in summaries.items()
    }


def _failures(shifts: Shifts, summaries: Summaries, limits: Summaries, max_lost: int) -> tuple[str, ...]:
    checks = [
        (f"{statistic} {name}", summaries[name][statistic], limit, "")
        for name, own in limits.items()
        for statistic, limit in own.items()
    ]
    checks += [
        ("lost detections", shifts.lost, max_lost, f" of {shifts.detections}"),
        ("new detections", shifts.new, max_lost, ""),
        ("NaN or infinite values", shifts.non_finite, 0, ""),
    ]
    return tuple(
        f"{what} {value:.4g}{unit}, allowed {limit:.4g}" for what, value, limit, unit in checks if value > limit
    )
