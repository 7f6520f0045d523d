"""Numbers, settings and strangers' texts as the report, its page and its charts show them."""

import math

from y12.exporter.evaluate.results import CurvePoint
from y12.runtime.artefact.manifest import InputProfile, Manifest
from y12.runtime.artefact.nms_settings import NmsSettings
from y12.text import percent

__all__ = [
    "NOTHING",
    "allowed",
    "choice_in_words",
    "drop",
    "lost",
    "number",
    "points",
    "points_lost",
    "profile_in_words",
    "share",
]

NOTHING = "\u2013"  # a dash: what stands where there is no value
_MINUS = "\u2212"  # as wide as the plus


def number(value: float | None, digits: int = 0) -> str:
    """Return a number with so many digits after the point; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return NOTHING
    text = f"{value:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text.replace("-", _MINUS)


def share(value: float | None) -> str:
    """Return a share, 0 to 1, in percent."""
    return NOTHING if value is None or not math.isfinite(value) else percent(value)


def points(value: float | None) -> str:
    """Return a figure, 0 to 1, in points of a hundred."""
    return NOTHING if value is None else number(100 * value, 2)


def points_lost(value: float | None, reference: float | None) -> str:
    """Return by how many points a figure differs from the reference's, with its sign."""
    if value is None or reference is None:
        return NOTHING
    text = number(100 * (value - reference), 2)
    return text if text[0] in (_MINUS, NOTHING) or float(text) == 0 else f"+{text}"


def allowed(limit: float | None) -> str:
    """Return what stands behind a figure: the limit that it is held to; nothing where there is none."""
    return "" if limit is None else f" (allowed {limit:g})"


def drop(value: float) -> str:
    """Return what a division costs: points lost, or won."""
    shown = number(abs(value), 2)
    return f"{shown} points won" if value < 0 and shown != "0.00" else f"{shown} points lost"


def lost(point: CurvePoint) -> str:
    """Return what a division costs, with its interval."""
    return f"{drop(point.drop)} ({number(point.low, 2)} to {number(point.high, 2)})"


def choice_in_words(manifest: Manifest) -> str:
    """Return in one line how a graph chooses among its predictions; empty where it does not."""
    if manifest.output == "end2end":
        return "not needed: the best rows of each image are chosen in the graph"
    return "" if manifest.nms is None else _nms(manifest.nms)


def _nms(nms: NmsSettings) -> str:
    options = nms.options
    classes = "all classes" if options.classes is None else f"classes {', '.join(map(str, options.classes))}"
    return (
        f"{nms.form}, conf {options.conf:g}, iou {options.iou:g}, max_det {options.max_det} of the best "
        f"{nms.candidates} candidates, {classes}{', agnostic' * options.agnostic}"
    )


def profile_in_words(profile: InputProfile) -> str:
    """Return the input shapes as one line."""

    def axis(name: str) -> str:
        span = getattr(profile, name)
        return str(span.opt) if span.is_fixed else f"{span.min}..{span.opt}..{span.max}"

    return f"batch {axis('batch')}, {axis('height')}x{axis('width')} pixels"
