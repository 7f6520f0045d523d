"""Keep the fewest blocks in FP16 with which INT8 stays within a budget.

First each block alone is put into INT8, and the others are not: what that costs ranks them. Then the most costly ones
stay in FP16, 1, 2, 3, 4, 6, 8, 12 … of them, until what is lost is within the budget, and the last step is bisected.
Ranking is by agreement with FP32 on a part of the images, which varies less from image to image than accuracy does;
what is kept is decided by the figure itself, on all of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import onnx

from y12.errors import BudgetError, DatasetError
from y12.exporter.data.image_lists import evenly
from y12.exporter.evaluate.evaluation_set import EvaluationSet
from y12.exporter.evaluate.graph_results import outcome_of
from y12.exporter.evaluate.results import BlockCost, Budget, CurvePoint
from y12.exporter.evaluate.scoring import Figures, Truth, budgeted, figures_of, points_lost, truth_from
from y12.exporter.precision.mixed.blocks import Block
from y12.runtime.artefact.manifest import Manifest
from y12.text import percent

__all__ = ["Divisible", "Progress", "budget_kept"]

_RANKING_IMAGES, _RANKING_CLASSIFIED = 32, 256  # of a classifier each image says right or wrong, and no more
_STEPS = (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)

Progress = Callable[[int, int], None]
Quantized = Callable[[frozenset[str]], onnx.ModelProto]


@dataclass(frozen=True)
class Divisible:
    """A network of which some blocks can be in INT8.

    Attributes:
        fp32: the graph itself, without NMS.
        quantized: returns the typed graph with these convolutions kept in FP16, by name.
        blocks: that INT8 is possible for.
        manifest: of the model.
        remainder: what is not in INT8: "fp16", or "fp32" for ONNX Runtime.
        always: the share of all layers' MACs that is in INT8 whichever blocks are: of attention.
    """

    fp32: onnx.ModelProto
    quantized: Quantized
    blocks: Sequence[Block]
    manifest: Manifest
    remainder: str = "fp16"
    always: float = 0.0


def budget_kept(
    network: Divisible, evaluation_set: EvaluationSet, max_drop: float, progress: Progress | None = None
) -> Budget:
    """Return the division that keeps within the budget.

    Args:
        network: to divide.
        evaluation_set: images that were not calibrated on.
        max_drop: points that may be lost.
        progress: called after each measurement with how many are done, and how many there are at most.

    Raises:
        BudgetError: only FP16 throughout keeps it, or not even that.
        DatasetError: there are no labels and FP32 finds nothing, or FP32 has less than may be lost.
        Y12Error: an image cannot be used.
    """
    search = _Search(network, evaluation_set, progress)
    _check_reference(search.reference, evaluation_set, max_drop)
    costs = search.costs()
    curve = search.curve([cost.name for cost in costs], max_drop)
    chosen = next((point for point in curve if point.drop <= max_drop), None)
    if chosen is None or len(chosen.fp16_blocks) == len(network.blocks):
        raise BudgetError(_refusal(curve, max_drop, evaluation_set, network.remainder))
    measure = ", ".join(search.reference)
    measured = (evaluation_set.data, len(evaluation_set.samples), evaluation_set.truth, measure)
    return Budget(max_drop, *measured, costs, curve, chosen, network.remainder)


class _Search:
    """Measures divisions; holds what FP32 finds, which is run once."""

    def __init__(self, network: Divisible, evaluation_set: EvaluationSet, progress: Progress | None) -> None:
        self._network, self._progress = network, progress
        self._blocks = {block.name: block for block in network.blocks}
        self._done, self._most = 0, 1 + len(self._blocks) + _most_points(len(self._blocks))
        self._fp32 = outcome_of(network.fp32, network.manifest, evaluation_set)
        truth = truth_from(evaluation_set, self._fp32)
        self._yardstick = _Yardstick(evaluation_set, truth, figures_of(truth, self._fp32))
        self._count()

    @property
    def reference(self) -> Figures:
        """What FP32 has of the figures that the budget is in."""
        return budgeted(self._yardstick.reference)

    def costs(self) -> tuple[BlockCost, ...]:
        """Return what each block costs that alone is in INT8; the most costly first."""
        yardstick = self._ranking()
        costs = []
        for name, block in self._blocks.items():
            drop = self._drop(yardstick, frozenset(self._blocks) - {name})
            costs.append(BlockCost(name, len(block.convolutions), block.macs, drop))
        return tuple(sorted(costs, key=lambda cost: (-cost.drop, -cost.macs)))

    def curve(self, order: Sequence[str], max_drop: float) -> tuple[CurvePoint, ...]:
        """Return what is lost with more and more blocks in FP16, as far as the budget asks, and with all of them."""
        points: dict[int, CurvePoint] = {}

        def fits(fp16_count: int) -> bool:
            if fp16_count not in points:
                macs = self._network.always + sum(self._blocks[name].macs for name in order[fp16_count:])
                drop = self._drop(self._yardstick, frozenset(order[:fp16_count]))
                points[fp16_count] = CurvePoint(tuple(order[:fp16_count]), macs, drop)
            return points[fp16_count].drop <= max_drop

        fits(len(order))
        too_few = -1
        enough = None
        for step in _steps(len(order)):
            if fits(step):
                enough = step
                break
            too_few = step
        while enough is not None and enough - too_few > 1:
            middle = (enough + too_few) // 2
            enough, too_few = (middle, too_few) if fits(middle) else (enough, middle)
        return tuple(points[fp16_count] for fp16_count in sorted(points))

    def _ranking(self) -> "_Yardstick":
        """Return what ranks the blocks: agreement on images in which FP32 finds something, evenly out of all."""
        evaluation_set, seen = self._yardstick.evaluation_set, {result["image_id"] for result in self._fp32.sure}
        samples = [sample for sample in evaluation_set.samples if sample.image_id in seen]
        if not samples:
            return self._yardstick  # there are labels, of a model that is sure of nothing
        count = _RANKING_IMAGES if self._fp32.kinds else _RANKING_CLASSIFIED
        fewer = replace(evaluation_set, samples=tuple(evenly(samples, count)))
        reference = self._fp32.of({sample.image_id for sample in fewer.samples})
        truth = truth_from(fewer, reference, labels=False)
        return _Yardstick(fewer, truth, figures_of(truth, reference))

    def _drop(self, yardstick: "_Yardstick", fp16_blocks: frozenset[str]) -> float:
        convolutions = frozenset(name for block in fp16_blocks for name in self._blocks[block].convolutions)
        outcome = outcome_of(self._network.quantized(convolutions), self._network.manifest, yardstick.evaluation_set)
        self._count()
        return points_lost(yardstick.reference, figures_of(yardstick.truth, outcome))

    def _count(self) -> None:
        self._done += 1
        if self._progress is not None:
            self._progress(self._done, self._most)


@dataclass(frozen=True)
class _Yardstick:
    """Images, what graphs are held against on them, and the figures that FP32 has by it."""

    evaluation_set: EvaluationSet
    truth: Truth
    reference: Figures


def _steps(blocks: int) -> tuple[int, ...]:
    """Return how many blocks are kept in FP16, one number after the other, until it is all of them."""
    return (*(step for step in _STEPS if step < blocks), blocks)


def _most_points(blocks: int) -> int:
    """Return how many divisions are measured at most: each step, and the bisection of the widest one."""
    steps = _steps(blocks)
    return len(steps) + max(((high - low - 1).bit_length() for low, high in pairwise(steps)), default=0)


def _check_reference(reference: Figures, evaluation_set: EvaluationSet, max_drop: float) -> None:
    """Refuse a budget that all of FP32's accuracy could be lost within."""
    best = 100 * max(reference.values())
    if best < max_drop or best == 0:
        raise DatasetError(
            f"--max-drop {max_drop:g}: FP32 itself has only {best:.2f} points on {evaluation_set.data} "
            f"({evaluation_set.truth}), all of which could be lost; do the labels belong to the model's classes?"
        )


def _refusal(curve: Sequence[CurvePoint], max_drop: float, evaluation_set: EvaluationSet, remainder: str) -> str:
    """Return a message: the remainder's precision is the better choice, and what INT8 would cost."""
    best, rest = min(curve[:-1], key=lambda point: point.drop, default=curve[-1]), remainder.upper()
    advice = {"fp16": "use --half", "fp32": "drop --int8"}[remainder]
    if curve[-1].drop > max_drop:
        advice += f", or allow more: {rest} does not keep to it either"
    return (
        f"--max-drop {max_drop:g}: {rest} is the better choice here, {advice}: INT8 throughout loses "
        f"{curve[0].drop:.2f} points on {evaluation_set.data} ({evaluation_set.truth}), and with INT8 for "
        f"{percent(best.int8_macs)} of the "
        f"MACs still {best.drop:.2f}; {rest} loses {curve[-1].drop:.2f}"
    )
