"""A GPU that is not there: `y12.runtime.gpu.device.Device` and `tensorrt` in host memory, as far as y12 uses them.

Work on the stream waits until `synchronize`, so that a test fails where a result is read too early; every address is
held against the memory that is live when the work is done. The engine has one input `images` and gives twice its value
as `output0`, its first number as `count` (int32) and, if asked for, `boxes`, whose size only a run tells.
"""

import ctypes
import importlib.machinery
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import numpy as np

from y12.errors import ExecutorError

SMALLEST, BEST, LARGEST = (1, 3, 8, 8), (1, 3, 16, 16), (2, 3, 16, 16)
PLAN = struct.pack("<4sIQQ4B", b"ftrt", 0, 2, 64, 10, 16, 1, 11).ljust(64, b"\0")


class Memory:
    """Bytes on the host or on the device."""

    live: ClassVar[set["Memory"]] = set()

    def __init__(self, device: "Device", size: int) -> None:
        self.device, self.size = device, size
        self.host = np.full(max(1, size), 0xEE, np.uint8)
        self.address = self.host.ctypes.data
        self.live.add(self)

    def close(self) -> None:
        self.live.remove(self)
        self.device.check("free memory")


def view(address: int, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """The array at an address, which must lie in live memory."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    owner = [memory for memory in Memory.live if memory.address <= address < memory.address + max(1, memory.size)]
    assert owner, "an address that nobody keeps"
    assert address + size <= owner[0].address + owner[0].size, "beyond the memory that was taken"
    return np.frombuffer((ctypes.c_uint8 * size).from_address(address), dtype).reshape(shape)


class Device:
    """One stream. `broken`: a lost device, on which everything fails."""

    description, device_id, stream_handle, sm = "Fake GPU, SM 89", 0, 7, 89
    opened: ClassVar[list["Device"]] = []
    memory_left: ClassVar[int] = 1 << 30  # for one piece
    pieces_left: ClassVar[int] = 1 << 30
    broken: ClassVar[bool] = False

    def __init__(self, device_id: int = 0) -> None:
        self.waiting: list[Callable[[], object]] = []
        self.closed = False
        self.opened.append(self)

    def check(self, doing: str) -> None:
        if Device.broken:
            raise ExecutorError(f"CUDA could not {doing} (CUDA_ERROR_ILLEGAL_ADDRESS)")

    def make_current(self) -> None:
        self.check("make the GPU current")

    def memory(self, size: int) -> Memory:
        self.check("allocate")
        Device.pieces_left -= 1
        if size > Device.memory_left or Device.pieces_left < 0:
            raise ExecutorError(f"CUDA could not allocate {size} bytes on the GPU (CUDA_ERROR_OUT_OF_MEMORY)")
        return Memory(self, size)

    pinned = memory

    def upload(self, target: int, source: np.ndarray) -> None:
        view(source.ctypes.data, (source.nbytes,), np.uint8)
        self.waiting.append(lambda: ctypes.memmove(target, source.ctypes.data, source.nbytes))

    def download(self, target: np.ndarray, source: int) -> None:
        view(source, (target.nbytes,), np.uint8)
        self.waiting.append(lambda: ctypes.memmove(target.ctypes.data, source, target.nbytes))

    def synchronize(self) -> None:
        assert not self.closed
        self.check("finish the work on the stream")
        while self.waiting:
            self.waiting.pop(0)()

    def close(self) -> None:
        self.closed = True
        self.check("close the stream")


@dataclass
class Behaviour:
    """What the fakes do. What is in `refuses` answers False or None after logging an error."""

    refuses: set[str] = field(default_factory=set)
    profiles: list[tuple[tuple[int, ...], ...]] = field(default_factory=lambda: [(SMALLEST, BEST, LARGEST)])
    input_dtype: Any = np.float32
    boxes: bool = False
    layout: str = "LINEAR"
    cache: bytes | None = None  # what the runtime cache holds; None as in full TensorRT, which has none
    accepts_cache: bool = True
    logger: Any = None

    def does(self, what: str) -> bool:
        if what in self.refuses:
            text = f"{what} is\nrefused"
            self.logger.log(SimpleNamespace(name="ERROR"), text)
        return what not in self.refuses


class Context:
    """Asserts the order of calls that TensorRT asks for."""

    def __init__(self, does: Behaviour) -> None:
        self.behaviour, self.does = does, does.does
        self.shape: tuple[int, ...] = ()
        self.addresses: dict[str, int] = {}
        self.scratch = (0, -1)
        self.active_optimization_profile = 0
        self.switching: list[int] = []

    def set_optimization_profile_async(self, index: int, stream_handle: int) -> bool:
        self.switching.append(index)
        Device.opened[-1].waiting.append(self.switching.clear)
        self.active_optimization_profile = index
        return self.does("set_optimization_profile_async")

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        assert name == "images"
        assert not self.switching, "the profile's switch was not waited for"
        smallest, _, largest = self.behaviour.profiles[self.active_optimization_profile]
        assert all(low <= n <= high for low, n, high in zip(smallest, shape, largest, strict=True))
        self.shape, self.scratch = shape, (0, -1)
        return self.does("set_input_shape")

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return {"count": (1,), "boxes": (-1, 2)}.get(name, self.shape)

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self.addresses[name] = memory
        return self.does("set_tensor_address")

    def update_device_memory_size_for_shapes(self) -> int:
        return int(np.prod(self.shape))

    def set_device_memory(self, memory: int, size: int) -> None:
        self.scratch = (memory, size)

    def execute_async_v3(self, stream_handle: int) -> bool:
        assert self.scratch[1] == np.prod(self.shape), "no memory for this shape"
        if not self.does("execute_async_v3"):
            return False
        device = Device.opened[-1]
        device.check("run")
        device.waiting.append(self.compute)
        return True

    def compute(self) -> None:
        view(self.scratch[0], (self.scratch[1],), np.uint8)[:] = 1
        images = view(self.addresses["images"], self.shape, self.behaviour.input_dtype)
        view(self.addresses["output0"], self.shape, np.float32)[:] = images * 2
        view(self.addresses["count"], (1,), np.int32)[0] = int(images.flat[0])


class Cache:
    """TensorRT-RTX's runtime cache."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.loaded: bytes | None = None

    def deserialize(self, blob: bytes) -> bool:
        self.loaded = blob
        return self.behaviour.accepts_cache

    def serialize(self) -> bytes:
        assert self.behaviour.cache is not None
        if "serialize" in self.behaviour.refuses:
            raise RuntimeError("no cache")
        return self.behaviour.cache


class Config:
    """A runtime configuration; only with a cache in TensorRT-RTX."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.strategy, self.cache = "STATIC", None
        if behaviour.cache is not None:
            self.create_runtime_cache = lambda: Cache(behaviour)
            self.set_runtime_cache = self._set_cache

    def set_execution_context_allocation_strategy(self, strategy: str) -> None:
        self.strategy = strategy

    def _set_cache(self, cache: Cache) -> bool:
        self.cache = cache
        return True


class Engine:
    name = "y12:QUJD"

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.names = ["images", "output0", "count", *(["boxes"] if behaviour.boxes else [])]
        self.num_io_tensors = len(self.names)
        self.num_optimization_profiles = len(behaviour.profiles)

    def get_tensor_name(self, index: int) -> str:
        return self.names[index]

    def get_tensor_mode(self, name: str) -> str:
        return "INPUT" if name == "images" else "OUTPUT"

    def get_tensor_dtype(self, name: str) -> Any:
        return {"images": self.behaviour.input_dtype, "count": np.int32}.get(name, np.float32)

    def get_tensor_location(self, name: str) -> str:
        return "DEVICE"

    def get_tensor_format(self, name: str) -> str:
        return self.behaviour.layout if name == "images" else "LINEAR"

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return (-1, 3, -1, -1)

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> tuple[tuple[int, ...], ...]:
        return self.behaviour.profiles[profile_index]

    def create_runtime_config(self) -> Config:
        return Config(self.behaviour)

    def create_execution_context(self, how: "str | Config") -> Context | None:
        assert (how.strategy if isinstance(how, Config) else how) == "USER_MANAGED"
        assert not isinstance(how, Config) or how.cache is not None
        return Context(self.behaviour) if self.behaviour.does("create_execution_context") else None


def tensorrt(behaviour: Behaviour) -> ModuleType:
    class Runtime:
        def __init__(self, logger: Any) -> None:
            behaviour.logger = logger

        def deserialize_cuda_engine(self, plan: bytes) -> Engine | None:
            return Engine(behaviour) if behaviour.does("deserialize_cuda_engine") else None

    module: Any = ModuleType("tensorrt")
    module.__spec__ = importlib.machinery.ModuleSpec("tensorrt", None)
    module.__version__ = "10.16.1.11"
    module.ILogger, module.Runtime = type("ILogger", (), {}), Runtime
    module.TensorIOMode = SimpleNamespace(INPUT="INPUT", OUTPUT="OUTPUT")
    module.TensorLocation = SimpleNamespace(DEVICE="DEVICE", HOST="HOST")
    module.TensorFormat = SimpleNamespace(LINEAR="LINEAR")
    module.ExecutionContextAllocationStrategy = SimpleNamespace(USER_MANAGED="USER_MANAGED")
    module.nptype = lambda dtype: dtype
    return module  # type: ignore[no-any-return]
