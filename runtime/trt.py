"""The seam to TensorRT: full TensorRT (10.12 and later, 11) and TensorRT-RTX behind one set of names.

The only file that loads the vendor's bindings. The exporter's engine builder asks it for them, for the one
logger of the process, and for what it heard. Differences between the flavours are found by `hasattr`, and the
annotations name the vendor's class of each object (docs/decisions/0004-tensorrt-api-records.md).
"""

import contextlib
import importlib
import importlib.util
import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from runtime.cuda import Gpu, StagedArray, one_line
from runtime.engine_io import io_of_engine
from runtime.errors import ArtefactError, ExecutorError, InputError, MissingPackageError
from runtime.plan import HEADER_BYTES, PRODUCTS, plan_problem, read_plan_header

if TYPE_CHECKING:
    import tensorrt as tensorrt  # names the vendor's classes in annotations; never executed

LOG = logging.getLogger("y12.tensorrt")
MODULES = {"full": "tensorrt", "rtx": "tensorrt_rtx"}
EXTRAS = {"full": "tensorrt", "rtx": "rtx"}
OLDEST_FULL = (10, 12)  # the first release whose strongly typed networks y12's graphs need
REBUILD = "Export again on, or for, this GPU and version"
FREE_OR_REBUILD = "Free GPU memory, or export again for this GPU"
LEVELS = {"VERBOSE": logging.DEBUG, "INFO": logging.INFO, "WARNING": logging.WARNING}


@dataclass(frozen=True)
class Bindings:
    """One loaded flavour of TensorRT.

    Attributes:
        trt: the vendor's module.
        flavour: "full" or "rtx".
        version: the vendor's version, such as "1.7.1.116".
    """

    trt: ModuleType
    flavour: str
    version: str

    @property
    def product(self) -> str:
        """The product with its version, such as "TensorRT-RTX 1.7.1.116"."""
        return f"{PRODUCTS[self.flavour]} {self.version}"


def load_bindings(flavour: str = "auto") -> Bindings:
    """Load the bindings of `flavour`: "full", "rtx", or "auto" for what is installed, full TensorRT first.

    Raises:
        MissingPackageError: no such package is installed.
        ExecutorError: it is installed, but cannot be loaded or is too old.
    """
    if flavour not in ("auto", *MODULES):
        raise InputError(f"TensorRT: expected auto, full or rtx, found {flavour!r}")
    for candidate in MODULES if flavour == "auto" else (flavour,):
        if importlib.util.find_spec(MODULES[candidate]) is not None:
            return _loaded(candidate)
    wanted = "rtx" if flavour == "auto" else flavour
    raise MissingPackageError(MODULES[wanted], EXTRAS[wanted], PRODUCTS[wanted])


def _loaded(flavour: str) -> Bindings:
    try:
        module = importlib.import_module(MODULES[flavour])
    except (ImportError, OSError) as error:
        raise ExecutorError(
            f"{PRODUCTS[flavour]} is installed but cannot be loaded ({one_line(str(error))}): "
            f"install its libraries again with pip install 'y12[{EXTRAS[flavour]}]'"
        ) from error
    bindings = Bindings(module, flavour, str(module.__version__))
    release = tuple(int(part) for part in bindings.version.split(".")[:2] if part.isdigit())
    if flavour == "full" and release < OLDEST_FULL:
        raise ExecutorError(
            f"expected TensorRT {'.'.join(map(str, OLDEST_FULL))} or later, found {bindings.version}: "
            f"pip install --upgrade 'y12[{EXTRAS[flavour]}]'"
        )
    return bindings


Message = tuple[str, str]  # (severity name, text)
_captures: list[list[Message]] = []  # who listens now
_captures_lock = threading.Lock()


@cache
def process_logger(bindings: Bindings) -> "tensorrt.ILogger":
    """Give the one logger of this process: TensorRT ignores a second one.

    What nobody captures goes to Python's logger "y12.tensorrt" at its own level.
    """
    trt = bindings.trt

    class ProcessLogger(trt.ILogger):  # type: ignore[misc, name-defined]
        def log(self, severity: "tensorrt.ILogger.Severity", msg: str) -> None:
            _hear(severity.name, msg)

    return ProcessLogger()


