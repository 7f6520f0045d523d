"""All pictures of a run, one after the other: what is found in each is written, and then printed."""

import json
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING, Any

from y12.errors import ArtefactError, InputError
from y12.runtime.cli.common import put, put_json, say
from y12.runtime.cli.progress import Advance
from y12.runtime.cli.sources import Frame, Source, frames_from, is_moving
from y12.runtime.results.convert import words
from y12.runtime.stages import ms_since

if TYPE_CHECKING:
    from y12.runtime.cli.outputs import Taker
    from y12.runtime.options import DetectOptions
    from y12.runtime.results.detections import Detections
    from y12.runtime.session import Runtime, Timings
    from y12.runtime.several import Several

__all__ = ["Output", "failure_of", "infer_files", "masks_ms", "record_of"]


@dataclass(frozen=True)
class Output:
    """What to do with what is found.

    Attributes:
        takers: what it is written to, besides the terminal.
        as_json: print one JSON object a line instead of words.
        masks: "rle" or "polygon" puts masks into the JSON.
        tolerance: in pixels, of polygons.
        put: takes a line of JSON.
    """

    takers: "tuple[Taker, ...]" = ()
    as_json: bool = False
    masks: str | None = None
    tolerance: float = 0.0
    put: Callable[[str], None] = put_json


def infer_files(
    runtime: "Runtime | Several",
    sources: "Sequence[Source]",
    options: "DetectOptions",
    output: Output,
    *,
    every: int = 1,
    batch: int | None = None,
    progress: Advance | None = None,
) -> int:
    """Tell what is found in each source, and give how many could not be used; of a video, the rest is then left.

    Args:
        runtime: what finds it.
        sources: from `sources_from`.
        options: what is kept.
        output: what to do with it.
        every: of a video or stream, the first frame and each so many further ones.
        batch: pictures per run of the network; None takes the fewest that it takes.
        progress: is told how far it is.
    """
    failed: set[Source] = set()
    tell = _telling(progress, sources)
    load = Frame.load_and_keep if any(taker.needs_image for taker in output.takers) else Frame.load
    frames = frames_from(sources, failed, every, reading=runtime.reading)
    with closing(runtime.outcomes(frames, load, options, batch=batch)) as outcomes:
        for number, outcome in enumerate(outcomes, 1):
            tell(number, outcome.item)
            source = outcome.item.path
            if source in failed:  # a frame that was read ahead
                continue
            try:
                if isinstance(outcome.result, Exception):
                    raise outcome.result
                _tell_found(runtime, outcome.item, outcome.result, outcome.timings, output)
            except InputError as error:
                failed.add(source)
                _report_failure(source, str(error), output)
    return len(failed)


def _telling(progress: Advance | None, sources: Sequence[Source]) -> Callable[[int, Frame], None]:
    """Return what tells how far it is: of images, by their number; of videos, by how much of each is done."""
    if progress is None:
        return lambda number, frame: None
    known = None if any(map(is_moving, sources)) else len(sources)
    before = {source: place for place, source in enumerate(sources)}

    def tell(number: int, frame: Frame) -> None:
        share = None if frame.share is None else (before[frame.path] + frame.share) / len(sources)
        progress(number, known, share=share)

    return tell


def _tell_found(
    runtime: "Runtime | Several", frame: Frame, found: "Detections", timings: "Timings", output: Output
) -> None:
    """Write and print what was found in one picture."""
    if output.masks and found.masks is None:
        raise ArtefactError(f"{runtime.artefact.path}: expected masks from the model, found none: leave out --masks")
    timings = replace(timings, load_ms=timings.load_ms + frame.load_ms)
    ms = timings.by_stage()
    if found.masks is not None:
        needed = output.masks or any(taker.needs_masks for taker in output.takers)
        ms["masks"] = masks_ms(found) if needed else 0.0
    if found.truncated:
        say(f"{frame.path}: more candidates than the NMS looks at; some objects may be missing")
    written: dict[str, Any] = {}
    for taker in output.takers:
        written |= taker.take(frame, found)
    if output.as_json:
        record = record_of(frame, found, ms, output.masks, output.tolerance, written)
        output.put(json.dumps(record, ensure_ascii=False))
    else:
        put(_text_line(frame, found, ms))


def masks_ms(found: "Detections") -> float:
    """Draw the masks and give the milliseconds it took; they are kept for whoever needs them."""
    started = perf_counter()
    if found.masks is not None:
        _ = found.masks.crops
    return ms_since(started)


def _report_failure(source: Source, message: str, output: Output) -> None:
    say(f"error: {message}")
    if output.as_json:
        output.put(json.dumps(failure_of(str(source), message), ensure_ascii=False))


def record_of(
    frame: Frame | str,
    found: "Detections",
    ms: dict[str, float],
    masks: str | None = None,
    tolerance: float = 0.0,
    written: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return what --json says of a picture; one that is no file on this machine is named by its address.

    Args:
        frame: the picture.
        found: what it shows.
        ms: the milliseconds of each stage.
        masks: "rle" or "polygon" puts masks in.
        tolerance: in pixels, of polygons.
        written: the files that were written of it.
    """
    height, width = found.image_hw
    number, time_s = (None, None) if isinstance(frame, str) else (frame.number, frame.time_s)
    return {
        "source": frame if isinstance(frame, str) else str(frame.path),
        "frame": number,
        "time_s": None if time_s is None else round(time_s, 6),
        "height": height,
        "width": width,
        "detections": found.as_records(masks, tolerance),
        "counts": found.counts(),
        "truncated": found.truncated,
        **(written or {}),
        "ms": {name: round(value, 3) for name, value in ms.items()},
    }


def failure_of(source: str, message: str) -> dict[str, Any]:
    """Return what --json says of a file that cannot be used."""
    return {"source": source, "error": message}


def _text_line(frame: Frame, found: "Detections", ms: dict[str, float]) -> str:
    height, width = found.image_hw
    shows = words(found) or "nothing found"
    number = "" if frame.number is None else f" frame {frame.number}"
    return f"{frame.path}{number}: {width}x{height}: {shows} ({sum(ms.values()):.1f} ms)"
