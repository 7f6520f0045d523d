"""TensorRT: full TensorRT (10.12 and later, 11) and TensorRT-RTX behind one set of names.

    bindings.py  the vendor's module, and its log         cache.py    what TensorRT-RTX compiled, on disk
    engine.py    a loaded plan, and the calls to run it   tensors.py  an engine's tensors and profiles

Differences between the flavours are found by `hasattr`, and the annotations name the vendor's class of each object
(docs/decisions/0004-tensorrt-stubs.md, 0026-tensorrt-at-run-time.md).
"""

import contextlib
import math
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from y12.errors import ExecutorError
from y12.runtime.backends.tensorrt.bindings import Bindings, capture, load_bindings, process_logger
from y12.runtime.backends.tensorrt.engine import GpuDevice, LoadedEngine, OpenDevice
from y12.runtime.backends.tensorrt.tensors import EngineIo
from y12.runtime.gpu.cuda import Gpu
from y12.runtime.gpu.device import Device, DeviceTensor, quietly

if TYPE_CHECKING:
    from y12.runtime.backends.tensorrt.bindings import tensorrt

__all__ = [
    "Bindings",
    "TrtContext",
    "TrtExecutor",
    "TrtNetwork",
    "capture",
    "load_bindings",
    "process_logger",
]


class TrtNetwork:
    """An engine, loaded once and run by any number of contexts; a `y12.runtime.gpu.device.DeviceNetwork`.

    Args:
        plan: the engine: a plain plan, nothing before or after it.
        flavour: "full", "rtx", or "auto" for what the plan's header says.
        device_id: which GPU, as CUDA counts.
        open_device: makes the devices.

    Raises:
        ArtefactError: the bytes are no whole plan, or the engine is not one of one image input.
        ExecutorError: there is no driver or no such GPU, or the plan was built for another GPU or TensorRT.
        MissingPackageError: TensorRT or cuda-core is not installed.
    """

    def __init__(
        self, plan: bytes, flavour: str = "auto", device_id: int = 0, *, open_device: OpenDevice = Gpu
    ) -> None:
        self._engine = LoadedEngine(plan, flavour, device_id, open_device)

    @property
    def description(self) -> str:
        """What runs, such as "TensorRT-RTX 1.7.1.116 (NVIDIA L4, SM 89)"."""
        return self._engine.description

    @property
    def io(self) -> EngineIo:
        """The tensors, and the shapes that the engine accepts."""
        return self._engine.io

    def device(self) -> GpuDevice:
        """Open a new stream on the engine's GPU."""
        return self._engine.device()

    def context(self, device: Device, shape: tuple[int, int, int, int]) -> "TrtContext":
        """Prepare the engine for inputs of `shape`, (B, 3, H, W), on a stream that `device` gave.

        Raises:
            InputError: no profile of the engine holds the shape.
            ExecutorError: TensorRT failed, memory ran out, the size of an output depends on what is in the image, or
                the network is closed.
        """
        return TrtContext(self._engine, device, shape)

    def close(self) -> None:
        """Free the engine, after all contexts; a second call does nothing, and a GPU that failed does not raise."""
        self._engine.close()


class TrtContext:
    """An engine for one shape on one device's stream, with all its memory; a `y12.runtime.gpu.device.DeviceContext`.

    A captured graph holds addresses and shape, so that each graph needs a context of its own.

    Attributes:
        images: the input.
        outputs: by name.
        can_be_captured: whether `enqueue` may be captured after it was called once.
    """

    def __init__(self, engine: LoadedEngine, device: Device, shape: tuple[int, int, int, int]) -> None:
        io = engine.io
        io.profile_for(shape)  # refused before anything is allocated
        self._engine, self._device, self._ran = engine, device, False
        self._context: tensorrt.IExecutionContext | None = None
        device.make_current()
        with contextlib.ExitStack() as undo:
            memory = undo.enter_context(contextlib.ExitStack())
            undo.callback(self._drop_context)  # before its memory
            context: tensorrt.IExecutionContext = engine.context()
            self._context = context
            shapes = engine.set_shape(context, device, shape)
            _refuse_unknown_sizes(shapes)
            self.images = _tensor(device, shape, io.input_dtype, memory)
            self.outputs = {name: _tensor(device, shapes[name], dtype, memory) for name, dtype in io.outputs.items()}
            tensors = {io.input_name: self.images, **self.outputs}
            engine.bind(context, {name: tensor.address for name, tensor in tensors.items()})
            engine.give_scratch(context, device, memory)
            self.can_be_captured = engine.can_be_captured(context, device)
            self._resources = undo.pop_all()

    def enqueue(self) -> None:
        """Run the engine in stream order; not captured the first time, as TensorRT prepares itself then.

        Raises:
            ExecutorError: TensorRT or CUDA failed, or the context is closed.
        """
        context: tensorrt.IExecutionContext | None = self._context
        if context is None:
            raise ExecutorError("expected an open context, found a closed one: open the engine again")
        self._engine.enqueue(context, self._device)
        if not self._ran:
            self._ran = True
            self._engine.keep_compiled()

    def close(self) -> None:
        """Free what the context holds; a second call does nothing, and a GPU that failed does not raise."""
        self._resources.close()

    def _drop_context(self) -> None:
        quietly(self._device.make_current)
        quietly(self._device.synchronize)
        self._context = None  # the last reference: TensorRT frees it


