"""A device for the pipeline that needs no GPU: its memory is the host's, its kernels are the real ones behind the shim.

It is as lazy as CUDA may be: what is put on the stream happens at `synchronize` and not before, so that whoever reads
too early, or changes too early what a copy has yet to read, gets wrong numbers. A captured graph holds addresses and
values as CUDA's does. Memory lies between guard bytes and is poisoned before use and after `close`; a kernel that is
given an address of no living memory fails.
"""

import ctypes
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.runtime.kernels.shim import compiled
from y12.errors import ExecutorError, InputError
from y12.runtime.gpu.device import ArrayView, DeviceTensor, quietly

GUARD = 256
POISON = 0xFF  # as a float, NaN; as an integer, -1
SHIM = threading.Lock()  # its fibres are one program's at a time


class HostMemory:
    """Bytes that a world counts, between guards."""

    def __init__(self, world: "World", size_bytes: int, kind: str, device: "HostDevice | None" = None) -> None:
        world.check_failure(f"allocate {size_bytes} bytes of {kind} memory")
        self._world, self.size_bytes = world, max(1, size_bytes)
        self._room = np.full(self.size_bytes + 3 * GUARD, POISON, np.uint8)
        self._begin = GUARD + -self._room.ctypes.data % GUARD
        self.host = self._room[self._begin : self._begin + self.size_bytes]
        self.kind, self._device = kind, device
        world.living[self.address] = self

    @property
    def address(self) -> int:
        return self.host.ctypes.data

    def check(self) -> None:
        guards = self._room[: self._begin], self._room[self._begin + self.size_bytes :]
        assert all((guard == POISON).all() for guard in guards), f"{self.kind} memory was written outside its bounds"

    def close(self) -> None:
        if self.kind == "pinned" and self._device is not None:
            assert self._device.is_idle, "page-locked memory is freed while the stream may use it"
        del self._world.living[self.address]  # KeyError: closed twice
        self.check()
        self.host.fill(POISON)
        self._world.check_failure("free memory")


@dataclass
class World:
    """All memory, devices and graphs of a test, and the failure it asks for."""

    living: dict[int, HostMemory] = field(default_factory=dict)
    devices: int = 0
    opened: int = 0
    captures: int = 0
    launches: int = 0
    kernels_run: int = 0
    most_at_once: int = 0
    uploads: list[tuple[int, int]] = field(default_factory=list)  # address on the host, and bytes
    fail_after: int | None = None  # of the operations that can fail, how many succeed
    fail_only: str = ""
    lock: threading.RLock = field(default_factory=threading.RLock)

    def check_failure(self, doing: str) -> None:
        if self.fail_after is None or self.fail_only not in doing:
            return
        with self.lock:
            self.fail_after -= 1
            if self.fail_after < 0:
                raise ExecutorError(f"CUDA could not {doing} (it was told to fail)")

    def device(self) -> "HostDevice":
        return HostDevice(self)

    def holds(self, address: int) -> bool:
        return any(start <= address < start + memory.size_bytes for start, memory in list(self.living.items()))

    def check_clean(self) -> None:
        assert not self.living, f"{len(self.living)} pieces of memory were not freed"
        assert not self.devices, f"{self.devices} streams were not closed"


class HostDevice:
    """A stream of the world; see `y12.runtime.gpu.device.Device`."""

    device_id = 0
    description = "the host"

    def __init__(self, world: World) -> None:
        world.check_failure("open the GPU")
        self.world = world
        self._queue: list[Callable[[], None]] = []
        self._recording: list[Callable[[], None]] | None = None
        self._closed = False
        self._thread: int | None = None
        with world.lock:
            world.devices += 1
            world.opened += 1

    @property
    def stream_handle(self) -> int:
        return id(self)

    @property
    def is_idle(self) -> bool:
        return not self._queue

    def make_current(self) -> None:
        self._thread = threading.get_ident()

    def memory(self, size_bytes: int) -> HostMemory:
        with self.world.lock:
            return HostMemory(self.world, size_bytes, "device")

    def pinned(self, size_bytes: int) -> HostMemory:
        with self.world.lock:
            return HostMemory(self.world, size_bytes, "pinned", self)

    def enqueue(self, work: Callable[[], None]) -> None:
        """Put work on the stream, or into the graph that is being captured."""
        assert not self._closed, "the stream is closed"
        assert self._thread == threading.get_ident(), "the device was not made current in this thread"
        (self._queue if self._recording is None else self._recording).append(work)

    def upload(self, target: int, source: np.ndarray) -> None:
        self._check(source, "pinned")
        assert self.world.holds(target), "upload to an address of no device memory"
        self.world.uploads.append((source.ctypes.data, source.nbytes))
        self.enqueue(lambda: _copy(target, source.ctypes.data, source.nbytes))

    def download(self, target: np.ndarray, source: int) -> None:
        self._check(target, "pinned")
        assert self.world.holds(source), "download from an address of no device memory"
        self.enqueue(lambda: _copy(target.ctypes.data, source, target.nbytes))

    def _check(self, array: np.ndarray, kind: str) -> None:
        assert array.flags.c_contiguous, "only contiguous memory can be copied"
        begin, end = array.ctypes.data, array.ctypes.data + array.nbytes
        living = list(self.world.living.items())
        inside = [m for start, m in living if start <= begin and end <= start + m.size_bytes]
        assert [m.kind for m in inside] == [kind], f"expected {kind} memory on the host's side of a copy"

    def view(self, array: Any, *, ordered: bool = True) -> ArrayView:
        interface = getattr(array, "__cuda_array_interface__", None)
        if interface is None:
            raise InputError(f"expected an array on the GPU, found {type(array).__name__}")
        if ordered and getattr(array, "make", None):
            self.enqueue(array.make)  # the stream waits for the work that makes it
        dtype = np.dtype(interface["typestr"])
        return ArrayView(interface["data"][0], tuple(interface["shape"]), interface.get("strides"), dtype, array)

    def kernel(self, source: str, entry: str) -> Callable[..., None]:
        kernel = compiled(source)[entry]

        def launch(grid, block, *arguments) -> None:
            self.world.check_failure(f"launch the kernel {entry}")
            for value in arguments:
                assert not isinstance(value, int) or value == 0 or self.world.holds(value), f"{entry}: illegal address"
                assert isinstance(value, int | np.generic), f"{entry}: {type(value)} is no kernel argument"
            self.enqueue(lambda: run(grid, block, *arguments))

        def run(*arguments) -> None:
            with SHIM:
                self.world.kernels_run += 1
                kernel(*arguments)

        return launch

    def capture(self, enqueue: Callable[[], None]) -> "HostGraph":
        assert self._recording is None
        assert not self._queue, "capture while work is under way"
        self.world.check_failure("capture a graph")
        self._recording = []
        try:
            enqueue()
            work = self._recording
        finally:
            self._recording = None
        self.world.captures += 1
        return HostGraph(self, work)

    def synchronize(self) -> None:
        assert not self._closed, "the stream is closed"
        queue, self._queue = self._queue, []
        self.world.check_failure("finish the work on the stream")
        for work in queue:
            work()

    def close(self) -> None:
        assert not self._closed
        self._closed = True
        with self.world.lock:
            self.world.devices -= 1
        self.world.check_failure("close the stream")


