"""The network's raw outputs, taken apart: every anchor's box, class scores and what the task adds to them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from y12.errors import ArtefactError, ExecutorError
from y12.runtime.artefact.manifest import Manifest

Tensor = TypeVar("Tensor")
Outputs = Mapping[str, NDArray[np.float32]]  # of one image, by name, without the batch axis


@dataclass(frozen=True)
class Layout:
    """What a task's outputs hold besides boxes and class scores.

    Attributes:
        masks: mask coefficients, and the prototypes they go with.
        keypoints: as many values as the manifest's `kpt_shape` says.
        angle: one, in radians; the boxes are oriented.
        separate: each part is an output of its own, and masks and keypoints are there only where the outputs
            (`protos`) and the manifest (`kpt_shape`) have them; else all parts are rows of `output0`.
    """

    masks: bool = False
    keypoints: bool = False
    angle: bool = False
    separate: bool = False


class Extras(NamedTuple):
    """How many values each part adds to a box, in the order in which they follow the scores."""

    coefficients: int = 0
    keypoints: int = 0
    angle: int = 0

    def __str__(self) -> str:
        parts = zip(self, ("mask coefficients", "keypoint values", "angle"), strict=True)
        return "".join(f", {size} {name}" for size, name in parts if size)


@dataclass(frozen=True)
class Predictions:
    """One image's raw predictions.

    Attributes:
        protos: (M, Hp, Wp); None where there are no masks.
        xywh: (4, A), centre and size in pixels of the network's input.
        scores: (nc, A), 0-1; objectness is in them.
        coefficients: (M, A). M is 0 where the task has none; so are the sizes below.
        keypoints: (K*D, A), in pixels of the network's input.
        angles: (1, A), radians.
        peaks_of: height and width in cells of each level's heatmap, (nc, h, w) of the scores, where only peaks are
            objects; None where every place may be one.
    """

    protos: NDArray[np.float32] | None
    xywh: NDArray[np.float32]
    scores: NDArray[np.float32]
    coefficients: NDArray[np.float32]
    keypoints: NDArray[np.float32]
    angles: NDArray[np.float32]
    peaks_of: tuple[tuple[int, int], ...] | None = field(default=None, kw_only=True)


def predictions_from(outputs: Outputs, layout: Layout, manifest: Manifest, input_hw: tuple[int, int]) -> Predictions:
    """Take the outputs of a network without NMS apart.

    Args:
        outputs: by name, without the batch axis.
        layout: what the task's outputs hold.
        manifest: of the network; its localisation decides how scores are to be read.
        input_hw: height and width of the network's input, in pixels.

    Raises:
        ArtefactError: an output is missing, or the shapes contradict each other or the manifest.
        ExecutorError: an output holds NaN or infinity.
    """
    protos = protos_from(outputs, layout)
    extras = extras_of(layout, None if protos is None else len(protos), manifest.kpt_shape)
    if layout.separate:
        return _from_separate(outputs, len(manifest.names), extras, protos)
    output0 = output(outputs, "output0")
    if manifest.localisation == "anchors":
        return _with_objectness(output0, len(manifest.names), extras, protos)
    predictions = predictions_from_output0(output0, len(manifest.names), extras, protos)
    if manifest.localisation == "heatmap":
        return replace(predictions, peaks_of=levels_hw(manifest.strides, input_hw, output0.shape[1]))
    return predictions


def predictions_from_output0(
    output0: NDArray[np.float32],
    class_count: int,
    extras: Extras = Extras(),  # noqa: B008  (immutable)
    protos: NDArray[np.float32] | None = None,
) -> Predictions:
    """Take (4 + nc + extras, A) apart.

    Raises:
        ArtefactError: it has another number of rows.
        ExecutorError: it holds NaN or infinity.
    """
    rows = 4 + class_count + sum(extras)
    if output0.ndim != 2 or len(output0) != rows:
        raise ArtefactError(
            f"expected an output ({rows}, A) for {class_count} classes{extras}, found {output0.shape}; "
            "the artefact's manifest does not fit its network"
        )
    check_finite(output0)
    borders = np.cumsum([4, class_count, *extras])[:-1]
    return Predictions(protos, *np.split(output0, borders))


def _with_objectness(
    output0: NDArray[np.float32], class_count: int, extras: Extras, protos: NDArray[np.float32] | None
) -> Predictions:
    """Take (4 + 1 + nc + extras, A) apart: a score is the product of objectness, the fifth row, and a class's score."""
    found = predictions_from_output0(output0, class_count + 1, extras, protos)
    return replace(found, scores=found.scores[1:] * found.scores[:1])


