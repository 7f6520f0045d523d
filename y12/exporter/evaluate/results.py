"""What measuring graphs on data gives: plain values, which the report writes as JSON and shows."""

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Accuracy", "BlockCost", "Budget", "CurvePoint", "Loss", "Score", "Speed"]


@dataclass(frozen=True)
class Score:
    """How one graph did.

    Attributes:
        precision: "fp32", "fp16" or "int8".
        figures: by what is measured, such as "boxes AP50-95", 0 to 1; the first one is the one that budgets are in.
    """

    precision: str
    figures: Mapping[str, float]


@dataclass(frozen=True)
class Accuracy:
    """How the graphs of an export did on the same images.

    Attributes:
        data: what was measured on, in words.
        images: their number.
        truth: "labels", or "detections of FP32" where there are no labels; FP32 itself then has 1.
        scores: of each graph, FP32 first.
        worst: images whose detections differ most from FP32's, the worst first: file name → agreement, 0 to 1.
        notes: what the figures do not say.
    """

    data: str
    images: int
    truth: str
    scores: tuple[Score, ...]
    worst: Mapping[str, float]
    notes: tuple[str, ...] = ()

    @property
    def says_something(self) -> bool:
        """Whether FP32 was right in something, so that another precision could lose it."""
        return any(self.scores[0].figures.values())


@dataclass(frozen=True)
class BlockCost:
    """One block of the network: what it costs to have it alone in INT8.

    Attributes:
        name: such as "model.6"; its convolutions' names begin with it.
        convolutions: how many of them INT8 is possible for.
        macs: their share of the MACs of all layers, convolutions and attentions, 0 to 1.
        drop: points of 100 that FP32's objects, their overlap and confidence, move by where only this block is in INT8.
    """

    name: str
    convolutions: int
    macs: float
    drop: float


@dataclass(frozen=True)
class Loss:
    """What a graph loses of one figure against FP32 on the same images.

    Attributes:
        figure: such as "boxes AP50-95".
        truth: what both are held against: "labels" or "detections of FP32".
        points: of 100; below 0 where the graph is better.
        low, high: the 90 % interval of what it loses on as many other images, by a bootstrap.
    """

    figure: str
    truth: str
    points: float
    low: float
    high: float


@dataclass(frozen=True)
class CurvePoint:
    """One way to divide the network.

    Attributes:
        fp16_blocks: names of the blocks that stay in FP16, or in FP32 where that is the remainder's precision.
        int8_macs: the share of all layers' MACs that are done in INT8, 0 to 1.
        losses: what it loses, of every figure and against everything there is to hold it against.
        drop: points lost against FP32, of the figure that decides.
        low, high: their 90 % interval, with one object more at its upper end; that is within the budget, or is not.
    """

    fp16_blocks: tuple[str, ...]
    int8_macs: float
    losses: tuple[Loss, ...]
    drop: float
    low: float
    high: float


@dataclass(frozen=True)
class Budget:
    """What was asked for, and the division that keeps it.

    Attributes:
        max_drop: the points that may be lost.
        data: what was measured on, in words; neither what was calibrated on nor what accuracy is reported on.
        images: their number.
        objects: how many there are in them to be found.
        truth: what decides: "labels", or "detections of FP32" where there are none, or too few images to tell by them.
        measure: what a point is of, such as "boxes AP50-95".
        undecided: how wide the interval of the labels' figure is, in points, where that was too wide to decide.
        blocks: the most costly first.
        curve: every division that was measured, most MACs in INT8 first; the last one is FP16 throughout.
        chosen: the division of the artefact.
        remainder: the precision of what is not in INT8: "fp16", or "fp32" for ONNX Runtime.
    """

    max_drop: float
    data: str
    images: int
    objects: int
    truth: str
    measure: str
    undecided: float | None
    blocks: tuple[BlockCost, ...]
    curve: tuple[CurvePoint, ...]
    chosen: CurvePoint
    remainder: str = "fp16"


@dataclass(frozen=True)
class Speed:
    """How long one run takes.

    Attributes:
        what: ran, and in what, such as "INT8 ONNX in ONNX Runtime 1.31.1 (CPU)".
        median_ms, p90_ms: of a run, batch and size as the artefact is tuned for.
        runs: how many were timed, in turns with the others of the same report.
    """

    what: str
    median_ms: float
    p90_ms: float
    runs: int
