"""A plan that TensorRT has loaded, and the calls that make it run, each with its failures as one ExecutorError."""

import contextlib
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from y12.errors import ExecutorError
from y12.runtime.artefact.engine_compatibility import (
    Environment,
    check_target,
    check_version,
    checked_header,
    load_advice,
    targets_in_plan,
)
from y12.runtime.artefact.plan import HEADER_BYTES
from y12.runtime.backends.tensorrt.bindings import Bindings, RefusedError, load_bindings, process_logger, vendor_call
from y12.runtime.backends.tensorrt.cache import CompiledKernels, cache_key, compiled_kernels, rtx_disk_cache
from y12.runtime.backends.tensorrt.tensors import EngineIo, io_of_engine
from y12.runtime.gpu.device import Device, quietly

if TYPE_CHECKING:
    from y12.runtime.backends.tensorrt.bindings import tensorrt

__all__ = ["GpuDevice", "LoadedEngine", "OpenDevice"]

FREE_OR_REBUILD = "Free GPU memory, or export again for this GPU"


class GpuDevice(Device, Protocol):
    """A device that tells its compute capability."""

    @property
    def sm(self) -> int:
        """Tens and ones, such as 89."""


OpenDevice = Callable[[int], GpuDevice]


class LoadedEngine:
    """An engine on one GPU.

    Args:
        plan: a plain plan, nothing before or after it.
        flavour: "full", "rtx", or "auto" for what the plan's header says.
        device_id: which GPU, as CUDA counts.
        open_device: makes the devices.

    Attributes:
        description: what runs, such as "TensorRT-RTX 1.7.1.116 (NVIDIA L4, SM 89)".
        io: the tensors and the shapes that the engine accepts.
        name: the network's.

    Raises:
        ArtefactError: the bytes are no whole plan, or the engine is not one of one image input.
        ExecutorError: there is no driver or no such GPU, or the plan was built for another GPU or TensorRT.
        MissingPackageError: TensorRT or cuda-core is not installed.
    """

    def __init__(self, plan: bytes, flavour: str, device_id: int, open_device: OpenDevice) -> None:
        header = checked_header(plan, flavour)
        self._bindings = load_bindings(header.flavour)
        check_version(header, self._bindings.version)
        self._device_id, self._open_device = device_id, open_device
        self._lock = threading.Lock()
        with contextlib.ExitStack() as undo:
            self._home = open_device(device_id)
            undo.callback(quietly, self._home.close)
            gpu = self._home.description
            self.description = f"{self._bindings.product} ({gpu})"
            environment = Environment(
                header.flavour, self._bindings.version, gpu, self._home.sm, _known_sms(self._bindings)
            )
            check_target(targets_in_plan(plan) if header.flavour == "rtx" else (), environment)
            undo.callback(self._drop_engine)
            engine = _engine_from_plan(self._bindings, plan, environment)
            self._engine: tensorrt.ICudaEngine | None = engine
            with vendor_call(self._bindings, "describe the engine's tensors", "Export again with y12"):
                self.io: EngineIo = io_of_engine(self._bindings.trt, engine)
                self.name = str(engine.name)
                key = cache_key(plan, self._bindings.version, gpu)
                self._compiled: CompiledKernels | None = compiled_kernels(engine, rtx_disk_cache(), key)
            self._resources = undo.pop_all()

    def device(self) -> GpuDevice:
        """Open a new stream on the engine's GPU."""
        return self._open_device(self._device_id)

    def context(self) -> "tensorrt.IExecutionContext":
        """Make a context without memory of its own: `give_scratch` gives it what its shapes need.

        Raises:
            ExecutorError: TensorRT failed, or the engine is closed.
        """
        trt = self._bindings.trt
        with self._lock, vendor_call(self._bindings, "prepare the engine", FREE_OR_REBUILD):
            engine: tensorrt.ICudaEngine | None = self._engine
            if engine is None:
                raise ExecutorError("expected an open engine, found a closed one: open it again")
            strategy = trt.ExecutionContextAllocationStrategy.USER_MANAGED
            context: tensorrt.IExecutionContext | None = None
            if self._compiled is None:
                context = engine.create_execution_context(strategy)
            else:
                config: tensorrt.IRuntimeConfig = engine.create_runtime_config()
                config.set_execution_context_allocation_strategy(strategy)
                self._compiled.use_in(trt, config)
                context = engine.create_execution_context(config)
            if context is None:
                raise RefusedError
        return context

    def set_shape(
        self, context: "tensorrt.IExecutionContext", device: Device, shape: tuple[int, ...]
    ) -> dict[str, tuple[int, ...]]:
        """Choose the profile, set the input's shape, and give those of the outputs; -1 where the run decides.

        Raises:
            InputError: no profile holds the shape.
            ExecutorError: TensorRT failed.
        """
        index = self.io.profile_for(shape)
        with vendor_call(self._bindings, f"prepare the engine for images of shape {shape}", FREE_OR_REBUILD):
            if context.active_optimization_profile != index:
                if not context.set_optimization_profile_async(index, device.stream_handle):
                    raise RefusedError
                device.synchronize()  # the switch may copy on the stream; what follows must not overtake it
            if not context.set_input_shape(self.io.input_name, shape):
                raise RefusedError
            return {name: tuple(int(size) for size in context.get_tensor_shape(name)) for name in self.io.outputs}

    def give_scratch(
        self, context: "tensorrt.IExecutionContext", device: Device, resources: contextlib.ExitStack
    ) -> None:
        """Return `context` memory for what lies between input and outputs, for the shape that is set; into `resources`.

        Raises:
            ExecutorError: TensorRT failed, or there is not enough memory.
        """
        with vendor_call(self._bindings, "tell the memory that the engine needs", FREE_OR_REBUILD):
            size_bytes = int(context.update_device_memory_size_for_shapes())
            memory = device.memory(max(1, size_bytes))
            resources.callback(quietly, memory.close)
            context.set_device_memory(memory.address, size_bytes)

    def bind(self, context: "tensorrt.IExecutionContext", addresses: Mapping[str, int]) -> None:
        """Tell `context` where its tensors are.

        Raises:
            ExecutorError: TensorRT failed.
        """
        with vendor_call(self._bindings, "bind the engine's tensors", FREE_OR_REBUILD):
            for name, address in addresses.items():
                if not context.set_tensor_address(name, address):
                    raise RefusedError

    def can_be_captured(self, context: "tensorrt.IExecutionContext", device: Device) -> bool:
        """Return whether `context`, with shape, addresses and memory set, may be captured on the device's stream.

        TensorRT-RTX is asked. Full TensorRT cannot be: by its documentation all can that have neither loops,
        conditions nor outputs of a size known only in the run. The last are seen beforehand, and capturing raises
        for the others.

        Raises:
            ExecutorError: TensorRT failed.
        """
        with vendor_call(self._bindings, "tell whether the engine can be captured", FREE_OR_REBUILD):
            if hasattr(context, "is_stream_capturable"):
                return bool(context.is_stream_capturable(device.stream_handle))
        return True

    def enqueue(self, context: "tensorrt.IExecutionContext", device: Device) -> None:
        """Run `context` in stream order.

        Raises:
            ExecutorError: TensorRT or CUDA failed.
        """
        with vendor_call(self._bindings, "run the engine", FREE_OR_REBUILD):
            if not context.execute_async_v3(device.stream_handle):
                raise RefusedError

    def keep_compiled(self) -> None:
        """Write to disk what TensorRT-RTX compiled since; to be called after the first run of a context."""
        if self._compiled is not None:
            self._compiled.keep()

    def close(self) -> None:
        """Free the engine, after all contexts; a second call does nothing."""
        with self._lock:
            if self._engine is not None and self._compiled is not None:
                quietly(self._home.make_current)  # what was compiled is told apart by the current GPU
                self.keep_compiled()
            self._resources.close()

    def _drop_engine(self) -> None:
        quietly(self._home.make_current)
        self._engine = self._compiled = None  # TensorRT frees them with the last context


