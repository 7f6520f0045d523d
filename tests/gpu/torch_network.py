"""A network that torch runs on a GPU, in the place of an engine: for tests and benchmarks where TensorRT is absent.

torch works on the device's own stream. Its temporaries come from a memory pool that belongs to one context: a captured
graph holds their addresses, so that nothing else may be given them, and within the pool they are the same blocks in
every run. What torch allocates but once (cuBLAS workspaces) it allocates in the runs that a context makes beforehand.
"""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from y12.errors import ExecutorError, InputError
from y12.runtime.gpu.cuda import Gpu
from y12.runtime.gpu.device import Device, DeviceTensor

__all__ = ["TorchContext", "TorchNetwork"]

WARM_UPS = 3  # torch chooses algorithms and takes workspaces in the first runs on a stream
DTYPES = {torch.float32: np.dtype(np.float32), torch.float16: np.dtype(np.float16), torch.int32: np.dtype(np.int32)}


class TorchNetwork:
    """A `y12.runtime.gpu.device.DeviceNetwork`.

    Args:
        module: maps images (B, 3, H, W), RGB in 0-1, to named outputs (B, ...); moved to the GPU.
        dtype: of the images, torch.float32 or torch.float16.
        largest: the largest batch it takes.
        open_device: makes the devices; it is given the number of the GPU.

    Raises:
        ExecutorError: there is no GPU.
    """

    def __init__(
        self,
        module: nn.Module,
        dtype: torch.dtype = torch.float32,
        largest: int = 64,
        open_device: Callable[[int], Gpu] = Gpu,
    ) -> None:
        self._open_device = open_device
        self._home = open_device(0)
        self.description = f"torch {torch.__version__} ({self._home.description})"
        self.module = module.to(f"cuda:{self._home.device_id}").eval()
        self.dtype, self.largest = dtype, largest
        self.closed = 0

    def device(self) -> Gpu:
        return self._open_device(0)

    def context(self, device: Device, shape: tuple[int, int, int, int]) -> "TorchContext":
        if not 1 <= shape[0] <= self.largest:
            raise InputError(f"expected 1 to {self.largest} images, found {shape[0]}")
        return TorchContext(self, device, shape)

    def close(self) -> None:
        self.closed += 1
        if self.closed == 1:
            self._home.close()


class TorchContext:
    """A `y12.runtime.gpu.device.DeviceContext`: `enqueue` allocates nothing but in the context's own pool."""

    can_be_captured = True

    def __init__(self, network: TorchNetwork, device: Device, shape: tuple[int, int, int, int]) -> None:
        self._module, self._index = network.module, device.device_id
        device.make_current()
        try:
            with torch.cuda.device(self._index):
                self._stream = torch.cuda.ExternalStream(device.stream_handle)
                self._pool = torch.cuda.MemPool()
                with torch.cuda.stream(self._stream), torch.inference_mode():
                    self._images = torch.zeros(shape, dtype=network.dtype, device="cuda")
                    self._outputs = {name: torch.empty_like(found) for name, found in self._run().items()}
            for _ in range(WARM_UPS):
                self.enqueue()
        except torch.cuda.OutOfMemoryError as error:
            raise ExecutorError(f"torch could not prepare the network: {str(error).splitlines()[0]}") from error
        device.synchronize()
        self.images = _described(self._images)
        self.outputs = {name: _described(output) for name, output in self._outputs.items()}

    def enqueue(self) -> None:
        with torch.cuda.device(self._index), torch.cuda.stream(self._stream), torch.inference_mode():
            for name, found in self._run().items():
                self._outputs[name].copy_(found)  # the addresses were given away

    def _run(self) -> Mapping[str, Tensor]:
        with torch.cuda.use_mem_pool(self._pool):
            return {name: output.contiguous() for name, output in self._module(self._images).items()}

    def close(self) -> None:
        self._stream.synchronize()
        del self._images, self._outputs, self._pool


def _described(tensor: Tensor) -> DeviceTensor:
    return DeviceTensor(tensor.data_ptr(), tuple(tensor.shape), DTYPES[tensor.dtype])
