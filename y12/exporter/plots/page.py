"""The page of an evaluation: one HTML file that loads nothing, runs nothing and takes no text in it for markup."""

import base64
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from y12.exporter.evaluate.coco import KIND_NAMES
from y12.exporter.evaluate.report import COLUMNS, ValReport, plain
from y12.exporter.evaluate.study import Study
from y12.exporter.page_template import environment_in, style_hash
from y12.exporter.plots.bars import SIZES, top1_bars
from y12.exporter.plots.matrix import shown_matrix
from y12.exporter.plots.pictures import Pair, words_for
from y12.exporter.plots.summary import best_of, class_rows
from y12.text import visible

if TYPE_CHECKING:
    from jinja2 import Template

__all__ = ["page_from"]

_LONGEST = 300  # characters of a text on the page
_NOTHING = "\N{EN DASH}"
_MOST_CONFUSED = 20  # rows
_STYLES = ("report/page.css", "plots/page.css")  # the export's page looks the same


def page_from(report: ValReport, study: Study, charts: Mapping[str, bytes], pairs: Sequence[Pair]) -> str:
    """Return the page.

    Args:
        report: what was evaluated, and its figures.
        study: what is drawn of it.
        charts: PNGs by the names of their files, without ".png".
        pairs: the worst images.
    """
    from markupsafe import Markup

    style = "".join((Path(__file__).parents[1] / name).read_text(encoding="utf-8") for name in _STYLES)
    return _template().render(
        report=report,
        name=Path(report.artefact).name,
        data=Path(report.data).name,
        study=study,
        style=Markup(style),
        style_hash=style_hash(style),
        tiles=_tiles(report, study),
        kinds=[(kind, KIND_NAMES[kind.figures.kind], best_of(kind), class_rows(kind)) for kind in study.kinds],
        values=[(KIND_NAMES[one.kind], _values(one.values)) for one in report.figures],
        matrix=shown_matrix(study.confusion),
        confused=_confused(study),
        top1=top1_bars(study.confusion) if not study.kinds else [],
        charts={name: _data_uri("png", png) for name, png in charts.items()},
        pairs=[(p.name, p.words, _data_uri("jpeg", p.labelled), _data_uri("jpeg", p.found)) for p in pairs],
        worst=[(one.name, words_for(one, study.names)) for one in study.worst],
    )


@cache
def _template() -> "Template":
    environment = environment_in(Path(__file__).parent, _shown)
    environment.filters |= {"figure": _figure, "plain": plain}
    environment.globals |= {"columns": COLUMNS, "sizes": SIZES}
    return environment.get_template("page.html.jinja")


def _shown(value: object) -> object:
    """Make a value fit to be shown: None a dash, and no text with characters that steer."""
    from markupsafe import Markup

    if value is None:
        return _NOTHING
    return visible(value, _LONGEST) if isinstance(value, str) and not isinstance(value, Markup) else value


def _figure(value: float | None, digits: int = 4) -> str:
    return _NOTHING if value is None else f"{value:.{digits}f}"


def _values(values: Mapping[str, float | None]) -> list[float | None]:
    """Return the figures in the order of the printed table's columns."""
    filled = {**values, "AR100": values.get("AR100", values.get("AR"))}
    return [filled.get(name) for name in COLUMNS]


def _tiles(report: ValReport, study: Study) -> list[tuple[str, str]]:
    """Return the figures that matter most, with what they are."""
    if report.top1 is not None and report.top5 is not None:
        return [(_figure(report.top1), "top-1"), (_figure(report.top5), "top-5")]
    tiles = []
    for kind in study.kinds:
        name, best = KIND_NAMES[kind.figures.kind], best_of(kind)
        tiles.append((_figure(kind.figures.values["AP"]), f"AP50-95 of {name}"))
        tiles.append((_figure(kind.figures.values["AP50"]), f"AP50 of {name}"))
        if best is not None:
            tiles.append((_figure(best["f1"], 3), f"best F1 of {name}, at a confidence of {best['conf']:.3f}"))
    return tiles


def _confused(study: Study) -> list[dict[str, Any]]:
    return [
        {"labelled": study.names[a], "found": study.names[b], "count": count}
        for a, b, count in study.confusion.most_confused()[:_MOST_CONFUSED]
    ]


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
