"""The report's charts as SVG: text that is a picture by itself, and takes on a page's colours inside of one."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from exporter.report.words import drop, number, printable, share
from exporter.sensitivity.results import Budget, CurvePoint

__all__ = ["blocks_chart", "curve_chart", "curve_svg", "work_bar"]

_SVG = "http://www.w3.org/2000/svg"
_WIDTH = 720  # of a chart, in the units of its texts
# How each class looks in a picture of its own; a page's style has the last word over these attributes.
_TEXT = {"font-family": "system-ui, sans-serif", "font-size": "13", "fill": "#343a40"}
_LOOKS: Mapping[str, Mapping[str, str]] = {
    "paper": {"fill": "#ffffff"},
    "text": _TEXT,
    "quiet": _TEXT | {"fill": "#6c757d"},
    "grid": {"stroke": "#e4e7eb"},
    "axis": {"stroke": "#868e96"},
    "limit": {"stroke": "#c2410c", "stroke-width": "1.5", "stroke-dasharray": "6 4"},
    "limit-text": _TEXT | {"fill": "#c2410c"},
    "line": {"stroke": "#94a3b8", "stroke-width": "1.5", "fill": "none"},
    "point": {"fill": "#64748b"},
    "beyond": {"fill": "#ffffff", "stroke": "#64748b", "stroke-width": "1.5"},
    "chosen": {"fill": "#0f766e", "stroke": "#ffffff", "stroke-width": "2"},
    "int8": {"fill": "#0f766e"},
    "fp16": {"fill": "#d9962b"},
    "fp32": {"fill": "#7c6fb0"},
    "other": {"fill": "#9aa1a9"},
}


# The curve shows up to so many times what may be lost: an INT8 that loses everything would press the rest flat.
_SHOWN_TIMES, _LEAST_LIMIT = 8, 0.1


@dataclass(frozen=True)
class _Scale:
    """Where a value is drawn: `low` at the coordinate `start`, `high` at `end`."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Give about five round values between the ends."""
        rough = (self.high - self.low) / 5
        unit = 10.0 ** math.floor(math.log10(rough))
        step = next(unit * m for m in (1, 2, 2.5, 5, 10) if unit * m >= rough * 0.999)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [round(i * step, 12) for i in range(first, last + 1)]


def work_bar(shares: Mapping[str, float], label: str = "") -> str:
    """Give a bar divided by the precisions' shares of the work, 0 to 1.

    Args:
        shares: by precision, from left to right.
        label: what the bar shows; without one it is an ornament that readers of the page's text skip.
    """
    bar = ET.Element("svg", {"viewBox": "0 0 1000 16", "preserveAspectRatio": "none", "class": "bar"})
    if label:
        _name(bar, label)
    else:
        bar.set("aria-hidden", "true")
    left = 0.0
    for precision, part in shares.items():
        look = precision if precision in _LOOKS else "other"
        _add(bar, "rect", look, x=left, width=1000 * part, height=16, data_share=f"{part:.6f}")
        left += 1000 * part
    return _text_of(bar)


def blocks_chart(budget: Budget) -> str:
    """Give a bar for each block: the points lost where only this block is in INT8."""
    rows = [block for block in budget.blocks if math.isfinite(block.drop)]
    chart = _chart(66 + 22 * len(rows), "Points lost with one block alone in INT8")
    drops = [block.drop for block in rows]
    # Room for a name on the left and for words behind a bar on the right.
    x, bottom = _Scale(*_span(drops), 120, _WIDTH - 190), 30 + 22 * len(rows)
    for tick in x.ticks():
        _add(chart, "line", "grid", x1=x(tick), x2=x(tick), y1=26, y2=bottom)
        _add(chart, "text", "quiet", f"{tick:g}", x=x(tick), y=bottom + 17, text_anchor="middle")
    _add(chart, "text", "quiet", f"points of {budget.measure} lost", x=120, y=bottom + 33)
    _add(chart, "line", "axis", x1=x(0), x2=x(0), y1=26, y2=bottom)
    _legend(chart, {"int8": "in INT8 in the artefact", "fp16": "kept in FP16"})
    for i, block in enumerate(rows):
        top, kept = 30 + 22 * i, block.name in budget.chosen.kept
        left, right = sorted((x(0), x(block.drop)))
        bar = _add(chart, "rect", "fp16" if kept else "int8", x=left, y=top, width=max(right - left, 1), height=15)
        bar.attrib |= {"data-block": printable(block.name), "data-drop": f"{block.drop:.6f}"}
        _add(chart, "text", "text", _shortened(block.name), x=112, y=top + 12, text_anchor="end")
        words = f"{number(block.drop, 2)} for {share(block.work)} of the work"
        _add(chart, "text", "quiet", words, x=max(x(0), right) + 6, y=top + 12)
    return _text_of(chart)


def curve_chart(budget: Budget) -> str:
    """Give the curve of points lost against the work in INT8, as part of a page."""
    return _text_of(_curve(budget))


def curve_svg(budget: Budget) -> str:
    """Give the same curve as the text of an .svg file."""
    chart = _curve(budget)
    chart.set("xmlns", _SVG)
    paper = ET.Element("rect", {"class": "paper", "width": "100%", "height": "100%", **_LOOKS["paper"]})
    chart.insert(1, paper)  # behind everything, after the title
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{_text_of(chart)}\n'


