"""One worker of the pipeline: a stream with its memory, and for each batch a network context and a captured graph.

A batch has one size of input, by its images where that is rectangular. Its way: the images go up as they come; then, in
one graph,

    the block of parameters up  ->  letterbox  ->  the network  ->  candidates, NMS, ...  ->  the results down

The first run of a batch of a size is not from a graph: TensorRT finishes its own preparations in it.
"""

import contextlib
import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import numpy as np

from y12.errors import ArtefactError, ExecutorError, InputError
from y12.runtime.gpu.device import Device, DeviceContext, DeviceNetwork, DeviceTensor, Graph
from y12.runtime.gpu.download import Download
from y12.runtime.gpu.frames import Frames, PinnedImages
from y12.runtime.gpu.keypoints_and_masks import ArenaTooSmallError, arena_for
from y12.runtime.gpu.packed_buffer import PackedBuffer, Part, Scratch
from y12.runtime.gpu.postprocess import Limits, Postprocess
from y12.runtime.gpu.predictions import device_predictions
from y12.runtime.kernels import layout as layouts
from y12.runtime.options import DetectOptions
from y12.runtime.postprocess.boxes import detections_from_picked
from y12.runtime.preprocess.input_size import InputSize
from y12.runtime.preprocess.letterbox import Letterbox
from y12.runtime.results.detections import Detections
from y12.runtime.tasks import Task

__all__ = ["Settings", "Worker"]

MAX_GRAPHS = 4  # batches and sizes that a worker is ready for at a time; each has a network context of its own

LOG = logging.getLogger("y12.gpu")

Finish = Callable[[], Detections]  # of one image, in any thread


@dataclass(frozen=True)
class Settings:
    """What all workers of a pipeline have in common.

    Attributes:
        task: what stands before and after the network.
        input_size: of its input in pixels.
        cuda_graph: replay a captured graph; False launches each kernel by itself.
        pinned: images that users wrote into page-locked memory.
    """

    task: Task
    input_size: InputSize
    cuda_graph: bool
    pinned: PinnedImages


class Worker:
    """A worker, for one thread at a time.

    Raises:
        ExecutorError: the device gives no stream or no memory.
    """

    def __init__(self, network: DeviceNetwork, settings: Settings) -> None:
        self._network, self._settings = network, settings
        self._limits = Limits()
        self._replays: OrderedDict[tuple[int, tuple[int, int]], _Replay] = OrderedDict()  # by batch and input
        self.device = network.device()
        self._frames = Frames(self.device, settings.pinned)

    def run(self, images: Sequence[Any], options: DetectOptions) -> list[Finish]:
        """Find the objects of a batch.

        Args:
            images: B of them, as `Frames.put` takes them, that have one size of input.
            options: what to keep.

        Returns:
            For each image, what makes its Detections, in any thread.

        Raises:
            InputError: an image is not where it was any more.
            ExecutorError: the device or the network failed, or gave NaN or infinity. The worker must then be closed.
        """
        self.device.make_current()
        self._limits = self._limits.grown_for(options)
        try:
            placed = self._frames.put(images)
            input_hw = self._settings.input_size.input_hw(placed[2][0])
            while True:
                try:
                    return self._replay(len(images), input_hw).run(*placed, options)
                except ArenaTooSmallError as error:
                    self._limits = replace(self._limits, arena_words=arena_for(error.words))
        except InputError:
            self.device.synchronize()  # of copies under way: the next ones are made from the same memory
            raise

    def _replay(self, batch: int, input_hw: tuple[int, int]) -> "_Replay":
        """Return what runs a batch, within the limits there are now; the one not used for longest is let go."""
        replay = self._replays.pop((batch, input_hw), None)
        if replay is not None and replay.limits != self._limits:
            replay.close()
            replay = None
        while replay is None and len(self._replays) >= MAX_GRAPHS:
            self._replays.popitem(last=False)[1].close()
        shape = batch, 3, *input_hw
        replay = replay or _Replay(self._network, self.device, self._settings, shape, self._limits)
        self._replays[batch, input_hw] = replay
        return replay

    def close(self) -> None:
        """Free everything, whatever state the device is in; the first failure is raised when all has been tried."""
        with contextlib.ExitStack() as closing:
            closing.callback(self.device.close)
            closing.callback(self._frames.close)
            while self._replays:
                closing.callback(self._replays.popitem()[1].close)
            self.device.make_current()


class _Tail(Protocol):
    """What follows the network: `Postprocess` or `Download`."""

    params: dict[str, Part]

    def write(self, params: PackedBuffer, options: DetectOptions) -> None: ...

    def enqueue(self, params: PackedBuffer) -> None: ...

    def read(self, frames: Sequence[Letterbox], options: DetectOptions) -> list[Finish]: ...

    def close(self) -> None: ...


