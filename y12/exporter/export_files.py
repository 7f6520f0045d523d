"""What an export leaves on disk."""

import json
from dataclasses import dataclass

import onnx

from y12.exporter.engine.build import BuiltEngine
from y12.exporter.output import Outputs
from y12.exporter.report.charts import curve_svg
from y12.exporter.report.page import page_from_report
from y12.exporter.report.pictures import Picture
from y12.exporter.report.report import ExportReport
from y12.runtime.artefact.manifest import Manifest

__all__ = ["Made", "write_files"]


@dataclass(frozen=True)
class Made:
    """What an export made.

    Attributes:
        graph: the ONNX graph.
        built: the engine; None without one.
        manifest: of the artefact.
        report: of the export; gets the files' paths.
        pictures: for its page.
    """

    graph: onnx.ModelProto
    built: BuiltEngine | None
    manifest: Manifest
    report: ExportReport
    pictures: tuple[Picture, ...]


def write_files(outputs: Outputs, stem: str, made: Made) -> None:
    """Write the artefact, its manifest and its report as JSON and as a page: all files or none.

    Raises:
        OutputError: one cannot be written.
    """
    report = made.report
    if made.built is not None:
        outputs.add(f"{stem}.engine", made.built.plan)
        outputs.add(f"{stem}.engine.json", made.manifest.to_json(indent=2).encode())
    outputs.add(f"{stem}.onnx", made.graph.SerializeToString())
    if report.budget is not None:
        outputs.add(f"{stem}.curve.svg", curve_svg(report.budget).encode())
    page, data = f"{stem}.report.html", f"{stem}.report.json"
    report.files = [*outputs.paths, outputs.path(page), outputs.path(data)]
    text = report.to_json()
    outputs.add(page, page_from_report(json.loads(text), made.pictures).encode())
    outputs.add(data, text.encode())
    outputs.commit()
