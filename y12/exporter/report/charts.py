"""The report's charts as SVG: text that is a picture by itself, and takes on a page's colours inside of one."""

import math
from collections.abc import Mapping
from xml.etree import ElementTree as ET

from y12.exporter.evaluate.results import Budget, CurvePoint
from y12.exporter.report.svg import LOOKS, WIDTH, Scale, add, chart_of, file_of, legend, name, span, text_of
from y12.exporter.report.words import lost, number, share
from y12.text import visible

__all__ = ["blocks_chart", "curve_chart", "curve_svg", "macs_bar"]

# The curve shows up to so many times what may be lost: an INT8 that loses everything would press the rest flat.
_SHOWN_TIMES, _LEAST_LIMIT = 8, 0.1


def macs_bar(shares: Mapping[str, float], label: str = "") -> str:
    """Return a bar divided by the precisions' shares of the MACs, 0 to 1.

    Args:
        shares: by precision, from left to right.
        label: what the bar shows; without one it is an ornament that readers of the page's text skip.
    """
    bar = ET.Element("svg", {"viewBox": "0 0 1000 16", "preserveAspectRatio": "none", "class": "bar"})
    if label:
        name(bar, label)
    else:
        bar.set("aria-hidden", "true")
    left = 0.0
    for precision, part in shares.items():
        look = precision if precision in LOOKS else "other"
        add(bar, "rect", look, x=left, width=1000 * part, height=16, data_share=f"{part:.6f}")
        left += 1000 * part
    return text_of(bar)


def blocks_chart(budget: Budget) -> str:
    """Return a bar for each block: how far FP32's objects move where only this block is in INT8."""
    rows = [block for block in budget.blocks if math.isfinite(block.drop)]
    chart = chart_of(66 + 22 * len(rows), "How far one block alone in INT8 moves FP32's objects")
    drops = [block.drop for block in rows]
    # Room for a name on the left and for words behind a bar on the right.
    x, bottom = Scale(*span(drops), 120, WIDTH - 190), 30 + 22 * len(rows)
    for tick in x.ticks():
        add(chart, "line", "grid", x1=x(tick), x2=x(tick), y1=26, y2=bottom)
        add(chart, "text", "quiet", f"{tick:g}", x=x(tick), y=bottom + 17, text_anchor="middle")
    add(chart, "text", "quiet", "points of overlap and confidence", x=120, y=bottom + 33)
    add(chart, "line", "axis", x1=x(0), x2=x(0), y1=26, y2=bottom)
    legend(chart, {"int8": "in INT8 in the artefact", "fp16": f"kept in {budget.remainder.upper()}"})
    for i, block in enumerate(rows):
        top, kept = 30 + 22 * i, block.name in budget.chosen.fp16_blocks
        left, right = sorted((x(0), x(block.drop)))
        bar = add(chart, "rect", "fp16" if kept else "int8", x=left, y=top, width=max(right - left, 1), height=15)
        bar.attrib |= {"data-block": visible(block.name), "data-drop": f"{block.drop:.6f}"}
        add(chart, "text", "text", _shortened(block.name), x=112, y=top + 12, text_anchor="end")
        words = f"{number(block.drop, 2)} for {share(block.macs)} of the MACs"
        add(chart, "text", "quiet", words, x=max(x(0), right) + 6, y=top + 12)
    return text_of(chart)


def curve_chart(budget: Budget) -> str:
    """Return the curve of points lost against the share of MACs in INT8, with 90 % intervals, as part of a page."""
    return text_of(_curve(budget))


def curve_svg(budget: Budget) -> str:
    """Return the same curve as the text of an .svg file."""
    return file_of(_curve(budget))


