"""Simplify a graph: onnxsim first, then y12's own passes, and a check that the result still computes the same."""

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from y12.errors import GraphError, Y12Error
from y12.exporter.graph.align_channels import align_channels
from y12.exporter.graph.cpu.attention import map_attention
from y12.exporter.graph.cpu.expectation import power_expectations
from y12.exporter.graph.expectation import sum_expectations
from y12.exporter.graph.foreign.attention import fuse_attention
from y12.exporter.graph.foreign.softmax import write_softmax
from y12.exporter.graph.passes import Pass, PassReport, run_passes
from y12.exporter.graph.split_convs import split_convs
from y12.runtime.artefact.manifest import InputProfile
from y12.runtime.backends.onnx_runtime import OrtExecutor, refuse_telemetry
from y12.runtime.executor import Executor

__all__ = [
    "FOREIGN_PASSES",
    "OWN_PASSES",
    "SimplifyReport",
    "check_same_result",
    "checked_shapes",
    "cpu_passes",
    "simplify",
]

OWN_PASSES: tuple[Pass, ...] = (sum_expectations, split_convs, align_channels)
# Of a graph that was given: what `y12.exporter.trace.deploy` does to a network comes first.
FOREIGN_PASSES: tuple[Pass, ...] = (write_softmax, fuse_attention, *OWN_PASSES)
_OF_ATTENTION = (fuse_attention.__name__, map_attention.__name__)


def cpu_passes(*, foreign: bool, integers: bool) -> tuple[Pass, ...]:
    """Return the passes of a graph that ONNX Runtime is to run on a CPU.

    Args:
        foreign: it was given, and not traced.
        integers: INT8 is to be made of it, which writes the expectations itself, by the ranges of their bins.
    """
    first: tuple[Pass, ...] = (write_softmax,) if foreign else ()
    last: tuple[Pass, ...] = () if integers else (power_expectations,)
    return (*first, map_attention, *OWN_PASSES, *last)


# FP32 sums in another order: 2e-7 was measured for these networks, and two right implementations of them differ by
# up to 3e-5. An error in a pass moves results by orders of magnitude more than this.
MAX_RELATIVE_DIFFERENCE = 1e-4
# The least change of an input that FP32 can be expected to notice: two units in the last place.
NUDGE = np.float32(1 + 2**-22)
# A second implementation rounds at every layer, the nudge only at the first: measured up to 5 times its effect.
ROUNDINGS = 20.0
# A channel that is smaller everywhere counts as this large: ONNX Runtime's sigmoid is off by up to 2.1e-7, which is
# more than the limit would allow a class that scores 2e-3 at most.
_LEAST_SCALE = 5e-3


@dataclass(frozen=True)
class SimplifyReport:
    """What simplification did.

    Attributes:
        nodes_before, nodes_after: of the whole graph.
        passes: one entry a pass, onnxsim first, in the order they ran.
        difference: the largest difference to the unsimplified graph, relative to each channel's largest value; None
            where it was not looked for.
        seconds: it took, without the check; None where a report leaves times out.
    """

    nodes_before: int
    nodes_after: int
    passes: tuple[PassReport, ...]
    difference: float | None
    seconds: float | None

    @property
    def words(self) -> str:
        """What was done, and whether the result is the same."""
        passes = ", ".join(f"{done.name} {done.changes}" for done in self.passes)
        same = "not run to compare" if self.difference is None else f"same result to {self.difference:.1e}"
        return f"({passes}); {same}"

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user must be told: why an attention was left in a form that may not fuse, or is slower on a CPU."""
        refused = [reason for done in self.passes if done.name in _OF_ATTENTION for reason in done.refused]
        return tuple(f"an attention was left as it is: {reason}" for reason in refused)


def simplify(
    model: onnx.ModelProto, profile: InputProfile, passes: tuple[Pass, ...] | None = None, *, check: bool = True
) -> tuple[onnx.ModelProto, SimplifyReport]:
    """Return a simplified copy of a graph and a report of what changed.

    Args:
        model: an FP32 graph.
        profile: the input shapes; the check runs at `checked_shapes` of it.
        passes: to run behind onnxsim; `OWN_PASSES` where None.
        check: run both graphs and compare what they compute.

    Raises:
        GraphError: a pass failed, or the simplified graph computes something else.
    """
    started = time.perf_counter()
    nodes_before = len(model.graph.node)
    current = _simplified_by_onnxsim(model)
    onnxsim = PassReport("onnxsim", nodes_before - len(current.graph.node))
    reports = run_passes(current, OWN_PASSES if passes is None else passes, [onnxsim])
    seconds = time.perf_counter() - started
    difference = check_same_result(model, current, profile) if check else None
    return current, SimplifyReport(nodes_before, len(current.graph.node), tuple(reports), difference, seconds)


def _simplified_by_onnxsim(model: onnx.ModelProto) -> onnx.ModelProto:
    refuse_telemetry()
    import onnxsim

    try:
        with quiet_native_output():
            simplified: onnx.ModelProto
            simplified, _ = onnxsim.simplify(model, check_n=0)  # our own check covers the whole chain
    # onnxsim raises whatever its C++ part throws.
    except Exception as error:
        raise GraphError(f"onnxsim failed ({error!s:.200}); --no-simplify leaves it out") from error
    return simplified


@contextlib.contextmanager
def quiet_native_output() -> Iterator[None]:
    """Keep what a C++ library prints, past Python, off the terminal.

    onnxsim prints a warning for each shape it cannot fold, which on a dynamic graph are dozens and mean nothing.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    saved = [os.dup(fd) for fd in (1, 2)]
    try:
        with open(os.devnull, "wb") as sink:
            for fd in (1, 2):
                os.dup2(sink.fileno(), fd)
            yield
    finally:
        for fd, old in zip((1, 2), saved, strict=True):
            os.dup2(old, fd)
            os.close(old)


