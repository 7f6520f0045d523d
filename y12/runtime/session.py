"""`Runtime`: an artefact, opened once, that turns images into Detections."""

import warnings
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack

import numpy as np
from numpy.typing import NDArray

from y12.errors import ExecutorError, InputError
from y12.remote.local import local_path
from y12.runtime.artefact.manifest import Manifest
from y12.runtime.artefact.opened import Artefact, open_artefact
from y12.runtime.assemble import backend_for, input_size_of, pipeline_for, reading_for
from y12.runtime.executor import Executor
from y12.runtime.forks import kept_for_ever, told_of_forks
from y12.runtime.options import Changes, DetectOptions, GpuOptions, changed
from y12.runtime.preprocess.depth import check_bits
from y12.runtime.preprocess.images import kept_source
from y12.runtime.results.detections import Detections
from y12.runtime.runs import Runs
from y12.runtime.stages import Stages, Timings, detections_at_once
from y12.runtime.stream import AHEAD, Outcome, Streams, outcomes_streamed
from y12.runtime.tasks import default_options, notes_on_options, resolved_options

if TYPE_CHECKING:
    from y12.remote.options import FetchOptions
    from y12.runtime.gpu.device import DeviceNetwork
    from y12.runtime.preprocess.images import ImageSource
    from y12.runtime.preprocess.reduced import Image

__all__ = ["MAX_CHUNK", "GpuOptions", "Runtime", "Timings"]
Item = TypeVar("Item")
MAX_TIMEOUT_S = 1_000_000
MAX_CHUNK = 32  # images per run where the network sets no limit: bounds the memory that one call takes


