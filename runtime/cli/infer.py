"""y12-infer: find objects in images and videos."""

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.cli.common import (
    EXIT_FAILED,
    add_runtime_arguments,
    add_threshold_arguments,
    one_line,
    put,
    run_command,
    say,
)
from runtime.errors import InputError

if TYPE_CHECKING:
    from runtime.cli.saving import Saver
    from runtime.cli.sources import Frame
    from runtime.detections import Detections
    from runtime.options import DetectOptions
    from runtime.session import Runtime, Timings

JSON_HELP = (
    "print JSON Lines: one object per image or video frame with source, frame, height, width, detections "
    "(box_xyxy in pixels of the image, confidence, class_id, class_name) and ms per stage; "
    "for a file that cannot be read, source and error"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, run, give the exit code."""
    arguments = _parser().parse_args(argv)
    return run_command(lambda: _infer(arguments))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="y12-infer", description="Find objects in images and videos.")
    add_runtime_arguments(parser)
    parser.add_argument(
        "sources",
        nargs="+",
        metavar="IMAGE|DIR|GLOB|VIDEO",
        help="what to look at; folders are not searched deeper",
    )
    add_threshold_arguments(parser)
    parser.add_argument("--save", type=Path, metavar="DIR", help="write annotated pictures there")
    parser.add_argument("--json", action="store_true", help=JSON_HELP)
    return parser


def _infer(arguments: argparse.Namespace) -> int:
    """Go through all sources; one that fails is reported, the others are done, and the exit code tells."""
    from runtime.cli.saving import Saver
    from runtime.cli.sources import paths_from
    from runtime.options import DetectOptions
    from runtime.session import Runtime

    options = DetectOptions(arguments.conf, arguments.iou, arguments.max_det, arguments.classes, arguments.agnostic_nms)
    paths = paths_from(arguments.sources)
    saver = Saver(arguments.save, paths) if arguments.save else None
    failed = 0
    with Runtime(arguments.artefact, imgsz=arguments.imgsz, provider=arguments.provider) as runtime:
        options.check_classes(len(runtime.manifest.names))  # once, not once a file
        say(f"{arguments.artefact} on {runtime.description}")
        for path in paths:
            try:
                _infer_file(runtime, path, options, saver, arguments.json)
            except InputError as error:
                failed += 1
                _report_failure(path, one_line(error), arguments.json)
    if failed:
        say(f"error: {failed} of {len(paths)} files could not be used")
    return EXIT_FAILED if failed else 0


def _infer_file(runtime: "Runtime", path: Path, options: "DetectOptions", saver: "Saver | None", as_json: bool) -> None:
    from runtime.cli.sources import frames_from
    from runtime.draw import annotated

    for frame in frames_from(path):
        found = runtime.infer(frame.image_bgr, options)
        timings = replace(runtime.timings, decode_ms=frame.decode_ms)  # the runtime got an array: it decoded nothing
        put(_json_line(frame, found, timings) if as_json else _text_line(frame, found, timings))
        if saver:
            saver.save(frame.path, frame.number, annotated(frame.image_bgr, found))


def _report_failure(path: Path, message: str, as_json: bool) -> None:
    say(f"error: {message}")
    if as_json:
        put(json.dumps({"source": str(path), "error": message}, ensure_ascii=False))


def _json_line(frame: "Frame", found: "Detections", timings: "Timings") -> str:
    height, width = found.image_hw
    record: dict[str, Any] = {
        "source": str(frame.path),
        "frame": frame.number,
        "height": height,
        "width": width,
        "detections": found.as_records(),
        "ms": {name.removesuffix("_ms"): round(ms, 3) for name, ms in asdict(timings).items()},
    }
    return json.dumps(record, ensure_ascii=False)


def _text_line(frame: "Frame", found: "Detections", timings: "Timings") -> str:
    height, width = found.image_hw
    counts = ", ".join(f"{n} {name}" for name, n in Counter(found.class_name).most_common()) or "nothing found"
    number = "" if frame.number is None else f" frame {frame.number}"
    return f"{frame.path}{number}: {width}x{height}: {counts} ({timings.total_ms:.1f} ms)"
