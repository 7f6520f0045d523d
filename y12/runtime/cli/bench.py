"""y12-bench: how long an artefact takes on this machine, stage by stage."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

from y12.remote.address import unsigned
from y12.runtime.cli.app import Command, main_of
from y12.runtime.cli.batch import check_batch
from y12.runtime.cli.common import put, put_json, say
from y12.runtime.cli.options import Json, RuntimeOptions, option, positive
from y12.runtime.cli.progress import Advance, Progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from y12.runtime.results.detections import Detections
    from y12.runtime.session import Runtime

MASK_STAGES = ("masks", "postprocess with masks")  # for a model that gives masks, which are drawn on request only
SEED = 12  # the made-up image is the same in every run


_TIMING = "Timing"


@dataclass(frozen=True, kw_only=True)
class Bench(RuntimeOptions):
    """What can be asked of y12-bench."""

    batch: Annotated[
        int | None,
        option(
            parser=positive,
            metavar="N",
            panel=_TIMING,
            help="images per run of the network, and per call (default: the fewest that it takes)",
        ),
    ] = None
    iterations: Annotated[int, option(parser=positive, metavar="N", panel=_TIMING, help="timed calls")] = 100
    warmup: Annotated[int, option(parser=positive, metavar="N", panel=_TIMING, help="calls before them")] = 10
    image: Annotated[
        str | None,
        option(
            metavar="FILE",
            panel=_TIMING,
            help="decode and run this file; default: a made-up 640x480 array, whose decoding is not timed",
        ),
    ] = None
    json: Json = False

    def run(self) -> int:
        """Time the artefact, and print what it took."""
        with self.open() as runtime:
            check_batch(self.batch, runtime.manifest.profile.batch)
            say(f"{unsigned(self.artefact)} on {runtime.description}")
            images = [self.image or _made_up_image()] * (self.batch or runtime.manifest.profile.batch.min)
            with Progress("y12-bench", "calls") as progress:
                report = measure(runtime, images, self.iterations, self.warmup, progress)
        if self.json:
            put_json(json.dumps(report, indent=2))
        else:
            put(*_lines(report))
        return 0


COMMAND = Command(
    "y12-bench", "Time an artefact on this machine: ms per call by time.perf_counter, after warm-up.", Bench
)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, run, give the exit code."""
    return main_of(COMMAND, argv)


def measure(
    runtime: "Runtime",
    images: "list[str | NDArray[np.uint8]]",
    iterations: int,
    warmup: int,
    progress: Advance | None = None,
) -> dict[str, Any]:
    """Time `iterations` calls of `infer_batch`, of one run each, after `warmup` untimed ones.

    Between the calls, never while one is timed, `progress` is told of them.

    Returns:
        What ran, and p50, p90 and p99 of each stage in milliseconds per call of all images. For a model that gives
        masks also "masks", drawing those of all objects at the images' size, and "postprocess with masks"; the
        total is without them. `objects` were found in the last call.
    """
    import numpy as np

    rows, masked = [], False
    for i in range(warmup + iterations):
        found = runtime.infer_batch(images, batch=len(images))
        t = runtime.timings
        masks_ms = _masks_ms(found)
        masked = found[0].masks is not None
        if i >= warmup:
            rows.append((*t.by_stage().values(), t.total_ms, masks_ms, t.postprocess_ms + masks_ms))
        if progress is not None:
            progress(i + 1, warmup + iterations, "warm-up" if i < warmup else "timed")
    quantiles = np.percentile(np.array(rows), (50, 90, 99), axis=0)  # (3, stages)
    stages_ms = {
        stage: {f"p{q}": round(float(quantiles[row, column]), 4) for row, q in enumerate((50, 90, 99))}
        for column, stage in enumerate((*t.by_stage(), "total") + MASK_STAGES * masked)
    }
    return {
        "artefact": str(runtime.artefact.path),
        "executor": runtime.description,
        "precision": runtime.manifest.precision,
        "input_hw": list(runtime.input_size.input_hw(found[0].image_hw)),
        "batch": len(images),
        "iterations": iterations,
        "objects": sum(map(len, found)),
        "stages_ms": stages_ms,
        "images_per_second": round(1000 * len(images) / stages_ms["total"]["p50"], 2),
    }


def _masks_ms(found: "list[Detections]") -> float:
    """Draw all masks and give the milliseconds it took."""
    started = perf_counter()
    for detections in found:
        _ = detections.mask
    return (perf_counter() - started) * 1e3


def _made_up_image() -> "NDArray[np.uint8]":
    import numpy as np

    return np.random.default_rng(SEED).integers(0, 256, (480, 640, 3), dtype=np.uint8)


def _lines(report: dict[str, Any]) -> list[str]:
    height, width = report["input_hw"]
    calls = f"batch {report['batch']}, {report['iterations']} calls, {report['objects']} objects found; ms per call"
    lines = [
        f"{report['precision']}, input {height}x{width}, {calls}",
        f"{'stage':<24}{'p50':>10}{'p90':>10}{'p99':>10}",
    ]
    for stage, ms in report["stages_ms"].items():
        lines.append(f"{stage:<24}{ms['p50']:>10.3f}{ms['p90']:>10.3f}{ms['p99']:>10.3f}")
    lines.append(f"{report['images_per_second']} images per second at the median")
    return lines


if __name__ == "__main__":
    sys.exit(main())
