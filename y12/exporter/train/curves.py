"""The picture of a training run: accuracy, and each loss, against the steps."""

import math
from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from xml.etree import ElementTree as ET

from y12.exporter.report.svg import WIDTH, Scale, add, chart_of, file_of, legend
from y12.exporter.train.log import ACCURACY_FILE, STEPS_FILE, rows_of

__all__ = ["curves_svg"]

_COLOURS = ("int8", "fp16", "fp32", "limit-text", "other", "quiet")  # of `LOOKS`; filled marks, lines take their fill
_POINTS = 180  # along a curve: more than can be told apart
_HEIGHT = 215  # of each panel, with room below for the numbers of its axis

Curve = Sequence[tuple[float, float]]  # (step, value)


def curves_svg(folder: Path) -> str:
    """Return the text of an .svg of what a run's log in `folder` says so far.

    Losses are on a logarithmic axis, each value the mean of the steps around it.
    """
    accuracy = _columns(rows_of(folder / ACCURACY_FILE))
    losses = {name: _averaged(curve) for name, curve in _columns(rows_of(folder / STEPS_FILE)).items()}
    losses = {
        name: [(step, math.log10(value)) for step, value in curve if value > 0]
        for name, curve in losses.items()
        if name not in ("lr", "seconds")
    }
    chart = chart_of(2 * _HEIGHT + 10, "Accuracy and losses of a training run")
    last = max((step for curve in (*accuracy.values(), *losses.values()) for step, _ in curve), default=1.0)
    _panel(chart, accuracy, last, top=0, logarithmic=False)
    _panel(chart, losses, last, top=_HEIGHT, logarithmic=True)
    add(chart, "text", "quiet", "steps", x=WIDTH / 2, y=2 * _HEIGHT + 2, text_anchor="middle")
    return file_of(chart)


def _columns(rows: Sequence[Mapping[str, str]]) -> dict[str, Curve]:
    names = [name for name in (rows[0] if rows else ()) if name != "step"]
    return {name: [(float(row["step"]), float(row[name])) for row in rows] for name in names}


def _averaged(curve: Curve) -> Curve:
    """Return at most `_POINTS` means of neighbouring values."""
    size = -(-len(curve) // _POINTS) or 1
    groups = [curve[i : i + size] for i in range(0, len(curve), size)]
    return [(group[-1][0], sum(value for _, value in group) / len(group)) for group in groups]


def _panel(chart: ET.Element, curves: Mapping[str, Curve], last: float, top: float, logarithmic: bool) -> None:
    panel = add(chart, "g", transform=f"translate(0 {top:g})")
    values = [value for curve in curves.values() for _, value in curve]
    low, high = (min(values), max(values)) if values and logarithmic else (0.0, max([*values, 0.1]))
    x, y = Scale(0, last, 64, WIDTH - 24), Scale(low, high + (high - low) * 0.05 + 1e-9, _HEIGHT - 40, 30)
    for tick in y.ticks():
        add(panel, "line", "grid", x1=x.start, x2=x.end, y1=y(tick), y2=y(tick))
        shown = f"{10**tick:.3g}" if logarithmic else f"{tick:g}"
        add(panel, "text", "quiet", shown, x=x.start - 8, y=y(tick) + 4, text_anchor="end")
    for tick in x.ticks():
        add(panel, "line", "axis", x1=x(tick), x2=x(tick), y1=y.start, y2=y.start + 4)
        add(panel, "text", "quiet", f"{tick:g}", x=x(tick), y=y.start + 18, text_anchor="middle")
    looks = dict(zip(curves, cycle(_COLOURS), strict=False))
    for name, curve in curves.items():
        line = add(panel, "polyline", looks[name], points=" ".join(f"{x(s):.1f},{y(v):.1f}" for s, v in curve))
        line.attrib |= {"data-name": name, "stroke": line.attrib["fill"], "fill": "none", "stroke-width": "1.8"}
    legend(panel, {looks[name]: name for name in curves})
