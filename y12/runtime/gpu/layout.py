"""Where in the network's outputs the kernels find boxes, scores and what a task adds to them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from y12.errors import ArtefactError
from y12.runtime.artefact.manifest import Manifest
from y12.runtime.gpu.device import DeviceTensor
from y12.runtime.kernels.layout import SelectShape
from y12.runtime.postprocess.predictions import Extras, Layout, extras_of, levels_hw, output, protos_name

__all__ = ["RawOutputs", "Rows", "raw_outputs"]

FLOAT_BYTES = np.dtype(np.float32).itemsize


@dataclass(frozen=True)
class Rows:
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
class RawOutputs:
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
    boxes: Rows
    scores: Rows
    objectness: Rows | None
    angles: Rows | None
    keypoints: Rows | None
    coefficients: Rows | None
    protos: DeviceTensor | None


def raw_outputs(
    outputs: Mapping[str, DeviceTensor], layout: Layout, manifest: Manifest, input_hw: tuple[int, int]
) -> RawOutputs:
    """Find the parts in the outputs of a network without NMS, as `postprocess.predictions` does on the host.

    Args:
        outputs: by name, (B, ...) float32.
        layout: what the task's outputs hold.
        manifest: of the network.
        input_hw: height and width of its input in pixels.

    Raises:
        ArtefactError: an output is missing, or the shapes contradict each other or the manifest.
    """
    protos = None
    if layout.masks:
        name = protos_name({name: tensor.shape[1:] for name, tensor in outputs.items()}, layout)
        protos = None if name is None else outputs[name]
    mask_count = None if protos is None else protos.shape[1]
    extras = extras_of(layout, mask_count, manifest.kpt_shape)
    parts = {
        "boxes": 4,
        "objectness": int(manifest.localisation == "anchors"),
        "scores": len(manifest.names),
        "mask_coefficients": extras.coefficients,
        "keypoints": extras.keypoints,
        "angles": extras.angle,
    }
    found, anchors = _separate(outputs, parts) if layout.separate else _packed(outputs, parts, extras)
    levels = levels_hw(manifest.strides, input_hw, anchors) if manifest.localisation == "heatmap" else None
    boxes, scores = found["boxes"], found["scores"]
    assert boxes is not None
    assert scores is not None
    shape = SelectShape(
        anchors=anchors,
        classes=scores.count,
        box_stride=boxes.image_stride,
        score_stride=scores.image_stride,
        oriented=layout.angle,
        levels_hw=levels,
    )
    return RawOutputs(
        shape=shape,
        boxes=boxes,
        scores=scores,
        objectness=found["objectness"],
        angles=found["angles"],
        keypoints=found["keypoints"],
        coefficients=found["mask_coefficients"],
        protos=protos,
    )


def _packed(
    outputs: Mapping[str, DeviceTensor], parts: Mapping[str, int], extras: Extras
) -> tuple[dict[str, Rows | None], int]:
    """Take (B, 4 + [1] + nc + extras, A) apart; give the parts that there are, and A."""
    tensor = output(outputs, "output0")
    rows = sum(parts.values())
    if len(tensor.shape) != 3 or tensor.shape[1] != rows:
        raise ArtefactError(
            f"expected an output ({rows}, A) for {parts['scores']} classes{extras}, found {tensor.shape[1:]}; "
            "the artefact's manifest does not fit its network"
        )
    anchors = tensor.shape[2]
    found: dict[str, Rows | None] = {}
    begin = 0
    for name, count in parts.items():
        address = tensor.address + begin * anchors * FLOAT_BYTES
        found[name] = Rows(address, count, rows * anchors) if count else None
        begin += count
    return found, anchors


def _separate(outputs: Mapping[str, DeviceTensor], parts: Mapping[str, int]) -> tuple[dict[str, Rows | None], int]:
    """Find the outputs `boxes` (B, 4, A), `scores` (B, nc, A) and so on; give those that there are, and A."""
    anchors = output(outputs, "boxes").shape[-1]
    found: dict[str, Rows | None] = {}
    for name, count in parts.items():
        if not count:
            if name in outputs:
                raise ArtefactError(f"expected no output {name}, as the manifest has none, but found one: export again")
            found[name] = None
            continue
        tensor = output(outputs, name)
        if tensor.shape[1:] != (count, anchors):
            raise ArtefactError(
                f"expected an output {name} ({count}, {anchors}), found {tensor.shape[1:]}; the artefact's manifest "
                "does not fit its network"
            )
        found[name] = Rows(tensor.address, count, count * anchors)
    return found, anchors