def _curve(budget: Budget) -> ET.Element:
    measured = [*budget.curve, *([] if budget.chosen in budget.curve else [budget.chosen])]
    shown = sorted((p for p in measured if math.isfinite(p.drop)), key=lambda point: point.int8_macs)
    chart = chart_of(380, f"Points lost against the share of MACs in INT8; at most {budget.max_drop:g} were allowed")
    top = _SHOWN_TIMES * max(budget.max_drop, budget.chosen.drop, _LEAST_LIMIT)
    x = Scale(0, 1, 64, WIDTH - 24)
    ends = (min(value, top) for point in shown for value in (point.drop, point.low, point.high))
    y = Scale(*span([*ends, budget.max_drop]), 326, 40)
    _axes(chart, x, y, budget.measure)
    limit = y(budget.max_drop)
    line = add(chart, "line", "limit", x1=x.start, x2=x.end, y1=limit, y2=limit)
    line.set("data-max-drop", f"{budget.max_drop:.6f}")
    add(chart, "text", "limit-text", f"allowed: {budget.max_drop:g}", x=x.start + 6, y=limit - 6)
    places = [(x(point.int8_macs), y(min(point.drop, top))) for point in shown]
    for point, (across, _) in zip(shown, places, strict=True):
        low, high = (y(min(value, top)) for value in (point.low, point.high))
        add(chart, "line", "interval", x1=across, x2=across, y1=low, y2=high)
    add(chart, "polyline", "line", points=" ".join(f"{left:.1f},{down:.1f}" for left, down in places))
    entries = {"chosen": f"chosen: {share(budget.chosen.int8_macs)} of the MACs in INT8, {lost(budget.chosen)}"}
    others = {"point": "others", "beyond": f"above, up to {number(max((p.drop for p in shown), default=None), 1)}"}
    # The chosen one is drawn last, on top.
    for point, place in sorted(zip(shown, places, strict=True), key=lambda both: both[0] == budget.chosen):
        look = "chosen" if point == budget.chosen else "beyond" if point.drop > top else "point"
        entries |= {look: others[look]} if look in others else {}
        _mark(chart, point, place, look, budget.remainder)
    legend(chart, entries)
    return chart


def _axes(chart: ET.Element, x: Scale, y: Scale, measure: str) -> None:
    for tick in y.ticks():
        add(chart, "line", "grid", x1=x.start, x2=x.end, y1=y(tick), y2=y(tick))
        add(chart, "text", "quiet", f"{tick:g}", x=x.start - 8, y=y(tick) + 4, text_anchor="end")
    for tick in x.ticks():
        add(chart, "line", "axis", x1=x(tick), x2=x(tick), y1=y.start, y2=y.start + 5)
        add(chart, "text", "quiet", f"{100 * tick:g} %", x=x(tick), y=y.start + 20, text_anchor="middle")
    add(chart, "line", "axis", x1=x.start, x2=x.end, y1=y.start, y2=y.start)
    middle = (x.start + x.end) / 2
    add(chart, "text", "quiet", "share of the MACs in INT8", x=middle, y=y.start + 42, text_anchor="middle")
    title = add(chart, "text", "quiet", f"points of {measure} lost", x=0, y=0, text_anchor="middle")
    title.set("transform", f"translate(16 {(y.start + y.end) / 2:g}) rotate(-90)")


def _mark(chart: ET.Element, point: CurvePoint, xy: tuple[float, float], look: str, remainder: str) -> None:
    mark = add(chart, "circle", look, cx=xy[0], cy=xy[1], r=7 if look == "chosen" else 4)
    mark.attrib |= {"data-macs": f"{point.int8_macs:.6f}", "data-drop": f"{point.drop:.6f}"}
    if look == "chosen":
        mark.set("data-chosen", "true")
    kept = f"blocks kept in {remainder.upper()}: {len(point.fp16_blocks)}"
    add(mark, "title", text=f"{share(point.int8_macs)} of the MACs in INT8, {kept}; {lost(point)}")


def _shortened(name: str) -> str:
    return name if len(name) <= 16 else f"…{name[-15:]}"
