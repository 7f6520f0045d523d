"""What a Runtime does with images, wherever the network runs; and how it is done on the host."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from y12.errors import ExecutorError
from y12.runtime.executor import Executor, Interruptible
from y12.runtime.groups import Group, grouped, run_in_groups
from y12.runtime.options import DetectOptions
from y12.runtime.preprocess.images import Reading, check_pixels
from y12.runtime.preprocess.input_size import InputSize
from y12.runtime.preprocess.letterbox import Letterbox, blob_from, padded_image
from y12.runtime.preprocess.reduced import Image, hw_of
from y12.runtime.stages import Stages
from y12.runtime.tasks import Task

__all__ = ["HostPipeline", "Pipeline"]


class Pipeline(Protocol):
    """From images to Detections.

    Attributes:
        workers: batches that can be run at the same time.
        on_gpu: what it holds is on a GPU, which a forked process does not have.
        interrupt: ends the run in a thread, by its number; None where nothing can.
    """

    workers: int
    on_gpu: bool
    interrupt: Callable[[int], None] | None

    @property
    def description(self) -> str:
        """Name what really runs the network."""

    def check(self, options: DetectOptions) -> None:
        """Refuse options that cannot be followed.

        Raises:
            InputError: there is one.
        """

    def load(self, source: Any) -> Any:
        """Return an image as `stages` take it.

        Raises:
            InputError: it cannot be used.
        """

    def stages(self, load: Callable[[Any], Any], options: DetectOptions) -> Stages:
        """Return what is done with each batch of what `load` loads."""

    def image_buffer(self, height: int, width: int) -> NDArray[np.uint8]:
        """Return an (h, w, 3) array to write images into, not initialised.

        Raises:
            InputError: it would have no pixels, or too many.
        """

    def close(self) -> None:
        """Free everything; a second call does nothing."""


class HostPipeline:
    """Letterbox, decoding and NMS in numpy and OpenCV; only the network may run elsewhere.

    Args:
        executor: what runs it; closed with the pipeline.
        task: what stands before and after it.
        least: the fewest images that it takes.
        input_size: of its input in pixels.
        reading: how images are read.
    """

    def __init__(self, executor: Executor, task: Task, least: int, input_size: InputSize, reading: Reading) -> None:
        self._executor, self._task, self._least, self._input_size = executor, task, least, input_size
        self.on_gpu = bool(getattr(executor, "on_gpu", False))
        self.workers = int(getattr(executor, "at_a_time", 1))
        self.load: Callable[[Any], Image] = reading.image
        self.close = executor.close
        self.interrupt: Callable[[int], None] | None = None
        if isinstance(executor, Interruptible):
            self.interrupt = executor.interrupt

    @property
    def description(self) -> str:
        """What runs the network."""
        return self._executor.description

    def check(self, options: DetectOptions) -> None:
        """Refuse nothing."""

    def stages(self, load: Callable[[Any], Any], options: DetectOptions) -> Stages:
        """Return what is done with each batch of what `load` loads: (h, w, 3) uint8 BGR, or reduced."""
        is_rectangular, full_hw = self._input_size.is_rectangular, self._input_size.full_hw
        return Stages(
            load=load,
            preprocess=self._fitted if is_rectangular else lambda image: self._task.fit(image, full_hw),
            join=_blobs_by_size if is_rectangular else blob_from,
            execute=(lambda groups: run_in_groups(groups, self._run)) if is_rectangular else self._run,
            postprocess=lambda outputs, frame: self._task.decode(outputs, frame, options),
        )

    def _fitted(self, image: Image) -> tuple[NDArray[np.uint8], Letterbox]:
        """Return an image in the smallest input that holds it, and where it lies there."""
        frame = self._input_size.frame(hw_of(image))
        return padded_image(image, frame), frame

    def image_buffer(self, height: int, width: int) -> NDArray[np.uint8]:
        """Return an (h, w, 3) array.

        Raises:
            InputError: it would have no pixels, or too many.
        """
        check_pixels(height, width)
        return np.empty((height, width, 3), np.uint8)

    def _run(self, blob: NDArray[np.float32]) -> list[dict[str, NDArray[np.float32]]]:
        """Return each image's outputs by name, without the batch axis."""
        filled = _filled(blob, self._least)
        outputs = self._executor.run(filled)
        for name, array in outputs.items():
            if len(array) != len(filled):
                raise ExecutorError(f"expected {len(filled)} results in the output {name}, found shape {array.shape}")
        return [{name: array[row] for name, array in outputs.items()} for row in range(len(blob))]


def _blobs_by_size(images: list[NDArray[np.uint8]]) -> tuple[Group, ...]:
    return grouped(images, lambda image: image.shape, blob_from)


def _filled(blob: NDArray[np.float32], batch: int) -> NDArray[np.float32]:
    """Fill a (b, 3, H, W) blob up to `batch` images."""
    missing = batch - len(blob)
    if missing <= 0:
        return blob
    filled = np.full((batch, *blob.shape[1:]), 0.5, np.float32)
    filled[: len(blob)] = blob
    return filled
