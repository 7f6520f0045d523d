"""From the network's outputs to objects, by kernels: candidates, NMS, keypoints and masks, and one small download."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from y12.runtime.gpu.boxes import Boxes
from y12.runtime.gpu.device import Device
from y12.runtime.gpu.keypoints_and_masks import ARENA_WORDS, Keypoints, MaskBits
from y12.runtime.gpu.packed_buffer import PackedBuffer
from y12.runtime.gpu.predictions import DevicePredictions
from y12.runtime.kernels.layout import MAX_CANDIDATES
from y12.runtime.options import DetectOptions
from y12.runtime.postprocess.candidates import Picked
from y12.runtime.postprocess.predictions import check_scores, nonfinite_error
from y12.runtime.preprocess.letterbox import Letterbox
from y12.runtime.results.detections import Detections
from y12.runtime.results.masks import Masks

__all__ = ["Limits", "Postprocess"]

ROOM = 300  # objects of an image that are downloaded where no more are asked for


@dataclass(frozen=True)
class Limits:
    """What memory is taken for: within it, thresholds change without a new graph.

    Attributes:
        room: the most objects of an image.
        multi_label: whether a box may carry several labels.
        arena_words: 32-bit words for the masks of an image.
    """

    room: int = ROOM
    multi_label: bool = False
    arena_words: int = ARENA_WORDS

    def grown_for(self, options: DetectOptions) -> "Limits":
        """Return these limits, raised where `options` ask for more."""
        if options.max_det <= self.room and (self.multi_label or not options.multi_label):
            return self
        room = self.room if options.max_det <= self.room else 1 << (options.max_det - 1).bit_length()
        return replace(self, room=min(room, MAX_CANDIDATES), multi_label=self.multi_label or options.multi_label)


class Postprocess:
    """The kernels after the network, for one batch, with the memory they need.

    Args:
        device: whose stream they run on.
        predictions: where the network's outputs are.
        detections_of: takes what was picked of an image, its frame and, where there are any, its masks.
        batch: images.
        input_hw: height and width of the network's input in pixels.
        limits: what to take memory for.

    Attributes:
        params: what `write` fills in the block of parameters, which goes to the device with the images' places.
    """

    def __init__(
        self,
        device: Device,
        predictions: DevicePredictions,
        detections_of: Callable[..., Detections],
        batch: int,
        input_hw: tuple[int, int],
        limits: Limits,
    ) -> None:
        self._detections_of = detections_of
        self._written: DetectOptions | None = None  # that the parameters are of
        with contextlib.ExitStack() as undo:
            self._boxes = Boxes(device, predictions, batch, limits.room, limits.multi_label)
            undo.callback(self._boxes.close)
            self._keypoints = (
                None if predictions.keypoints is None else Keypoints(device, predictions, batch, limits.room)
            )
            self._masks: MaskBits | None = None
            if predictions.protos is not None:
                self._masks = MaskBits(device, predictions, input_hw, limits.room, limits.arena_words)
                undo.callback(self._masks.close)
            parts = [part for part in (self._boxes, self._keypoints, self._masks) if part is not None]
            self.params = {name: part for each in parts for name, part in each.params.items()}
            self._results = PackedBuffer(device, {name: part for each in parts for name, part in each.results.items()})
            undo.callback(self._results.close)
            self._headers, self._rows = (self._results.host("results")[part] for part in ("header", "rows"))
            self.close = undo.pop_all().close

    def write(self, params: PackedBuffer, options: DetectOptions) -> None:
        """Write what the kernels read of `options`, to be uploaded; what is there already is left."""
        if options == self._written:
            return
        self._boxes.write(params, options)
        if self._masks is not None:
            self._masks.write(params)
        self._written = options

    def enqueue(self, params: PackedBuffer) -> None:
        """Put the kernels and the download on the stream; `params` holds the places of the images as "images"."""
        self._boxes.enqueue(params, self._results)
        if self._keypoints is not None:
            self._keypoints.enqueue(self._results)
        if self._masks is not None:
            self._masks.enqueue(params, self._results)
        self._results.download()

    def read(self, frames: Sequence[Letterbox], options: DetectOptions) -> list[Callable[[], Detections]]:
        """Copy what was downloaded; give for each image what makes its Detections.

        Args:
            frames: where the images lie in the network's input.
            options: those of `write`, which the kernels have obeyed.

        Raises:
            ExecutorError: the outputs hold NaN or infinity, or a score above 1.
            ArenaTooSmallError: the masks did not fit.
        """
        headers = self._headers
        if headers["nonfinite"].any():
            raise nonfinite_error()
        counts = headers["count"].tolist()
        masks: Sequence[Masks | None] = [None] * len(frames)
        if self._masks is not None:
            masks = self._masks.read(self._results, counts, frames)
        finishers: list[Callable[[], Detections]] = []
        for image, (count, frame) in enumerate(zip(counts, frames, strict=True)):
            rows = self._rows[image, :count].copy()
            check_scores(rows["score"])
            keypoints = np.empty((count, 0), np.float32)
            if self._keypoints is not None:
                keypoints = self._results.host("keypoints")[image, :count].copy()
            picked = _picked(rows, keypoints, bool(headers["truncated"][image]))
            finishers.append(partial(self._detections_of, picked, frame, masks=masks[image]))
        return finishers


def _picked(rows: NDArray[np.void], keypoints: NDArray[np.float32], truncated: bool) -> Picked:
    """Take the rows that NMS has kept apart."""
    return Picked(
        boxes=rows["box"],
        scores=np.ascontiguousarray(rows["score"]),
        class_ids=rows["class_id"].astype(np.intp),
        coefficients=np.empty((len(rows), 0), np.float32),
        keypoints=keypoints,
        truncated=truncated,
    )
