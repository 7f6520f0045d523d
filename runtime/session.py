"""`Runtime`: an artefact, opened once, that turns images into Detections."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from runtime.artefact import Artefact, onnx_beside, open_artefact
from runtime.detections import Detections
from runtime.errors import ArtefactError, ExecutorError, InputError, MissingPackageError
from runtime.executor import Executor
from runtime.images import image_from
from runtime.letterbox import blob_from
from runtime.manifest import AxisRange, Manifest
from runtime.options import DetectOptions
from runtime.tasks import default_options, resolved_options, task_for

if TYPE_CHECKING:
    from runtime.images import ImageSource

MAX_CHUNK = 32  # images per run where the network sets no limit: bounds the memory that one call takes


@dataclass(frozen=True)
class Timings:
    """What the last call spent per stage, in milliseconds of `time.perf_counter`, over all of its images."""

    decode_ms: float = 0.0
    preprocess_ms: float = 0.0
    execute_ms: float = 0.0
    postprocess_ms: float = 0.0

    @property
    def total_ms(self) -> float:
        """The sum of the stages."""
        return self.decode_ms + self.preprocess_ms + self.execute_ms + self.postprocess_ms


class Runtime:
    """Run an exported model of any task.

    Args:
        path: an .onnx or .engine that carries its manifest; or an `Artefact`, which need not be a file where an
            executor is given.
        executor: what runs the network; None chooses by the artefact: ONNX Runtime or TensorRT.
        imgsz: the network's input, a number or (height, width); None takes the size it was made for.
        provider: for an .onnx: "auto", "cpu" or "cuda"; an engine runs on the GPU only.
        task: the task that the artefact must have, such as "segment"; None takes any.

    Raises:
        ArtefactError: the file is damaged or foreign, or contradicts itself.
        ExecutorError: it cannot be run on this machine.
        InputError: `imgsz` is outside what the artefact accepts, `provider` is unknown, or the artefact has
            another task.

    Example:
        >>> with Runtime("yolov12n.onnx") as runtime:  # doctest: +SKIP
        ...     runtime.infer("bus.jpg").class_name
        ['bus', 'person', 'person', 'person']
    """

    def __init__(
        self,
        path: str | Path | Artefact,
        executor: Executor | None = None,
        *,
        imgsz: int | tuple[int, int] | None = None,
        provider: str = "auto",
        task: str | None = None,
    ) -> None:
        self.artefact = path if isinstance(path, Artefact) else open_artefact(path)
        if task is not None and task != self.manifest.task:
            found = self.manifest.task
            raise InputError(f"{self.artefact.path}: expected a model for the task {task!r}, found one for {found!r}")
        self._task = task_for(self.manifest)
        self.input_hw = _input_hw(self.manifest, imgsz)
        self.timings = Timings()
        self._executor = executor if executor is not None else _EXECUTORS[self.artefact.kind](self.artefact, provider)

    @property
    def manifest(self) -> Manifest:
        """What the artefact says of itself."""
        return self.artefact.manifest

    @property
    def description(self) -> str:
        """Name what really runs the network, such as "ONNX Runtime 1.31.1 (CPU)"."""
        return self._executor.description

    @property
    def options(self) -> DetectOptions:
        """The artefact's own thresholds: those of the NMS in its graph, or else its task's defaults."""
        return default_options(self.manifest)

    def check_options(self, options: DetectOptions) -> None:
        """Refuse options that the artefact cannot follow.

        Where NMS is in the graph, a higher conf, a smaller max_det and fewer classes can be asked for; the rest
        was decided when the artefact was exported.

        Raises:
            InputError: there is one.
        """
        self.resolved_options(options)

    def resolved_options(self, options: DetectOptions) -> DetectOptions:
        """Give the options that really apply: with `keep`, `conf` becomes the artefact's own and `keep` None.

        Raises:
            InputError: the artefact cannot follow one of them.
        """
        return resolved_options(options, self.manifest)

    def infer(self, image: "ImageSource", options: DetectOptions | None = None) -> Detections:
        """Find the objects in one image: a path, a PIL image or a uint8 BGR array (H, W, 3).

        `options` None takes the artefact's own, `Runtime.options`. A classifier gives its best five classes, best
        first, whatever their probability; with options, those above `conf` (0 keeps all), at most five.

        Raises:
            InputError: the image or an option cannot be used.
            ExecutorError: the network failed, or gave NaN or infinity.
        """
        return self.infer_batch([image], options)[0]

    def infer_batch(self, images: "Sequence[ImageSource]", options: DetectOptions | None = None) -> list[Detections]:
        """Find the objects in each image, in the order given.

        More images than the network takes at once are split; where it takes only more, the last run is
        filled up with gray images whose results are dropped.

        Raises:
            InputError: an image or an option cannot be used.
            ExecutorError: the network failed, or gave NaN or infinity.
        """
        options = self.resolved_options(options or self.options)
        clock = _Clock()
        found: list[Detections] = []
        for chunk in _chunks(images, self.manifest.profile.batch):
            found += self._infer_chunk(chunk, options, clock)
        self.timings = Timings(*clock.stages_ms)
        return found

    def _infer_chunk(
        self, images: "Sequence[ImageSource]", options: DetectOptions, clock: "_Clock"
    ) -> list[Detections]:
        arrays = [image_from(image) for image in images]
        clock.stage(0)
        padded, frames = zip(*(self._task.fit(array, self.input_hw) for array in arrays), strict=True)
        blob = _filled(blob_from(padded), self.manifest.profile.batch.min)
        clock.stage(1)
        outputs = self._executor.run(blob)
        clock.stage(2)
        found = [self._decoded(outputs, i, frame, options, len(blob)) for i, frame in enumerate(frames)]
        clock.stage(3)
        return found

    def _decoded(
        self,
        outputs: dict[str, NDArray[np.float32]],
        i: int,
        frame: Any,
        options: DetectOptions,
        batch: int,
    ) -> Detections:
        for name, array in outputs.items():
            if len(array) != batch:
                raise ExecutorError(f"expected {batch} results in the output {name}, found shape {array.shape}")
        return self._task.decode({name: array[i] for name, array in outputs.items()}, frame, self.manifest, options)

    def close(self) -> None:
        """Free what the network holds; a second call does nothing."""
        self._executor.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Clock:
    """Add up the time since the last call, by stage."""

    def __init__(self) -> None:
        self.stages_ms = [0.0, 0.0, 0.0, 0.0]
        self._last = perf_counter()

    def stage(self, index: int) -> None:
        now = perf_counter()
        self.stages_ms[index] += (now - self._last) * 1e3
        self._last = now


def _chunks(images: "Sequence[ImageSource]", batch: AxisRange) -> "Iterator[Sequence[ImageSource]]":
    size = max(batch.min, min(batch.max, MAX_CHUNK))
    return (images[start : start + size] for start in range(0, len(images), size))


def _filled(blob: NDArray[np.float32], batch: int) -> NDArray[np.float32]:
    """Fill a (b, 3, H, W) blob up to `batch` images."""
    missing = batch - len(blob)
    return blob if missing <= 0 else np.concatenate([blob, np.full((missing, *blob.shape[1:]), 0.5, np.float32)])


def _input_hw(manifest: Manifest, imgsz: int | tuple[int, int] | None) -> tuple[int, int]:
    """Choose the input's size, and refuse one the network cannot take."""
    if imgsz is None:
        return manifest.profile.opt_hw
    height, width = (imgsz, imgsz) if isinstance(imgsz, int) else imgsz
    stride = manifest.max_stride
    for name, size, axis in (
        ("height", height, manifest.profile.height),
        ("width", width, manifest.profile.width),
    ):
        if not axis.min <= size <= axis.max or size % stride:
            wanted = str(axis.min) if axis.is_fixed else f"a multiple of {stride} from {axis.min} to {axis.max}"
            raise InputError(f"imgsz: expected a {name} of {wanted}, as the artefact was exported for, found {size}")
    return height, width


def _ort_executor(artefact: Artefact, provider: str) -> Executor:
    from runtime.ort import OrtExecutor

    return OrtExecutor(artefact.path, provider)


def _trt_executor(artefact: Artefact, provider: str) -> Executor:
    if provider not in ("auto", "cuda"):
        raise InputError(
            f"{artefact.path}: an engine runs on an NVIDIA GPU only, found provider {provider!r}{_other_way(artefact)}"
        )
    from runtime.trt import TrtExecutor

    try:
        return TrtExecutor(artefact.read_model(), "auto")
    except (ExecutorError, MissingPackageError) as error:
        raise ExecutorError(f"{artefact.path}: {error}{_other_way(artefact)}") from error
    except ArtefactError as error:
        raise ArtefactError(f"{artefact.path}: {error}") from error


def _other_way(artefact: Artefact) -> str:
    """Name the .onnx beside an engine, where there is one."""
    onnx = onnx_beside(artefact.path)
    return f"; {onnx} runs without a GPU" if onnx.is_file() else ""


_EXECUTORS: dict[str, Callable[[Artefact, str], Executor]] = {"onnx": _ort_executor, "engine": _trt_executor}