def _curve(budget: Budget) -> ET.Element:
    measured = [*budget.curve, *([] if budget.chosen in budget.curve else [budget.chosen])]
    shown = sorted((p for p in measured if math.isfinite(p.drop)), key=lambda point: point.int8_work)
    chart = _chart(380, f"Points lost against the work in INT8; at most {budget.max_drop:g} were allowed")
    top = _SHOWN_TIMES * max(budget.max_drop, budget.chosen.drop, _LEAST_LIMIT)
    x = _Scale(0, 1, 64, _WIDTH - 24)
    y = _Scale(*_span([*(min(point.drop, top) for point in shown), budget.max_drop]), 326, 40)
    _axes(chart, x, y, budget.measure)
    limit = y(budget.max_drop)
    line = _add(chart, "line", "limit", x1=x.start, x2=x.end, y1=limit, y2=limit)
    line.set("data-max-drop", f"{budget.max_drop:.6f}")
    _add(chart, "text", "limit-text", f"allowed: {budget.max_drop:g}", x=x.start + 6, y=limit - 6)
    places = [(x(point.int8_work), y(min(point.drop, top))) for point in shown]
    _add(chart, "polyline", "line", points=" ".join(f"{left:.1f},{down:.1f}" for left, down in places))
    entries = {"chosen": f"chosen: {share(budget.chosen.int8_work)} of the work in INT8, {drop(budget.chosen.drop)}"}
    others = {"point": "others", "beyond": f"above, up to {number(max((p.drop for p in shown), default=None), 1)}"}
    # The chosen one is drawn last, on top.
    for point, place in sorted(zip(shown, places, strict=True), key=lambda both: both[0] == budget.chosen):
        look = "chosen" if point == budget.chosen else "beyond" if point.drop > top else "point"
        entries |= {look: others[look]} if look in others else {}
        _mark(chart, point, place, look)
    _legend(chart, entries)
    return chart


def _axes(chart: ET.Element, x: _Scale, y: _Scale, measure: str) -> None:
    for tick in y.ticks():
        _add(chart, "line", "grid", x1=x.start, x2=x.end, y1=y(tick), y2=y(tick))
        _add(chart, "text", "quiet", f"{tick:g}", x=x.start - 8, y=y(tick) + 4, text_anchor="end")
    for tick in x.ticks():
        _add(chart, "line", "axis", x1=x(tick), x2=x(tick), y1=y.start, y2=y.start + 5)
        _add(chart, "text", "quiet", f"{100 * tick:g} %", x=x(tick), y=y.start + 20, text_anchor="middle")
    _add(chart, "line", "axis", x1=x.start, x2=x.end, y1=y.start, y2=y.start)
    middle = (x.start + x.end) / 2
    _add(chart, "text", "quiet", "share of the work in INT8", x=middle, y=y.start + 42, text_anchor="middle")
    title = _add(chart, "text", "quiet", f"points of {measure} lost", x=0, y=0, text_anchor="middle")
    title.set("transform", f"translate(16 {(y.start + y.end) / 2:g}) rotate(-90)")


def _mark(chart: ET.Element, point: CurvePoint, xy: tuple[float, float], look: str) -> None:
    mark = _add(chart, "circle", look, cx=xy[0], cy=xy[1], r=7 if look == "chosen" else 4)
    mark.attrib |= {"data-work": f"{point.int8_work:.6f}", "data-drop": f"{point.drop:.6f}"}
    if look == "chosen":
        mark.set("data-chosen", "true")
    kept = f"blocks kept in FP16: {len(point.kept)}"
    _add(mark, "title", text=f"{share(point.int8_work)} of the work in INT8, {kept}; {drop(point.drop)}")


def _legend(chart: ET.Element, entries: Mapping[str, str]) -> None:
    """Say along the top what the colours mean."""
    left = 64.0
    for look, words in entries.items():
        _add(chart, "circle", look, cx=left, cy=12, r=6)
        _add(chart, "text", "text", words, x=left + 12, y=16.5)
        left += 40 + 6.6 * len(words)


def _span(values: Sequence[float]) -> tuple[float, float]:
    """Give the ends of an axis that shows all values and zero, with some air."""
    low, high = min(0.0, *values, 0.0), max(0.0, *values, 0.0)
    air = (high - low) * 0.08 or 1.0
    return low - air * (low < 0), high + air


def _chart(height: int, title: str) -> ET.Element:
    chart = ET.Element("svg", {"viewBox": f"0 0 {_WIDTH} {height}", "class": "chart"})
    chart.attrib |= {"width": str(_WIDTH), "height": str(height)}
    _name(chart, title)
    return chart


def _name(svg: ET.Element, title: str) -> None:
    svg.attrib |= {"role": "img", "aria-label": printable(title)}
    _add(svg, "title", text=title)


def _add(parent: ET.Element, tag: str, look: str = "", text: str = "", **attributes: float | str) -> ET.Element:
    named = {
        name.replace("_", "-"): value if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")
        for name, value in attributes.items()
    }
    element = ET.SubElement(parent, tag, {"class": look, **_LOOKS[look], **named} if look else named)
    element.text = printable(text) or None
    return element


def _shortened(name: str) -> str:
    return name if len(name) <= 16 else f"…{name[-15:]}"


def _text_of(svg: ET.Element) -> str:
    return ET.tostring(svg, encoding="unicode")