def _hear(severity: str, text: str) -> None:
    with _captures_lock:
        for messages in _captures:
            messages.append((severity, text))
        heard = bool(_captures)
    LOG.log(logging.DEBUG if heard else LEVELS.get(severity, logging.ERROR), "%s: %s", severity, text)


@contextlib.contextmanager
def capture(bindings: Bindings) -> Iterator[list[Message]]:
    """Collect each message TensorRT logs while the block runs, VERBOSE ones too, as (severity name, text)."""
    process_logger(bindings)
    messages: list[Message] = []
    with _captures_lock:
        _captures.append(messages)
    try:
        yield messages
    finally:
        with _captures_lock:
            _captures[:] = [other for other in _captures if other is not messages]


class _RefusedError(Exception):
    """TensorRT answered None or False; its log says why."""


@contextlib.contextmanager
def _vendor_call(bindings: Bindings, doing: str, advice: str) -> Iterator[None]:
    """Turn what TensorRT raises, or refuses by None or False, into one ExecutorError that quotes its log."""
    with capture(bindings) as messages:
        try:
            yield
        except (_RefusedError, RuntimeError, TypeError, ValueError, MemoryError) as error:
            errors = [text for severity, text in messages if severity in ("ERROR", "INTERNAL_ERROR")]
            reason = one_line("; ".join(filter(None, [str(error), *errors[:1]])) or "it does not say why")
            raise ExecutorError(f"{bindings.product} could not {doing}: {reason}. {advice}") from error


