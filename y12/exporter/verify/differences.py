"""What differs between two networks, collected image by image and judged against limits."""

from dataclasses import dataclass, field

import numpy as np

from y12.exporter.verify.verify_options import Tolerance

__all__ = ["Comparison", "Shifts", "comparison_from"]


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
    shifts: dict[str, dict[str, float]]
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
    failures = _failures(shifts, tolerance)
    matched = len(shifts.values["score"])
    verdict = "inconclusive" if matched < min_matched else "equal within tolerance"
    return Comparison(
        reference=names[0],
        candidate=names[1],
        images=images,
        detections=shifts.detections,
        above_threshold=shifts.above_threshold,
        matched=matched,
        lost=shifts.lost,
        new=shifts.new,
        shifts={name: _summary(values) for name, values in shifts.values.items() if values},
        non_finite=shifts.non_finite,
        verdict="different" if failures else verdict,
        failures=failures,
    )


def _summary(values: list[float]) -> dict[str, float]:
    return {"median": float(np.median(values)), "p95": float(np.percentile(values, 95)), "max": max(values)}


def _failures(shifts: Shifts, tolerance: Tolerance) -> tuple[str, ...]:
    measured = {
        f"{statistic} {name}": value
        for name, values in shifts.values.items()
        if values
        for statistic, value in _summary(values).items()
    }
    allowed = int(tolerance.max_lost * max(shifts.detections, 1))
    checks = [(what, measured[what], limit, "") for what, limit in tolerance.shifts.items() if what in measured]
    checks += [
        ("lost detections", shifts.lost, allowed, f" of {shifts.detections}"),
        ("new detections", shifts.new, allowed, ""),
        ("NaN or infinite values", shifts.non_finite, 0, ""),
    ]
    return tuple(
        f"{what} {value:.4g}{unit}, allowed {limit:.4g}" for what, value, limit, unit in checks if value > limit
    )