class HostGraph:
    """What was captured."""

    def __init__(self, device: HostDevice, work: list[Callable[[], None]]) -> None:
        self._device, self._work, self._closed = device, work, False

    def launch(self) -> None:
        assert not self._closed
        self._device.world.launches += 1
        for work in self._work:
            self._device.enqueue(work)

    def close(self) -> None:
        self._closed = True


Answer = Callable[[np.ndarray], Mapping[str, np.ndarray]]


class HostNetwork:
    """A network that a function computes: (B, 3, H, W) float32 to its outputs by name."""

    description = "a function on the host"

    def __init__(self, answer: Answer, world: World | None = None, *, half: bool = False, captures: bool = True):
        self.world = world or World()
        self.answer, self.captures, self.closed = answer, captures, 0
        self.dtype = np.dtype(np.float16 if half else np.float32)
        self.contexts = 0
        self.at_work = 0

    def device(self) -> HostDevice:
        return self.world.device()

    def context(self, device: HostDevice, shape: tuple[int, int, int, int]) -> "HostContext":
        return HostContext(self, device, shape)

    def close(self) -> None:
        self.closed += 1


class HostContext:
    """The function for one shape."""

    def __init__(self, network: HostNetwork, device: HostDevice, shape: tuple[int, ...]) -> None:
        self._network, self._device = network, device
        network.world.check_failure("prepare the engine")
        network.contexts += 1
        self._memory: list[HostMemory] = []
        like = network.answer(np.zeros(shape, np.float32))
        try:
            self.images = self._tensor(shape, network.dtype)
            self.outputs = {name: self._tensor(array.shape, array.dtype) for name, array in like.items()}
        except ExecutorError:
            self.close()
            raise
        self.can_be_captured = network.captures

    def _tensor(self, shape: tuple[int, ...], dtype: np.dtype) -> DeviceTensor:
        self._memory.append(self._device.memory(int(np.prod(shape)) * np.dtype(dtype).itemsize))
        return DeviceTensor(self._memory[-1].address, tuple(shape), np.dtype(dtype))

    def enqueue(self) -> None:
        assert self.can_be_captured or self._device._recording is None
        self._device.enqueue(self._run)

    def _run(self) -> None:
        world = self._network.world
        world.check_failure("run the engine")
        with world.lock:
            self._network.at_work += 1
            world.most_at_once = max(world.most_at_once, self._network.at_work)
        images = self._memory[0].host.view(self.images.dtype).reshape(self.images.shape)
        found = self._network.answer(images.astype(np.float32))
        for memory, (name, tensor) in zip(self._memory[1:], self.outputs.items(), strict=True):
            memory.host.view(tensor.dtype).reshape(tensor.shape)[...] = found[name]
        with world.lock:
            self._network.at_work -= 1

    def close(self) -> None:
        self._network.contexts -= 1
        for memory in self._memory:
            quietly(memory.close)


class OnDevice:
    """An image that another library has on the device; `late` writes it only when the stream comes to it."""

    def __init__(self, world: World, image: np.ndarray, pitch: int | None = None, *, late: bool = False) -> None:
        height, width = image.shape[:2]
        pitch = pitch or image.shape[1] * image.shape[2]
        self._memory = HostMemory(world, height * pitch, "foreign")
        rows = self._memory.host.reshape(height, pitch)[:, : width * image.shape[2]]
        self.make = lambda: np.copyto(rows, image.reshape(rows.shape))
        if not late:
            self.make()
        self.__cuda_array_interface__ = {
            "shape": image.shape,
            "typestr": image.dtype.str,
            "data": (self._memory.address, False),
            "strides": (pitch, image.shape[2], 1),
            "version": 3,
        }

    def close(self) -> None:
        self._memory.close()


def _copy(target: int, source: int, size_bytes: int) -> None:
    ctypes.memmove(target, source, size_bytes)
