"""CUDA through cuda-core: a GPU with one stream, memory on both sides, kernels, captured graphs.

The only file that meets the driver. Each of its failures leaves here as one ExecutorError.
"""

import contextlib
import ctypes
import functools
import importlib
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from y12.errors import ExecutorError, InputError
from y12.runtime.gpu.device import ArrayView
from y12.runtime.kernels.nvrtc import compile_cubin, cuda_core
from y12.runtime.kernels.sources import kernel_source
from y12.text import one_line

DRIVER = "libcuda.so.1"


class Gpu:
    """One GPU with a stream of its own; a `y12.runtime.gpu.device.Device`.

    Several may be open, also of one GPU: each thread that works at the same time needs its own.

    Args:
        device_id: which GPU, as CUDA counts those that CUDA_VISIBLE_DEVICES leaves.

    Attributes:
        core: the module `cuda.core`.
        device: its `Device`.
        stream: its `Stream`.

    Raises:
        ExecutorError: there is no driver or no such GPU, or the driver failed.
        MissingPackageError: cuda-core is not installed.
    """

    def __init__(self, device_id: int = 0) -> None:
        self.core = _load_core()
        with _translated("count the GPUs"):
            count = len(self.core.Device.get_all_devices())
        if not 0 <= device_id < count:
            raise ExecutorError(f"GPU: expected a number from 0 to {count - 1}, as nvidia-smi lists, found {device_id}")
        with _translated("open the GPU"):
            self.device: Any = self.core.Device(device_id)
            self.device.set_current()
            self.stream: Any = self.device.create_stream()

    @property
    def description(self) -> str:
        """The GPU's name and compute capability, such as "NVIDIA L4, SM 89"."""
        with _translated("name the GPU"):
            return f"{self.device.name}, SM {self.sm}"

    @property
    def device_id(self) -> int:
        """Which GPU, as CUDA counts."""
        return int(self.device.device_id)

    @property
    def sm(self) -> int:
        """The compute capability, tens and ones, such as 89."""
        with _translated("read the compute capability"):
            major, minor = self.device.compute_capability
            return 10 * int(major) + int(minor)

    @property
    def stream_handle(self) -> int:
        """The address of the stream, for libraries that work on it."""
        return int(self.stream.handle)

    def make_current(self) -> None:
        """Let the calling thread work on this GPU."""
        with _translated("make the GPU current"):
            self.core.Device(self.device_id).set_current()  # cuda-core has one Device object a thread

    def synchronize(self) -> None:
        """Wait until everything on the stream is done."""
        with _translated("finish the work on the stream"):
            self.stream.sync()

    def memory(self, size_bytes: int) -> "GpuMemory":
        """Take memory on the GPU, 256-byte aligned and not initialised."""
        return GpuMemory(self, size_bytes)

    def pinned(self, size_bytes: int) -> "GpuPinned":
        """Take page-locked memory on the host."""
        return GpuPinned(self, size_bytes)

    def upload(self, target: int, source: NDArray[Any]) -> None:
        """Copy a contiguous array in page-locked memory to the address `target`, in stream order."""
        with _translated("copy to the GPU"):
            self._buffer(target, source).copy_from(self._buffer(source.ctypes.data, source), stream=self.stream)

    def download(self, target: NDArray[Any], source: int) -> None:
        """Copy from the address `source` to a contiguous array in page-locked memory, in stream order."""
        with _translated("copy from the GPU"):
            self._buffer(source, target).copy_to(self._buffer(target.ctypes.data, target), stream=self.stream)

    def _buffer(self, address: int, like: NDArray[Any]) -> Any:
        """Name memory that somebody else keeps, as large as `like`."""
        return self.core.Buffer.from_handle(address, like.nbytes)

    def kernel(self, source: str, entry: str) -> "GpuKernel":
        """Return the kernel `entry` of runtime/kernels/`source`.cu; compiled and loaded once a process."""
        return GpuKernel(self, source, entry)

    def capture(self, enqueue: Callable[[], None]) -> "GpuGraph":
        """Record what `enqueue` puts on the stream, without running it."""
        return GpuGraph(self, enqueue)

    def elapsed_ms(self, enqueue: Callable[[], None]) -> float:
        """Time what `enqueue` puts on the stream, by CUDA events before and after it; waits for it.

        The GPU's clock runs from the first event on: where it waits for the host in between, that is in the time.
        """
        with _translated("time the work on the stream"):
            timed = self.core.EventOptions(timing_enabled=True)
            begin: Any = self.stream.record(options=timed)
            enqueue()
            end: Any = self.stream.record(options=timed)
            end.sync()
            return float(end - begin)

    def view(self, array: object, *, ordered: bool = True) -> ArrayView:
        """Look at an array that another library has on this GPU, by DLPack or `__cuda_array_interface__`.

        Args:
            array: it must live as long as the view is used.
            ordered: let the stream wait for the work that makes the array.

        Raises:
            InputError: it is not an array on this GPU, or cannot be looked at (one that needs a gradient).
        """
        utils = importlib.import_module("cuda.core.utils")
        kind = f"{type(array).__module__}.{type(array).__qualname__}"
        try:
            view = utils.StridedMemoryView.from_any_interface(array, stream_ptr=self.stream_handle if ordered else -1)
        except Exception as error:  # cuda-core passes on what the other library raises
            raise InputError(f"expected an array on the GPU, found {kind}: {one_line(str(error))}") from error
        if not view.is_device_accessible or view.device_id != self.device_id:
            raise InputError(
                f"expected an array on GPU {self.device_id}, which runs the engine, found {kind} on "
                f"{'the host' if not view.is_device_accessible else f'GPU {view.device_id}'}: copy it there"
            )
        dtype, shape = np.dtype(view.dtype), tuple(map(int, view.shape))
        strides = None if view.strides is None else tuple(int(n) * dtype.itemsize for n in view.strides)
        return ArrayView(int(view.ptr), shape, strides, dtype, view)

    def close(self) -> None:
        """Free the stream."""
        with _translated("close the stream"):
            self.stream.close()


