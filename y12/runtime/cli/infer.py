"""y12-infer: find objects in images and videos."""

import sys
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from y12.errors import InputError
from y12.remote.address import unsigned
from y12.runtime.cli.app import Command, main_of
from y12.runtime.cli.batch import check_batch
from y12.runtime.cli.common import EXIT_FAILED, put_json, say
from y12.runtime.cli.options import (
    NMS,
    OUTPUT,
    THRESHOLDS,
    AgnosticNms,
    BatchSize,
    Conf,
    Iou,
    MaxDet,
    NamedClasses,
    RuntimeOptions,
    choice,
    given,
    option,
    positive,
)
from y12.runtime.cli.progress import Progress
from y12.runtime.cli.sharing import Share, read_share, resumed_lines, share_of
from y12.runtime.cli.values import at_least, reader

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from y12.runtime.artefact.manifest import Manifest
    from y12.runtime.cli.outputs import Taker
    from y12.runtime.cli.sources import Source
    from y12.runtime.options import DetectOptions
    from y12.runtime.session import Runtime

JSON_HELP = (
    "print JSON Lines: one object per image or video frame with source, frame, time_s (from the video's beginning), "
    "height, width, detections (box_xyxy in pixels of the image, confidence, class_id, class_name; of a pose model "
    "keypoints as x, y, visibility; of oriented boxes xywhr and corners; with --masks segmentation), counts by class, "
    "truncated, ms per stage, and the files that were written of it (saved, labels, crops); for a file that cannot be "
    "read, source and error. Stages of several images overlap"
)
SOURCES = "Sources"
MASK_TASKS = ("segment", "multitask")

Keep = StrEnum("Keep", ["PRECISION", "RECALL"])  # y12.runtime.thresholds.KEEPS
MaskForm = StrEnum("MaskForm", ["RLE", "POLYGON"])
CocoForm = StrEnum("CocoForm", ["DATASET", "RESULTS"])


@dataclass(frozen=True, kw_only=True)
class Infer(RuntimeOptions):
    """What can be asked of y12-infer."""

    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            show_default=False,
            help="what to look at: images, videos, folders, patterns, lists (.txt), cameras by number (0), "
            "rtsp:// and http(s):// addresses, - for an image on standard input",
        ),
    ]
    recursive: Annotated[bool, option("--recursive", panel=SOURCES, help="search folders to the bottom")] = False
    every: Annotated[
        int, option("--every", parser=positive, metavar="N", panel=SOURCES, help="look at every N-th frame of videos")
    ] = 1
    shard: Annotated[
        Share | None,
        option(
            "--shard",
            parser=reader(read_share, "which share, from 1, of how many, such as 2/8"),
            metavar="I/N",
            panel=SOURCES,
            help="look at a share only, every N-th source from the I-th on: 1/8 to 8/8 together are all",
        ),
    ] = None
    batch: BatchSize = None
    conf: Conf = None
    iou: Iou = None
    max_det: MaxDet = None
    classes: NamedClasses = None
    agnostic_nms: AgnosticNms = None
    keep: Annotated[
        Keep | None,
        choice(
            Keep,
            "--keep",
            panel=NMS,
            help="--conf is meant for the FP32 model: use the confidence that keeps its precision or its recall, by "
            "the table that an export with --val writes into the artefact",
        ),
    ] = None
    save: Annotated[
        Path | None,
        option(
            metavar="DIR",
            panel=OUTPUT,
            help="write annotated pictures there, of a video a video; into DIR_2 and so on where DIR holds anything",
        ),
    ] = None
    save_txt: Annotated[
        Path | None,
        option(
            "--save-txt",
            metavar="DIR",
            panel=OUTPUT,
            help="write YOLO label files there, one for each image or frame: boxes, segments, keypoints or corners",
        ),
    ] = None
    save_conf: Annotated[bool, option("--save-conf", panel=OUTPUT, help="let --save-txt add the confidences")] = False
    save_crop: Annotated[
        Path | None,
        option("--save-crop", metavar="DIR", panel=OUTPUT, help="write each object's picture there, a folder a class"),
    ] = None
    exist_ok: Annotated[
        bool, option("--exist-ok", panel=OUTPUT, help="let these folders hold something, and write over it")
    ] = False
    save_coco: Annotated[
        Path | None, option("--save-coco", metavar="FILE", panel=OUTPUT, help="write all that is found as COCO's JSON")
    ] = None
    coco_form: Annotated[
        CocoForm | None,
        choice(
            CocoForm,
            "--coco-form",
            panel=OUTPUT,
            help="of --save-coco: a data set, with images and categories, or a list of results (default: dataset)",
        ),
    ] = None
    csv: Annotated[
        Path | None,
        option(metavar="FILE", panel=OUTPUT, help="write how many objects of each class each image or frame shows"),
    ] = None
    csv_objects: Annotated[
        Path | None, option("--csv-objects", metavar="FILE", panel=OUTPUT, help="write a row for each object")
    ] = None
    json: Annotated[bool, option("--json", panel=OUTPUT, help=JSON_HELP)] = False
    resume: Annotated[
        Path | None,
        option(
            "--resume",
            metavar="FILE",
            panel=OUTPUT,
            help="add the JSON lines of --json to this file, and pass over the images that have one there",
        ),
    ] = None
    masks: Annotated[
        MaskForm | None,
        choice(
            MaskForm,
            "--masks",
            panel=OUTPUT,
            help="put each object's mask into the JSON: as COCO's run lengths, or as outlines (which have no holes)",
        ),
    ] = None

    tolerance: Annotated[
        float | None,
        option(
            "--tolerance",
            parser=reader(at_least(0, float), "a number of 0 or more"),
            metavar="PX",
            panel=OUTPUT,
            help="how far in pixels outlines may stray to have fewer points (default: 0)",
        ),
    ] = None

    def run(self) -> int:
        """Go through all sources; one that fails is reported, the others are done, and the exit code tells."""
        return _infer(self)


