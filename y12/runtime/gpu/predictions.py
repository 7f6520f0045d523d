"""Where in the GPU's memory the kernels find boxes, scores and what a task adds to them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from y12.runtime.artefact.output_layout import OutputLayout, Rows
from y12.runtime.gpu.device import DeviceTensor
from y12.runtime.kernels.layout import SelectShape

__all__ = ["DevicePredictions", "DeviceRows", "device_predictions"]

FLOAT_BYTES = np.dtype(np.float32).itemsize


@dataclass(frozen=True)
class DeviceRows:
    """Rows of A values, one row after the other, for each image of a batch.

    Attributes:
        address: of the first image's first row.
        count: rows.
        image_stride: float32 values from one image to the next.
    """

    address: int
    count: int
    image_stride: int


@dataclass(frozen=True)
class DevicePredictions:
    """What `select`, `keypoints` and `masks` read.

    Attributes:
        shape: how boxes and scores are laid out.
        boxes: 4 rows, centre, width and height in pixels of the network's input.
        scores: a row a class.
        objectness: one row; None where there is none.
        angles: one row, radians; None for upright boxes.
        keypoints: K*D rows; None without keypoints.
        coefficients: M rows; None without masks.
        protos: (B, M, Hp, Wp); None without masks.
    """

    shape: SelectShape
    boxes: DeviceRows
    scores: DeviceRows
    objectness: DeviceRows | None
    angles: DeviceRows | None
    keypoints: DeviceRows | None
    coefficients: DeviceRows | None
    protos: DeviceTensor | None


def device_predictions(
    outputs: Mapping[str, DeviceTensor], layout: OutputLayout, input_hw: tuple[int, int]
) -> DevicePredictions:
    """Find the parts in the outputs of a network without NMS, as `postprocess.predictions` does on the host.

    Args:
        outputs: by name, (B, ...) float32.
        layout: what they hold.
        input_hw: height and width of the network's input in pixels.

    Raises:
        ArtefactError: an output is missing, or the shapes contradict each other or the layout.
    """
    shapes = {name: tensor.shape[1:] for name, tensor in outputs.items()}
    rows, anchors = layout.rows_in(shapes)
    parts = {name: _device_rows(outputs[part.output], part, anchors) for name, part in rows.items()}
    protos = layout.protos_in(shapes)
    shape = SelectShape(
        anchors=anchors,
        classes=layout.class_count,
        box_stride=parts["boxes"].image_stride,
        score_stride=parts["scores"].image_stride,
        oriented=layout.is_oriented,
        levels_hw=layout.levels_hw(input_hw, anchors),
    )
    return DevicePredictions(
        shape=shape,
        boxes=parts["boxes"],
        scores=parts["scores"],
        objectness=parts.get("objectness"),
        angles=parts.get("angles"),
        keypoints=parts.get("keypoints"),
        coefficients=parts.get("coefficients"),
        protos=None if protos is None else outputs[protos],
    )


def _device_rows(tensor: DeviceTensor, rows: Rows, anchors: int) -> DeviceRows:
    return DeviceRows(tensor.address + rows.first * anchors * FLOAT_BYTES, rows.count, tensor.shape[1] * anchors)
