"""A GPU that is not there: `cuda.core` and `tensorrt` in host memory, as far as y12 uses them.

Work on the stream waits until `Stream.sync`, so that a test fails where a result is read too early. The
engine has one input `images` and gives twice its value as `output0` (float32) and its first number as `count`
(int32).
"""

import ctypes
import importlib.machinery
import struct
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import numpy as np

SMALLEST, LARGEST = (1, 3, 8, 8), (2, 3, 16, 16)
PLAN = struct.pack("<4sIQQ4B", b"ftrt", 0, 2, 64, 10, 16, 1, 11).ljust(64, b"\0")


class Stream:
    handle = 7

    def __init__(self) -> None:
        self.waiting: list[Callable[[], object]] = []
        self.closed = False

    def sync(self) -> None:
        assert not self.closed
        while self.waiting:
            self.waiting.pop(0)()

    def close(self) -> None:
        self.closed = True


class Buffer:
    live: ClassVar[set["Buffer"]] = set()

    def __init__(self, size: int) -> None:
        self.memory = (ctypes.c_uint8 * size)()
        self.handle = ctypes.addressof(self.memory)
        self.live.add(self)

    def copy_from(self, source: "Buffer", *, stream: Stream) -> None:
        assert len(source.memory) == len(self.memory)
        stream.waiting.append(lambda: ctypes.memmove(self.handle, source.handle, len(self.memory)))

    def copy_to(self, target: "Buffer", *, stream: Stream) -> None:
        target.copy_from(self, stream=stream)

    def close(self, stream: Stream | None = None) -> None:
        self.live.remove(self)


class Device:
    name, arch, device_id = "Fake GPU", "89", 0
    stream: ClassVar[Stream]
    memory_left: ClassVar[int] = 1 << 30

    def __init__(self, device_id: int | None = None) -> None: ...

    def set_current(self) -> None: ...

    def create_stream(self) -> Stream:
        Device.stream = Stream()
        return Device.stream

    def allocate(self, size: int, *, stream: Stream) -> Buffer:
        if size > Device.memory_left:
            raise RuntimeError("CUDA_ERROR_OUT_OF_MEMORY")
        return Buffer(size)


def cuda_core() -> ModuleType:
    module: Any = ModuleType("cuda.core")
    module.Device = Device
    module.LegacyPinnedMemoryResource = lambda: SimpleNamespace(allocate=Buffer)
    return module  # type: ignore[no-any-return]


class Context:
    def __init__(self, engine: "Engine") -> None:
        self.engine = engine
        self.shape: tuple[int, ...] = ()
        self.addresses: dict[str, int] = {}

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        assert name == "images"
        self.shape = shape
        return self.engine.does("set_input_shape")

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return (1,) if name == "count" else self.shape

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self.addresses[name] = memory
        return self.engine.does("set_tensor_address")

    def execute_async_v3(self, stream_handle: int) -> bool:
        assert stream_handle == Stream.handle
        Device.stream.waiting.append(self.compute)
        return self.engine.does("execute_async_v3")

    def compute(self) -> None:
        numbers = int(np.prod(self.shape))
        images = np.ctypeslib.as_array((ctypes.c_float * numbers).from_address(self.addresses["images"]))
        np.ctypeslib.as_array((ctypes.c_float * numbers).from_address(self.addresses["output0"]))[:] = images * 2
        ctypes.c_int32.from_address(self.addresses["count"]).value = int(images[0])


class Engine:
    """An engine; what is in `refuses` answers False or None after logging an error."""

    name, num_io_tensors = "y12:QUJD", 3

    def __init__(self, logger: Any, refuses: set[str]) -> None:
        self.logger, self.refuses = logger, refuses

    def does(self, what: str) -> bool:
        if what in self.refuses:
            text = f"{what} is\nrefused"
            self.logger.log(SimpleNamespace(name="ERROR"), text)
        return what not in self.refuses

    def get_tensor_name(self, index: int) -> str:
        return ("images", "output0", "count")[index]

    def get_tensor_mode(self, name: str) -> str:
        return "INPUT" if name == "images" else "OUTPUT"

    def get_tensor_dtype(self, name: str) -> type:
        if "float16" in self.refuses:
            return np.float16
        return np.int32 if name == "count" else np.float32

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return (-1, 3, -1, -1)

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[tuple[int, ...]]:
        return [SMALLEST, SMALLEST, LARGEST]

    def create_execution_context(self) -> Context | None:
        return Context(self) if self.does("create_execution_context") else None


def tensorrt(refuses: set[str]) -> ModuleType:
    class Runtime:
        def __init__(self, logger: Any) -> None:
            self.engine = Engine(logger, refuses)

        def deserialize_cuda_engine(self, plan: bytes) -> Engine | None:
            return self.engine if self.engine.does("deserialize_cuda_engine") else None

    module: Any = ModuleType("tensorrt")
    module.__spec__ = importlib.machinery.ModuleSpec("tensorrt", None)
    module.__version__ = "10.16.1.11"
    module.ILogger, module.Runtime = type("ILogger", (), {}), Runtime
    module.TensorIOMode = SimpleNamespace(INPUT="INPUT", OUTPUT="OUTPUT")
    module.nptype = lambda dtype: dtype
    return module  # type: ignore[no-any-return]