class TrtExecutor:
    """Run a plan on the current GPU with the TensorRT that built it. Threads take turns.

    Args:
        plan: the engine: a plain plan, nothing before or after it.
        flavour: "full", "rtx", or "auto" for what the plan's header says.

    Raises:
        ArtefactError: the bytes are no whole plan, or not one of y12's.
        ExecutorError: there is no driver or no GPU, or TensorRT cannot load the plan here.
        MissingPackageError: TensorRT or cuda-core is not installed.
    """

    def __init__(self, plan: bytes, flavour: str = "auto") -> None:
        self._bindings = _bindings_for(plan, flavour)
        self._lock = threading.Lock()
        self._arrays: dict[str, StagedArray] = {}
        with contextlib.ExitStack() as undo:
            self._gpu = Gpu()
            undo.callback(self._gpu.close)
            self._description = f"{self._bindings.product} ({self._gpu.description})"
            undo.callback(self._free_arrays)
            engine: tensorrt.ICudaEngine = _engine_from_plan(self._bindings, plan, self._description)
            with _vendor_call(self._bindings, "describe the engine's tensors", "Export again with y12"):
                self._io = io_of_engine(self._bindings.trt, engine)
            self._context: tensorrt.IExecutionContext | None = _context_of_engine(self._bindings, engine)
            undo.callback(self._drop_context)
            self._resources = undo.pop_all()

    @property
    def description(self) -> str:
        """What runs, such as "TensorRT-RTX 1.7.1.116 (NVIDIA L4, SM 89)"."""
        return self._description

    def run(self, images: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Return the outputs by name for `images`, (B, 3, H, W) float32 RGB in 0-1.

        Raises:
            InputError: the shape is outside the engine's profile.
            ExecutorError: TensorRT or CUDA failed, or the executor is closed.
        """
        self._io.check(images)
        with self._lock:
            context: tensorrt.IExecutionContext | None = self._context
            if context is None:
                raise ExecutorError("expected an open executor, found a closed one: make a new TrtExecutor")
            self._gpu.make_current()
            with _vendor_call(self._bindings, "run the engine", FREE_OR_REBUILD):
                self._bind(context, images.shape)
                source = self._arrays[self._io.input_name]
                np.copyto(source.host, images)
                source.upload()
                if not context.execute_async_v3(self._gpu.stream_handle):
                    raise _RefusedError
                for name in self._io.outputs:
                    self._arrays[name].download()
                self._gpu.synchronize()
            return {name: self._arrays[name].host.astype(np.float32) for name in self._io.outputs}

    def close(self) -> None:
        """Free the GPU's memory and the engine; a second call does nothing."""
        with self._lock:
            self._resources.close()

    def _bind(self, context: "tensorrt.IExecutionContext", shape: tuple[int, ...]) -> None:
        """Give every tensor memory of the size it needs for an input of `shape`."""
        if not context.set_input_shape(self._io.input_name, shape):
            raise _RefusedError
        for name, dtype in {self._io.input_name: np.dtype(np.float32), **self._io.outputs}.items():
            wanted = tuple(int(size) for size in context.get_tensor_shape(name))
            if min(wanted, default=0) < 0:
                raise _RefusedError(f"the shape of '{name}' is not known before the run: {wanted}")
            if name in self._arrays and self._arrays[name].shape != wanted:
                self._arrays.pop(name).close()
            if name not in self._arrays:
                self._arrays[name] = self._gpu.allocate(wanted, dtype)
            if not context.set_tensor_address(name, self._arrays[name].address):
                raise _RefusedError

    def _drop_context(self) -> None:
        self._gpu.make_current()
        self._context = None  # the last reference: TensorRT frees the context, and the engine with it

    def _free_arrays(self) -> None:
        while self._arrays:
            self._arrays.popitem()[1].close()


def read_engine_name(plan: bytes) -> str:
    """Give the network's name as TensorRT reads it, on a GPU; `runtime.plan.network_name_in_plan` needs none.

    Raises:
        ArtefactError: the bytes are no whole plan.
        ExecutorError: there is no driver or no GPU, or TensorRT cannot load the plan here.
        MissingPackageError: TensorRT or cuda-core is not installed.
    """
    bindings = _bindings_for(plan, "auto")
    with contextlib.closing(Gpu()) as gpu:
        engine: tensorrt.ICudaEngine = _engine_from_plan(bindings, plan, gpu.description)
        return str(engine.name)


def _bindings_for(plan: bytes, flavour: str) -> Bindings:
    """Load what runs this plan; each refusal here needs no GPU."""
    problem = plan_problem(plan)
    header = read_plan_header(plan)
    if problem or header is None:
        raise ArtefactError(problem or "expected a TensorRT plan: export again")
    if flavour not in ("auto", header.flavour):
        raise ExecutorError(
            f"expected a plan for {PRODUCTS.get(flavour, flavour)}, found one of {header.product}: "
            f"choose {header.flavour} or auto"
        )
    bindings = load_bindings(header.flavour)
    if header.flavour == "rtx" and bindings.version.split(".")[:3] != [str(n) for n in header.version[:3]]:
        raise ExecutorError(
            f"expected an engine of {bindings.product}, which is installed, found one of {header.product}: "
            "TensorRT-RTX runs its own release's engines only, so export again or install that release"
        )
    return bindings


def _engine_from_plan(bindings: Bindings, plan: bytes, where: str) -> "tensorrt.ICudaEngine":
    trt = bindings.trt
    with _vendor_call(bindings, f"load the engine on {where}", REBUILD):
        runtime: tensorrt.Runtime = trt.Runtime(process_logger(bindings))
        engine: tensorrt.ICudaEngine | None = runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise _RefusedError(_invalidity(bindings, runtime, plan))
    return engine


def _invalidity(bindings: Bindings, runtime: "tensorrt.Runtime", plan: bytes) -> str:
    """Ask TensorRT-RTX why a plan does not fit here, such as "UNSUPPORTED_CC"; full TensorRT cannot tell."""
    trt = bindings.trt
    if not (hasattr(runtime, "get_engine_validity") and hasattr(trt, "EngineInvalidityDiagnostics")):
        return ""
    _, found = runtime.get_engine_validity(plan[:HEADER_BYTES])
    reasons: dict[str, Any] = trt.EngineInvalidityDiagnostics.__members__
    return ", ".join(name for name, bit in reasons.items() if int(found) & int(bit))


def _context_of_engine(bindings: Bindings, engine: "tensorrt.ICudaEngine") -> "tensorrt.IExecutionContext":
    with _vendor_call(bindings, "prepare the engine", FREE_OR_REBUILD):
        context: tensorrt.IExecutionContext | None = engine.create_execution_context()
        if context is None:
            raise _RefusedError
    return context
