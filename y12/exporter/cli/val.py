"""y12-val: how accurate an artefact is on labelled images."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from y12.exporter.cli.before import check_there
from y12.exporter.cli.choices import Split
from y12.exporter.cli.options import CocoImages, Strict
from y12.remote.address import is_address
from y12.runtime.cli.app import Command, main_of
from y12.runtime.cli.common import put, put_json, require_packages, say
from y12.runtime.cli.options import NMS, OUTPUT, RuntimeOptions, choice, number, option, whole
from y12.runtime.cli.places import checked_file
from y12.runtime.cli.progress import stage

if TYPE_CHECKING:
    from y12.exporter.evaluate.evaluate_options import ValOptions
    from y12.exporter.evaluate.run import Validation

DATA_HELP = (
    "labelled images: a data.yaml (YOLO: path, val, names, kpt_shape; labels beside the images), a COCO .json, "
    "or for a classifier a folder with a folder of images for each class"
)


@dataclass(frozen=True, kw_only=True)
class Val(RuntimeOptions):
    """What can be asked of y12-val."""

    data: Annotated[Path, typer.Argument(metavar="DATA", show_default=False, help=DATA_HELP)]
    split: Annotated[
        Split | None, choice(Split, "--split", panel="Data", help="part of a data.yaml (default: val)")
    ] = None
    images: CocoImages = None
    by_order: Annotated[
        bool,
        option("--by-order", panel="Data", help="where names differ, match classes by the order of their ids"),
    ] = False
    strict: Strict = False
    conf: Annotated[
        float | None,
        option(
            "--conf",
            "--conf-thres",
            parser=number,
            metavar="SCORE",
            panel=NMS,
            help="take boxes scored above this (default: 0.001)",
        ),
    ] = None
    iou: Annotated[
        float | None,
        option(
            "--iou",
            "--iou-thres",
            parser=number,
            metavar="IOU",
            panel=NMS,
            help="overlap that suppresses (default: 0.7)",
        ),
    ] = None
    max_det: Annotated[
        int | None,
        option("--max-det", parser=whole, metavar="N", panel=NMS, help="boxes per image at most (default: 300)"),
    ] = None
    no_multi_label: Annotated[bool, option("--no-multi-label", panel=NMS, help="a box has its best class only")] = False
    per_class: Annotated[bool, option("--per-class", panel=OUTPUT, help="print each class' figures")] = False
    json: Annotated[bool, option("--json", panel=OUTPUT, help="print the report as one JSON object")] = False
    save_json: Annotated[
        Path | None, option("--save-json", metavar="FILE", panel=OUTPUT, help="write the results in COCO's form")
    ] = None
    plots: Annotated[
        Path | None,
        option(
            "--plots",
            metavar="DIR",
            panel=OUTPUT,
            help="draw curves, confusion matrix, AP by class and size and the worst images into DIR, as a page and "
            "PNGs; into DIR_2 and so on where DIR holds anything",
        ),
    ] = None
    exist_ok: Annotated[
        bool, option("--exist-ok", panel=OUTPUT, help="let --plots write into DIR, over what is there")
    ] = False

    def run(self) -> int:
        """Evaluate, print the report, and write the results and draw where that is asked for."""
        if self.plots is not None:
            require_packages(("matplotlib", "jinja2"), "plots", "y12-val --plots")
        require_packages(("pycocotools", "yaml"), "val", "y12-val")
        if not is_address(self.artefact):
            check_there("an .onnx, an .engine or COCO results (.json)", {"ARTEFACT": self.artefact})
        check_there("a data.yaml, a COCO .json or a folder of classes", {"DATA": self.data})
        check_there("a folder of images", {"--images": self.images})
        if self.save_json:
            checked_file(self.save_json, "--save-json", [Path(self.artefact), self.data])
        artefact = Path(self.fetched(self.artefact))
        with _plots_folder(self) as folder:
            validation = _validated(self, artefact, options_of(self))
            page = _drawn(validation, folder)
        report = validation.report
        if self.json:
            put_json(report.to_json())
        else:
            put(*report.lines(per_class=self.per_class))
        for note in report.notes:
            say(f"note: {note}")
        if self.save_json:
            _save(self.save_json, validation.results)
        if page is not None:
            say(f"plots: {page}")
        return 0


COMMAND = Command(
    "y12-val",
    "Evaluate an artefact on labelled images as COCO does; an ARTEFACT that is a .json is a file of COCO results to "
    "evaluate.",
    Val,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, evaluate, give the exit code."""
    return main_of(COMMAND, argv)


def options_of(asked: Val) -> "ValOptions":
    """Turn the command line into options."""
    from y12.exporter.evaluate.evaluate_options import ValOptions

    return ValOptions(
        conf=asked.conf,
        iou=asked.iou,
        max_det=asked.max_det,
        multi_label=False if asked.no_multi_label else None,
        split=asked.split and asked.split.value,
        images=asked.images,
        by_order=asked.by_order,
        strict=asked.strict,
        imgsz=asked.input_hw,
        rect=asked.rect,
        bits=asked.bits,
        reduced_decode=asked.reduced_decode,
        provider=asked.provider.value,
        device=asked.device,
    )


def _validated(asked: Val, artefact: Path, options: "ValOptions") -> "Validation":
    from y12.errors import DatasetError
    from y12.exporter.evaluate.evaluate_options import ValOptions
    from y12.exporter.evaluate.run import validate, validate_results

    if artefact.suffix.lower() != ".json":
        with stage("evaluate") as progress:
            return validate(artefact, asked.data, options, progress=progress, study=asked.plots is not None)
    if options != ValOptions(provider=options.provider, device=options.device, strict=options.strict):
        raise DatasetError(f"{artefact}: results were made before: thresholds, sizes and images cannot be chosen now")
    return validate_results(artefact, asked.data, study=asked.plots is not None, strict=asked.strict)


@contextmanager
def _plots_folder(asked: Val) -> Iterator[Path | None]:
    """Give the folder that is drawn into, made before the work begins; a failure leaves no empty one behind."""
    from y12.errors import InputError

    if asked.plots is None:
        if asked.exist_ok:
            raise InputError("--exist-ok: expected --plots DIR beside it, found none")
        yield None
        return
    from y12.runtime.cli.places import RunFolders

    folder = RunFolders(asked.exist_ok).make(asked.plots)
    try:
        yield folder
    except BaseException:
        with suppress(OSError):  # what was there stays
            folder.rmdir()
        raise


def _drawn(validation: "Validation", folder: Path | None) -> Path | None:
    """Draw what is asked for, and return the page."""
    if folder is None:
        return None
    from y12.exporter.plots.write import write_plots

    with stage("draw"):
        return write_plots(validation, folder)


def _save(path: Path, results: list[dict[str, Any]]) -> None:
    from y12.errors import DatasetError
    from y12.files import write_atomically

    if not results:
        raise DatasetError(f"{path}: nothing to write: nothing was found, or the model is a classifier")
    write_atomically(path, json.dumps(results).encode())


if __name__ == "__main__":
    sys.exit(main())
