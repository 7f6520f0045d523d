"""Loading TensorRT's bindings, and hearing what they say: the one logger of the process, and errors from its log."""

import contextlib
import importlib
import importlib.util
import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, cast

from y12.errors import ExecutorError, InputError, MissingPackageError
from y12.installing import install_command
from y12.runtime.artefact.plan import PRODUCTS
from y12.text import one_line

if TYPE_CHECKING:
    import tensorrt as tensorrt  # for annotations: the vendor's classes, and `Module`, its own type

__all__ = ["Bindings", "RefusedError", "capture", "load_bindings", "process_logger", "vendor_call"]

LOG = logging.getLogger("y12.tensorrt")
MODULES = {"full": "tensorrt", "rtx": "tensorrt_rtx"}
PACKAGES = {"full": "tensorrt", "rtx": "tensorrt-rtx-cu13"}
EXTRAS = {"full": "tensorrt", "rtx": "rtx"}
OLDEST_FULL = (10, 12)  # the first release whose strongly typed networks y12's graphs need
LEVELS = {"VERBOSE": logging.DEBUG, "INFO": logging.INFO, "WARNING": logging.WARNING}
ERRORS = ("ERROR", "INTERNAL_ERROR")


@dataclass(frozen=True)
class Bindings:
    """One loaded flavour of TensorRT.

    Attributes:
        trt: the vendor's module.
        flavour: "full" or "rtx".
        version: the vendor's version, such as "1.7.1.116".
    """

    trt: "tensorrt.Module"
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
    raise MissingPackageError(PACKAGES[wanted], EXTRAS[wanted], PRODUCTS[wanted])


def _loaded(flavour: str) -> Bindings:
    try:
        module = cast("tensorrt.Module", importlib.import_module(MODULES[flavour]))
    except (ImportError, OSError) as error:
        raise ExecutorError(
            f"{PRODUCTS[flavour]} is installed but cannot be loaded ({one_line(str(error))}): "
            f"install its libraries again with {install_command(EXTRAS[flavour])}"
        ) from error
    bindings = Bindings(module, flavour, str(module.__version__))
    release = tuple(int(part) for part in bindings.version.split(".")[:2] if part.isdigit())
    if flavour == "full" and release < OLDEST_FULL:
        raise ExecutorError(
            f"expected TensorRT {'.'.join(map(str, OLDEST_FULL))} or later, found {bindings.version}: "
            f"{install_command(EXTRAS[flavour], upgrade=True)}"
        )
    return bindings


Message = tuple[str, str]  # (severity name, text)
_captures: list[list[Message]] = []  # who listens now
_captures_lock = threading.Lock()


@cache
def process_logger(bindings: Bindings) -> "tensorrt.ILogger":
    """Return the one logger of this process: TensorRT ignores a second one.

    What nobody captures goes to Python's logger "y12.tensorrt" at its own level.
    """
    if TYPE_CHECKING:  # a class that is looked up in a run has no methods to hold ours against
        from tensorrt import ILogger
    else:
        ILogger = bindings.trt.ILogger

    class ProcessLogger(ILogger):
        def log(self, severity: "tensorrt.ILogger.Severity", msg: str) -> None:
            _hear(severity.name, msg)

    return ProcessLogger()


def _hear(severity: str, text: str) -> None:
    with _captures_lock:
        for messages in _captures:
            messages.append((severity, text))
        heard = bool(_captures)
    LOG.log(logging.DEBUG if heard else LEVELS.get(severity, logging.ERROR), "%s: %s", severity, one_line(text))


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


class RefusedError(Exception):
    """TensorRT answered None or False; its log says why."""


@contextlib.contextmanager
def vendor_call(bindings: Bindings, doing: str, advice: str) -> Iterator[None]:
    """Turn what TensorRT raises, or refuses by None or False (`RefusedError`), into one line that quotes its log.

    Raises:
        ExecutorError: "PRODUCT could not DOING: what it said. ADVICE".
    """
    with capture(bindings) as messages:
        try:
            yield
        except (RefusedError, RuntimeError, TypeError, ValueError, MemoryError) as error:
            logged = [text for severity, text in messages if severity in ERRORS]
            reason = one_line("; ".join(filter(None, [str(error), *logged[:1]])) or "it does not say why")
            raise ExecutorError(f"{bindings.product} could not {doing}: {reason}. {advice}") from error
