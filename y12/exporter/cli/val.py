"""y12-val: how accurate an artefact is on labelled images."""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from y12.runtime.cli.common import add_runtime_arguments, put, require_packages, run_command, say

if TYPE_CHECKING:
    from y12.exporter.evaluate.evaluate_options import ValOptions
    from y12.exporter.evaluate.inference import Progress
    from y12.exporter.evaluate.run import Validation

DATA_HELP = (
    "labelled images: a data.yaml (YOLO: path, val, names, kpt_shape; labels beside the images), a COCO .json, "
    "or for a classifier a folder with a folder of images for each class"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, evaluate, give the exit code."""
    arguments = _parser().parse_args(argv)
    return run_command(lambda: _val(arguments))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="y12-val",
        description="Evaluate an artefact on labelled images as COCO does; an ARTEFACT that is a .json is a file of "
        "COCO results to evaluate.",
    )
    add_runtime_arguments(parser)
    add: Any = parser.add_argument
    add("data", type=Path, metavar="DATA", help=DATA_HELP)
    add("--split", choices=("train", "val", "test"), help="part of a data.yaml (default: val)")
    add("--images", type=Path, metavar="DIR", help="where a COCO JSON's images are; default: looked for beside it")
    add("--conf", "--conf-thres", type=float, help="take boxes scored above this (default: 0.001)")
    add("--iou", "--iou-thres", type=float, help="overlap that suppresses (default: 0.7)")
    add("--max-det", type=int, help="boxes per image at most (default: 300)")
    add("--no-multi-label", action="store_true", help="a box has its best class only")
    add("--per-class", action="store_true", help="print each class' figures")
    add("--json", action="store_true", help="print the report as one JSON object")
    add("--save-json", type=Path, metavar="FILE", help="write the results in COCO's form")
    return parser


def _val(arguments: argparse.Namespace) -> int:
    require_packages(("pycocotools", "yaml", "rich"), "val", "y12-val")
    options = options_from_arguments(arguments)
    validation = _validated(arguments, options)
    report = validation.report
    put(report.to_json() if arguments.json else "\n".join(report.lines(per_class=arguments.per_class)))
    for note in report.notes:
        say(f"note: {note}")
    if arguments.save_json:
        _save(arguments.save_json, validation.results)
    return 0


def options_from_arguments(arguments: argparse.Namespace) -> "ValOptions":
    """Turn the command line into options."""
    from y12.exporter.evaluate.evaluate_options import ValOptions

    return ValOptions(
        conf=arguments.conf,
        iou=arguments.iou,
        max_det=arguments.max_det,
        multi_label=False if arguments.no_multi_label else None,
        split=arguments.split,
        images=arguments.images,
        imgsz=arguments.imgsz,
        provider=arguments.provider,
        device=arguments.device,
    )


def _validated(arguments: argparse.Namespace, options: "ValOptions") -> "Validation":
    from y12.errors import DatasetError
    from y12.exporter.evaluate.evaluate_options import ValOptions
    from y12.exporter.evaluate.run import validate, validate_results

    artefact = Path(arguments.artefact)
    if artefact.suffix.lower() != ".json":
        with _progress() as progress:
            return validate(artefact, arguments.data, options, progress=progress)
    if options != ValOptions(provider=options.provider, device=options.device):
        raise DatasetError(f"{artefact}: results were made before: thresholds, sizes and images cannot be chosen now")
    return validate_results(artefact, arguments.data)


def _save(path: Path, results: list[dict[str, Any]]) -> None:
    from y12.errors import DatasetError
    from y12.files import write_atomically

    if not results:
        raise DatasetError(f"{path}: nothing to write: nothing was found, or the model is a classifier")
    write_atomically(path, json.dumps(results).encode())


@contextmanager
def _progress() -> "Iterator[Progress | None]":
    """Return what shows how many images are done: a bar on a terminal, nothing elsewhere."""
    from rich.console import Console
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    if not console.is_terminal:
        say("evaluate …")
        yield None
        return
    with Bar(console=console, transient=True) as bar:
        task = bar.add_task("evaluate", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


if __name__ == "__main__":
    sys.exit(main())
