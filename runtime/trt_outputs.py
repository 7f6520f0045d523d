"""An output whose size TensorRT tells only while it runs, such as the boxes that are left by NMS in the graph."""

import contextlib
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import ExecutorError
from runtime.gpu.device import Device
from runtime.trt_bindings import Bindings

if TYPE_CHECKING:
    from runtime.trt import tensorrt

__all__ = ["MAX_OUTPUT_BYTES", "GrowingOutput", "allocator_for"]

MAX_OUTPUT_BYTES = 1 << 30  # 85,000 boxes of a foreign engine's NMS take 2 MB; more than this is a damaged engine
FIRST_BYTES = 1 << 16


class GrowingOutput:
    """Memory for one output, on the device and page-locked on the host; doubled as needed, up to a limit.

    `download`, `host` and `close` are those of `runtime.gpu.device.StagedArray`.

    Args:
        device: whose memory it is.
        name: of the output.
        dtype: of the output.
        limit_bytes: more is refused.
    """

    def __init__(self, device: Device, name: str, dtype: np.dtype[Any], limit_bytes: int = MAX_OUTPUT_BYTES) -> None:
        self._device, self._name, self._dtype, self._limit_bytes = device, name, dtype, limit_bytes
        self._capacity_bytes = 0
        self._address = 0
        self._pinned: NDArray[np.uint8] = np.empty(0, np.uint8)
        self._shape: tuple[int, ...] | None = None
        self._problem: Exception | None = None
        self._resources = contextlib.ExitStack()

    def begin(self) -> None:
        """Forget the last run."""
        self._shape = self._problem = None

    def address_for(self, size_bytes: int) -> int:
        """Give the address of at least `size_bytes`, or 0, which TensorRT takes for a refusal.

        TensorRT calls this from its own code, through which nothing may be raised: `check` raises it later.
        """
        try:
            self._reserve(size_bytes)
        except Exception as error:
            self._problem = error
            return 0
        return self._address

    def note_shape(self, shape: tuple[int, ...]) -> None:
        """Take down the shape that the output has in this run."""
        self._shape = shape

    def check(self) -> None:
        """Raise what went wrong in `address_for`.

        Raises:
            ExecutorError: there was no memory, or the output is beyond the limit.
        """
        if self._problem is not None:
            raise self._problem

    def download(self) -> None:
        """Copy to the host what this run wrote, in stream order."""
        content = self.host
        if content.size:
            self._device.download(content, self._address)

    @property
    def host(self) -> NDArray[Any]:
        """The output on the host, to be read after `download` and `Device.synchronize`.

        Raises:
            ExecutorError: TensorRT told no shape, or one that its memory cannot hold.
        """
        shape = self._shape
        size_bytes = -1 if shape is None or min(shape, default=0) < 0 else math.prod(shape) * self._dtype.itemsize
        if shape is None or not 0 <= size_bytes <= self._capacity_bytes:
            raise ExecutorError(
                f"the output '{self._name}': expected a shape within {self._capacity_bytes} bytes, found {shape}"
            )
        return self._pinned[:size_bytes].view(self._dtype).reshape(shape)

    def close(self) -> None:
        """Free both sides; nothing on the stream may use them any more."""
        self._address = self._capacity_bytes = 0
        self._resources.close()

    def _reserve(self, size_bytes: int) -> None:
        if size_bytes > self._limit_bytes:
            raise ExecutorError(
                f"the output '{self._name}': expected at most {self._limit_bytes} bytes, found {size_bytes}: "
                "lower the number of boxes that the engine's NMS may keep"
            )
        if not self._address or size_bytes > self._capacity_bytes:
            self._grow(min(self._limit_bytes, max(FIRST_BYTES, 1 << (size_bytes - 1).bit_length())))

    def _grow(self, capacity_bytes: int) -> None:
        """Replace the memory: what an earlier run wrote there was given away as a copy."""
        self.close()
        with contextlib.ExitStack() as undo:
            memory = self._device.memory(capacity_bytes)
            undo.callback(memory.close)
            pinned = self._device.pinned(capacity_bytes)
            undo.callback(pinned.close)
            self._resources = undo.pop_all()
        self._pinned, self._address, self._capacity_bytes = pinned.host, memory.address, capacity_bytes


def allocator_for(bindings: Bindings, output: GrowingOutput) -> "tensorrt.IOutputAllocator":
    """Let TensorRT ask `output` for memory; the allocator must live as long as the context that it is set in."""
    trt = bindings.trt

    class Allocator(trt.IOutputAllocator):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            trt.IOutputAllocator.__init__(self)

        def reallocate_output(self, tensor_name: str, memory: int, size: int, alignment: int) -> int:
            return output.address_for(size)

        def reallocate_output_async(  # the stream is the one the memory is taken on
            self, tensor_name: str, memory: int, size: int, alignment: int, stream: int
        ) -> int:
            return output.address_for(size)

        def notify_shape(self, tensor_name: str, shape: "tensorrt.Dims") -> None:
            output.note_shape(tuple(int(size) for size in shape))

    return Allocator()
