"""The seam to ONNX Runtime: the only file that loads it, and where its exceptions become ours."""

import contextlib
import hashlib
import io
import os
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from y12.errors import ArtefactError, ExecutorError, InputError, MissingPackageError
from y12.installing import install_command
from y12.runtime.forks import kept_for_ever, told_of_forks
from y12.text import is_text, one_line

__all__ = ["PROVIDERS", "OrtExecutor", "import_onnxruntime", "refuse_telemetry", "threads_at_hand"]

PROVIDERS = ("auto", "cpu", "cuda")
_CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
_INPUT_TYPES: dict[str, type[np.floating[Any]]] = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
_RUNS_AT_A_TIME, _MOST_AT_HAND = 4, 8  # as each has a network's activations in memory
_ONLY_FATAL = 4  # ONNX Runtime writes its log to stderr, past Python; what matters comes as an exception


class OrtExecutor:
    """Run an ONNX model with ONNX Runtime, on CUDA or the CPU.

    Args:
        model: the file, or its bytes (which cannot have weights in a second file).
        provider: "cpu"; "cuda"; or "auto", which is CUDA where this ONNX Runtime was built with it, else the CPU.
        threads: how many threads one operator may use; 0 takes $OMP_NUM_THREADS, as torch does and ONNX Runtime does
            not, or where that is no number leaves it to ONNX Runtime.
        device: which GPU, on CUDA.
        throughput: on the CPU, be ready for up to four runs at a time, each in its share of the threads: for many
            images that is faster than one run after the other in all, for a single one slower. On CUDA it changes
            nothing.
        integers: False computes what is quantised in floats, with weights made floats once. What is placed for TensorRT
            has no integer kernels here, and ONNX Runtime would make its weights floats again at every run.

    Raises:
        ArtefactError: the model is damaged, or takes something else than one batch of images.
        ExecutorError: it is to run on CUDA, which does not load.
        InputError: the provider is unknown, or `device` is asked for on the CPU.
        MissingPackageError: ONNX Runtime is not installed.
    """

    def __init__(
        self,
        model: str | Path | bytes,
        provider: str = "auto",
        threads: int = 0,
        device: int = 0,
        *,
        throughput: bool = False,
        integers: bool = True,
    ) -> None:
        if provider not in PROVIDERS:
            raise InputError(f"provider: expected one of {', '.join(PROVIDERS)}, found {provider!r}")
        if threads < 0:
            raise InputError(f"threads: expected 0 (all) or more, found {threads}")
        ort = import_onnxruntime()
        on_cpu = provider == "cpu" or _CUDA not in ort.get_available_providers()
        if device and on_cpu:
            raise InputError(
                f"device: expected 0, as the model runs on the CPU, found {device}: leave it out, or run it on CUDA "
                f"with {_with_cuda()}"
            )
        self._run_options = ort.RunOptions
        self._under_way: dict[int, Any] = {}  # by the thread's number: a run's options, through which it is stopped
        self._name = "the ONNX model" if isinstance(model, bytes) else str(model)
        source = model if isinstance(model, bytes) else str(model)
        if isinstance(source, str) and not is_text(source):  # ONNX Runtime takes names in UTF-8 only
            source = Path(source).read_bytes()
        self.at_a_time = 1
        if throughput and on_cpu:
            threads = threads or _threads_of_environment() or _processors()
            self.at_a_time = min(threads, _RUNS_AT_A_TIME)
            threads //= self.at_a_time
        self._open = partial(_session, ort, source, self._name, provider, _options(ort, threads, integers), device)
        self._session: Any = self._open()
        self._input_name, self._input_type, self._input_shape = self._described_input()
        place = "CUDA" if self._session.get_providers()[0] == _CUDA else "CPU"
        several = f", {self.at_a_time} images at a time" if self.at_a_time > 1 else ""
        self._description = f"ONNX Runtime {ort.__version__} ({place}{several})"
        self.on_gpu = place == "CUDA"
        self._file = None if isinstance(model, bytes) else Path(model)
        self._as_opened = _state(self._file)
        self._digest = ""  # of the file as it was opened, once a fork asks for it
        self._is_inherited, self._reopening = False, threading.Lock()
        told_of_forks(self)

    @property
    def description(self) -> str:
        """Name what really runs, such as "ONNX Runtime 1.31.1 (CPU)"."""
        return self._description

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        """The input's (B, 3, H, W); None where an axis is free."""
        return self._input_shape

    def run(self, images: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Return the outputs by name for `images`, (B, 3, H, W) float32 RGB in 0-1.

        Raises:
            InputError: the shape is not what the network takes.
            ExecutorError: ONNX Runtime failed, or the executor was closed.
        """
        if self._session is None:
            self._open_again()
        fits = images.ndim == len(self._input_shape) and all(
            want in (None, found) for want, found in zip(self._input_shape, images.shape, strict=True)
        )
        if not fits or images.dtype != np.float32:
            wanted = ", ".join("any" if size is None else str(size) for size in self._input_shape)
            raise InputError(f"{self._name}: expected float32 images ({wanted}), found {images.dtype} {images.shape}")
        feed = {self._input_name: images.astype(self._input_type, copy=False)}
        names = [output.name for output in self._session.get_outputs()]
        options, thread = self._run_options(), threading.get_ident()
        options.log_severity_level = _ONLY_FATAL
        self._under_way[thread] = options
        try:
            with _translated(f"{self._name}: ONNX Runtime could not run it", ExecutorError):
                arrays = self._session.run(names, feed, options)
        finally:
            del self._under_way[thread]
        return {name: np.asarray(array, dtype=np.float32) for name, array in zip(names, arrays, strict=True)}

    def interrupt(self, thread: int) -> None:
        """End the run that is under way in a thread, by its number, when the node that it computes is done."""
        if options := self._under_way.get(thread):
            options.terminate = True

    def close(self) -> None:
        """Free the session; a second call does nothing."""
        self._session, self._is_inherited = None, False

    def before_fork(self) -> None:
        """Note what the file holds, for the process that will open it again."""
        if self._session is not None and not self._digest and _state(self._file) == self._as_opened is not None:
            self._digest = _digest(self._file)

    def after_fork(self) -> None:
        """Let the session go: its threads are not here, and freeing it would wait for them."""
        self._under_way, self._reopening = {}, threading.Lock()
        if self._session is not None:
            kept_for_ever(self._session)
            self._session, self._is_inherited = None, True

    def _open_again(self) -> None:
        """Open the session in a process that was forked.

        Raises:
            ArtefactError: the file is no longer what it was.
            ExecutorError: the executor was closed, or its model is no file.
        """
        with self._reopening:
            if self._session is not None:  # by another thread, meanwhile
                return
            if not self._is_inherited:
                raise ExecutorError(f"{self._name}: the executor was closed; open another")
            if self._file is None:
                raise ExecutorError(f"{self._name}: it was opened before a fork, from memory; open it in this process")
            if not self._digest or _digest(self._file) != self._digest:
                raise ArtefactError(
                    f"{self._name}: expected the file that was opened before a fork, found another in its place; open "
                    "the new one in this process"
                )
            self._session, self._is_inherited = self._open(), False

    def _described_input(self) -> tuple[str, type[np.floating[Any]], tuple[int | None, ...]]:
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or inputs[0].type not in _INPUT_TYPES or len(inputs[0].shape) != 4:
            found = "; ".join(f"{i.name} {i.type} {i.shape}" for i in inputs) or "none"
            raise ArtefactError(f"{self._name}: expected one input (B, 3, H, W) of floats, found {found}")
        shape = tuple(size if isinstance(size, int) else None for size in inputs[0].shape)
        return inputs[0].name, _INPUT_TYPES[inputs[0].type], shape


def _state(file: Path | None) -> tuple[int, int, int] | None:
    """Return what tells cheaply that a file is still the same one; None where there is none."""
    try:
        status = None if file is None else file.stat()
    except OSError:
        return None
    return None if status is None else (status.st_ino, status.st_size, status.st_mtime_ns)


def _digest(file: Path | None) -> str:
    try:
        with open(file or "", "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return ""


def import_onnxruntime() -> ModuleType:
    """Load ONNX Runtime without its telemetry.

    Raises:
        MissingPackageError: it is not installed.
    """
    refuse_telemetry()
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingPackageError("onnxruntime", "ort", "running an .onnx") from error
    module: ModuleType = onnxruntime
    return module


def refuse_telemetry() -> None:
    """Keep ONNX Runtime, which onnxsim holds too, from writing down a device id and events when it is loaded.

    It looks at the variable once, while it is imported; its own call to disable them comes after the first ones were
    written. Whoever sets the variable to something else has chosen otherwise.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def _with_cuda() -> str:
    return f"pip uninstall onnxruntime, then {install_command('ort-gpu')}"


def _session(ort: ModuleType, source: str | bytes, name: str, provider: str, options: Any, device: int) -> Any:
    """Create the session on CUDA where it was asked for or this ONNX Runtime has it, else on the CPU.

    Whoever installed the build with CUDA wants it: where it does not load, that is said, not papered over.
    """
    if provider != "cpu" and _CUDA in ort.get_available_providers():
        return _cuda_session(ort, source, name, options, device)
    if provider == "cuda":
        raise ExecutorError(
            f"{name}: CUDA was asked for, but this ONNX Runtime {ort.__version__} was built without {_CUDA}: "
            f"{_with_cuda()}, or choose the provider cpu"
        )
    with _translated(f"{name}: expected an ONNX model, but ONNX Runtime cannot load it", ArtefactError):
        return ort.InferenceSession(source, options, providers=[_CPU], enable_fallback=0)


def _cuda_session(ort: ModuleType, source: str | bytes, name: str, options: Any, device: int) -> Any:
    ort.set_default_logger_severity(_ONLY_FATAL)  # a missing driver is reported here, in one line
    advice = "install an NVIDIA driver with CUDA and cuDNN, or choose the provider cpu"
    with contextlib.redirect_stdout(io.StringIO()):  # preload_dlls prints each library it does not find
        if hasattr(ort, "preload_dlls"):
            ort.preload_dlls()
        try:
            providers = [(_CUDA, {"device_id": str(device)}), _CPU]
            session = ort.InferenceSession(source, options, providers=providers, enable_fallback=0)
        except Exception as error:
            raise ExecutorError(
                f"{name}: ONNX Runtime could not start on CUDA ({one_line(str(error))}): {advice}"
            ) from error
    if session.get_providers()[0] != _CUDA:
        raise ExecutorError(f"{name}: ONNX Runtime {ort.__version__} has {_CUDA}, but it did not load: {advice}")
    return session


def _options(ort: ModuleType, threads: int, integers: bool) -> Any:
    options = ort.SessionOptions()
    options.log_severity_level = _ONLY_FATAL
    options.intra_op_num_threads = threads or _threads_of_environment()
    if not integers:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    return options


def threads_at_hand() -> int:
    """Return how many runs of one thread to do at once: $OMP_NUM_THREADS, or the processors at hand; at most eight."""
    return max(1, min(_threads_of_environment() or _processors(), _MOST_AT_HAND))


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _threads_of_environment() -> int:
    """Return $OMP_NUM_THREADS; 0 where it is not set, or no number."""
    wanted = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]  # "4,2": of nested regions; the first is the outer
    return int(wanted) if wanted.isdecimal() and len(wanted) < 5 else 0


@contextlib.contextmanager
def _translated(what: str, error_type: type[ArtefactError] | type[ExecutorError]) -> Iterator[None]:
    """Turn ONNX Runtime's exceptions, which have no parent but Exception, into ours."""
    try:
        yield
    except Exception as error:
        raise error_type(f"{what} ({one_line(str(error))})") from error
