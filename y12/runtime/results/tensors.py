"""Detections as parallel tensors, as inference servers answer: the same names, types and shapes in each of them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from y12.runtime.results.detections import Detections

__all__ = ["Output", "column_of", "outputs_of", "stacked"]

_KINDS: dict[str, Any] = {"FP32": np.float32, "INT32": np.int32, "BYTES": np.object_}


@dataclass(frozen=True)
class Output:
    """An output: how a protocol describes it, and which field of the results it is.

    Attributes:
        name: of the tensor.
        datatype: of the Open Inference Protocol.
        tail: its shape behind images and rows.
        field: of `Detections`; None of what is counted or encoded.
    """

    name: str
    datatype: str
    tail: tuple[int, ...] = ()
    field: str | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape behind the images; -1 where that is free."""
        return (1,) if self.name == "count" else (-1, *self.tail)


def outputs_of(task: str, kpt_shape: tuple[int, int] | None) -> tuple[Output, ...]:
    """Return the outputs of a model of a task."""
    outputs = [
        Output("count", "INT32"),
        Output("boxes", "FP32", (4,), "xyxy"),
        Output("scores", "FP32", (), "confidence"),
        Output("classes", "INT32", (), "class_id"),
    ]
    if task in ("segment", "multitask"):
        outputs.append(Output("masks", "BYTES"))
    if kpt_shape is not None:
        outputs.append(Output("keypoints", "FP32", (kpt_shape[0], 3), "keypoints"))
    if task == "obb":
        outputs.append(Output("oriented_boxes", "FP32", (5,), "xywhr"))
    return tuple(outputs)


def column_of(found: Detections, output: Output) -> NDArray[Any]:
    """Return an output of one image: (N, ...) of its N objects; `count` is (1,), a mask COCO's run lengths as JSON."""
    kind = _KINDS[output.datatype]
    if output.name == "count":
        return np.array([len(found)], kind)
    if output.field is not None:
        return np.asarray(getattr(found, output.field), kind)
    runs = [] if found.masks is None else found.masks.coco_rle()
    return np.array([json.dumps(run).encode() for run in runs], kind)


def stacked(output: Output, columns: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Return an output of several images, (images, N, ...) for the most objects.

    Images with fewer are filled up with rows of zeros (of masks, empty ones): `count` tells.
    """
    if output.name == "count":
        return np.stack(columns)
    shape = (len(columns), max(map(len, columns)), *output.tail)
    filling = b"" if output.datatype == "BYTES" else 0
    value = np.full(shape, filling, _KINDS[output.datatype])
    for i, column in enumerate(columns):
        value[i, : len(column)] = column
    return value
