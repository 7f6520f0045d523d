"""What y12 makes of other exporters' .onnx: `python benchmarks/foreign.py [FOLDER] >> docs/fusion.md`.

Each .onnx of the folder (left out: those of ../shared/foreign_onnx) is exported as `y12-export FILE --format engine
--half` does it, verified where its name begins with T_ (trained weights; seeded ones detect nothing that could be
compared). Progress goes to stderr; the exit code is 1 where an attention is not fused, or a file is refused.
"""

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from y12.errors import Y12Error
from y12.exporter.export_config import ExportConfig, ShapeOptions
from y12.exporter.export_pipeline import export
from y12.exporter.report.report import ExportReport
from y12.exporter.verify.verify_options import VerifyOptions

SHARED = Path(__file__).resolve().parents[2] / "shared" / "foreign_onnx"
PROFILE = ShapeOptions(((320, 320), (640, 640), (1280, 1280)), (1, 4, 16))


@dataclass(frozen=True)
class Row:
    """One export: its name, what is in the table's cells, and whether it is as it should be."""

    name: str
    cells: tuple[str, ...]
    is_right: bool


def report_of(config: ExportConfig) -> ExportReport:
    """Export one file."""
    with tempfile.TemporaryDirectory() as folder:
        return export(replace(config, output=Path(folder)), lambda _stage: contextlib.nullcontext()).report


def row_of(file: Path, shapes: ShapeOptions, name: str) -> Row:
    """Return what one export made."""
    verify = VerifyOptions() if file.stem.startswith("T_") else None
    config = ExportConfig(str(file), format="engine", precision="fp16", shapes=shapes, verify=verify)
    try:
        report = report_of(config)
    except Y12Error as error:
        return Row(name, ("", "", f"refused: {str(error).removeprefix(f'{file}: '):.80}"), is_right=False)
    facts = report.engine
    assert facts is not None
    fused = f"{facts.attentions_fused} of {facts.attentions_expected}"
    verdict = "" if report.verification is None else _verdict(report)
    return Row(name, (fused, str(facts.kernels), verdict), facts.attentions_fused == facts.attentions_expected)


def _verdict(report: ExportReport) -> str:
    assert report.verification is not None
    (compared,) = report.verification.comparisons
    return f"{report.verdict.partition(':')[0]}, {compared.matched} of {compared.detections}"


def rows_of(folder: Path) -> Iterator[Row]:
    """Export every .onnx of a folder; one whose axes are free twice, the second time with a profile."""
    for file in sorted(folder.glob("*.onnx")):
        shapes = {file.stem: ShapeOptions()}
        if file.stem.endswith("_dynamic"):
            shapes[f"{file.stem} `--batch 1:4:16 --imgsz 320:640:1280`"] = PROFILE
        for name, options in shapes.items():
            started = time.perf_counter()
            row = row_of(file, options, name)
            print(
                f"{name}: {', '.join(row.cells)} ({time.perf_counter() - started:.0f} s)", file=sys.stderr, flush=True
            )
            yield row


@contextlib.contextmanager
def folder_of(arguments: list[str]) -> Iterator[Path]:
    """Give the folder that is named, or one of the shared files, unpacked."""
    if arguments:
        yield Path(arguments[0])
        return
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, str(SHARED / "unpack.py"), folder], check=True)
        yield Path(folder)


def main() -> int:
    """Print the table as Markdown and give the exit code."""
    with folder_of(sys.argv[1:]) as folder:
        rows = list(rows_of(folder))
    print("""
## Graphs of other exporters
`python benchmarks/foreign.py`: the same of .onnx files that Ultralytics' exporter wrote, 640x640 (`-cls_224`: 224x224),
batch 1 unless told. Those that begin with T_ have trained weights, and their FP16 graph is compared with the given one
on photographs: detections matched, of all there are. [What is rewritten](decisions/0034-foreign-graphs.md).

| file | fused | kernels | compared |
| --- | --- | --- | --- |""")
    for row in rows:
        print(f"| {row.name} | {' | '.join(row.cells)} |")
    return 0 if rows and all(row.is_right for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
