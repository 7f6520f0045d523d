"""INT8 against FP32, both in the form for CPUs, in ONNX Runtime on this CPU: figures for docs/benchmarks.md.

    python benchmarks/int8_cpu.py yolo11n.pt yolov12n.pt --calib coco128/images/train2017

Each model is exported twice; the two sessions run in turns, so that what else the machine does meets both. What
counts is the median of the ratios of neighbouring runs. Progress goes to stderr, the table to stdout.
"""

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from y12.exporter.export_config import ExportConfig, Int8Options
from y12.exporter.export_pipeline import export
from y12.exporter.precision.quantization_options import CalibrationOptions, QuantizeOptions
from y12.runtime.backends.onnx_runtime import import_onnxruntime

onnxruntime = import_onnxruntime()  # how its threads wait, the executor does not let one choose

WARM_UP = 5
# Threads that still wait for work after a run would take the other session's cores.
STOP_WAITING = ("session.force_spinning_stop", "1")
INTEGER = ("QLinearConv", "ConvInteger")

Run = Callable[[], float]  # gives seconds


def exported(model: Path, arguments: argparse.Namespace, folder: Path) -> tuple[Path, Path]:
    """Export a checkpoint as FP32 and as INT8 for ONNX Runtime."""
    int8 = Int8Options(
        arguments.calib,
        CalibrationOptions(arguments.method, symmetric=False),
        QuantizeOptions("cpu"),
        limit=arguments.limit,
    )
    configs = (
        ExportConfig(str(model), form="cpu", verify=None, output=folder),
        ExportConfig(str(model), precision="int8", int8=int8, verify=None, output=folder),
    )
    first, second = (Path(export(config, lambda _stage: contextlib.nullcontext()).artefact) for config in configs)
    return first, second


def integer_share(artefact: Path, folder: Path) -> str:
    """Return how many of the convolutions ONNX Runtime computes in integers."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath, options.log_severity_level = str(folder / "optimised.onnx"), 4
    onnxruntime.InferenceSession(str(artefact), options, providers=["CPUExecutionProvider"])
    kinds = [node.op_type for node in onnx.load(folder / "optimised.onnx").graph.node]
    integer = sum(kind in INTEGER for kind in kinds)
    return f"{integer} of {integer + sum(kind in ('Conv', 'FusedConv') for kind in kinds)}"


def opened(artefact: Path, threads: int) -> Run:
    """Open a session and give what runs it once on noise."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 4
    options.add_session_config_entry(*STOP_WAITING)
    session = onnxruntime.InferenceSession(str(artefact), options, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    image = np.random.Generator(np.random.PCG64(0)).random(given.shape, dtype=np.float32)

    def run() -> float:
        started = time.perf_counter()
        session.run(None, {given.name: image})
        return time.perf_counter() - started

    return run


def in_turns(fp32: Run, int8: Run, runs: int) -> NDArray[np.float64]:
    """Return the milliseconds of both, (runs, 2)."""
    return np.array([(fp32() * 1000, int8() * 1000) for _ in range(runs)])


def rows(model: Path, arguments: argparse.Namespace, folder: Path) -> Iterator[str]:
    """Yield the table's lines for one model."""
    fp32, int8 = exported(model, arguments, folder)
    size, share = int8.stat().st_size / fp32.stat().st_size, integer_share(int8, folder)
    for threads in arguments.threads:
        pair = opened(fp32, threads), opened(int8, threads)
        in_turns(*pair, WARM_UP)
        rounds = []
        for number in range(arguments.rounds):
            rounds.append(in_turns(*pair, arguments.runs))
            ratio = np.median(rounds[-1][:, 1] / rounds[-1][:, 0])
            print(f"{model.stem}, {threads} threads, round {number + 1}: {ratio:.3f}", file=sys.stderr, flush=True)
        times = np.concatenate(rounds)
        each = [float(np.median(one[:, 1] / one[:, 0])) for one in rounds]
        p50, ratio = np.median(times, axis=0), np.median(times[:, 1] / times[:, 0])
        yield (
            f"| {model.stem} | {threads} | {p50[0]:.1f} | {p50[1]:.1f} | {ratio:.2f} ({min(each):.2f} to "
            f"{max(each):.2f}) | {share} | {size:.3f} |"
        )


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="+", help="checkpoints")
    parser.add_argument("--calib", type=Path, required=True, help="images to calibrate on, as y12-export takes them")
    parser.add_argument("--limit", type=int, default=16, help="of these images; latency does not depend on ranges")
    parser.add_argument("--method", default="mse", help="of calibration")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--runs", type=int, default=40, help="of each session, a round")
    arguments = parser.parse_args()
    print(f"load average {os.getloadavg()[0]:.1f} at the start", file=sys.stderr)
    print("| model | threads | FP32 ms | INT8 ms | INT8 / FP32 (by round) | convolutions INT8 | file, of FP32 |")
    print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)
    for model in arguments.models:
        with tempfile.TemporaryDirectory() as temporary:
            for line in rows(model, arguments, Path(temporary)):
                print(line, flush=True)


if __name__ == "__main__":
    main()
