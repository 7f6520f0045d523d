"""Throughput of streamed inference beside the bare session's, in one run: figures for docs/benchmarks.md.

    python benchmarks/stream.py [MODEL.onnx] [--images DIR] [--threads 1 2]

"bare" is `session.run` alone on a ready blob, "one by one" `Runtime.infer`, "stream" `Runtime.stream` and "y12-infer"
the command's own loop with --json, whose images run side by side; each on files that it must decode. Every round runs
all, and what counts is the median over the rounds of each one's share of the bare session's throughput, which is
the mean of the bare runs before and after it. CPU time is that of the whole process: where it is more than the bare
session's, that much of a saturated machine cannot be won back by overlapping. Without MODEL, the yolov12n that ships
is exported at 640x640 first. The goal is 90 %.
"""

import argparse
import contextlib
import itertools
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that it runs from a checkout

from y12.files import IMAGE_SUFFIXES
from y12.runtime.backends.onnx_runtime import OrtExecutor, import_onnxruntime
from y12.runtime.cli.infer_files import Output, infer_files
from y12.runtime.preprocess.images import image_from
from y12.runtime.preprocess.letterbox import blob_from, letterbox
from y12.runtime.session import Runtime

onnxruntime = import_onnxruntime()  # how its threads wait, the executor does not let one choose

GOAL = 0.9
ROOT = Path(__file__).resolve().parents[1]
PHOTOS = ROOT / "y12" / "exporter" / "verify" / "photos"
WEIGHTS = ROOT / "configs" / "weights" / "yolov12n-shapes.safetensors"

Case = Callable[[], object]


def main() -> None:
    """Measure and print one JSON object."""
    arguments = parser().parse_args()
    found = sorted(path for path in arguments.images.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    paths = list(itertools.islice(itertools.cycle(found), arguments.count))
    with tempfile.TemporaryDirectory() as folder:
        model = arguments.model or exported(Path(folder))
        rows = [
            measured(model, paths, threads, spinning, arguments)
            for threads, spinning in itertools.product(arguments.threads, (True, False)[: 1 + arguments.no_spinning])
        ]
    report = {
        "model": str(arguments.model or WEIGHTS.name),
        "images": f"{len(paths)} a run, of {len(found)} in {arguments.images}",
        "rounds": arguments.rounds,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "onnxruntime": onnxruntime.__version__,
        "goal": f"stream and y12-infer at {GOAL:.0%} of bare or more",
        "runs": rows,
    }
    print(json.dumps(report, indent=2))


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(description="Streamed inference beside the bare session.")
    parser.add_argument("model", nargs="?", type=Path, metavar="MODEL.onnx")
    parser.add_argument("--images", type=Path, default=PHOTOS, metavar="DIR", help="default: y12's own photographs")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="intra-op threads (default: 1 2)")
    parser.add_argument("--count", type=int, default=16, help="images a run (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=7, help="(default: %(default)s)")
    parser.add_argument("--ahead", type=int, nargs="+", default=[2], help="batches read ahead (default: 2)")
    parser.add_argument(
        "--no-spinning", action="store_true", help="measure also with threads that sleep while they wait"
    )
    return parser


def exported(folder: Path) -> Path:
    """Export the yolov12n that ships, at 640x640."""
    from y12.exporter.export_config import ExportConfig, ShapeOptions
    from y12.exporter.export_pipeline import export

    config = ExportConfig(str(WEIGHTS), shapes=ShapeOptions(imgsz=((640, 640),)), verify=None, output=folder)
    return Path(export(config, lambda _stage: contextlib.nullcontext()).artefact)


def measured(
    model: Path, paths: list[Path], threads: int, spinning: bool, arguments: argparse.Namespace
) -> dict[str, Any]:
    """Measure all cases with one session."""
    executor = OrtExecutor(model, "cpu", threads)
    if not spinning:
        executor._session = sleeping_session(model, threads)
    several = OrtExecutor(model, "cpu", threads, throughput=True)  # as y12-infer opens it
    with Runtime(model, executor) as runtime, Runtime(model, several) as command:
        cases = cases_of(runtime, command, executor, paths, arguments.ahead)
        for case in cases.values():
            case()  # warm-up
        rounds = [timed_round(cases, len(paths)) for _ in range(arguments.rounds)]
    rows: dict[str, dict[str, float]] = {}
    for name in cases:
        per_second, share, cpu_ms = np.median([done[name] for done in rounds], axis=0)
        shares = [done[name][1] for done in rounds]
        rows[name] = {
            "images_per_second": round(float(per_second), 2),
            "share_of_bare": round(float(share), 3),
            "share_from": round(min(shares), 3),
            "share_to": round(max(shares), 3),
            "cpu_ms_per_image": round(float(cpu_ms), 1),
        }
    return {"threads": threads, "spinning": spinning, "load": os.getloadavg()[0], "cases": rows}


def sleeping_session(model: Path, threads: int) -> onnxruntime.InferenceSession:
    """Open a session whose threads do not turn while they wait for work."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def cases_of(
    runtime: Runtime, several: Runtime, executor: OrtExecutor, paths: list[Path], aheads: list[int]
) -> dict[str, Case]:
    """Return what is measured, each once over all paths."""
    blob = blob_from([letterbox(image_from(paths[0]), runtime.input_hw)[0]])
    session = executor._session
    (given,) = session.get_inputs()
    output = Output(as_json=True)

    def command() -> None:
        with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
            assert infer_files(several, paths, several.options, output) == 0

    return {
        "bare": lambda: [session.run(None, {given.name: blob}) for _ in paths],
        "one by one": lambda: [runtime.infer(path) for path in paths],
        **{f"stream, {ahead} ahead": lambda a=ahead: list(runtime.stream(paths, ahead=a)) for ahead in aheads},
        "y12-infer": command,
    }


def timed_round(cases: dict[str, Case], images: int) -> dict[str, tuple[float, float, float]]:
    """Run each case between two bare runs; give images per second, the share of bare, and CPU ms per image."""
    done: dict[str, tuple[float, float, float]] = {}
    before, cpu_ms = timed(cases["bare"], images)
    done["bare"] = (before, 1.0, cpu_ms)
    for name, case in cases.items():
        if name != "bare":
            per_second, cpu_ms = timed(case, images)
            after, _ = timed(cases["bare"], images)
            done[name] = (per_second, 2 * per_second / (before + after), cpu_ms)
            before = after
    return done


def timed(case: Case, images: int) -> tuple[float, float]:
    """Return images per second, and the process' CPU milliseconds per image."""
    wall, cpu = time.perf_counter(), time.process_time()
    case()
    return images / (time.perf_counter() - wall), (time.process_time() - cpu) / images * 1e3


if __name__ == "__main__":
    main()
