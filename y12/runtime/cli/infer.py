"""y12-infer: find objects in images and videos."""

import json
import sys
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from y12.errors import ArtefactError, InputError
from y12.runtime.cli.app import Command, main_of
from y12.runtime.cli.common import EXIT_FAILED, put, put_json, say
from y12.runtime.cli.options import (
    NMS,
    OUTPUT,
    THRESHOLDS,
    AgnosticNms,
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

if TYPE_CHECKING:
    from y12.runtime.cli.saving import CountTable, Saver
    from y12.runtime.cli.sources import Frame, Source
    from y12.runtime.options import DetectOptions
    from y12.runtime.results.detections import Detections
    from y12.runtime.session import Runtime, Timings

JSON_HELP = (
    "print JSON Lines: one object per image or video frame with source, frame, time_s (from the video's beginning), "
    "height, width, detections (box_xyxy in pixels of the image, confidence, class_id, class_name; of a pose model "
    "keypoints as x, y, visibility; of oriented boxes xywhr and corners; with --masks segmentation), counts by class, "
    "truncated, ms per stage, with --save the file that shows it; for a file that cannot be read, source and error. "
    "Stages of several images overlap"
)
SOURCES = "Sources"
MASK_TASKS = ("segment", "multitask")


Keep = StrEnum("Keep", ["PRECISION", "RECALL"])  # y12.runtime.thresholds.KEEPS
MaskForm = StrEnum("MaskForm", ["RLE", "POLYGON"])


@dataclass(frozen=True)
class Output:
    """What to do with what is found.

    Attributes:
        saver: writes annotated pictures; None writes none.
        table: counts objects by class; None counts none.
        as_json: one JSON object a line instead of words.
        masks: "rle" or "polygon" puts masks into the JSON.
    """

    saver: "Saver | None"
    table: "CountTable | None"
    as_json: bool
    masks: str | None


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
    exist_ok: Annotated[
        bool, option("--exist-ok", panel=OUTPUT, help="let --save write into DIR, over what is there")
    ] = False
    csv: Annotated[
        Path | None,
        option(metavar="FILE", panel=OUTPUT, help="write how many objects of each class each image or frame shows"),
    ] = None
    json: Annotated[bool, option("--json", panel=OUTPUT, help=JSON_HELP)] = False
    masks: Annotated[
        MaskForm | None,
        choice(
            MaskForm,
            "--masks",
            panel=OUTPUT,
            help="put each object's mask into the JSON: as COCO's run lengths, or as outlines (which have no holes)",
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
    from y12.runtime.cli.saving import CountTable
    from y12.runtime.cli.sources import sources_from

    paths = sources_from(asked.sources, asked.recursive)
    if asked.exist_ok and not asked.save:
        raise InputError("--exist-ok: expected --save DIR beside it, found none")
    with ExitStack() as stack:
        runtime = stack.enter_context(asked.open())
        table = None if asked.csv is None else CountTable(asked.csv, runtime.manifest.task, runtime.manifest.names)
        wanted = _wanted(asked, runtime)
        options = runtime.resolved_options(wanted)  # once, not once a file
        _check_masks(asked, runtime.manifest.task)
        saver = _saver(asked, paths, stack)  # it makes a folder: what can be refused is refused before
        output = Output(saver, table, asked.json, None if asked.masks is None else asked.masks.value)
        say(f"{asked.artefact} on {runtime.description}")
        _tell_kept(runtime, wanted, options)
        for note in runtime.notes_on(options):
            say(f"note: {note}")
        failed = infer_files(runtime, paths, options, output, asked.every)
    if table is not None:
        table.write()
    if failed:
        say(f"error: {failed} of {len(paths)} files could not be used")
    return EXIT_FAILED if failed else 0


def _wanted(asked: Infer, runtime: "Runtime") -> "DetectOptions":
    """Return the artefact's own options with what was asked in their place."""
    from y12.runtime.options import class_ids_from

    values = given(asked, THRESHOLDS | {"keep": "keep"})
    if asked.classes is not None:
        words = [word.strip() for word in asked.classes.split(",")]
        wanted = [int(word) if word.removeprefix("-").isdecimal() else word for word in words]
        values["classes"] = class_ids_from(wanted, runtime.manifest.names)
    return replace(runtime.options, **values)


def _saver(asked: Infer, sources: "Sequence[Source]", stack: ExitStack) -> "Saver | None":
    """Return what saves pictures, if asked; at its end, also by Ctrl-C, it says where they are."""
    from y12.runtime.cli.saving import Saver

    if asked.save is None:
        return None
    saver = Saver(asked.save, sources, asked.exist_ok)
    stack.callback(lambda: say(f"saved to {saver.folder}") if saver.count else None)
    return stack.enter_context(saver)


def _tell_kept(runtime: "Runtime", asked: "DetectOptions", used: "DetectOptions") -> None:
    """Return which confidence --keep led to."""
    thresholds = runtime.manifest.thresholds
    if asked.keep is not None and thresholds is not None:
        say(f"note: conf {asked.conf:g} of {thresholds.against} is {used.conf:.3g} here (keeps {asked.keep})")


def _check_masks(asked: Infer, task: str) -> None:
    """Refuse --masks where it would do nothing."""
    if asked.masks and not asked.json:
        raise InputError("--masks: expected --json beside it, found none: masks are written as JSON")
    if asked.masks and task not in MASK_TASKS:
        raise InputError(f"--masks: expected a segmentation model, found one for the task {task!r}")


def infer_files(
    runtime: "Runtime", paths: "Sequence[Source]", options: "DetectOptions", output: Output, every: int = 1
) -> int:
    """Return what is found in each file, and give how many could not be used; of a video, the rest is then left."""
    from y12.runtime.cli.sources import Frame, Source, frames_from

    failed: set[Source] = set()
    load = Frame.load_and_keep if output.saver else Frame.load
    with closing(runtime.outcomes(frames_from(paths, failed, every), load, options)) as outcomes:
        for outcome in outcomes:
            path = outcome.item.path
            if path in failed:  # a frame that was read ahead
                continue
            try:
                if isinstance(outcome.result, Exception):
                    raise outcome.result
                _tell_found(runtime, outcome.item, outcome.result, outcome.timings, output)
            except InputError as error:
                failed.add(path)
                _report_failure(path, str(error), output.as_json)
    return len(failed)


def _tell_found(runtime: "Runtime", frame: "Frame", found: "Detections", timings: "Timings", output: Output) -> None:
    """Print and save what was found in one picture."""
    if output.masks and found.masks is None:
        raise ArtefactError(f"{runtime.artefact.path}: expected masks from the model, found none: leave out --masks")
    timings = replace(timings, load_ms=timings.load_ms + frame.load_ms)
    ms = timings.by_stage()
    if found.masks is not None:
        ms["masks"] = _masks_ms(found) if output.masks or output.saver else 0.0
    if found.truncated:
        say(f"{frame.path}: more candidates than the NMS looks at; some objects may be missing")
    if output.as_json:
        put_json(_json_line(frame, found, ms, output))
    else:
        put(_text_line(frame, found, ms))
    if output.table is not None:
        output.table.add(frame.path, frame.number, found.counts())
    if output.saver:
        from y12.runtime.results.draw import annotated

        output.saver.save(frame.path, frame.number, annotated(frame.load(), found), frame.time_s)


def _masks_ms(found: "Detections") -> float:
    """Draw the masks and give the milliseconds it took; they are kept for whoever needs them."""
    started = perf_counter()
    if found.masks is not None:
        _ = found.masks.crops
    return (perf_counter() - started) * 1e3


def _report_failure(path: "Source", message: str, as_json: bool) -> None:
    say(f"error: {message}")
    if as_json:
        put_json(json.dumps({"source": str(path), "error": message}, ensure_ascii=False))


def _json_line(frame: "Frame", found: "Detections", ms: dict[str, float], output: Output) -> str:
    height, width = found.image_hw
    record: dict[str, Any] = {
        "source": str(frame.path),
        "frame": frame.number,
        "time_s": None if frame.time_s is None else round(frame.time_s, 6),
        "height": height,
        "width": width,
        "detections": found.as_records(output.masks),
        "counts": found.counts(),
        "truncated": found.truncated,
        **({"saved": str(output.saver.path_of(frame.path, frame.number))} if output.saver else {}),
        "ms": {name: round(value, 3) for name, value in ms.items()},
    }
    return json.dumps(record, ensure_ascii=False)


def _text_line(frame: "Frame", found: "Detections", ms: dict[str, float]) -> str:
    from y12.runtime.results.convert import words

    height, width = found.image_hw
    shows = words(found) or "nothing found"
    number = "" if frame.number is None else f" frame {frame.number}"
    return f"{frame.path}{number}: {width}x{height}: {shows} ({sum(ms.values()):.1f} ms)"


if __name__ == "__main__":
    sys.exit(main())