COMMAND = Command("y12-infer", "Find objects in images and videos; or, with a classifier, say what they show.", Infer)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, run, give the exit code."""
    return main_of(COMMAND, argv)


def _infer(asked: Infer) -> int:
    _check_together(asked)
    from y12.runtime.cli.infer_files import Output, infer_files
    from y12.runtime.cli.sources import is_live, is_moving, sources_from

    sources: Sequence[Source] = sources_from(asked.sources, asked.recursive)
    if asked.shard is not None:
        sources = share_of(sources, asked.shard)
    masks, tolerance = asked.masks and asked.masks.value, asked.tolerance or 0.0
    with ExitStack() as stack:
        many = (len(sources) > 1 or any(map(is_moving, sources))) and not any(map(is_live, sources))
        runtimes = asked.open_each(stack, throughput=many)
        runtime = runtimes[0]
        check_batch(asked.batch, runtime.manifest.profile.batch)
        wanted = _wanted(asked, runtime)
        options = runtime.resolved_options(wanted)  # once, not once a file
        _check_task(asked, runtime.manifest.task)
        lines = None if asked.resume is None else stack.enter_context(resumed_lines(asked.resume))
        if lines is not None:
            listed, sources = len(sources), lines.rest(sources)
            say(f"{listed - len(sources)} of {listed} images have a line in {asked.resume} already")
        # It makes folders: what can be refused is refused before.
        takers = stack.enter_context(_outputs(asked, sources, runtime.manifest))
        say(f"{unsigned(asked.artefact)} on {'; '.join(dict.fromkeys(each.description for each in runtimes))}")
        table = runtime.manifest.thresholds
        if wanted.keep is not None and table is not None:
            say(f"note: conf {wanted.conf:g} of {table.against} is {options.conf:.3g} here (keeps {wanted.keep})")
        for note in runtime.notes_on(options):
            say(f"note: {note}")
        output = Output(takers, asked.json, masks, tolerance, put_json if lines is None else lines.put)
        progress = stack.enter_context(Progress("y12-infer", "pictures"))
        failed = infer_files(runtime, sources, options, output, every=asked.every, batch=asked.batch, progress=progress)
    if failed:
        say(f"error: {failed} of {len(sources)} files could not be used")
    return EXIT_FAILED if failed else 0


def _wanted(asked: Infer, runtime: "Runtime") -> "DetectOptions":
    """Return the artefact's own options with what was asked in their place."""
    from y12.runtime.options import class_ids_from, class_words

    values = given(asked, THRESHOLDS | {"keep": "keep"})
    if asked.classes is not None:
        values["classes"] = class_ids_from(class_words(asked.classes), runtime.manifest.names)
    return replace(runtime.options, **values)


def _outputs(
    asked: Infer, sources: "Sequence[Source]", manifest: "Manifest"
) -> "AbstractContextManager[tuple[Taker, ...]]":
    """Return what is to be written besides the terminal; nothing of it is loaded where nothing is."""
    if not any((asked.save, asked.save_txt, asked.save_crop, asked.save_coco, asked.csv, asked.csv_objects)):
        return nullcontext(())
    from y12.runtime.cli.outputs import Places, opened_outputs

    places = Places(
        pictures=asked.save,
        labels=asked.save_txt,
        crops=asked.save_crop,
        coco=asked.save_coco,
        counts=asked.csv,
        objects=asked.csv_objects,
        exist_ok=asked.exist_ok,
        with_conf=asked.save_conf,
        tolerance=asked.tolerance or 0.0,
        as_results=asked.coco_form == CocoForm.RESULTS,
    )
    return opened_outputs(places, sources, manifest)


def _check_together(asked: Infer) -> None:
    """Refuse an option that would do nothing without another."""
    folder = asked.save or asked.save_txt or asked.save_crop
    data_set = asked.save_coco if asked.coco_form != CocoForm.RESULTS else None  # results have run lengths
    needed = (
        ("--exist-ok", asked.exist_ok, "--save DIR", folder),
        ("--save-conf", asked.save_conf, "--save-txt DIR", asked.save_txt),
        ("--coco-form", asked.coco_form, "--save-coco FILE", asked.save_coco),
        ("--resume", asked.resume, "--json", asked.json),
        ("--masks", asked.masks, "--json", asked.json),
        (
            "--tolerance",
            asked.tolerance is not None,
            "--masks polygon, --save-txt or a data set of --save-coco",
            asked.masks == MaskForm.POLYGON or asked.save_txt or data_set,
        ),
    )
    for name, is_asked, other, has_other in needed:
        if is_asked and not has_other:
            raise InputError(f"{name}: expected {other} beside it, found none")
    files = (asked.save, asked.save_txt, asked.save_crop, asked.save_coco, asked.csv, asked.csv_objects)
    if asked.resume is not None and any(files):  # their names, and what is in them, are of all images together
        raise InputError("--resume: expected --json alone, found other files to write: leave them out")


def _check_task(asked: Infer, task: str) -> None:
    """Refuse what needs masks of a model that gives none."""
    for name, is_asked in (("--masks", asked.masks), ("--tolerance", asked.tolerance is not None)):
        if is_asked and task not in MASK_TASKS:
            raise InputError(f"{name}: expected a segmentation model, found one for the task {task!r}")


if __name__ == "__main__":
    sys.exit(main())