def levels_hw(strides: tuple[int, ...], input_hw: tuple[int, int], cells: int) -> tuple[tuple[int, int], ...]:
    """Return each level's height and width in cells.

    Raises:
        ArtefactError: they do not add up to the number of cells there is.
    """
    levels = tuple((input_hw[0] // stride, input_hw[1] // stride) for stride in strides)
    if sum(h * w for h, w in levels) != cells:
        raise ArtefactError(
            f"expected {sum(h * w for h, w in levels)} cells at strides {strides} of an input of {input_hw[0]}x"
            f"{input_hw[1]}, found {cells}; the artefact's manifest does not fit its network"
        )
    return levels


def extras_of(layout: Layout, prototypes: int | None, kpt_shape: tuple[int, int] | None) -> Extras:
    """Return the number of values that masks, keypoints and angle add to a box."""
    keypoints = kpt_shape[0] * kpt_shape[1] if layout.keypoints and kpt_shape is not None else 0
    return Extras(prototypes or 0, keypoints, int(layout.angle))


def protos_from(outputs: Outputs, layout: Layout) -> NDArray[np.float32] | None:
    """Return the prototypes: the output `protos` or, in other exporters' graphs, the one output (M, Hp, Wp).

    Raises:
        ArtefactError: the task needs them and they are not there, or have another shape.
        ExecutorError: they hold NaN or infinity.
    """
    if not layout.masks:
        return None
    name = protos_name({name: array.shape for name, array in outputs.items()}, layout)
    if name is None:
        return None
    check_finite(outputs[name])
    return outputs[name]


def protos_name(shapes: Mapping[str, tuple[int, ...]], layout: Layout) -> str | None:
    """Find the prototypes among outputs by their shapes, without the batch axis; None where there may be none.

    Raises:
        ArtefactError: the task needs them and they are not there, or have another shape.
    """
    others = [name for name, shape in shapes.items() if len(shape) == 3]
    name = "protos" if "protos" in shapes else others[0] if len(others) == 1 else None
    if name is None and layout.separate:
        return None
    if name is None or len(shapes[name]) != 3 or min(shapes[name]) < 1:
        found = ", ".join(f"{name} {shape}" for name, shape in shapes.items()) or "none"
        raise ArtefactError(
            f"expected a network output protos (M, Hp, Wp) beside the boxes, found {found}: export again"
        )
    return name


def output(outputs: Mapping[str, Tensor], name: str) -> Tensor:
    """Return an output by its name.

    Raises:
        ArtefactError: it is not there.
    """
    if name not in outputs:
        raise ArtefactError(
            f"expected a network output named {name}, found {', '.join(outputs) or 'none'}: "
            "the artefact's manifest does not fit its network"
        )
    return outputs[name]


def check_finite(array: NDArray[np.float32]) -> None:
    """Refuse NaN and infinity.

    Raises:
        ExecutorError: there is one.
    """
    if not np.isfinite(array).all():
        raise nonfinite_error()


def nonfinite_error() -> ExecutorError:
    """Return the refusal of outputs that hold NaN or infinity."""
    return ExecutorError(
        "expected finite numbers from the network, found NaN or infinity: an FP16 or INT8 artefact may "
        "have overflowed; export in FP32 and compare"
    )


def _from_separate(
    outputs: Outputs, class_count: int, extras: Extras, protos: NDArray[np.float32] | None
) -> Predictions:
    """Read boxes (4, A), scores (nc, A), mask_coefficients (M, A) and keypoints (K*D, A)."""
    expected = {
        "boxes": 4,
        "scores": class_count,
        "mask_coefficients": extras.coefficients,
        "keypoints": extras.keypoints,
    }
    anchors = output(outputs, "boxes").shape[-1:]
    parts = []
    for name, rows in expected.items():
        if not rows and name in outputs:
            fault = "the network has no protos" if name == "mask_coefficients" else "the manifest has no kpt_shape"
            raise ArtefactError(f"expected no output {name}, as {fault}, but found one: export again")
        part = output(outputs, name) if rows else np.empty((0, *anchors), np.float32)
        if part.shape != (rows, *anchors):
            raise ArtefactError(
                f"expected an output {name} ({rows}, {anchors[0] if anchors else 'A'}), found {part.shape}; "
                "the artefact's manifest does not fit its network"
            )
        check_finite(part)
        parts.append(part)
    parts.append(np.empty((0, *anchors), np.float32))  # angles
    return Predictions(protos, *parts)
