"""y12-bench: how long an artefact takes on this machine, stage by stage."""

import argparse
import json
from collections.abc import Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any

from y12.runtime.cli.common import add_runtime_arguments, open_runtime, positive, put, run_command, say

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from y12.runtime.results.detections import Detections
    from y12.runtime.session import Runtime

STAGES = ("decode", "preprocess", "execute", "postprocess", "total")
MASK_STAGES = ("masks", "postprocess with masks")  # for a model that gives masks, which are drawn on request only
SEED = 12  # the made-up image is the same in every run


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, run, give the exit code."""
    arguments = _parser().parse_args(argv)
    return run_command(lambda: _bench(arguments))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="y12-bench",
        description="Time an artefact on this machine: ms per call by time.perf_counter, after warm-up.",
    )
    add_runtime_arguments(parser)
    parser.add_argument("--batch", type=positive, default=1, help="images per call (default: %(default)s)")
    parser.add_argument("--iterations", type=positive, default=100, help="timed calls (default: %(default)s)")
    parser.add_argument("--warmup", type=positive, default=10, help="calls before them (default: %(default)s)")
    parser.add_argument(
        "--image",
        help="decode and run this file; default: a made-up 640x480 array, whose decoding is not timed",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def _bench(arguments: argparse.Namespace) -> int:
    with open_runtime(arguments) as runtime:
        say(f"{arguments.artefact} on {runtime.description}")
        images = [arguments.image or _made_up_image()] * arguments.batch
        report = measure(runtime, images, arguments.iterations, arguments.warmup)
    put(json.dumps(report, indent=2) if arguments.json else _text(report))
    return 0


def measure(
    runtime: "Runtime", images: "list[str | NDArray[np.uint8]]", iterations: int, warmup: int
) -> dict[str, Any]:
    """Time `iterations` calls of `infer_batch` after `warmup` untimed ones.

    Returns:
        What ran, and p50, p90 and p99 of each stage in milliseconds per call of all images. For a model that gives
        masks also "masks", drawing those of all objects at the images' size, and "postprocess with masks"; the
        total is without them. `objects` were found in the last call.
    """
    import numpy as np

    rows, masked = [], False
    for i in range(warmup + iterations):
        found = runtime.infer_batch(images)
        t = runtime.timings
        masks_ms = _masks_ms(found)
        masked = found[0].masks is not None
        if i >= warmup:
            stages = (t.decode_ms, t.preprocess_ms, t.execute_ms, t.postprocess_ms, t.total_ms)
            rows.append((*stages, masks_ms, t.postprocess_ms + masks_ms))
    quantiles = np.percentile(np.array(rows), (50, 90, 99), axis=0)  # (3, stages)
    stages_ms = {
        stage: {f"p{q}": round(float(quantiles[row, column]), 4) for row, q in enumerate((50, 90, 99))}
        for column, stage in enumerate(STAGES + MASK_STAGES * masked)
    }
    return {
        "artefact": str(runtime.artefact.path),
        "executor": runtime.description,
        "precision": runtime.manifest.precision,
        "input_hw": list(runtime.input_hw),
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


def _text(report: dict[str, Any]) -> str:
    height, width = report["input_hw"]
    calls = f"batch {report['batch']}, {report['iterations']} calls, {report['objects']} objects found; ms per call"
    lines = [
        f"{report['precision']}, input {height}x{width}, {calls}",
        f"{'stage':<24}{'p50':>10}{'p90':>10}{'p99':>10}",
    ]
    for stage, ms in report["stages_ms"].items():
        lines.append(f"{stage:<24}{ms['p50']:>10.3f}{ms['p90']:>10.3f}{ms['p99']:>10.3f}")
    lines.append(f"{report['images_per_second']} images per second at the median")
    return "\n".join(lines)