class Runtime:
    """Run an exported model of any task.

    Args:
        path: an .onnx or .engine that carries its manifest, or its address (https://…, s3://…, gs://… or
            hf://owner/name/file), from which it is fetched; or an `Artefact`, which need not be a file where an
            executor is given.
        executor: what runs the network; None chooses by the artefact: ONNX Runtime or TensorRT. Of a
            `DeviceNetwork`, everything else is done on its GPU too, as of an engine.
        imgsz: the network's input, a number or (height, width); None takes the size it was made for.
        rect: give each image the smallest input that holds it once it is resized to fit `imgsz`, in place of gray
            bars; images of one such size are run together.
        bits: how many bits 16-bit images hold, such as 12; None goes by each file, else takes all 16.
        reduced_decode: decode a JPEG's file at 1/2, 1/4 or 1/8 of its size where the network's input is no larger than
            that: faster, with results that differ. Boxes, masks and keypoints are in pixels of the whole image.
        provider: for an .onnx: "auto", "cpu" or "cuda"; an engine runs on the GPU only.
        task: the task that the artefact must have, such as "segment"; None takes any.
        gpu: on a GPU: which one, and with how many workers; None takes the defaults.
        throughput: of an .onnx on the CPU, run up to four images at a time, each in its share of the threads: streams
            are faster, a single image takes longer.
        timeout: seconds that a run of the network may take; None sets no limit. An .onnx is stopped at the end of the
            node under way. An engine cannot be: the call ends with an error, and the runtime is closed.
        fetch: how what is given by its address is fetched; its `sha256` is also that of a file. None takes the
            defaults.

    Raises:
        AddressError: what it leads to cannot be had, or the file has another hash.
        ArtefactError: the file is damaged or foreign, or contradicts itself.
        ExecutorError: it cannot be run on this machine.
        InputError: `imgsz` is outside what the artefact accepts, or `rect` of one that takes one size only;
            `bits` is no number of them, `reduced_decode` of an artefact that runs on a GPU with all that surrounds it;
            `provider` is unknown, `timeout` is no time, or the artefact has another task.

    Example:
        >>> with Runtime("yolov12n.onnx") as runtime:  # doctest: +SKIP
        ...     runtime.infer("bus.jpg").class_name
        ['bus', 'person', 'person', 'person']
    """

    def __init__(
        self,
        path: str | Path | Artefact,
        executor: "Executor | DeviceNetwork | None" = None,
        *,
        imgsz: int | tuple[int, int] | None = None,
        rect: bool = False,
        bits: int | None = None,
        reduced_decode: bool = False,
        provider: str = "auto",
        task: str | None = None,
        gpu: GpuOptions | None = None,
        throughput: bool = False,
        timeout: float | None = None,
        fetch: "FetchOptions | None" = None,
    ) -> None:
        if timeout is not None and not 0 < timeout < MAX_TIMEOUT_S:
            raise InputError(f"timeout: expected seconds, more than 0 and less than {MAX_TIMEOUT_S}, found {timeout}")
        check_bits(bits)
        self.bits = bits
        self.artefact = path if isinstance(path, Artefact) else open_artefact(local_path(path, fetch))
        if task is not None and task != self.manifest.task:
            own = self.manifest.task
            raise InputError(f"{self.artefact.path}: expected a model for the task {task!r}, found one for {own!r}")
        self.input_size = input_size_of(self.manifest, imgsz, rect)
        self.reading = reading_for(self.manifest.task, self.input_size, bits, reduced_decode)
        self.timings = Timings()
        self._streams = Streams()
        gpu = gpu or GpuOptions()
        backend = executor if executor is not None else backend_for(self.artefact, provider, gpu, throughput)
        self._pipeline = pipeline_for(backend, self.manifest, self.input_size, gpu, self.reading)
        self._runs = Runs(timeout, self._pipeline.interrupt)
        self._is_inherited = False
        told_of_forks(self)
        for note in self.artefact.notes:
            warnings.warn(note, stacklevel=2)

    @property
    def manifest(self) -> Manifest:
        """What the artefact says of itself."""
        return self.artefact.manifest

    @property
    def input_hw(self) -> tuple[int, int]:
        """Height and width of the network's input; with `rect`, which images are resized to fit."""
        return self.input_size.full_hw

    @property
    def description(self) -> str:
        """Name what really runs the network, such as "ONNX Runtime 1.31.1 (CPU)"."""
        return self._pipeline.description

    @property
    def options(self) -> DetectOptions:
        """The artefact's own thresholds: those of the NMS in its graph, or else its task's defaults."""
        return default_options(self.manifest)

    def check_options(self, options: DetectOptions) -> None:
        """Refuse options that the artefact cannot follow.

        Where y12's NMS is in the graph, a higher conf, a smaller max_det and fewer classes can be asked for; the rest
        was decided by the export. Of another exporter's graph, it is told: `notes_on`.

        Raises:
            InputError: there is one.
        """
        self.resolved_options(options)

    def resolved_options(self, options: DetectOptions) -> DetectOptions:
        """Return the options that really apply: with `keep`, `conf` becomes the artefact's own and `keep` None.

        Raises:
            InputError: the artefact cannot follow one of them.
        """
        self._pipeline.check(options)
        return resolved_options(options, self.manifest)

    def notes_on(self, options: DetectOptions) -> tuple[str, ...]:
        """Return which options have no effect, as the graph has decided, in words; a run with them warns of it."""
        return notes_on_options(options, self.manifest)

    def infer(
        self, image: "ImageSource", options: DetectOptions | None = None, **changes: Unpack[Changes]
    ) -> Detections:
        """Find the objects in one image: a path, a PIL image or a uint8 BGR array (H, W, 3); also one of uint16.

        Where the network is an engine, the array may also be on its GPU: anything that has DLPack or
        `__cuda_array_interface__`, such as a torch tensor, a cupy array or pycuda's GPUArray. It is not copied, and
        the work that makes it is waited for. Several threads may call at a time.

        `options` None takes the artefact's own, `Runtime.options`; `changes` are single ones, as in
        `infer(image, conf=0.5, classes=["person"])`. `runtime(image)` is the same. A classifier gives its best five
        classes, best first, whatever their probability; with options, those above `conf` (0 keeps all), at most five.

        Raises:
            InputError: the image or an option cannot be used.
            ExecutorError: the network failed, or gave NaN or infinity.
        """
        return self.infer_batch([image], options, **changes)[0]

    __call__ = infer

    def infer_batch(
        self,
        images: "Sequence[ImageSource]",
        options: DetectOptions | None = None,
        *,
        batch: int | None = None,
        **changes: Unpack[Changes],
    ) -> list[Detections]:
        """Find the objects in each image, in the order given; options as for `infer`.

        More images than the network takes at once are split; where it takes only more, the last run is
        filled up with gray images whose results are dropped. A run takes `batch`; None: as many as it can, at most 32.

        Raises:
            InputError: an image, an option or `batch` cannot be used.
            ExecutorError: the network failed, or gave NaN or infinity.
        """
        limits = self.manifest.profile.batch
        size = self._batch_size(batch, max(limits.min, min(limits.max, MAX_CHUNK)))
        stages = self._stages(self._pipeline.load, self._changed(options, changes))
        detections, timings = list[Detections](), Timings()
        for start in range(0, len(images), size):
            chunk = images[start : start + size]
            chunk_detections, chunk_timings = detections_at_once(chunk, stages)
            for found, image in zip(chunk_detections, chunk, strict=True):
                found.image, found.bits = kept_source(image), self.bits
            detections += chunk_detections
            timings += chunk_timings
        self.timings = timings
        return detections

    def stream(
        self,
        images: "Iterable[ImageSource]",
        options: DetectOptions | None = None,
        *,
        batch: int | None = None,
        ahead: int = AHEAD,
        **changes: Unpack[Changes],
    ) -> Generator[Detections, None, None]:
        """Find the objects in each image of any iterable, endless ones too; equal to `infer` image by image.

        While the network runs, other threads read the next images, and the caller's decodes the former results
        and does the reader's work on them. The threads end with the stream: at its end, at an error, when it is
        closed or let go of. Several streams may be read at a time, each in a thread of its own.

        Args:
            images: as `infer` takes them; taken in the caller's thread, at most (`ahead` + 1) x `batch` before the
                first of them is given back. An array must not be written to before its result has come.
            options: None takes the artefact's own, `Runtime.options`.
            batch: images per run of the network; None takes the fewest that it takes. More may be faster on a GPU.
            ahead: runs that are prepared beyond the one whose results are given, at least as many as are done at a
                time; 0 for a live source, whose results would otherwise come `ahead` x `batch` images late.
            changes: single options, as for `infer`.

        Raises:
            InputError: an option, `batch` or `ahead` cannot be used; or, in its place, an image. What comes after
                it is not given: `outcomes` goes on.
            ExecutorError: the network failed, gave NaN or infinity, or the runtime was closed meanwhile.
        """
        options = self._changed(options, changes)
        return self._detections(self.outcomes(images, self._pipeline.load, options, batch=batch, ahead=ahead))

    def outcomes(
        self,
        items: Iterable[Item],
        load: "Callable[[Item], Image]",
        options: DetectOptions | None = None,
        *,
        batch: int | None = None,
        ahead: int = AHEAD,
        announced: bool = False,
    ) -> Generator[Outcome[Item], None, None]:
        """Do as `stream` for items of any kind, go on after an item that cannot be read, and tell which is which.

        Args:
            items: what `load` takes.
            load: gives an item's image, (h, w, 3) uint8 BGR, or what `Runtime.reading` makes of its file; called in
                threads, of several items at a time. What it raises is the item's outcome.
            options: as for `stream`.
            batch: as for `stream`.
            ahead: as for `stream`.
            announced: give `y12.runtime.stream.BEGUN` first, once the first batches are on their way.

        Raises:
            InputError: an option, `batch` or `ahead` cannot be used.
            ExecutorError: the network failed, gave NaN or infinity, or the runtime was closed meanwhile.
        """
        self._streams.check_open()
        size = self._batch_size(batch, self.manifest.profile.batch.min)
        if ahead < 0:
            raise InputError(f"ahead: expected 0 or more batches, found {ahead}")
        stages, workers = self._stages(load, options or self.options), self._pipeline.workers
        return outcomes_streamed(items, stages, self._streams, size, ahead and max(ahead, workers), workers, announced)

    def _detections(self, outcomes: Generator[Outcome[Any], None, None]) -> Generator[Detections, None, None]:
        with closing(outcomes):  # an error's traceback would keep it open
            for outcome in outcomes:
                self.timings = outcome.timings
                if isinstance(outcome.result, Exception):
                    raise outcome.result
                if isinstance(outcome.item, str | PathLike):  # arrays would fill memory where all results are kept
                    outcome.result.image, outcome.result.bits = outcome.item, self.bits
                yield outcome.result

    def _batch_size(self, asked: int | None, usual: int) -> int:
        most, size = self.manifest.profile.batch.max, usual if asked is None else asked
        if not 1 <= size <= most:
            raise InputError(f"batch: expected 1 to {most} images, as the artefact was exported for, found {size}")
        return size

    def _changed(self, options: DetectOptions | None, changes: Changes) -> DetectOptions:
        return changed(options or self.options, self.manifest.names, changes)

    def _stages(self, load: Callable[[Item], Any], options: DetectOptions) -> Stages:
        """Return what is done with each batch; the options are resolved once."""
        self._check_own()
        for note in self.notes_on(options):
            warnings.warn(note, stacklevel=3)
        stages = self._pipeline.stages(load, self.resolved_options(options))
        execute, runs = stages.execute, self._runs
        return replace(stages, execute=lambda joined: runs.run(lambda: execute(joined)), interrupt=runs.interrupt)

    def image_buffer(self, height: int, width: int) -> NDArray[np.uint8]:
        """Return an (h, w, 3) array for images to be written into, again and again; not initialised.

        On a GPU it lies in page-locked memory: its images, or whole rows of them, are uploaded without the copy that
        other arrays need.

        Raises:
            InputError: it would have no pixels, or too many.
            ExecutorError: the machine does not give the memory.
        """
        self._check_own()
        return self._pipeline.image_buffer(height, width)

    def close(self) -> None:
        """End the streams that are still open, and free what the network holds; a second call does nothing."""
        self._streams.close()
        if self._is_inherited:
            return
        self._runs.close()
        if not self._runs.is_lost:  # it would be waited for
            self._pipeline.close()

    def after_fork(self) -> None:
        """Leave threads, and what is on a GPU, to the process that this one was forked from."""
        self._runs.after_fork()
        self._streams.after_fork()
        if self._pipeline.on_gpu:
            kept_for_ever(self._pipeline)  # to free it would be to speak to a GPU that this process does not have
            self._is_inherited = True

    def _check_own(self) -> None:
        if self._is_inherited:
            raise ExecutorError(
                f"{self.artefact.path}: expected a runtime of this process, found one on a GPU that was opened before "
                "a fork: open it in the process that uses it, or start processes by spawn"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