class TrtExecutor:
    """Run a plan on host arrays, in the contexts that the GPU pipeline has; a `y12.runtime.executor.Executor`.

    Threads take turns.

    Args:
        plan: the engine: a plain plan, nothing before or after it.
        flavour: "full", "rtx", or "auto" for what the plan's header says.
        device_id: which GPU, as CUDA counts.
        open_device: makes the devices.

    Raises:
        ArtefactError: the bytes are no whole plan, or the engine is not one of one image input.
        ExecutorError: there is no driver or no such GPU, or the plan was built for another GPU or TensorRT.
        MissingPackageError: TensorRT or cuda-core is not installed.
    """

    on_gpu = True

    def __init__(
        self, plan: bytes, flavour: str = "auto", device_id: int = 0, *, open_device: OpenDevice = Gpu
    ) -> None:
        self._lock = threading.Lock()
        self._staged: _StagedContext | None = None
        self._closed = False
        with contextlib.ExitStack() as undo:
            self._engine = LoadedEngine(plan, flavour, device_id, open_device)
            undo.callback(self._engine.close)
            self._device = self._engine.device()
            undo.callback(quietly, self._device.close)
            undo.callback(self._drop_context)
            self._resources = undo.pop_all()

    @property
    def description(self) -> str:
        """What runs, such as "TensorRT-RTX 1.7.1.116 (NVIDIA L4, SM 89)"."""
        return self._engine.description

    def run(self, images: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Return the outputs by name for `images`, (B, 3, H, W) float32 RGB in 0-1.

        Raises:
            InputError: the shape is outside the engine's profiles.
            ExecutorError: TensorRT or CUDA failed, the size of an output depends on what is in the image, or the
                executor is closed.
        """
        self._engine.io.check(images)
        with self._lock:
            if self._closed:
                raise ExecutorError("expected an open executor, found a closed one: make a new TrtExecutor")
            self._device.make_current()
            if self._staged is None or self._staged.shape != images.shape:
                self._drop_context()
                self._staged = _StagedContext(self._engine, self._device, images.shape)
            try:
                return self._staged.run(images)
            except ExecutorError:
                self._drop_context()  # what was enqueued before the failure may still use its memory
                raise

    def close(self) -> None:
        """Free the GPU's memory and the engine; a second call does nothing, and a GPU that failed does not raise."""
        with self._lock:
            self._closed = True
            self._resources.close()

    def _drop_context(self) -> None:
        staged, self._staged = self._staged, None
        if staged is not None:
            quietly(self._device.make_current)
            staged.close()


class _StagedContext:
    """A context for one shape, and a page-locked array on the host for each of its tensors."""

    def __init__(self, engine: LoadedEngine, device: Device, shape: tuple[int, ...]) -> None:
        batch, channels, height, width = shape
        self.shape = shape
        self._device = device
        with contextlib.ExitStack() as undo:
            self._on_device = TrtContext(engine, device, (batch, channels, height, width))
            undo.callback(self._on_device.close)
            self._source = _host_array(device, self._on_device.images, undo)
            self._outputs = {
                name: _host_array(device, tensor, undo) for name, tensor in self._on_device.outputs.items()
            }
            undo.callback(quietly, device.synchronize)  # before the arrays are freed
            self._resources = undo.pop_all()

    def run(self, images: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Return the outputs for `images` of this shape."""
        np.copyto(self._source, images, casting="same_kind")
        self._device.upload(self._on_device.images.address, self._source)
        self._on_device.enqueue()
        for name, tensor in self._on_device.outputs.items():
            self._device.download(self._outputs[name], tensor.address)
        self._device.synchronize()
        return {name: array.astype(np.float32) for name, array in self._outputs.items()}

    def close(self) -> None:
        """Free it, once the stream is done."""
        self._resources.close()


def _tensor(device: Device, shape: tuple[int, ...], dtype: np.dtype[Any], memory: contextlib.ExitStack) -> DeviceTensor:
    taken = device.memory(math.prod(shape) * dtype.itemsize)
    memory.callback(quietly, taken.close)
    return DeviceTensor(taken.address, shape, dtype)


def _host_array(device: Device, tensor: DeviceTensor, resources: contextlib.ExitStack) -> NDArray[Any]:
    size_bytes = math.prod(tensor.shape) * tensor.dtype.itemsize
    pinned = device.pinned(size_bytes)
    resources.callback(quietly, pinned.close)
    return pinned.host[:size_bytes].view(tensor.dtype).reshape(tensor.shape)


def _refuse_unknown_sizes(shapes: dict[str, tuple[int, ...]]) -> None:
    unknown = [name for name, shape in shapes.items() if min(shape, default=0) < 0]
    if unknown:
        raise ExecutorError(
            f"the output '{unknown[0]}': expected a size that the input decides, found {shapes[unknown[0]]}: its NMS "
            "or a loop decides it in the run; export the network without its NMS, or with y12's (--nms)"
        )
