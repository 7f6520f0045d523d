"""The report as one HTML page that loads nothing, runs nothing and takes no text in it for markup."""

import base64
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from jinja2 import Template
from markupsafe import Markup

from y12.exporter.page_template import environment_in, style_hash
from y12.exporter.report import views, words
from y12.exporter.report.charts import blocks_chart, curve_chart, macs_bar
from y12.exporter.report.pictures import Picture
from y12.exporter.report.report import ExportReport
from y12.text import visible

__all__ = ["page_from_report"]

_LONGEST = 2000  # characters of a text on the page
# In a <script> these could end it or open a comment; JSON may write any character like this.
_JSON_ESCAPES = {ord(c): f"\\u{ord(c):04x}" for c in "<>&"}


def page_from_report(report: ExportReport, pictures: Sequence[Picture] = ()) -> str:
    """Return the page of one export.

    Args:
        report: of it.
        pictures: the images on which the artefact differs most from FP32, the worst first.
    """
    style = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")
    return _template().render(
        report=report,
        style=Markup(style),
        style_hash=style_hash(style),
        embedded=Markup(report.to_json(None, ascii_only=True).translate(_JSON_ESCAPES)),
        pictures=[(p.name, p.caption, _data_uri(p.left), _data_uri(p.right)) for p in pictures],
        **_charts(report),
    )


@cache
def _template() -> Template:
    environment = environment_in(Path(__file__).parent, _shown)
    environment.filters |= {"share": words.share, "number": words.number, "allowed": words.allowed}
    environment.globals |= {
        "views": views,
        "capital": lambda text: text[:1].upper() + text[1:],
    }
    return environment.get_template("page.html.jinja")


def _shown(value: object) -> object:
    """Make a value fit to be shown: None a dash, and no text with characters that steer."""
    if value is None:
        return words.NOTHING
    return visible(value, _LONGEST) if isinstance(value, str) and not isinstance(value, Markup) else value


def _charts(report: ExportReport) -> dict[str, Markup | Mapping[str, float] | None]:
    """Draw what there is to draw; the SVG is made of elements, and its texts are escaped."""
    macs, budget = report.macs, report.budget
    in_words = ", ".join(f"{words.share(part)} {precision.upper()}" for precision, part in macs.items())
    return {
        "macs": macs,
        "macs_chart": Markup(macs_bar(macs, f"MACs by precision: {in_words}")),
        "curve": Markup(curve_chart(budget)) if budget else None,
        "bars": Markup(blocks_chart(budget)) if budget else None,
    }


def _data_uri(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
