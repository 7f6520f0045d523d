"""Whether a budget holds on images it has not seen: figures for docs/benchmarks.md.

    python benchmarks/budget.py yolo11n.pt --calib coco128.yaml --max-drop 0.5 2 --unseen val.json more.json

Each model is exported with each budget; FP32 and the INT8 graph are then measured on each unseen set, with the same
90 % intervals as the budget itself: by labels, where a set has any, and by agreement with FP32's detections above 0.25.
Progress goes to stderr, the table to stdout. The exit code is 1 where a set loses more than 0.3 points beyond a budget
of agreement, or, by labels, more than its own interval leaves to chance.
"""

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx

from y12.errors import BudgetError
from y12.exporter.evaluate.evaluation_set import EvaluationSet, open_evaluation_set
from y12.exporter.evaluate.graph_results import Outcome, outcome_of
from y12.exporter.evaluate.results import Budget, Loss
from y12.exporter.evaluate.scoring import truth_from
from y12.exporter.evaluate.yardstick import Yardstick
from y12.exporter.export_config import ExportConfig, Int8Options
from y12.exporter.export_pipeline import export
from y12.exporter.precision.mixed.budget_options import BudgetOptions
from y12.runtime.artefact.manifest import Manifest
from y12.runtime.artefact.opened import open_artefact

LEEWAY = 0.3  # points beyond the budget


@dataclass(frozen=True)
class Unseen:
    """A set the budget was not measured on, and what FP32 finds there."""

    evaluation_set: EvaluationSet
    fp32: Outcome
    yardsticks: tuple[Yardstick, ...]


def unseen_of(graph: onnx.ModelProto, manifest: Manifest, data: Path) -> Unseen:
    """Run FP32 on a set."""
    evaluation_set = open_evaluation_set(data, manifest.task, manifest.names, manifest.kpt_shape)
    fp32 = outcome_of(graph, manifest, evaluation_set, every_kind=True)
    by_labels = [] if evaluation_set.labels is None else [Yardstick(truth_from(evaluation_set, fp32), fp32)]
    agreement = Yardstick(truth_from(evaluation_set, fp32, labels=False), fp32)
    return Unseen(evaluation_set, fp32, (*by_labels, agreement))


def graph_and_manifest(artefact: str) -> tuple[onnx.ModelProto, Manifest]:
    """Open an .onnx."""
    return onnx.load(artefact), open_artefact(artefact).manifest


def rows(model: Path, arguments: argparse.Namespace, folder: Path) -> Iterator[tuple[list[str], bool]]:
    """Yield the table's rows of one model, and whether each holds."""
    quiet = lambda _stage: contextlib.nullcontext()  # noqa: E731
    plain = export(ExportConfig(str(model), verify=None, output=folder), quiet).artefact
    graph, manifest = graph_and_manifest(plain)
    sets = [unseen_of(graph, manifest, data) for data in arguments.unseen]
    for max_drop in arguments.max_drop:
        budget = BudgetOptions(max_drop, arguments.max_drop_data)
        int8 = Int8Options(arguments.calib, budget=budget, limit=arguments.limit)
        config = ExportConfig(str(model), precision="int8", int8=int8, verify=None, output=folder)
        started = time.perf_counter()
        try:
            result = export(config, quiet)
        except BudgetError as error:
            yield [model.stem, f"{max_drop:g}", f"refused: {error}"], True
            continue
        made = result.report.budget
        assert made is not None
        words = (
            f"{made.chosen.int8_macs:.0%}",
            f"{result.report.seconds['budget']:.0f} of {time.perf_counter() - started:.0f} s",
        )
        for loss in made.chosen.losses:
            yield [model.stem, f"{max_drop:g}", *words, made.data, *cells(loss)], True
        typed, _ = graph_and_manifest(result.artefact)
        for one in sets:
            outcome = outcome_of(typed, manifest, one.evaluation_set, every_kind=True)
            for loss in (loss for yardstick in one.yardsticks for loss in yardstick.losses(outcome)):
                yield [model.stem, f"{max_drop:g}", *words, one.evaluation_set.data, *cells(loss)], holds(loss, made)


def holds(loss: Loss, budget: Budget) -> bool:
    """Return whether a loss on unseen images is what was promised: agreement closely, AP as far as it can be told.

    Where labels decided, nothing was promised of agreement.
    """
    if loss.truth == "labels":
        return loss.low <= budget.max_drop
    return budget.truth == "labels" or loss.points <= budget.max_drop + LEEWAY


def cells(loss: Loss) -> tuple[str, str, str]:
    """Return what the table says of a loss."""
    return loss.figure, loss.truth, f"{loss.points:.2f} ({loss.low:.2f} to {loss.high:.2f})"


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--calib", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=None, help="images to calibrate and to measure on")
    parser.add_argument("--max-drop", type=float, nargs="+", default=[0.5])
    parser.add_argument("--max-drop-data", type=Path, default=None)
    parser.add_argument("--unseen", type=Path, nargs="+", required=True)
    arguments = parser.parse_args()
    print("| model | budget | MACs in INT8 | search | images | figure | against | lost (90 % interval) | |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    all_hold = True
    for model in arguments.models:
        with tempfile.TemporaryDirectory() as folder:
            for row, is_held in rows(model, arguments, Path(folder)):
                print(f"| {' | '.join(row)} | {'' if is_held else 'NOT HELD'} |", flush=True)
                all_hold &= is_held
        print(f"{model.stem} done", file=sys.stderr, flush=True)
    return 0 if all_hold else 1


if __name__ == "__main__":
    sys.exit(main())
