"""Everything that is drawn of an evaluation, as files: a page, its charts as PNG, its figures as JSON."""

from pathlib import Path

from y12.exporter.evaluate.run import Validation
from y12.exporter.evaluate.study import Study
from y12.exporter.plots.bars import class_picture, size_picture, top1_picture
from y12.exporter.plots.curves import curve_pictures
from y12.exporter.plots.matrix import matrix_picture
from y12.exporter.plots.page import page_from
from y12.exporter.plots.pictures import pairs_of, sheet_png
from y12.exporter.plots.summary import json_of
from y12.files import write_atomically

__all__ = ["PACKAGES", "PAGE_FILE", "charts_of", "write_plots"]

PACKAGES = ("matplotlib", "jinja2")  # of the extra `plots`
PAGE_FILE = "report.html"


def write_plots(validation: Validation, folder: Path) -> Path:
    """Write report.html, report.json and PNGs into a folder, and return the page's path.

    Raises:
        Y12Error: an image cannot be read any more, or the folder cannot be written to.
    """
    study = validation.study
    assert study is not None  # was asked for
    pairs = pairs_of(study)
    charts = charts_of(study)
    page = page_from(validation.report, study, charts, pairs)
    files = {f"{name}.png": png for name, png in charts.items()}
    if pairs:
        files["worst.png"] = sheet_png(pairs)
    files |= {"report.json": json_of(validation.report, study).encode(), PAGE_FILE: page.encode()}
    for name, content in files.items():
        write_atomically(folder / name, content)
    return folder / PAGE_FILE


def charts_of(study: Study) -> dict[str, bytes]:
    """Return all charts as PNG, by their files' names without the suffix."""
    charts = {"confusion": matrix_picture(study.confusion)}
    for kind in study.kinds:
        name = kind.figures.kind
        charts |= {f"{name}_{word}": png for word, png in curve_pictures(kind).items()}
        charts |= {f"{name}_classes": class_picture(kind), f"{name}_sizes": size_picture(kind)}
    if not study.kinds:
        charts["classes"] = top1_picture(study.confusion)
    return charts
