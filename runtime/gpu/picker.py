"""From the network's outputs to objects, by kernels: candidates, NMS, keypoints and masks, and one small download."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from runtime.decode.boxes import detections_from_picked
from runtime.decode.predictions import nonfinite_error
from runtime.decode.select import Picked
from runtime.detections import Detections
from runtime.gpu.block import Block, Part, Scratch
from runtime.gpu.device import Device, StagedArray
from runtime.gpu.extras import ARENA_WORDS, Keypoints, MaskBits
from runtime.gpu.raw import RawOutputs
from runtime.kernels import layouts, nms_layout
from runtime.kernels.layouts import MAX_CANDIDATES
from runtime.letterbox import Letterbox
from runtime.manifest import Manifest
from runtime.masks import Masks
from runtime.options import DetectOptions

__all__ = ["Limits", "Picker"]

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
        """Give these limits, raised where `options` ask for more."""
        if options.max_det <= self.room and (self.multi_label or not options.multi_label):
            return self
        room = self.room if options.max_det <= self.room else 1 << (options.max_det - 1).bit_length()
        return replace(self, room=min(room, MAX_CANDIDATES), multi_label=self.multi_label or options.multi_label)


class Picker:
    """The kernels after the network, for one batch, with the memory they need.

    Args:
        device: whose stream they run on.
        raw: where the network's outputs are.
        manifest: of the network.
        batch: images.
        input_hw: height and width of the network's input in pixels.
        limits: what to take memory for.

    Attributes:
        params: what `write` fills in the block of parameters, which goes to the device with the images' places.
    """

    def __init__(
        self, device: Device, raw: RawOutputs, manifest: Manifest, batch: int, input_hw: tuple[int, int], limits: Limits
    ) -> None:
        self._device, self._raw, self._manifest, self._batch = device, raw, manifest, batch
        self._room, self._shape = limits.room, raw.shape
        self._capacity = raw.shape.capacity(limits.multi_label)
        self._candidates = min(self._capacity, MAX_CANDIDATES)
        self._keypoints: Keypoints | None = None
        self._masks: MaskBits | None = None
        self._written: DetectOptions | None = None  # that the parameters are of
        self.params: dict[str, Part] = {
            "select": ((1,), layouts.SELECT_PLAN),
            "wanted": ((-(-raw.shape.classes // 32),), np.uint32),
            "nms": ((1,), nms_layout.OPTIONS),
        }
        results: dict[str, Part] = {
            "results": ((batch,), nms_layout.result_dtype(limits.room, raw.shape.box_size)),
        }
        kernels = [("select", "select_scan"), ("select", "select_best"), ("nms", self._mask_entry), ("nms", "nms_keep")]
        self._scan, self._best, self._suppress, self._keep = (device.kernel(*kernel) for kernel in kernels)
        with contextlib.ExitStack() as undo:
            if raw.keypoints is not None:
                box_values = raw.shape.box_size
                self._keypoints = Keypoints(device, raw.keypoints, raw.shape.anchors, batch, limits.room, box_values)
                results |= self._keypoints.results
            if raw.coefficients is not None and raw.protos is not None:
                self._masks = MaskBits(
                    device,
                    raw.coefficients,
                    raw.protos,
                    anchors=raw.shape.anchors,
                    input_hw=input_hw,
                    room=limits.room,
                    arena_words=limits.arena_words,
                )
                undo.callback(self._masks.close)
                self.params |= self._masks.params
                results |= self._masks.results
            self._scratch = Scratch(device, self._scratch_parts())
            undo.callback(self._scratch.close)
            self._results = Block(device, results)
            undo.callback(self._results.close)
            self._headers, self._rows = (self._results.host("results")[part] for part in ("header", "rows"))
            self._counters = StagedArray(device, (batch,), layouts.SELECT_COUNTERS)
            undo.callback(self._counters.close)
            self._counters.host.fill(0)  # zero before the first launch; the kernels leave them zero
            self._counters.upload()
            self._resources = undo.pop_all()

    def write(self, params: Block, options: DetectOptions) -> None:
        """Write what the kernels read of `options`, to be uploaded; what is there already is left."""
        if options == self._written:
            return
        params.host("select")[:] = layouts.select_plan(self._shape, options, self._candidates, self._capacity)
        params.host("wanted")[:] = layouts.wanted_classes(options, self._shape.classes)
        params.host("nms")[:] = nms_layout.nms_options(options.iou, options.max_det, options.agnostic)
        if self._masks is not None:
            self._masks.write(params)
        self._written = options

    def enqueue(self, params: Block) -> None:
        """Put the kernels and the download on the stream; `params` holds the places of the images as "images"."""
        self._enqueue_select(params)
        self._enqueue_nms(params)
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
            ExecutorError: the outputs hold NaN or infinity.
            ArenaTooSmallError: the masks did not fit.
        """
        headers = self._headers
        if headers["nonfinite"].any():
            raise nonfinite_error()
        counts = headers["count"].tolist()
        masks: Sequence[Masks | None] = [None] * len(frames)
        if self._masks is not None:
            masks = self._masks.read(self._results, counts, frames)
        found: list[Callable[[], Detections]] = []
        for image, (count, frame) in enumerate(zip(counts, frames, strict=True)):
            rows = self._rows[image, :count].copy()
            keypoints = np.empty((count, 0), np.float32)
            if self._keypoints is not None:
                keypoints = self._results.host("keypoints")[image, :count].copy()
            picked = _picked(rows, keypoints, bool(headers["truncated"][image]))
            names, kpt_shape = self._manifest.names, self._manifest.kpt_shape
            found.append(partial(detections_from_picked, picked, frame, names, kpt_shape, masks[image]))
        return found

    def close(self) -> None:
        """Free the memory once the stream is done."""
        self._device.synchronize()
        self._resources.close()

    @property
    def _mask_entry(self) -> str:
        return "rotated_mask" if self._shape.oriented else "nms_mask"

    def _scratch_parts(self) -> dict[str, Part]:
        candidates = (self._batch, self._candidates)
        tiles = nms_layout.tiles_of(self._candidates)
        return {
            "keys": ((self._batch, self._capacity), np.uint64),
            "boxes": ((*candidates, self._shape.box_size), np.float32),
            "scores": (candidates, np.float32),
            "class_ids": (candidates, np.int32),
            "anchors": (candidates, np.int32),
            "headers": ((self._batch,), layouts.SELECT_HEADER),
            "suppressed": ((*candidates, tiles), np.uint64),
            "dead": ((self._batch, tiles), np.uint64),
        }

    def _enqueue_select(self, params: Block) -> None:
        raw, at = self._raw, self._scratch.address
        angles = 0 if raw.angles is None else raw.angles.address
        plan, keys, counters = params.address("select"), at("keys"), self._counters.address
        self._scan(
            layouts.select_scan_grid(self._shape.anchors, self._batch),
            layouts.SELECT_SCAN_BLOCK,
            raw.boxes.address,
            raw.scores.address,
            0 if raw.objectness is None else raw.objectness.address,
            angles,
            plan,
            params.address("wanted"),
            keys,
            counters,
        )
        found = [at(name) for name in ("boxes", "scores", "class_ids", "anchors", "headers")]
        self._best((self._batch,), layouts.SELECT_BEST_BLOCK, raw.boxes.address, angles, plan, keys, counters, *found)

    def _enqueue_nms(self, params: Block) -> None:
        at, options, capacity = self._scratch.address, params.address("nms"), np.int32(self._candidates)
        boxes, scores, class_ids, anchors, headers = map(at, ("boxes", "scores", "class_ids", "anchors", "headers"))
        suppressed, dead = at("suppressed"), at("dead")
        self._suppress(
            nms_layout.mask_grid(self._batch, self._candidates),
            (nms_layout.TILE,),
            *(boxes, scores, class_ids, headers, options, capacity, suppressed, dead),
        )
        self._keep(
            (self._batch,),
            (nms_layout.KEEP_THREADS,),
            *(boxes, scores, class_ids, anchors, headers, options, suppressed, dead, capacity),
            np.int32(self._shape.box_size),
            np.int32(self._room),
            self._results.address("results"),
        )


def _picked(rows: NDArray[np.void], keypoints: NDArray[np.float32], truncated: bool) -> Picked:
    """Take the rows that NMS has kept apart."""
    return Picked(
        boxes=rows["box"],
        scores=rows["score"],
        class_ids=rows["class_id"].astype(np.intp),
        coefficients=np.empty((len(rows), 0), np.float32),
        keypoints=keypoints,
        truncated=truncated,
    )