def check_same_result(original: onnx.ModelProto, simplified: onnx.ModelProto, profile: InputProfile) -> float:
    """Return the largest relative difference of two graphs over `checked_shapes`, both run on the same seeded noise.

    A graph whose own output moves beyond the limit when its input is changed by a rounding error may differ by a
    multiple of that movement: how its layers round hangs on the processor, which kernels differ for the two graphs.

    Raises:
        GraphError: they differ by more than `MAX_RELATIVE_DIFFERENCE` and that multiple, or one cannot be run.
    """
    try:
        reference, candidate = (OrtExecutor(m.SerializeToString(), provider="cpu") for m in (original, simplified))
        return max(_checked_difference(reference, candidate, shape) for shape in checked_shapes(profile))
    except Y12Error as error:
        if isinstance(error, GraphError):
            raise
        raise GraphError(f"simplification left a graph that cannot be run: {error}") from error


def checked_shapes(profile: InputProfile) -> list[tuple[int, int, int, int]]:
    """Return the (B, 3, H, W) to check a graph at: the one it is tuned for, and where axes are free a small one.

    A size that tracing or a pass made a constant is right at one shape only; a batch above one shows whether
    images of a batch mix.
    """
    batch, height, width = profile.batch, profile.height, profile.width
    tuned = (batch.opt, 3, height.opt, width.opt)
    small = (min(batch.min + 1, batch.max), 3, height.min, width.min)
    return [tuned] if small == tuned else [tuned, small]


def _checked_difference(reference: Executor, candidate: Executor, shape: tuple[int, ...]) -> float:
    """Return the difference at one shape, where it is within the limit."""
    images = np.random.Generator(np.random.PCG64(0)).random(shape, dtype=np.float32)
    expected = reference.run(images)
    difference = _difference(expected, candidate.run(images))
    if difference <= MAX_RELATIVE_DIFFERENCE:
        return difference
    limit = max(MAX_RELATIVE_DIFFERENCE, ROUNDINGS * _difference(expected, reference.run(images * NUDGE)))
    if not difference <= limit:
        raise GraphError(
            f"simplification changed the result: expected a relative difference of at most {limit:.3g}, "
            f"found {difference:.3g}; --no-simplify leaves it out"
        )
    return difference


def _difference(expected: dict[str, NDArray[np.float32]], actual: dict[str, NDArray[np.float32]]) -> float:
    if expected.keys() != actual.keys():
        raise GraphError(f"simplification changed the outputs from {sorted(expected)} to {sorted(actual)}")
    return max(relative_difference(expected[name], actual[name]) for name in expected)


def relative_difference(expected: NDArray[np.float32], actual: NDArray[np.float32]) -> float:
    """Return the largest |a - b| relative to the largest |a| of its channel (axis 1), or to `_LEAST_SCALE` if more.

    Each class's scores are a channel. A class that is nowhere in the images scores far below 1; beside 1, a fault in
    its branch would not be seen.
    """
    if expected.shape != actual.shape:
        return float("inf")
    axes = tuple(axis for axis in range(expected.ndim) if axis != 1)
    scale = np.maximum(_LEAST_SCALE, np.abs(expected).max(axis=axes, keepdims=True, initial=0.0))
    return float((np.abs(expected - actual) / scale).max(initial=0.0))
