"""The network's raw outputs, taken apart: every anchor point's box, class scores and what the task adds to them."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from y12.errors import ExecutorError
from y12.runtime.artefact.output_layout import OutputLayout

SCORE_ROUNDING = 1e-3  # a sigmoid may come out this much beyond 0 or 1, in FP16

_MOST_BITS = int(np.float32(1 + SCORE_ROUNDING).view(np.uint32))

Outputs = Mapping[str, NDArray[np.float32]]  # of one image, by name, without the batch axis


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
            objects; None where every anchor point may be one.
    """

    protos: NDArray[np.float32] | None
    xywh: NDArray[np.float32]
    scores: NDArray[np.float32]
    coefficients: NDArray[np.float32]
    keypoints: NDArray[np.float32]
    angles: NDArray[np.float32]
    peaks_of: tuple[tuple[int, int], ...] | None = None

    @cached_property
    def best(self) -> NDArray[np.float32] | None:
        """The best score of each anchor point, (A,), where all scores are from 0 to 1; None where one may not be.

        They are looked at once, as bits: numbers from 0 on are ordered as their bits are, and negative ones, infinity
        and NaN lie above all from 0 to 1.
        """
        if self.scores.dtype != np.float32 or not self.scores.size:
            return None
        bits = np.ascontiguousarray(self.scores).view(np.uint32).max(axis=0)
        return bits.view(np.float32) if bits.max() <= _MOST_BITS else None


def predictions_from(outputs: Outputs, layout: OutputLayout, input_hw: tuple[int, int]) -> Predictions:
    """Take the outputs of a network without NMS apart.

    Args:
        outputs: by name, without the batch axis.
        layout: what they hold.
        input_hw: height and width of the network's input, in pixels.

    Raises:
        ArtefactError: an output is missing, or the shapes contradict each other or the layout.
        ExecutorError: an output holds NaN or infinity.
    """
    protos = protos_from(outputs, layout)
    rows, anchors = layout.rows_in({name: array.shape for name, array in outputs.items()})
    parts = {name: outputs[part.output][part.first : part.first + part.count] for name, part in rows.items()}
    for name, part in parts.items():
        if name != "scores":
            check_finite(part)
    none = np.empty((0, anchors), np.float32)
    predictions = Predictions(
        protos=protos,
        xywh=parts["boxes"],
        scores=parts["scores"] * parts["objectness"] if layout.has_objectness else parts["scores"],
        coefficients=parts.get("coefficients", none),
        keypoints=parts.get("keypoints", none),
        angles=parts.get("angles", none),
        peaks_of=layout.levels_hw(input_hw, anchors),
    )
    if predictions.best is None:
        check_finite(parts["scores"])
    return predictions


def protos_from(outputs: Outputs, layout: OutputLayout) -> NDArray[np.float32] | None:
    """Return the prototypes of the masks; None where there are none.

    Raises:
        ArtefactError: the task needs them and they are not there, or have another shape.
        ExecutorError: they hold NaN or infinity.
    """
    name = layout.protos_in({name: array.shape for name, array in outputs.items()})
    if name is None:
        return None
    check_finite(outputs[name])
    return outputs[name]


def check_finite(array: NDArray[np.float32]) -> None:
    """Refuse NaN and infinity.

    Raises:
        ExecutorError: there is one.
    """
    if not np.isfinite(array).all():
        raise nonfinite_error()


def check_scores(scores: NDArray[np.float32]) -> None:
    """Refuse what is no score of 0 to 1.

    Raises:
        ExecutorError: there is one.
    """
    low, high = scores.min(initial=0.0), scores.max(initial=0.0)
    if low < -SCORE_ROUNDING or high > 1 + SCORE_ROUNDING:
        raise score_error(low, high)


def score_error(low: float, high: float) -> ExecutorError:
    """Return the refusal of scores from `low` to `high`."""
    return ExecutorError(
        f"expected scores from 0 to 1 from the network, found {low:.4g} to {high:.4g}: its outputs hold something else "
        "than its manifest says; export the model again"
    )


def nonfinite_error() -> ExecutorError:
    """Return the refusal of outputs that hold NaN or infinity."""
    return ExecutorError(
        "expected finite numbers from the network, found NaN or infinity: an FP16 or INT8 artefact may "
        "have overflowed; export in FP32 and compare"
    )
