"""What an export was found to be, in one line that says no more than was measured."""

from collections.abc import Sequence

from y12.exporter.verify.differences import Comparison
from y12.exporter.verify.verify_options import EQUAL
from y12.runtime.options import DetectOptions

__all__ = ["EXECUTED", "NO_OBJECT", "headline"]

EXECUTED = "executed"  # what is said of an engine that was run begins so
NO_OBJECT = "no real object was seen"
# The shifts that a headline tells of, the most telling first, with their digits.
_TOLD = {"box_px": ("boxes", " px", 1), "logit": ("logits of the scores", "", 2), "score": ("scores", "", 4)}


def headline(comparisons: Sequence[Comparison], engine_executed: str, model: str) -> str:
    """Return the verdict on an export, none of whose comparisons is "different".

    Where limits are wide enough to lose detections within, it tells what was lost; where the images showed nothing that
    the model knows, and where the engine was not run, it says so.

    Args:
        comparisons: with the model.
        engine_executed: whether the engine was run, and if not, why; empty where there is none.
        model: what the artefact must equal, in words.
    """
    unsure = [c for c in comparisons if c.verdict == "inconclusive"]
    loose = [c for c in comparisons if c.verdict != EQUAL]
    if unsure:
        found = f"inconclusive: only {unsure[0].matched} matched detections"
    elif loose:
        found = f"verified: within its limits of {model}: {'; '.join(map(_losses, loose))}"
    else:
        found = f"verified: equal to {model} within tolerance ({', '.join(c.candidate for c in comparisons)})"
    return "; ".join([found, *_remarks(comparisons, engine_executed)])


def _losses(c: Comparison) -> str:
    parts = [
        f"{c.lost} of {c.detections} detections lost (allowed {c.max_lost})",
        f"{c.new} new (allowed {c.max_lost})",
    ]
    name = next((name for name in _TOLD if name in c.shifts), None)
    if name is not None:
        words, unit, digits = _TOLD[name]
        limit = c.limits[name].get("p95")
        allowed = "" if limit is None else f" (allowed {limit:g})"
        parts.append(f"{words} moved by {c.shifts[name]['p95']:.{digits}f}{unit} at p95{allowed}")
    return f"{', '.join(parts)}, {c.candidate}"


def _remarks(comparisons: Sequence[Comparison], engine_executed: str) -> list[str]:
    remarks = []
    seen = max((c.above_threshold for c in comparisons), default=0)
    if comparisons and not seen:
        most = max(c.detections for c in comparisons)
        remarks.append(
            f"{NO_OBJECT} (0 of {most} detections above {DetectOptions().conf:g}): give --images that show some"
        )
    if engine_executed and not engine_executed.startswith(EXECUTED):
        remarks.append(f"the engine was {engine_executed}")
    return remarks
