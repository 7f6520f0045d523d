"""Keep the fewest blocks in FP16 with which INT8 stays within a budget.

First each block alone is put into INT8, and the others are not: how far that moves FP32's objects ranks them. Then the
fewest of the most costly ones are looked for that have to stay in FP16, beginning with as many as would do if each had
its share in what INT8 throughout loses. Ranking is on some images; on others, lest blocks be chosen by luck, it is
decided what is kept: by the upper end of an interval, of AP by labels where it is no wider than the budget, else of
agreement, which varies far less from image to image. To that end what one object more would be is added: losses that
the images happen not to show cannot be seen in any draw of them (Laplace's rule of succession).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import onnx

from y12.errors import BudgetError, DatasetError
from y12.exporter.data.image_lists import evenly
from y12.exporter.evaluate.evaluation_set import EvaluationSet
from y12.exporter.evaluate.graph_results import Outcome, outcome_of
from y12.exporter.evaluate.predictions import Wanted
from y12.exporter.evaluate.results import BlockCost, Budget, CurvePoint, Loss
from y12.exporter.evaluate.scoring import truth_from
from y12.exporter.evaluate.yardstick import Yardstick, yardsticks_of
from y12.exporter.precision.mixed.blocks import Block
from y12.runtime.artefact.manifest import Manifest
from y12.text import percent

__all__ = ["LEAST_IMAGES", "Divisible", "Progress", "budget_kept"]

LEAST_IMAGES = 32  # of fewer no interval tells anything

_RANKING_IMAGES, _RANKING_CLASSIFIED = 12, 256  # of a classifier each image says right or wrong, and no more

_OBJECTS_MORE = 1  # that are lost, than any draw of the images can show

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
    network: Divisible,
    evaluation_set: EvaluationSet,
    max_drop: float,
    progress: Progress | None = None,
    ranking: EvaluationSet | None = None,
) -> Budget:
    """Return the division that keeps within the budget.

    Args:
        network: to divide.
        evaluation_set: images that were not calibrated on.
        max_drop: points that may be lost.
        progress: called as images are done with how many are, and how many there are at most.
        ranking: images to rank the blocks by agreement on, such as those calibrated on; None takes `evaluation_set`, on
            which what is then measured looks better than it is: the blocks were chosen by what they lose there.

    Raises:
        BudgetError: only FP16 throughout keeps it, or not even that.
        DatasetError: there are no labels and FP32 finds nothing, or FP32 has less than may be lost.
        Y12Error: an image cannot be used.
    """
    search = _Search(network, evaluation_set, ranking or evaluation_set, progress)
    _check_reference(search.yardsticks, evaluation_set, max_drop)
    costs = search.costs()
    margins = {one.truth: _margin(one) for one in search.yardsticks}
    rule = _rule_for(search.losses(frozenset()), max_drop, margins)
    curve = search.curve(costs, rule)
    chosen = next((point for point in curve if rule.allows(point)), None)
    if chosen is None or len(chosen.fp16_blocks) == len(network.blocks):
        raise BudgetError(_refusal(curve, rule, evaluation_set, network.remainder))
    measure = ", ".join(loss.figure for loss in chosen.losses if loss.truth == rule.truth)
    objects = next(one.objects for one in search.yardsticks if one.truth == rule.truth)
    measured = (evaluation_set.data, len(evaluation_set.samples), objects, rule.truth, measure, rule.undecided)
    return Budget(max_drop, *measured, costs, curve, chosen, network.remainder)


@dataclass(frozen=True)
class _Rule:
    """What decides whether a division is within the budget: the upper end of the interval of what it loses.

    Attributes:
        max_drop: points that may be lost.
        truth: what is lost is counted against.
        margin: points that one object more would be.
        undecided: how wide the interval by labels is, in points, where that was too wide to decide.
    """

    max_drop: float
    truth: str
    margin: float
    undecided: float | None = None

    def point(self, fp16_blocks: Sequence[str], int8_macs: float, losses: tuple[Loss, ...]) -> CurvePoint:
        """Return a division with the loss that decides: of several figures the one whose interval ends highest.

        One object more is added to that end.
        """
        worst = max((loss for loss in losses if loss.truth == self.truth), key=lambda loss: loss.high)
        return CurvePoint(tuple(fp16_blocks), int8_macs, losses, worst.points, worst.low, worst.high + self.margin)

    def allows(self, point: CurvePoint) -> bool:
        """Return whether a division is within the budget."""
        return point.high <= self.max_drop


def _rule_for(losses: tuple[Loss, ...], max_drop: float, margins: Mapping[str, float]) -> _Rule:
    """Return what decides, by what INT8 throughout loses: labels, where they can tell so few points apart."""
    first, *others = dict.fromkeys(loss.truth for loss in losses)
    widest = max(loss.high - loss.low for loss in losses if loss.truth == first)
    if not others or widest <= max_drop:
        return _Rule(max_drop, first, margins[first])
    return _Rule(max_drop, others[0], margins[others[0]], widest)


def _margin(yardstick: Yardstick) -> float:
    """Return how many points of 100 one object more is."""
    return 100 * _OBJECTS_MORE / (yardstick.objects + 1)


class _Search:
    """Measures divisions; holds what FP32 finds, which is run once.

    Attributes:
        yardsticks: labels, where there are any; agreement with FP32, where it finds anything.
    """

    def __init__(
        self, network: Divisible, evaluation_set: EvaluationSet, ranking: EvaluationSet, progress: Progress | None
    ) -> None:
        self._network, self._evaluation_set, self._progress = network, evaluation_set, progress
        self._ranked_on = ranking
        self._ranking_count = _RANKING_CLASSIFIED if network.manifest.task == "classify" else _RANKING_IMAGES
        self._blocks = {block.name: block for block in network.blocks}
        self._done = 0
        self._fp32 = self._outcome(network.fp32, evaluation_set)
        self._measured: dict[frozenset[str], tuple[Loss, ...]] = {}
        self.yardsticks = yardsticks_of(evaluation_set, self._fp32)
        self._wanted: dict[int, set[int]] = {}
        for image_id, own in (pair for one in self.yardsticks for pair in one.categories_by_image.items()):
            self._wanted.setdefault(image_id, set()).update(own)

    def costs(self) -> tuple[BlockCost, ...]:
        """Return what each block costs that alone is in INT8; the most costly first."""
        images, yardstick = self._ranking()
        costs = []
        for name, block in self._blocks.items():
            drop = yardstick.points_apart(
                self._divided(frozenset(self._blocks) - {name}, images, yardstick.categories_by_image)
            )
            costs.append(BlockCost(name, len(block.convolutions), block.macs, drop))
        return tuple(sorted(costs, key=lambda cost: (-cost.drop, -cost.macs)))

    def losses(self, fp16_blocks: frozenset[str]) -> tuple[Loss, ...]:
        """Return what a division loses on all images, by each yardstick."""
        if fp16_blocks not in self._measured:
            outcome = self._divided(fp16_blocks, self._evaluation_set, self._wanted)
            self._measured[fp16_blocks] = tuple(loss for one in self.yardsticks for loss in one.losses(outcome))
        return self._measured[fp16_blocks]

    def curve(self, costs: Sequence[BlockCost], rule: _Rule) -> tuple[CurvePoint, ...]:
        """Return what is lost with more and more blocks in FP16, as far as the budget asks, and with all of them."""
        order = [cost.name for cost in costs]
        points: dict[int, CurvePoint] = {}

        def high_of(fp16_count: int) -> float:
            fp16_blocks = order[:fp16_count]
            macs = self._network.always + sum(self._blocks[name].macs for name in order[fp16_count:])
            points[fp16_count] = rule.point(fp16_blocks, macs, self.losses(frozenset(fp16_blocks)))
            return points[fp16_count].high

        _fewest(high_of, [max(cost.drop, 0) for cost in costs], rule.max_drop)
        return tuple(points[fp16_count] for fp16_count in sorted(points))

    def _ranking(self) -> tuple[EvaluationSet, Yardstick]:
        """Return what ranks the blocks: agreement on images in which FP32 finds something, evenly out of all."""
        images, fp32 = self._ranked_on, self._fp32
        if images is not self._evaluation_set:
            few = tuple(evenly(images.samples, self._ranking_count * (2 if fp32.kinds else 1)))
            images = replace(images, samples=few)
            fp32 = self._outcome(self._network.fp32, images)
        seen = {result["image_id"] for result in fp32.sure}
        samples = [sample for sample in images.samples if sample.image_id in seen]
        if not samples:
            return self._evaluation_set, self.yardsticks[0]  # there are labels, of a model that is sure of nothing
        fewer = replace(images, samples=tuple(evenly(samples, self._ranking_count)))
        reference = fp32.of({sample.image_id for sample in fewer.samples})
        return fewer, Yardstick(truth_from(fewer, reference, labels=False), reference)

    def _divided(self, fp16_blocks: frozenset[str], images: EvaluationSet, wanted: Wanted) -> Outcome:
        convolutions = frozenset(name for block in fp16_blocks for name in self._blocks[block].convolutions)
        return self._outcome(self._network.quantized(convolutions), images, wanted)

    def _outcome(self, graph: onnx.ModelProto, images: EvaluationSet, wanted: Wanted | None = None) -> Outcome:
        before, progress = self._done, self._progress

        def advance(done: int, _of: int) -> None:
            self._done = before + done
            if progress is not None:
                progress(self._done, max(self._done, self._most()))

        return outcome_of(graph, self._network.manifest, images, every_kind=True, wanted=wanted, progress=advance)

    def _most(self) -> int:
        """Return how many images are looked at, at most: by FP32, to rank each block, and to measure divisions."""
        ranked = (2 + len(self._blocks)) * min(self._ranking_count, len(self._ranked_on.samples))
        return ranked + (1 + _most_points(len(self._blocks))) * len(self._evaluation_set.samples)


def _fewest(high_of: Callable[[int], float], costs: Sequence[float], max_drop: float) -> None:
    """Look for the fewest of the most costly blocks that have to stay out of INT8: by `high_of`, from none to all.

    Between what is known to fit and what is not, it is asked where the others' costs leave as much as may be lost, if
    losses go with costs (regula falsi); after a step that did not halve what is left, in the middle.
    """
    known = {count: high_of(count) for count in (0, len(costs))}
    low, high, halved = 0, len(costs), True  # `low` does not fit, `high` does
    if known[low] <= max_drop or known[high] > max_drop:
        return
    left = [sum(costs[count:]) for count in range(len(costs) + 1)]
    while high - low > 1:
        probe = (low + high) // 2
        if halved:
            share = (max_drop - known[high]) / (known[low] - known[high])  # 0 to 1: it lies between them
            aim = left[high] + share * (left[low] - left[high])
            probe = next(count for count in range(low, high + 1) if left[count] <= aim)
            probe = min(max(probe, low + 1), high - 1)
        known[probe], before = high_of(probe), high - low
        low, high = (low, probe) if known[probe] <= max_drop else (probe, high)
        halved = 2 * (high - low) <= before


def _most_points(blocks: int) -> int:
    """Return how many divisions are measured at most: none, all, and twice as many as halving what is left takes."""
    return 2 + 2 * blocks.bit_length()


def _check_reference(yardsticks: Sequence[Yardstick], evaluation_set: EvaluationSet, max_drop: float) -> None:
    """Refuse a budget that all of FP32's accuracy could be lost within, or that is less than one object.

    Raises:
        DatasetError: it is one.
    """
    first = yardsticks[0]
    if not first.figures:
        raise DatasetError(
            f"--max-drop: expected objects to find, found none among the labels of {evaluation_set.data}"
        )
    best = 100 * max(first.figures.values())
    if best < max_drop or best == 0:
        raise DatasetError(
            f"--max-drop {max_drop:g}: FP32 itself has only {best:.2f} points on {evaluation_set.data} "
            f"({evaluation_set.truth}), all of which could be lost; do the labels belong to the model's classes?"
        )
    objects = max(one.objects for one in yardsticks)
    if min(map(_margin, yardsticks)) > max_drop:
        raise BudgetError(
            f"--max-drop {max_drop:g}: expected enough objects to tell that from chance, found {objects} on "
            f"{evaluation_set.data}, of which one is {100 / (objects + 1):.2f} points; name more images with "
            "--max-drop-data, or allow more"
        )


def _refusal(curve: Sequence[CurvePoint], rule: _Rule, evaluation_set: EvaluationSet, remainder: str) -> str:
    """Return a message: the remainder's precision is the better choice, and what INT8 would cost."""
    best, rest = min(curve[:-1], key=lambda point: point.high, default=curve[-1]), remainder.upper()
    advice = {"fp16": "use --half", "fp32": "drop --int8"}[remainder]
    if not rule.allows(curve[-1]):
        advice += f", or allow more: {rest} does not keep to it either"
    return (
        f"--max-drop {rule.max_drop:g}: {rest} is the better choice here, {advice}: INT8 throughout loses "
        f"{_range(curve[0])} points on {evaluation_set.data} ({rule.truth}), and with INT8 for "
        f"{percent(best.int8_macs)} of the MACs still {_range(best)}; {rest} loses {_range(curve[-1])}"
    )


def _range(point: CurvePoint) -> str:
    return f"{point.drop:.2f} ({point.low:.2f} to {point.high:.2f})"