def _engine_from_plan(bindings: Bindings, plan: bytes, environment: Environment) -> "tensorrt.ICudaEngine":
    trt = bindings.trt
    header = checked_header(plan, "auto")
    reasons: list[str] = []
    runtime: tensorrt.Runtime | None = None
    engine: tensorrt.ICudaEngine | None = None
    try:
        with vendor_call(bindings, f"load the engine on {environment.gpu}", "ADVICE"):
            runtime = trt.Runtime(process_logger(bindings))
            engine = runtime.deserialize_cuda_engine(plan)
            if engine is None:
                reasons = _invalidity(bindings, runtime, plan)
                raise RefusedError(", ".join(reasons))
    except ExecutorError as error:
        advice = load_advice(header, environment, reasons)
        raise ExecutorError(str(error).removesuffix("ADVICE") + advice) from error
    return engine


def _invalidity(bindings: Bindings, runtime: "tensorrt.Runtime", plan: bytes) -> list[str]:
    """Ask TensorRT-RTX why a plan does not fit here, such as "UNSUPPORTED_CC"; full TensorRT cannot tell."""
    trt = bindings.trt
    if not (hasattr(runtime, "get_engine_validity") and hasattr(trt, "EngineInvalidityDiagnostics")):
        return []
    _, found = runtime.get_engine_validity(plan[:HEADER_BYTES])
    reasons = trt.EngineInvalidityDiagnostics.__members__
    return [name for name, bit in reasons.items() if int(found) & int(bit)]


def _known_sms(bindings: Bindings) -> tuple[int, ...]:
    """The compute capabilities that TensorRT-RTX has code for; () in full TensorRT, which has no such list."""
    trt = bindings.trt
    if not hasattr(trt, "ComputeCapability"):
        return ()
    names = trt.ComputeCapability.__members__
    return tuple(sorted(int(name[2:]) for name in names if name.startswith("SM") and name[2:].isdigit()))