class GpuMemory:
    """Memory on a GPU, at `address` until `close`."""

    def __init__(self, gpu: Gpu, size_bytes: int) -> None:
        self._stream = gpu.stream
        with _translated(f"allocate {size_bytes} bytes on the GPU"):
            self._buffer: Any = gpu.device.allocate(max(1, size_bytes), stream=gpu.stream)

    @property
    def address(self) -> int:
        """The device address."""
        return int(self._buffer.handle)

    def close(self) -> None:
        """Free the memory, in stream order."""
        with _translated("free memory"):
            self._buffer.close(self._stream)


class GpuPinned:
    """Page-locked memory on the host.

    Attributes:
        host: (n,) uint8; must not be used after `close`.
    """

    def __init__(self, gpu: Gpu, size_bytes: int) -> None:
        with _translated(f"lock {size_bytes} bytes of the host's memory"):
            self._buffer: Any = gpu.core.LegacyPinnedMemoryResource().allocate(max(1, size_bytes))
        pointer = (ctypes.c_uint8 * size_bytes).from_address(int(self._buffer.handle))
        self.host: NDArray[np.uint8] = np.frombuffer(memoryview(pointer), np.uint8)

    def close(self) -> None:
        """Free the memory; nothing on a stream may use it any more."""
        with _translated("free page-locked memory"):
            self._buffer.close()


class GpuKernel:
    """A kernel on a GPU, launched in stream order.

    Attributes:
        name: its entry point's.
    """

    def __init__(self, gpu: Gpu, source: str, entry: str) -> None:
        self.name, self._core, self._stream = entry, gpu.core, gpu.stream
        with _translated(f"load the kernel {entry}"):
            self._kernel: Any = _loaded_code(source, gpu.sm).get_kernel(entry)

    def __call__(self, grid: tuple[int, ...], block: tuple[int, ...], *arguments: "int | np.generic[Any]") -> None:
        """Launch in stream order; an int is a device address, a numpy scalar a value of its own size."""
        with _translated(f"launch the kernel {self.name}"):
            config = self._core.LaunchConfig(grid=grid, block=block)
            self._core.launch(self._stream, config, self._kernel, *arguments)


class GpuGraph:
    """What was put on a GPU's stream by a function, as a CUDA graph: one launch replays it."""

    def __init__(self, gpu: Gpu, enqueue: Callable[[], None]) -> None:
        self._stream = gpu.stream
        with _translated("begin to capture a graph"):
            builder: Any = self._stream.create_graph_builder()
            builder.begin_building(mode="relaxed")  # TensorRT may allocate while it enqueues
        try:
            enqueue()
        except BaseException:
            with contextlib.suppress(Exception):  # why it failed is told already
                builder.close()  # which ends the capture
            raise
        with _translated("capture a graph"):
            self._graph: Any = builder.end_building().complete()
            builder.close()

    def launch(self) -> None:
        """Replay, in stream order."""
        with _translated("replay a graph"):
            self._graph.launch(self._stream)

    def close(self) -> None:
        """Free the graph, after the work that is under way."""
        with _translated("free a graph"):
            self._stream.sync()
            self._graph.close()


@functools.cache
def _loaded_code(source: str, sm: int) -> Any:
    """Load a kernel source's code; CUDA loads it into each GPU's context when it is first launched there."""
    return cuda_core("kernels on the GPU").ObjectCode.from_cubin(compile_cubin(kernel_source(source), sm))


def _load_core() -> ModuleType:
    try:
        ctypes.CDLL(DRIVER)
    except OSError as error:
        raise ExecutorError(
            f"expected an NVIDIA driver ({DRIVER}), found none: run the engine on a machine with an NVIDIA "
            "GPU and its driver, or run the .onnx, which needs neither"
        ) from error
    return cuda_core("an engine on the GPU")


def gpu_names() -> tuple[str, ...]:
    """Return the names of the GPUs as CUDA counts them; none without a driver, or where it finds none.

    The driver is asked without cuda-core, which whoever runs an .onnx on CUDA need not have.
    """
    count, name = ctypes.c_int(0), ctypes.create_string_buffer(256)
    try:
        driver = ctypes.CDLL(DRIVER)
    except OSError:
        return ()
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return ()
    names: list[str] = []
    for number in range(count.value):
        failed = driver.cuDeviceGetName(name, len(name), number)  # devices are their numbers
        names.append("a GPU" if failed else one_line(name.value.decode(errors="replace"), 60))
    return tuple(names)


@contextlib.contextmanager
def _translated(doing: str) -> Iterator[None]:
    """Turn what cuda-core raises into one ExecutorError; it has no public parent class for its errors."""
    try:
        yield
    except ExecutorError:
        raise
    except Exception as error:
        raise ExecutorError(
            f"CUDA could not {doing} ({type(error).__name__}: {one_line(str(error))}): "
            "check with nvidia-smi that a GPU is there and its memory is not full"
        ) from error
