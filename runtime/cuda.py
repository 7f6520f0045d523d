"""CUDA through cuda-core: the current GPU with one stream, buffers with a device side and a host side, kernels.

The only file that meets cuda-core. Each failure of the driver or the compiler leaves here as one ExecutorError.
"""

import contextlib
import ctypes
import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from runtime.errors import ExecutorError, MissingPackageError
from runtime.kernels.cache import cache_dir, cached

DRIVER = "libcuda.so.1"


def one_line(text: str, limit: int = 300) -> str:
    """Give `text` on one line of at most `limit` characters."""
    return " ".join(text.split())[:limit]


class Gpu:
    """The current GPU, with a stream of its own.

    Attributes:
        core: the module `cuda.core`.
        device: its `Device`.
        stream: its `Stream`.

    Raises:
        ExecutorError: there is no driver or no GPU, or the driver failed.
        MissingPackageError: cuda-core is not installed.
    """

    def __init__(self) -> None:
        self.core = _load_core()
        with _translated("open the GPU"):
            self.device: Any = self.core.Device()
            self.device.set_current()
            self.stream: Any = self.device.create_stream()

    @property
    def description(self) -> str:
        """The GPU's name and compute capability, such as "NVIDIA L4, SM 89"."""
        with _translated("name the GPU"):
            return f"{self.device.name}, SM {self.device.arch}"

    @property
    def stream_handle(self) -> int:
        """The address of the stream, for libraries that work on it."""
        return int(self.stream.handle)

    def make_current(self) -> None:
        """Let the calling thread work on this GPU."""
        with _translated("make the GPU current"):
            self.core.Device(self.device.device_id).set_current()  # cuda-core has one Device object a thread

    def synchronize(self) -> None:
        """Wait until everything on the stream is done."""
        with _translated("finish the work on the stream"):
            self.stream.sync()

    def allocate(self, shape: tuple[int, ...], dtype: DTypeLike) -> "StagedArray":
        """Make an array that lives on the device and on the host."""
        return StagedArray(self, shape, dtype)

    def load_kernel(self, cubin: bytes, name: str) -> "GpuKernel":
        """Load a kernel of a cubin that `compile_cubin` made for this GPU's `sm`."""
        return GpuKernel(self, cubin, name)

    @property
    def sm(self) -> int:
        """The compute capability, tens and ones, such as 89."""
        with _translated("read the compute capability"):
            major, minor = self.device.compute_capability
            return 10 * int(major) + int(minor)

    def close(self) -> None:
        """Free the stream."""
        with _translated("close the stream"):
            self.stream.close()


class StagedArray:
    """An array in device memory with a page-locked twin on the host, which makes copies asynchronous.

    Attributes:
        shape: its shape.
        dtype: its type.
        host: the twin, to be written before `upload` or read after `download` and `Gpu.synchronize`.
    """

    def __init__(self, gpu: Gpu, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        self.shape, self.dtype, self._stream = shape, np.dtype(dtype), gpu.stream
        size_bytes = int(np.prod(shape)) * self.dtype.itemsize
        with (
            contextlib.ExitStack() as undo,
            _translated(f"allocate {size_bytes} bytes on the GPU and on the host"),
        ):
            self._pinned: Any = gpu.core.LegacyPinnedMemoryResource().allocate(size_bytes)
            undo.callback(self._pinned.close)
            self._memory: Any = gpu.device.allocate(size_bytes, stream=gpu.stream)
            undo.pop_all()
        view = memoryview((ctypes.c_uint8 * size_bytes).from_address(int(self._pinned.handle)))
        self.host: NDArray[Any] = np.frombuffer(view, self.dtype).reshape(shape)

    @property
    def address(self) -> int:
        """The device address."""
        return int(self._memory.handle)

    def upload(self) -> None:
        """Copy host to device, in stream order."""
        with _translated("copy to the GPU"):
            self._memory.copy_from(self._pinned, stream=self._stream)

    def download(self) -> None:
        """Copy device to host, in stream order."""
        with _translated("copy from the GPU"):
            self._memory.copy_to(self._pinned, stream=self._stream)

    def close(self) -> None:
        """Free both sides; `host` must not be used any more."""
        with _translated("free memory"):
            self._stream.sync()
            self._memory.close(self._stream)
            self._pinned.close()


class GpuKernel:
    """A kernel on a GPU.

    Attributes:
        name: its entry point's.
    """

    def __init__(self, gpu: Gpu, cubin: bytes, name: str) -> None:
        self.name, self._core, self._stream = name, gpu.core, gpu.stream
        with _translated(f"load the kernel {name}"):
            self._kernel: Any = gpu.core.ObjectCode.from_cubin(cubin).get_kernel(name)

    def __call__(self, grid: tuple[int, ...], block: tuple[int, ...], *arguments: "int | np.generic[Any]") -> None:
        """Launch in stream order; an int is a device address, a numpy scalar a value of its own size."""
        with _translated(f"launch the kernel {self.name}"):
            config = self._core.LaunchConfig(grid=grid, block=block)
            self._core.launch(self._stream, config, self._kernel, *arguments)


def compile_cubin(source: str, sm: int, folder: Path | None = None) -> bytes:
    """Compile CUDA C++ for one GPU generation with NVRTC, which needs no GPU; kept on disk and compiled once.

    Products and sums are not contracted (fma), so that FP32 results equal those of the kernels' numpy twins.

    Args:
        source: without includes.
        sm: compute capability, tens and ones, such as 89.
        folder: to keep the code in; None takes `runtime.kernels.cache.cache_dir()`.

    Raises:
        ExecutorError: NVRTC refused the source, or does not know the GPU generation.
        MissingPackageError: cuda-core or NVRTC is not installed.
    """
    core = _import_core("kernels on the GPU")
    options = {"arch": f"sm_{sm}", "std": "c++17", "fma": False}

    def build() -> bytes:
        try:
            program = core.Program(source, "c++", core.ProgramOptions(**options))
            try:
                return bytes(program.compile("cubin").code)
            finally:
                del program  # held by a traceback, it would be freed by the collector of cycles, where cuda-core fails
        except Exception as error:  # cuda-core has no public parent class for its errors
            raise ExecutorError(
                f"NVRTC could not compile a kernel for SM {sm} ({one_line(str(error).replace(chr(0), ''))}): "
                "expected a GPU generation that the installed nvidia-cuda-nvrtc knows; update it"
            ) from error

    return cached((source, repr(sorted(options.items())), _nvrtc_version()), build, folder or cache_dir())


def _nvrtc_version() -> str:
    try:
        result, major, minor = importlib.import_module("cuda.bindings.nvrtc").nvrtcVersion()
    except Exception as error:  # cuda-bindings or the library it opens is missing; each has an error of its own
        raise MissingPackageError("nvidia-cuda-nvrtc", "gpu", "compiling kernels for the GPU") from error
    if int(result):
        raise ExecutorError(f"expected NVRTC to tell its version, found {result}: install nvidia-cuda-nvrtc again")
    return f"{major}.{minor}"


def _load_core() -> ModuleType:
    try:
        ctypes.CDLL(DRIVER)
    except OSError as error:
        raise ExecutorError(
            f"expected an NVIDIA driver ({DRIVER}), found none: run the engine on a machine with an NVIDIA "
            "GPU and its driver, or run the .onnx, which needs neither"
        ) from error
    return _import_core("an engine on the GPU")


def _import_core(needed_for: str) -> ModuleType:
    try:
        return importlib.import_module("cuda.core")
    except ImportError as error:
        raise MissingPackageError("cuda-core", "gpu", needed_for) from error


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
