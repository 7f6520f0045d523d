"""What the GPU pipeline needs of a device, and of a network on it.

`gpu.cuda.Gpu` is the device and `backends.tensorrt.executor.TrtNetwork` the network. The tests hand in others:
a device whose kernels are compiled for the host, and networks that ONNX Runtime or torch runs.
"""

import contextlib
import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from y12.errors import ExecutorError

__all__ = [
    "ArrayView",
    "Device",
    "DeviceContext",
    "DeviceMemory",
    "DeviceNetwork",
    "DeviceTensor",
    "Graph",
    "Kernel",
    "PinnedMemory",
    "StagedArray",
    "quietly",
]

LOG = logging.getLogger("y12.gpu")


class DeviceMemory(Protocol):
    """Bytes on the device, 256-byte aligned, not initialised."""

    @property
    def address(self) -> int:
        """Of the first byte; valid until `close`."""

    def close(self) -> None:
        """Free them, in stream order."""


class PinnedMemory(Protocol):
    """Page-locked bytes on the host, which the device can copy while the host goes on."""

    @property
    def host(self) -> NDArray[np.uint8]:
        """The bytes, (n,); valid until `close`."""

    def close(self) -> None:
        """Free them; nothing on a stream may use them any more."""


class Kernel(Protocol):
    """A kernel on the device."""

    def __call__(self, grid: tuple[int, ...], block: tuple[int, ...], *arguments: "int | np.generic[Any]") -> None:
        """Launch in stream order; an int is a device address, a numpy scalar a value of its own size."""


class Graph(Protocol):
    """Captured work: the same addresses and values each time, with what is in memory then."""

    def launch(self) -> None:
        """Replay, in stream order."""

    def close(self) -> None:
        """Free the graph once the stream is done."""


@dataclass(frozen=True)
class ArrayView:
    """An array that another library has on the device.

    Attributes:
        address: of its first element.
        shape: its shape.
        strides: bytes from one element to the next, along each axis; None where it is dense, in C order.
        dtype: its type.
        owner: what keeps the memory alive.
    """

    address: int
    shape: tuple[int, ...]
    strides: tuple[int, ...] | None
    dtype: np.dtype[Any]
    owner: object


class Device(Protocol):
    """One stream of a device; for one thread at a time, which calls `make_current` first.

    Every method raises ExecutorError where the device fails.
    """

    @property
    def description(self) -> str:
        """Name the device, such as "NVIDIA L4, SM 89"."""

    @property
    def device_id(self) -> int:
        """Which of the machine's devices it is."""

    @property
    def stream_handle(self) -> int:
        """The address of the stream, for libraries that work on it."""

    def make_current(self) -> None:
        """Let the calling thread work on this device."""

    def memory(self, size_bytes: int) -> DeviceMemory:
        """Take memory on the device."""

    def pinned(self, size_bytes: int) -> PinnedMemory:
        """Take page-locked memory on the host."""

    def upload(self, target: int, source: NDArray[Any]) -> None:
        """Copy a contiguous array in page-locked memory to the address `target`, in stream order."""

    def download(self, target: NDArray[Any], source: int) -> None:
        """Copy from the address `source` to a contiguous array in page-locked memory, in stream order."""

    def view(self, array: object, *, ordered: bool = True) -> ArrayView:
        """Look at an array that another library has on this device, by DLPack or `__cuda_array_interface__`.

        Args:
            array: it must live as long as the view is used.
            ordered: let the stream wait for the work that makes the array.

        Raises:
            InputError: it is not an array on this device.
        """

    def kernel(self, source: str, entry: str) -> Kernel:
        """Return the kernel `entry` of runtime/kernels/`source`.cu."""

    def capture(self, enqueue: Callable[[], None]) -> Graph:
        """Record what `enqueue` puts on the stream, without running it."""

    def synchronize(self) -> None:
        """Wait until everything on the stream is done."""

    def close(self) -> None:
        """Free the stream."""


class StagedArray:
    """An array in device memory with a page-locked twin on the host.

    Attributes:
        host: the twin: to be written before `upload`, or read after `download` and `Device.synchronize`.
        address: the device address.
    """

    def __init__(self, device: Device, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        self._device = device
        size_bytes = math.prod(shape) * np.dtype(dtype).itemsize
        with contextlib.ExitStack() as undo:
            memory = device.memory(size_bytes)
            undo.callback(memory.close)
            pinned = device.pinned(size_bytes)
            undo.callback(pinned.close)
            self.address = memory.address
            self.host: NDArray[Any] = pinned.host[:size_bytes].view(dtype).reshape(shape)
            self._resources = undo.pop_all()

    def upload(self) -> None:
        """Copy host to device, in stream order."""
        self._device.upload(self.address, self.host)

    def download(self) -> None:
        """Copy device to host, in stream order."""
        self._device.download(self.host, self.address)

    def close(self) -> None:
        """Free both sides once the stream is done; `host` must not be used any more."""
        try:
            self._device.synchronize()
        finally:
            self._resources.close()


@dataclass(frozen=True)
class DeviceTensor:
    """A dense tensor in device memory; whoever made it keeps the memory."""

    address: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


class DeviceContext(Protocol):
    """The network for one shape of input, with memory for its tensors, on one device's stream."""

    @property
    def images(self) -> DeviceTensor:
        """The input, (B, 3, H, W) float32 or float16, RGB in 0-1."""

    @property
    def outputs(self) -> Mapping[str, DeviceTensor]:
        """The outputs by name, each (B, ...) float32 or float16."""

    @property
    def can_be_captured(self) -> bool:
        """Whether `enqueue` may be called within `Device.capture`, after it was called once outside."""

    def enqueue(self) -> None:
        """Run the network in stream order.

        Raises:
            ExecutorError: the vendor's library failed.
        """

    def close(self) -> None:
        """Free what the context holds."""


class DeviceNetwork(Protocol):
    """A network that is loaded once and run by several workers, each with contexts of its own."""

    @property
    def description(self) -> str:
        """Name what really runs, such as "TensorRT-RTX 1.7.1.116 (NVIDIA L4, SM 89)"."""

    def device(self) -> Device:
        """Open a new stream on the network's device."""

    def context(self, device: Device, shape: tuple[int, int, int, int]) -> DeviceContext:
        """Prepare the network for inputs of `shape`, on a stream that `device` gave.

        Raises:
            InputError: the shape is outside what the network accepts.
            ExecutorError: the vendor's library failed.
        """

    def close(self) -> None:
        """Free the network, after all contexts."""


def quietly(close: Callable[[], object]) -> None:
    """Free something; what fails on a GPU is logged, so that the rest is freed and the first error is the one told."""
    try:
        close()
    except ExecutorError as error:
        LOG.warning("while freeing what was on the GPU: %s", error)
