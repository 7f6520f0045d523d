"""All workers of one network on a GPU: each call takes a free one, or waits for one."""

import contextlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from y12.errors import ExecutorError, InputError
from y12.runtime.artefact.manifest import AxisRange
from y12.runtime.gpu.device import DeviceNetwork, quietly
from y12.runtime.gpu.frames import PinnedImages, checked_view, is_on_device
from y12.runtime.gpu.worker import Finish, Settings, Worker
from y12.runtime.groups import grouped, run_in_groups
from y12.runtime.kernels.layout import MAX_CANDIDATES, MAX_SIDE_PX
from y12.runtime.options import DetectOptions, GpuOptions
from y12.runtime.preprocess.images import image_from
from y12.runtime.preprocess.input_size import InputSize
from y12.runtime.stages import Stages
from y12.runtime.tasks import Task

__all__ = ["GpuPipeline"]


class GpuPipeline:
    """Letterbox, network, NMS and what the task adds, on a GPU.

    Args:
        network: what runs in the middle; closed with the pipeline.
        task: what stands before and after it.
        batch: how many images it takes.
        input_size: of its input in pixels.
        options: how many workers, and whether graphs are captured; which GPU is the network's matter.
        bits: as `image_from` takes them.

    Raises:
        ExecutorError: the device gives no stream or no memory.
    """

    def __init__(
        self,
        network: DeviceNetwork,
        task: Task,
        batch: AxisRange,
        input_size: InputSize,
        options: GpuOptions,
        bits: int | None = None,
    ) -> None:
        assert task.layout is not None, "a classifier has another pipeline"
        self.workers, self.on_gpu = options.contexts, True
        self.interrupt: Callable[[int], None] | None = None  # a kernel ends when it ends
        self._network, self._batch, self._bits = network, batch, bits
        self._changed = threading.Condition()
        self._idle: list[Worker] = []
        self._workers = 0  # idle or at work
        self._closed = False
        with contextlib.ExitStack() as undo:
            undo.callback(network.close)
            self._device = network.device()  # for what belongs to no worker
            undo.callback(quietly, self._device.close)
            self._view_lock = threading.Lock()
            self._pinned = PinnedImages(self._device)
            self._settings = Settings(task, input_size, options.cuda_graph, self._pinned)
            self._idle.append(Worker(network, self._settings))
            self._workers = 1
            self._resources = undo.pop_all()

    @property
    def description(self) -> str:
        """What runs the network."""
        return self._network.description

    def check(self, options: DetectOptions) -> None:
        """Refuse options that the kernels cannot follow.

        Raises:
            InputError: there is one.
        """
        if options.max_det > MAX_CANDIDATES:
            raise InputError(f"max_det: expected 1 to {MAX_CANDIDATES} on a GPU, found {options.max_det}")

    def load(self, source: Any) -> Any:
        """Return an image as the kernels take it; one that is on the GPU stays there.

        Raises:
            InputError: it cannot be used.
        """
        return source if is_on_device(source) else image_from(source, self._bits)

    def image_buffer(self, height: int, width: int) -> NDArray[np.uint8]:
        """Return an (h, w, 3) array in page-locked memory, not initialised."""
        return self._pinned.make(height, width)

    def stages(self, load: Callable[[Any], Any], options: DetectOptions) -> Stages:
        """Return what is done with a batch; all but the reading is the worker's."""
        size = self._settings.input_size
        of_one_size = Stages(
            load=load,
            preprocess=lambda image: (self._checked(image)[0], None),
            join=list,
            execute=lambda images: self.run(images, options),
            postprocess=lambda finish, _: finish(),
        )
        if not size.is_rectangular:
            return of_one_size
        return replace(
            of_one_size,
            preprocess=lambda image: (self._checked(image), None),
            join=lambda checked: grouped(
                checked, lambda one: size.input_hw(one[1]), lambda own: [one[0] for one in own]
            ),
            execute=lambda groups: run_in_groups(groups, of_one_size.execute),
        )

    def _checked(self, image: Any) -> tuple[Any, tuple[int, int]]:
        """Return an image with its height and width; refuse what the kernels cannot take before it spoils a batch."""
        if isinstance(image, np.ndarray):
            size_hw = image.shape[0], image.shape[1]
        else:
            with self._view_lock:
                self._device.make_current()
                size_hw, _ = checked_view(self._device.view(image, ordered=False))
        if max(size_hw) > MAX_SIDE_PX:
            raise InputError(
                f"expected an image of {MAX_SIDE_PX} pixels a side or less on a GPU, found {size_hw[1]}x{size_hw[0]}: "
                "make it smaller"
            )
        return image, size_hw

    def run(self, images: Sequence[Any], options: DetectOptions) -> list[Finish]:
        """Find the objects in each of 1 to `profile.batch.max` images; filled up to a batch that there is a graph for.

        The images have one size of input.

        Raises:
            InputError: an image is not where it was any more.
            ExecutorError: the device or the network failed or gave NaN or infinity, or the pipeline is closed.
        """
        batch = _padded(len(images), self._batch.min, self._batch.max)
        filled = [*images, *[images[-1]] * (batch - len(images))]
        worker = self._taken()
        try:
            finishers = worker.run(filled, options)
        except InputError:
            self._give_back(worker)
            raise
        except BaseException:
            try:
                quietly(worker.close)
            finally:
                self._give_back(None)  # the next call gets a new one
            raise
        self._give_back(worker)
        return finishers[: len(images)]

    def close(self) -> None:
        """Wait for the workers that are at work, then free everything; a second call does nothing.

        It does not raise: on a GPU that is lost, what cannot be freed is logged.
        """
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: len(self._idle) == self._workers)
            workers, self._idle, self._workers = self._idle, [], 0
        for worker in workers:
            quietly(worker.close)
        self._resources.close()

    def _taken(self) -> Worker:
        """Take a worker that is idle, or a new one if there may be one more; else wait."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._idle or self._workers < self.workers)
            if self._closed:
                raise ExecutorError("expected an open runtime, found a closed one: make a new Runtime")
            if self._idle:
                return self._idle.pop()
            self._workers += 1
        try:
            return Worker(self._network, self._settings)
        except BaseException:
            self._give_back(None)
            raise

    def _give_back(self, worker: Worker | None) -> None:
        """Put a worker back, or count one less."""
        with self._changed:
            if worker is None:
                self._workers -= 1
            else:
                self._idle.append(worker)
            self._changed.notify_all()


def _padded(count: int, least: int, most: int) -> int:
    """Return the batch for `count` images: a power of two, so that few graphs do for all, within what there is."""
    return max(least, min(1 << (count - 1).bit_length(), most))
