"""Keep the fewest blocks in FP16 with which INT8 stays within a budget.

First each block alone is put into INT8, and the others are not: what that costs ranks them. Then the most costly ones
stay in FP16, 1, 2, 3, 4, 6, 8, 12 … of them, until what is lost is within the budget, and the last step is bisected.
Ranking is by agreement with FP32 on a part of the images, which varies less from image to image than accuracy does;
what is kept is decided by the figure itself, on all of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import onnx

from exporter.errors import BudgetError
from exporter.sensitivity.blocks import Block
from exporter.sensitivity.data import Trial
from exporter.sensitivity.results import BlockCost, Budget, CurvePoint
from exporter.sensitivity.scoring import Truth, figures_of, outcome_of, points_lost, truth_from
from runtime.manifest import Manifest

__all__ = ["Divisible", "Progress", "budget_kept"]

_RANKING_IMAGES = 32
_STEPS = (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)

Progress = Callable[[int, int], None]
Quantized = Callable[[frozenset[str]], onnx.ModelProto]


@dataclass(frozen=True)
class Divisible:
    """A network of which some blocks can be in INT8.

    Attributes:
        fp32: the graph itself, without NMS.
        quantized: gives the typed graph with these convolutions kept in FP16, by name.
        blocks: that INT8 is possible for.
        manifest: of the model.
    """

    fp32: onnx.ModelProto
    quantized: Quantized
    blocks: Sequence[Block]
    manifest: Manifest


def budget_kept(network: Divisible, trial: Trial, max_drop: float, progress: Progress | None = None) -> Budget:
    """Find the division.

    Args:
        network: to divide.
        trial: images that were not calibrated on.
        max_drop: points that may be lost.
        progress: called after each measurement with how many are done, and how many there are at most.

    Raises:
        BudgetError: only FP16 throughout keeps it, or not even that.
        DatasetError: the labels do not fit the model, or FP32 finds nothing.
        Y12Error: an image cannot be used.
    """
    search = _Search(network, trial, progress)
    costs = search.costs()
    curve = search.curve([cost.name for cost in costs], max_drop)
    chosen = next((point for point in curve if point.drop <= max_drop), None)
    if chosen is None or not chosen.int8_work:
        raise BudgetError(_refusal(curve, max_drop, trial))
    measure = ", ".join(name for name in search.reference if name.endswith(("AP50-95", "top-1")))
    return Budget(max_drop, trial.data, len(trial.samples), trial.truth, measure, costs, curve, chosen)


class _Search:
    """Measures divisions; holds what FP32 finds, which is run once."""

    def __init__(self, network: Divisible, trial: Trial, progress: Progress | None) -> None:
        self._network, self._trial, self._progress = network, trial, progress
        self._blocks = {block.name: block for block in network.blocks}
        self._measured, self._most = 0, len(self._blocks) + len(_STEPS)
        self._fp32 = outcome_of(network.fp32, network.manifest, trial)
        self._truth = truth_from(trial, network.manifest, self._fp32)
        self.reference = figures_of(self._truth, self._fp32)

    def costs(self) -> tuple[BlockCost, ...]:
        """Measure each block alone in INT8, by agreement; the most costly first."""
        samples = self._trial.samples[:: max(1, len(self._trial.samples) // _RANKING_IMAGES)][:_RANKING_IMAGES]
        fewer = Trial(self._trial.data, samples, self._trial.labels)
        reference = self._fp32.of({sample.image_id for sample in samples})
        truth = truth_from(fewer, self._network.manifest, reference, labels=False)
        found = []
        for name, block in self._blocks.items():
            drop = self._drop(truth, fewer, frozenset(self._blocks) - {name})
            found.append(BlockCost(name, len(block.convolutions), block.work, drop))
        return tuple(sorted(found, key=lambda cost: (-cost.drop, -cost.work)))

    def curve(self, order: Sequence[str], max_drop: float) -> tuple[CurvePoint, ...]:
        """Measure with more and more blocks in FP16, as far as the budget asks for, and with all of them."""
        points: dict[int, CurvePoint] = {}

        def drop(kept: int) -> float:
            if kept not in points:
                names = tuple(order[:kept])
                work = sum(self._blocks[name].work for name in order[kept:])
                points[kept] = CurvePoint(names, work, self._drop(self._truth, self._trial, frozenset(names)))
            return points[kept].drop

        drop(len(order))
        previous = -1
        for kept in (step for step in _STEPS if step < len(order)):
            if drop(kept) <= max_drop:
                while kept - previous > 1:
                    middle = (kept + previous) // 2
                    if drop(middle) <= max_drop:
                        kept = middle
                    else:
                        previous = middle
                break
            previous = kept
        return tuple(points[kept] for kept in sorted(points))

    def _drop(self, truth: Truth, trial: Trial, kept: frozenset[str]) -> float:
        convolutions = frozenset(name for block in kept for name in self._blocks[block].convolutions)
        outcome = outcome_of(self._network.quantized(convolutions), self._network.manifest, trial)
        reference = figures_of(truth, self._fp32.of(set(outcome.sizes_hw)))
        self._measured += 1
        if self._progress is not None:
            self._progress(self._measured, self._most)
        return points_lost(reference, figures_of(truth, outcome))


def _refusal(curve: Sequence[CurvePoint], max_drop: float, trial: Trial) -> str:
    """Say that FP16 is the better choice, and what INT8 would cost."""
    best = min(curve[:-1], key=lambda point: point.drop, default=curve[-1])
    return (
        f"--max-drop {max_drop:g}: FP16 is the better choice here, use --half: INT8 throughout loses "
        f"{curve[0].drop:.2f} points on {trial.data} ({trial.truth}), and with INT8 for {best.int8_work:.0%} of the "
        f"work still {best.drop:.2f}; FP16 loses {curve[-1].drop:.2f}"
    )
