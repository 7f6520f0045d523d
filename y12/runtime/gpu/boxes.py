"""From the network's outputs to the boxes that NMS keeps, by kernels."""

import contextlib

import numpy as np

from y12.runtime.gpu.device import Device, StagedArray
from y12.runtime.gpu.packed_buffer import PackedBuffer, Part, Scratch
from y12.runtime.gpu.predictions import DevicePredictions
from y12.runtime.kernels import layout as layouts
from y12.runtime.kernels import nms_layout
from y12.runtime.kernels.layout import MAX_CANDIDATES
from y12.runtime.options import DetectOptions

__all__ = ["Boxes"]


class Boxes:
    """Picks candidates by their scores, and suppresses those that overlap with better ones.

    Args:
        device: whose stream the kernels run on.
        predictions: where the network's outputs are.
        batch: images.
        room: the most boxes of an image.
        multi_label: whether memory is taken for several labels a box.

    Attributes:
        params: what `write` fills in the block of parameters.
        results: what it adds to the block that is downloaded.
    """

    def __init__(
        self, device: Device, predictions: DevicePredictions, batch: int, room: int, multi_label: bool
    ) -> None:
        self._predictions, self._shape, self._batch, self._room = predictions, predictions.shape, batch, room
        self._capacity = predictions.shape.capacity(multi_label)
        self._candidates = min(self._capacity, MAX_CANDIDATES)
        self.params: dict[str, Part] = {
            "select": ((1,), layouts.SELECT_PLAN),
            "wanted": ((-(-predictions.shape.classes // 32),), np.uint32),
            "nms": ((1,), nms_layout.OPTIONS),
        }
        self.results: dict[str, Part] = {
            "results": ((batch,), nms_layout.result_dtype(room, predictions.shape.box_size))
        }
        mask = "rotated_mask" if predictions.shape.oriented else "nms_mask"
        entries = [("candidates", "select_scan"), ("candidates", "select_best"), ("nms", mask), ("nms", "nms_keep")]
        self._scan, self._best, self._suppress, self._keep = (device.kernel(*entry) for entry in entries)
        with contextlib.ExitStack() as undo:
            self._scratch = Scratch(device, self._scratch_parts())
            undo.callback(self._scratch.close)
            self._counters = StagedArray(device, (batch,), layouts.SELECT_COUNTERS)
            undo.callback(self._counters.close)
            self._counters.host.fill(0)  # zero before the first launch; the kernels leave them zero
            self._counters.upload()
            self.close = undo.pop_all().close

    def write(self, params: PackedBuffer, options: DetectOptions) -> None:
        """Write what the kernels read of `options`, to be uploaded."""
        params.host("select")[:] = layouts.select_plan(self._shape, options, self._candidates, self._capacity)
        params.host("wanted")[:] = layouts.wanted_classes(options, self._shape.classes)
        params.host("nms")[:] = nms_layout.nms_options(options.iou, options.max_det, options.agnostic)

    def enqueue(self, params: PackedBuffer, results: PackedBuffer) -> None:
        """Put the kernels on the stream, after the network."""
        self._enqueue_select(params)
        self._enqueue_nms(params, results)

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

    def _enqueue_select(self, params: PackedBuffer) -> None:
        predictions, at = self._predictions, self._scratch.address
        angles = 0 if predictions.angles is None else predictions.angles.address
        plan, keys, counters = params.address("select"), at("keys"), self._counters.address
        self._scan(
            layouts.select_scan_grid(self._shape.anchors, self._batch),
            layouts.SELECT_SCAN_BLOCK,
            predictions.boxes.address,
            predictions.scores.address,
            0 if predictions.objectness is None else predictions.objectness.address,
            angles,
            plan,
            params.address("wanted"),
            keys,
            counters,
        )
        best = [at(name) for name in ("boxes", "scores", "class_ids", "anchors", "headers")]
        self._best(
            (self._batch,),
            layouts.SELECT_BEST_BLOCK,
            predictions.boxes.address,
            angles,
            plan,
            keys,
            counters,
            *best,
        )

    def _enqueue_nms(self, params: PackedBuffer, results: PackedBuffer) -> None:
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
            results.address("results"),
        )
