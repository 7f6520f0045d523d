"""SVG pictures: a scale, its ticks, and marks that look the same in a file of their own as on a page."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from y12.text import visible

__all__ = ["LOOKS", "WIDTH", "Scale", "add", "chart_of", "file_of", "legend", "name", "span", "text_of"]

_SVG = "http://www.w3.org/2000/svg"
WIDTH = 720  # of a chart, in the units of its texts
# How each class looks in a picture of its own; a page's style has the last word over these attributes.
_TEXT = {"font-family": "system-ui, sans-serif", "font-size": "13", "fill": "#343a40"}
LOOKS: Mapping[str, Mapping[str, str]] = {
    "paper": {"fill": "#ffffff"},
    "text": _TEXT,
    "quiet": _TEXT | {"fill": "#6c757d"},
    "grid": {"stroke": "#e4e7eb"},
    "axis": {"stroke": "#868e96"},
    "limit": {"stroke": "#c2410c", "stroke-width": "1.5", "stroke-dasharray": "6 4"},
    "limit-text": _TEXT | {"fill": "#c2410c"},
    "line": {"stroke": "#94a3b8", "stroke-width": "1.5", "fill": "none"},
    "interval": {"stroke": "#94a3b8", "stroke-width": "3", "stroke-opacity": "0.6"},
    "point": {"fill": "#64748b"},
    "beyond": {"fill": "#ffffff", "stroke": "#64748b", "stroke-width": "1.5"},
    "chosen": {"fill": "#0f766e", "stroke": "#ffffff", "stroke-width": "2"},
    "int8": {"fill": "#0f766e"},
    "fp16": {"fill": "#d9962b"},
    "fp32": {"fill": "#7c6fb0"},
    "other": {"fill": "#9aa1a9"},
}


@dataclass(frozen=True)
class Scale:
    """Where a value is drawn: `low` at the coordinate `start`, `high` at `end`."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return the coordinate of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Return about five round values between the ends."""
        rough = (self.high - self.low) / 5
        unit = 10.0 ** math.floor(math.log10(rough))
        step = next(unit * m for m in (1, 2, 2.5, 5, 10) if unit * m >= rough * 0.999)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [round(i * step, 12) for i in range(first, last + 1)]


def chart_of(height: int, title: str) -> ET.Element:
    """Begin a chart, `WIDTH` wide; the title is what those hear who cannot see it."""
    chart = ET.Element("svg", {"viewBox": f"0 0 {WIDTH} {height}", "class": "chart"})
    chart.attrib |= {"width": str(WIDTH), "height": str(height)}
    name(chart, title)
    return chart


def name(svg: ET.Element, title: str) -> None:
    """Return what a picture shows."""
    svg.attrib |= {"role": "img", "aria-label": visible(title)}
    add(svg, "title", text=title)


def add(parent: ET.Element, tag: str, look: str = "", text: str = "", **attributes: float | str) -> ET.Element:
    """Add an element that looks like one of `LOOKS`; in the attributes' names "_" stands for "-"."""
    named = {
        name.replace("_", "-"): value if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")
        for name, value in attributes.items()
    }
    element = ET.SubElement(parent, tag, {"class": look, **LOOKS[look], **named} if look else named)
    element.text = visible(text) or None
    return element


def legend(chart: ET.Element, entries: Mapping[str, str]) -> None:
    """Say along the top what the colours mean."""
    left = 64.0
    for look, words in entries.items():
        add(chart, "circle", look, cx=left, cy=12, r=6)
        add(chart, "text", "text", words, x=left + 12, y=16.5)
        left += 40 + 6.6 * len(words)


def span(values: Sequence[float]) -> tuple[float, float]:
    """Return the ends of an axis that shows all values and zero, with some air."""
    low, high = min(0.0, *values, 0.0), max(0.0, *values, 0.0)
    air = (high - low) * 0.08 or 1.0
    return low - air * (low < 0), high + air


def text_of(svg: ET.Element) -> str:
    """Return a picture as part of a page."""
    return ET.tostring(svg, encoding="unicode")


def file_of(chart: ET.Element) -> str:
    """Return a chart as the text of an .svg file, on white paper."""
    chart.set("xmlns", _SVG)
    paper = ET.Element("rect", {"class": "paper", "width": "100%", "height": "100%", **LOOKS["paper"]})
    chart.insert(1, paper)  # behind everything, after the title
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text_of(chart)}\n'