class _Replay:
    """Runs batches of one shape, (B, 3, H, W)."""

    def __init__(
        self,
        network: DeviceNetwork,
        device: Device,
        settings: Settings,
        shape: tuple[int, int, int, int],
        limits: Limits,
    ) -> None:
        batch, _, *input_hw = shape
        self.limits = limits
        self._device, self._settings, self._batch = device, settings, batch
        self._input_hw = input_hw[0], input_hw[1]
        self._graph: Graph | None = None
        self._placed: tuple[Any, ...] = ()  # that the parameters are of, as the frames are
        self._frames: list[Letterbox] = []
        with contextlib.ExitStack() as undo:
            self._context = network.context(device, shape)
            undo.callback(self._context.close)
            _check_batch(self._context.outputs, batch)
            half = self._context.images.dtype == np.float16
            self._captures = _captures(self._context, settings)
            self._letterbox = device.kernel("letterbox", "letterbox_f16" if half else "letterbox_f32")
            self._tail, self._widen = self._tail_of(self._context, undo)
            self._params = PackedBuffer(device, {"images": ((batch,), layouts.LETTERBOX_IMAGE), **self._tail.params})
            undo.callback(self._params.close)
            self._resources = undo.pop_all()

    def _tail_of(self, context: DeviceContext, undo: contextlib.ExitStack) -> tuple[_Tail, Callable[[], None]]:
        """Return what follows the network, and what must come before it."""
        task, input_hw = self._settings.task, self._input_hw
        assert task.layout is not None
        tail: _Tail
        if task.ends_in_nms:
            tail, widen = Download(self._device, context.outputs, task.decode), _nothing
        else:
            outputs, widen = _as_float32(self._device, context.outputs, undo)
            predictions = device_predictions(outputs, task.layout, input_hw)
            detections_of = partial(detections_from_picked, names=task.names, kpt_shape=task.layout.kpt_shape)
            tail = Postprocess(self._device, predictions, detections_of, self._batch, input_hw, self.limits)
        undo.callback(tail.close)
        return tail, widen

    def run(
        self,
        addresses: Sequence[int],
        pitches: Sequence[int],
        sizes_hw: Sequence[tuple[int, int]],
        options: DetectOptions,
    ) -> list[Finish]:
        """Run the images that are at `addresses`."""
        placed = (addresses, pitches, sizes_hw)
        if placed != self._placed:
            frames = [self._settings.input_size.frame(size_hw) for size_hw in sizes_hw]
            self._params.host("images")[:] = layouts.letterbox_images(addresses, pitches, frames)
            self._placed, self._frames = placed, frames
        self._tail.write(self._params, options)
        if self._graph is not None:
            self._graph.launch()
        else:
            self._enqueue()
        self._device.synchronize()
        finishers = self._tail.read(self._frames, options)
        if self._graph is None and self._captures:
            self._graph = self._captured()
        return finishers

    def _captured(self) -> Graph:
        try:
            graph = self._device.capture(self._enqueue)
        except ExecutorError as error:
            raise ExecutorError(f"{error}; GpuOptions(cuda_graph=False) runs the engine without a graph") from error
        self._resources.callback(graph.close)
        return graph

    def _enqueue(self) -> None:
        height, width = self._input_hw
        self._params.upload()
        self._letterbox(
            layouts.letterbox_grid((height, width), self._batch),
            layouts.LETTERBOX_BLOCK,
            self._params.address("images"),
            self._context.images.address,
            np.int32(height),
            np.int32(width),
        )
        self._context.enqueue()
        self._widen()
        self._tail.enqueue(self._params)

    def close(self) -> None:
        """Free everything once the stream is done."""
        try:
            self._device.synchronize()
        finally:
            self._resources.close()


def _captures(context: DeviceContext, settings: Settings) -> bool:
    """Return whether a graph is to be captured; where the network does not allow it, that is logged."""
    if not settings.cuda_graph or settings.task.has_loop:
        return False  # y12's NMS in the network loops until nothing changes: each round waits for the one before
    if not context.can_be_captured:
        LOG.warning(
            "the engine cannot be captured in a CUDA graph: each of its kernels is launched by itself, which takes the "
            "host longer; export it again with this version of y12"
        )
    return context.can_be_captured


def _as_float32(
    device: Device, outputs: Mapping[str, DeviceTensor], undo: contextlib.ExitStack
) -> tuple[dict[str, DeviceTensor], Callable[[], None]]:
    """Return float32 tensors in place of the float16 ones, and what fills them."""
    halves = {name: tensor for name, tensor in outputs.items() if tensor.dtype == np.float16}
    foreign = {name: tensor.dtype for name, tensor in outputs.items() if tensor.dtype not in (np.float16, np.float32)}
    if foreign:
        types = ", ".join(f"{name} {dtype}" for name, dtype in foreign.items())
        raise ArtefactError(f"expected float32 or float16 outputs from the network, found {types}: export with y12")
    if not halves:
        return dict(outputs), _nothing
    scratch = Scratch(device, {name: (tensor.shape, np.float32) for name, tensor in halves.items()})
    undo.callback(scratch.close)
    floats = {name: DeviceTensor(scratch.address(name), t.shape, np.dtype(np.float32)) for name, t in halves.items()}
    kernel = device.kernel("widen", "widen")

    def widen() -> None:
        for name, tensor in halves.items():
            count = int(np.prod(tensor.shape))
            grid = layouts.widen_grid(count)
            kernel(grid, layouts.WIDEN_BLOCK, tensor.address, floats[name].address, np.int64(count))

    return {**outputs, **floats}, widen


def _nothing() -> None:
    """Do nothing."""


def _check_batch(outputs: Mapping[str, DeviceTensor], batch: int) -> None:
    for name, tensor in outputs.items():
        if not tensor.shape or tensor.shape[0] != batch:
            raise ExecutorError(f"expected {batch} results in the output {name}, found shape {tensor.shape}")
