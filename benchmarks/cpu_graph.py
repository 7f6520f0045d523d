"""The graph for CPUs against the one that TensorRT fuses, in ONNX Runtime on this CPU: figures for docs/benchmarks.md.

    python benchmarks/cpu_graph.py yolov12n yolo11n.pt [--calib coco128/images/train2017]

Each model is exported in both forms, with `--calib` in INT8 for CPUs too; the sessions run in turns, in an order drawn
anew each time. What counts is the median of the ratios within a turn, by the processor time of the process, which what
else the machine does disturbs least, and by the clock. Progress goes to stderr, the table to stdout.
"""

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from y12.exporter.export_config import ExportConfig, Int8Options
from y12.exporter.export_pipeline import export
from y12.exporter.precision.quantization_options import CalibrationOptions, QuantizeOptions
from y12.runtime.backends.onnx_runtime import import_onnxruntime

onnxruntime = import_onnxruntime()  # how its threads wait, the executor does not let one choose

WARM_UP = 3
# Threads that still wait for work after a run would take the other session's cores.
STOP_WAITING = ("session.force_spinning_stop", "1")


def exported(model: str, arguments: argparse.Namespace, folder: Path) -> dict[str, Path]:
    """Export a model in each form; a name brings random weights."""
    configs = {"trt": ExportConfig(), "cpu": ExportConfig(form="cpu")}
    if arguments.calib is not None:
        int8 = Int8Options(
            arguments.calib, CalibrationOptions("mse", symmetric=False), QuantizeOptions("cpu"), limit=arguments.limit
        )
        configs["int8"] = ExportConfig(form="cpu", precision="int8", int8=int8)
    artefacts = {}
    for name, config in configs.items():
        values = {field: getattr(config, field) for field in ("form", "precision", "int8")}
        asked = ExportConfig(model, random_weights=not Path(model).suffix, verify=None, output=folder, **values)
        artefacts[name] = Path(export(asked, lambda _stage: contextlib.nullcontext()).artefact)
    return artefacts


def opened(artefact: Path, threads: int) -> "onnxruntime.InferenceSession":
    """Open a session of so many threads."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 4
    options.add_session_config_entry(*STOP_WAITING)
    return onnxruntime.InferenceSession(str(artefact), options, providers=["CPUExecutionProvider"])


def in_turns(sessions: list["onnxruntime.InferenceSession"], runs: int) -> NDArray[np.float64]:
    """Return the seconds of each run, (runs, sessions, 2): of the processor, and by the clock."""
    (given,) = sessions[0].get_inputs()
    random = np.random.Generator(np.random.PCG64(0))
    feed = {given.name: random.random(given.shape, dtype=np.float32)}
    seconds = np.zeros((WARM_UP + runs, len(sessions), 2))
    for turn in seconds:
        for i in random.permutation(len(sessions)):
            processor, clock = time.process_time(), time.perf_counter()
            sessions[i].run(None, feed)
            turn[i] = time.process_time() - processor, time.perf_counter() - clock
    return seconds[WARM_UP:]


def rows(model: str, arguments: argparse.Namespace, folder: Path) -> Iterator[str]:
    """Yield the table's lines for one model."""
    artefacts = exported(model, arguments, folder)
    names = list(artefacts)
    pairs = [("cpu", "trt"), ("int8", "cpu")][: len(names) - 1]
    for threads in arguments.threads:
        seconds = in_turns([opened(path, threads) for path in artefacts.values()], arguments.runs)
        for one, other in pairs:
            a, b = names.index(one), names.index(other)
            processor, clock = np.median(seconds[:, a] / seconds[:, b], axis=0)
            low, high = np.quantile(seconds[:, a, 0] / seconds[:, b, 0], (0.25, 0.75))
            milliseconds = np.median(seconds[:, :, 0], axis=0) * 1000
            yield (
                f"| {Path(model).stem} | {threads} | {one} / {other} | {milliseconds[a]:.1f} / {milliseconds[b]:.1f} | "
                f"{processor:.2f} ({low:.2f} to {high:.2f}) | {clock:.2f} |"
            )


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="checkpoints, or names of networks")
    parser.add_argument("--calib", type=Path, help="images to calibrate on, as y12-export takes them")
    parser.add_argument("--limit", type=int, default=16, help="of these images; latency does not depend on ranges")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--runs", type=int, default=40, help="of each session")
    arguments = parser.parse_args()
    print(f"load average {os.getloadavg()[0]:.1f} at the start", file=sys.stderr)
    print("| model | threads | forms | processor ms | ratio (middle half) | by the clock |")
    print("| --- | --- | --- | --- | --- | --- |", flush=True)
    for model in arguments.models:
        with tempfile.TemporaryDirectory() as temporary:
            for line in rows(model, arguments, Path(temporary)):
                print(line, flush=True)


if __name__ == "__main__":
    main()
