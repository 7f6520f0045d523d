"""What the host does for an inference on a GPU, on a device that does nothing at all: Python's share of the overhead.

Run: python benchmarks/gpu_host_overhead.py
A 1280x720 image, a 640x640 network with 8400 anchor points and 80 classes, 20 objects in the results. Prints one JSON
object: p50, p90 and p99 in microseconds of time.perf_counter for whole calls of `Runtime.infer` after warm-up, for an
image in page-locked memory and for any other. It needs no GPU; to what it says, a GPU adds its copies and kernels.
"""

import json
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that it runs from a checkout

from y12 import GpuOptions, Runtime
from y12.runtime.artefact.manifest import AxisRange, InputProfile, Manifest
from y12.runtime.artefact.opened import Artefact
from y12.runtime.gpu.device import DeviceTensor
from y12.runtime.kernels import nms_layout

OBJECTS, CLASSES, ANCHORS, SIDE = 20, 80, 8400, 640
WARMUP, ITERATIONS = 300, 3000
RESULT = nms_layout.result_dtype(300, 4)


class Memory:
    """Memory on both sides at once."""

    def __init__(self, size_bytes: int) -> None:
        self.host = np.zeros(max(1, size_bytes), np.uint8)
        self.address = self.host.ctypes.data

    def close(self) -> None:
        """Do nothing."""


class IdleDevice:
    """A `y12.runtime.gpu.device.Device` whose stream has nothing to do; the results lie there already."""

    description, device_id, stream_handle = "a device that does nothing", 0, 0

    def make_current(self) -> None:
        """Do nothing."""

    def memory(self, size_bytes: int) -> Memory:
        """Return memory."""
        return Memory(size_bytes)

    pinned = memory

    def upload(self, target: int, source: NDArray[Any]) -> None:
        """Do nothing."""

    def download(self, target: NDArray[Any], source: int) -> None:
        """Write the results once, where they are downloaded to."""
        if target.nbytes >= RESULT.itemsize:
            result = target[: RESULT.itemsize].view(RESULT)[0]
            result["header"]["count"] = OBJECTS
            result["rows"]["score"][:OBJECTS] = np.linspace(0.9, 0.3, OBJECTS)
            result["rows"]["box"][:OBJECTS] = (100, 200, 150, 260)

    def kernel(self, source: str, entry: str) -> Callable[..., None]:
        """Return a kernel that does nothing."""
        return lambda *arguments: None

    def capture(self, enqueue: Callable[[], None]) -> "IdleDevice":
        """Return a graph that does nothing."""
        return self

    def launch(self) -> None:
        """Do nothing."""

    def synchronize(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class IdleContext:
    """A `DeviceContext` that does nothing."""

    can_be_captured = True

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.images = DeviceTensor(256, shape, np.dtype(np.float32))
        self.outputs = {"output0": DeviceTensor(256, (shape[0], 4 + CLASSES, ANCHORS), np.dtype(np.float32))}

    def enqueue(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class IdleNetwork:
    """A `DeviceNetwork` that does nothing."""

    description = "a network that does nothing"

    def device(self) -> IdleDevice:
        """Return a device."""
        return IdleDevice()

    def context(self, device: Any, shape: tuple[int, ...]) -> IdleContext:
        """Return a context."""
        return IdleContext(shape)

    def close(self) -> None:
        """Do nothing."""


def main() -> None:
    """Measure and print."""
    one, side = AxisRange(1, 1, 1), AxisRange(SIDE, SIDE, SIDE)
    names = tuple(f"class {i}" for i in range(CLASSES))
    artefact = Artefact(
        Path("idle.engine"), "engine", Manifest("detect", names, (8, 16, 32), InputProfile(one, side, side)), ""
    )
    with Runtime(artefact, IdleNetwork(), gpu=GpuOptions(contexts=1)) as runtime:
        frames = {"pinned": runtime.image_buffer(720, 1280), "numpy": np.zeros((720, 1280, 3), np.uint8)}
        assert len(runtime.infer(frames["numpy"])) == OBJECTS
        found = {name: measure(lambda frame=frame: runtime.infer(frame)) for name, frame in frames.items()}
    machine = f"{platform.machine()}, Python {platform.python_version()}, numpy {np.__version__}"
    print(json.dumps({"unit": "microseconds", "machine": machine, "calls": found}, indent=2))


def measure(call: Callable[[], object]) -> dict[str, float]:
    """Time calls."""
    times = []
    for i in range(WARMUP + ITERATIONS):
        begin = perf_counter()
        call()
        if i >= WARMUP:
            times.append((perf_counter() - begin) * 1e6)
    return {f"p{q}": round(float(np.percentile(times, q)), 1) for q in (50, 90, 99)}


if __name__ == "__main__":
    main()
