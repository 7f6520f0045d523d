"""Which output of a network without NMS holds what: read by the decoder, the GPU's kernels and the NMS in the graph.

A network says A boxes of each image, one for each anchor point, and beside each box what its task adds. The published
tasks say all of it in rows of one output, `output0`, and a multi-task network in outputs of their own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from y12.errors import ArtefactError
from y12.runtime.artefact.manifest import LOCALISATIONS, Manifest

__all__ = ["PROTOS", "OutputLayout", "Rows", "heights_of", "output", "output_layout", "words_of"]

Tensor = TypeVar("Tensor")

PROTOS = "protos"  # the output that holds the prototypes of the masks
_NO_FIT = "the artefact's manifest does not fit its network"
# What a task adds to a box, in the order of the rows.
_ADDED: Mapping[str, tuple[str, ...]] = {
    "detect": (),
    "segment": ("coefficients",),
    "pose": ("keypoints",),
    "obb": ("angles",),
    "multitask": ("coefficients", "keypoints"),
}
_WORDS = {"coefficients": "mask coefficients", "keypoints": "keypoint values", "angles": "angle"}
_OWN_OUTPUTS = {"boxes": "boxes", "scores": "scores", "coefficients": "mask_coefficients", "keypoints": "keypoints"}


@dataclass(frozen=True)
class Rows:
    """Where one kind of prediction is: rows `first` to `first + count` of an output (B, rows, A)."""

    output: str
    first: int
    count: int


@dataclass(frozen=True)
class OutputLayout:
    """What the outputs of a network that finds boxes hold.

    Attributes:
        task: one of `y12.runtime.artefact.manifest.TASKS` but "classify".
        class_count: nc.
        kpt_shape: K keypoints of D values each; None where there are none.
        box_format: how the anchor points tell objects, one of `y12.runtime.artefact.manifest.LOCALISATIONS`.
        strides: of the levels, in pixels of the input; the anchor points are the cells of all levels.

    Raises:
        ArtefactError: the task finds no boxes.
    """

    task: str
    class_count: int
    kpt_shape: tuple[int, int] | None = None
    box_format: str = LOCALISATIONS[0]
    strides: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.task not in _ADDED:
            raise ArtefactError(f"expected one of the tasks {', '.join(_ADDED)}, found {self.task!r}")

    @property
    def has_masks(self) -> bool:
        """Whether there may be masks: mask coefficients of each box, and the prototypes they go with."""
        return "coefficients" in _ADDED[self.task]

    @property
    def is_oriented(self) -> bool:
        """Whether boxes have an angle, in radians."""
        return "angles" in _ADDED[self.task]

    @property
    def is_separate(self) -> bool:
        """Whether each kind is an output of its own; masks and keypoints are there only where the network has them."""
        return self.task == "multitask"

    @property
    def has_objectness(self) -> bool:
        """Whether a row of objectness stands before the scores, by which they are to be multiplied."""
        return self.box_format == "anchors"

    @property
    def peaks_at(self) -> tuple[int, ...]:
        """The strides of the levels, of which only the peaks of the scores are objects; empty where all may be."""
        return self.strides if self.box_format == "heatmap" else ()

    def added(self, prototypes: int) -> dict[str, int]:
        """Return how many values masks, keypoints and angle add to a box, in the order of the rows; 0 for none."""
        keypoints = 0 if self.kpt_shape is None else self.kpt_shape[0] * self.kpt_shape[1]
        sizes = {"coefficients": prototypes, "keypoints": keypoints, "angles": 1}
        return {name: size if name in _ADDED[self.task] else 0 for name, size in sizes.items()}

    def rows(self, prototypes: int) -> dict[str, Rows]:
        """Return where each kind of prediction is, without those that there are not."""
        counts = {"boxes": 4, "objectness": int(self.has_objectness), "scores": self.class_count}
        rows: dict[str, Rows] = {}
        first = 0
        for name, count in (counts | self.added(prototypes)).items():
            if count:
                rows[name] = Rows(_OWN_OUTPUTS[name], 0, count) if self.is_separate else Rows("output0", first, count)
            first += count
        return rows

    def rows_in(self, shapes: Mapping[str, tuple[int, ...]]) -> tuple[dict[str, Rows], int]:
        """Return where each kind of prediction is in outputs of these shapes, and A.

        Args:
            shapes: by name, without the batch axis.

        Raises:
            ArtefactError: an output is missing, or the shapes contradict each other or the manifest.
        """
        protos = self.protos_in(shapes)
        rows = self.rows(0 if protos is None else shapes[protos][0])
        anchors = output(shapes, rows["boxes"].output)[-1:]
        if self.is_separate:
            self._check_no_others(shapes, rows)
        for name, height in heights_of(rows).items():
            shape = output(shapes, name)
            if shape != (height, *anchors):
                expected = f"{name} ({height}, {anchors[0] if anchors else 'A'})"
                if not self.is_separate:
                    expected = f"({height}, A) for {self.class_count} classes{words_of(rows)}"
                raise ArtefactError(f"expected an output {expected}, found {shape}; {_NO_FIT}")
        return rows, anchors[0]

    def protos_in(self, shapes: Mapping[str, tuple[int, ...]]) -> str | None:
        """Return which output holds the prototypes: `protos` or, in other exporters' graphs, the one of (M, Hp, Wp).

        Args:
            shapes: by name, without the batch axis.

        Returns:
            None where the task has no masks, or the network none of those that it may have.

        Raises:
            ArtefactError: the task needs them and they are not there, or have another shape.
        """
        if not self.has_masks:
            return None
        others = [name for name, shape in shapes.items() if len(shape) == 3]
        name = PROTOS if PROTOS in shapes else others[0] if len(others) == 1 else None
        if name is None and self.is_separate:
            return None
        if name is None or len(shapes[name]) != 3 or min(shapes[name]) < 1:
            present = ", ".join(f"{name} {shape}" for name, shape in shapes.items()) or "none"
            raise ArtefactError(
                f"expected a network output {PROTOS} (M, Hp, Wp) beside the boxes, found {present}: export again"
            )
        return name

    def levels_hw(self, input_hw: tuple[int, int], anchors: int) -> tuple[tuple[int, int], ...] | None:
        """Return the height and width in cells of each level of which only peaks are objects; None where all may be.

        Args:
            input_hw: height and width of the network's input, in pixels.
            anchors: A.

        Raises:
            ArtefactError: the cells of all levels are not the anchor points.
        """
        if not self.peaks_at:
            return None
        levels = tuple((input_hw[0] // stride, input_hw[1] // stride) for stride in self.peaks_at)
        cells = sum(h * w for h, w in levels)
        if cells != anchors:
            raise ArtefactError(
                f"expected {cells} cells at strides {self.peaks_at} of an input of {input_hw[0]}x{input_hw[1]}, "
                f"found {anchors}; {_NO_FIT}"
            )
        return levels

    def _check_no_others(self, shapes: Mapping[str, tuple[int, ...]], rows: Mapping[str, Rows]) -> None:
        missing = {"coefficients": f"the network has no {PROTOS}", "keypoints": "the manifest has no kpt_shape"}
        for name, reason in missing.items():
            if name not in rows and _OWN_OUTPUTS[name] in shapes:
                raise ArtefactError(
                    f"expected no output {_OWN_OUTPUTS[name]}, as {reason}, but found one: export again"
                )


def output_layout(manifest: Manifest) -> OutputLayout | None:
    """Return what the outputs of a network hold, before any NMS; None for a classifier."""
    if manifest.task == "classify":
        return None
    return OutputLayout(manifest.task, len(manifest.names), manifest.kpt_shape, manifest.localisation, manifest.strides)


def heights_of(rows: Mapping[str, Rows]) -> dict[str, int]:
    """Return how many rows each output has."""
    heights: dict[str, int] = {}
    for part in rows.values():
        heights[part.output] = part.first + part.count
    return heights


def output(outputs: Mapping[str, Tensor], name: str) -> Tensor:
    """Return an output, or what is known of it, by its name.

    Raises:
        ArtefactError: it is not there.
    """
    if name not in outputs:
        raise ArtefactError(f"expected a network output named {name}, found {', '.join(outputs) or 'none'}: {_NO_FIT}")
    return outputs[name]


def words_of(rows: Mapping[str, Rows]) -> str:
    """Return what there is beside boxes and scores, to be put behind "… classes"."""
    return "".join(f", {rows[name].count} {words}" for name, words in _WORDS.items() if name in rows)
