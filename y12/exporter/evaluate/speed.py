"""How long runs take, in turns, so that a busy moment of the machine falls on all alike."""

from collections.abc import Mapping
from contextlib import ExitStack
from time import perf_counter

import numpy as np
import onnx

from y12.exporter.engine.build_engine import BuiltEngine
from y12.exporter.evaluate.results import Speed
from y12.runtime.artefact.manifest import InputProfile
from y12.runtime.backends.onnx_runtime import OrtExecutor
from y12.runtime.backends.tensorrt.executor import TrtExecutor
from y12.runtime.executor import Executor

__all__ = ["speeds", "speeds_of"]

_WARM_UP, _RUNS, _LEAST_RUNS, _SECONDS = 2, 50, 5, 20.0


def speeds_of(
    executors: Mapping[str, Executor], profile: InputProfile, *, seconds: float = _SECONDS
) -> tuple[Speed, ...]:
    """Return how long executors take on gray images, of the batch and the size that the artefact is tuned for.

    Each is run 50 times, or as often as `seconds` allow, but five times at least.

    Args:
        executors: by what runs, such as "INT8 ONNX"; what it runs in is added.
        profile: of the input.
        seconds: after which no further turn is begun.
    """
    images = np.full((profile.batch.opt, 3, *profile.opt_hw), 0.5, np.float32)
    times_ms: dict[str, list[float]] = {name: [] for name in executors}
    started = perf_counter()
    for run in range(_WARM_UP + _RUNS):
        for name, executor in executors.items():
            run_started = perf_counter()
            executor.run(images)
            if run >= _WARM_UP:
                times_ms[name].append((perf_counter() - run_started) * 1e3)
        if run + 1 >= _WARM_UP + _LEAST_RUNS and perf_counter() - started > seconds:
            break
    return tuple(
        Speed(f"{name} in {executors[name].description}", float(np.median(ms)), float(np.percentile(ms, 90)), len(ms))
        for name, ms in times_ms.items()
    )


def speeds(
    simplified: onnx.ModelProto,
    typed: onnx.ModelProto,
    built: BuiltEngine | None,
    precision: str,
    profile: InputProfile,
) -> tuple[Speed, ...]:
    """Return how long the engine takes on the GPU at hand, or without one the graph beside FP32's in ONNX Runtime."""
    executors: dict[str, Executor] = {}
    with ExitStack() as stack:
        if built is not None:
            executors[f"{precision.upper()} engine"] = TrtExecutor(built.plan)
            stack.callback(executors[f"{precision.upper()} engine"].close)
        else:
            for name, graph in {"FP32": simplified, precision.upper(): typed}.items():
                executors[f"{name} ONNX"] = OrtExecutor(graph.SerializeToString(), "cpu")
                stack.callback(executors[f"{name} ONNX"].close)
        return speeds_of(executors, profile)
