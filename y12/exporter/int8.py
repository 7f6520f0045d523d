"""From an FP32 graph and images to an INT8 graph: ranges, and the blocks a budget keeps out of it."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import onnx

from y12.errors import OptionsError
from y12.exporter.data.dataset import Sample
from y12.exporter.evaluate.evaluation_set import EvaluationSet, evaluation_set_of_images, open_evaluation_set
from y12.exporter.evaluate.results import Budget
from y12.exporter.export_config import NEEDS_IMAGES, Int8Options
from y12.exporter.graph.passes import label
from y12.exporter.model.detector import Detector
from y12.exporter.precision.calibration.calibrate import calibrate
from y12.exporter.precision.calibration.calibration_images import calibration_images, calibration_notes
from y12.exporter.precision.calibration.method_choice import ScoreError, best_ranges
from y12.exporter.precision.cast import CastReport
from y12.exporter.precision.macs import layer_macs, mac_shares
from y12.exporter.precision.mixed.blocks import blocks_of
from y12.exporter.precision.mixed.budget import LEAST_IMAGES, Divisible, budget_kept
from y12.exporter.precision.qat.learned import LearnedRanges
from y12.exporter.precision.qat.prepare import PreparedDetector, QatOptions, prepare
from y12.exporter.precision.qdq.plan import CONVOLUTIONS, plan_of
from y12.exporter.precision.qdq.qdq import QdqReport, quantize, tensors_to_calibrate
from y12.exporter.precision.quantization_options import QuantizeOptions
from y12.exporter.precision.ranges import Ranges
from y12.runtime.artefact.manifest import Manifest
from y12.text import percent

__all__ = ["Int8Images", "Typed", "as_trained", "int8_from_fp32", "int8_images"]

_SMALL_SHARE = 0.5  # of the MACs: with less of it in INT8, what INT8 gains is likely lost at its borders
_BY_BUDGET = "kept out of INT8 by --max-drop"
_LEARNED = "ranges were learned with the weights: not calibrated"
_NOT_LEARNED = "--calib: calibrated anew; the ranges that were learned with the weights are not used"

Stage = Callable[[str], AbstractContextManager[Callable[[int, int], None] | None]]


@dataclass(frozen=True)
class Int8Images:
    """What INT8 is made with.

    Attributes:
        calibration: the images to calibrate on; none where the ranges are there already.
        held_out: images apart from them that a budget is measured on.
        learned: ranges that the model's file has, learned with the weights; they are used where nothing is calibrated.
        notes: where they were found, if that is not where their data.yaml says.
    """

    calibration: list[Path]
    held_out: list[Path]
    learned: LearnedRanges | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Typed:
    """A graph with its precision written in, and how it came about; what belongs to other precisions is None.

    Attributes:
        graph: the typed graph.
        cast: what the FP16 pass changed.
        quantization: what the INT8 pass changed.
        calibration: on how many images, and how.
        budget: the division that was found.
        ranges: that it was quantised with, and what was kept out of INT8.
        notes: what the user must be told.
    """

    graph: onnx.ModelProto
    cast: CastReport | None = None
    quantization: QdqReport | None = None
    calibration: str = ""
    budget: Budget | None = None
    ranges: LearnedRanges | None = None
    notes: tuple[str, ...] = ()


def int8_images(options: Int8Options, learned: LearnedRanges | None = None) -> Int8Images:
    """Return the images. With a budget that names none, every second one is held out for it.

    Args:
        options: what is asked for.
        learned: what the model's file has of ranges.

    Raises:
        CalibrationError: there are none.
        OptionsError: none are named and there are no ranges, or too few for a budget that names none.
    """
    if options.found is not None:
        return Int8Images([], [], learned)
    if options.images is None:
        if learned is None:
            raise OptionsError(NEEDS_IMAGES)
        return Int8Images([], [], learned)
    images, notes = calibration_images(options.images, options.limit), calibration_notes(options.images)
    if options.budget is None or options.budget.data is not None:
        return Int8Images(images, [], learned, notes)
    _check_enough(len(images) // 2, f"every second one of {len(images)} is held out from calibration")
    return Int8Images(images[::2], images[1::2], learned, notes)


def int8_from_fp32(
    graph: onnx.ModelProto, manifest: Manifest, images: Int8Images, options: Int8Options, stage: Stage
) -> Typed:
    """Return the INT8 graph.

    Args:
        graph: the simplified FP32 graph.
        manifest: of the artefact.
        images: as `int8_images` returns them.
        options: what is asked for.
        stage: shows what is going on.

    Raises:
        BudgetError: FP16 is the better choice.
        OptionsError: there are too few images for a budget.
        Y12Error: a child says what else failed.
    """
    evaluation_set = _evaluation_set(options, images, manifest)  # before the minutes that calibration takes
    if options.found is not None:
        found = options.found.ranges
        options = replace(options, quantize=replace(options.quantize, keep=options.quantize.keep | found.keep))
        ranges, notes = found.ranges, []
    elif images.learned is not None and not images.calibration:
        options = replace(options, quantize=images.learned.options_for(graph, options.quantize))
        ranges, notes = images.learned.ranges, [_LEARNED]
    else:
        ranges = _calibrated(graph, manifest, images, options, stage)
        notes = [*images.notes, *ranges.notes, *[_NOT_LEARNED] * (images.learned is not None)]
    quantized, budget = options.quantize, None
    if options.budget is not None and evaluation_set is not None:
        with stage("budget") as advance:
            network = _divisible(graph, ranges, quantized, manifest)
            calibrated = tuple(Sample(i, image) for i, image in enumerate(images.calibration, 1))
            ranking = (
                EvaluationSet("calibration images", calibrated, bits=options.calibration.bits) if calibrated else None
            )
            budget = budget_kept(network, evaluation_set, options.budget.max_drop, advance, ranking)
        convolutions = {block.name: block.convolutions for block in network.blocks}
        quantized = replace(
            quantized, keep=quantized.keep.union(*(convolutions[name] for name in budget.chosen.fp16_blocks))
        )
        notes += [
            *evaluation_set.notes,
            *_budget_notes(budget, network.remainder),
            *_seen_notes(evaluation_set, images),
        ]
    with stage("precision"):
        typed, report = quantize(graph, ranges, quantized)
        by_budget = dict.fromkeys(quantized.keep - options.quantize.keep, _BY_BUDGET)
        report = replace(report, left={name: by_budget.get(name, why) for name, why in report.left.items()})
    return Typed(
        typed,
        quantization=report,
        calibration=f"{ranges.images} images, {ranges.method}",
        budget=budget,
        notes=tuple(notes),
        ranges=LearnedRanges(ranges, quantized.keep),
    )


def _check_enough(images: int, words: str) -> None:
    if images < LEAST_IMAGES:
        raise OptionsError(
            f"--max-drop: expected at least {LEAST_IMAGES} images to measure on, found {images} ({words}): fewer "
            "cannot tell what is lost from chance; add images, or name others with --max-drop-data"
        )


def as_trained(
    detector: Detector | None, graph: onnx.ModelProto, images: Int8Images, typed: Typed
) -> PreparedDetector | None:
    """Return the network that the INT8 graph has to equal where its ranges were learned; None where they were not.

    Its own weights in FP32 are another: training moved them to where their rounded values are right.

    Args:
        detector: the model, if there is one.
        graph: the simplified FP32 graph made from it.
        images: what INT8 was made with.
        typed: the INT8 graph.
    """
    if detector is None or images.learned is None or images.calibration or typed.quantization is None:
        return None
    options = QuantizeOptions(keep=frozenset(typed.quantization.left))
    return prepare(detector, images.learned.ranges, QatOptions(options, learn_ranges=False), graph)


def _calibrated(
    graph: onnx.ModelProto, manifest: Manifest, images: Int8Images, options: Int8Options, stage: Stage
) -> Ranges:
    """Return the ranges of the method asked for, or of the one that keeps the scores best."""
    with stage("calibrate") as advance:
        tensors = tensors_to_calibrate(graph, options.quantize)
        candidates = calibrate(
            graph, tensors, images.calibration, manifest.task, manifest.profile, options.calibration, advance
        )
    if len(candidates) == 1:
        return candidates[0]
    with stage("choose ranges") as advance:
        quantized_with = partial(_quantized, graph, options.quantize)
        measure = ScoreError(graph, images.calibration, manifest, options.calibration.bits)
        return best_ranges(measure, quantized_with, candidates, advance)


def _evaluation_set(options: Int8Options, images: Int8Images, manifest: Manifest) -> EvaluationSet | None:
    """Return what a budget is measured on; None where there is no budget."""
    if options.budget is None:
        return None
    of_model = manifest.task, manifest.names, manifest.kpt_shape
    if options.budget.data is not None:
        evaluation_set = open_evaluation_set(options.budget.data, *of_model)
        _check_enough(len(evaluation_set.samples), evaluation_set.data)
        return replace(evaluation_set, bits=options.calibration.bits)
    assert options.images is not None  # held out of them
    evaluation_set = evaluation_set_of_images(images.held_out, options.images, *of_model)
    words = f"{evaluation_set.data} held out from calibration"
    return replace(evaluation_set, data=words, bits=options.calibration.bits)


def _divisible(graph: onnx.ModelProto, ranges: Ranges, options: QuantizeOptions, manifest: Manifest) -> Divisible:
    left = plan_of(graph, options).left
    macs = layer_macs(graph, manifest.profile)
    shares, all_convolutions = mac_shares(macs, macs), _convolutions(graph)
    convolutions = [name for name in all_convolutions if name not in left]
    # A budget divides the convolutions; attention is in INT8 where it was asked for, and else not.
    always = sum(shares[name] for name in shares.keys() - set(all_convolutions)) if options.attention else 0.0

    def quantized(fp16_convolutions: frozenset[str]) -> onnx.ModelProto:
        return _quantized(graph, replace(options, keep=options.keep | fp16_convolutions), ranges)

    remainder = "fp16" if options.target == "trt" else "fp32"
    return Divisible(graph, quantized, blocks_of(convolutions, shares), manifest, remainder, always)


def _quantized(graph: onnx.ModelProto, options: QuantizeOptions, ranges: Ranges) -> onnx.ModelProto:
    return quantize(graph, ranges, options)[0]


def _convolutions(graph: onnx.ModelProto) -> list[str]:
    return [label(node) for node in graph.graph.node if node.op_type in CONVOLUTIONS]


def _seen_notes(evaluation_set: EvaluationSet, images: Int8Images) -> list[str]:
    """Return where the budget was measured on what was calibrated on."""
    seen = {path.resolve() for path in images.calibration} & {
        sample.path.resolve() for sample in evaluation_set.samples
    }
    return [f"--max-drop: {len(seen)} of its images were calibrated on too; name others"] if seen else []


def _budget_notes(budget: Budget, remainder: str) -> list[str]:
    """Return what a reader of the figures has to know, and where the remainder's precision may be the better choice."""
    chosen, notes = budget.chosen, []
    if budget.undecided is not None:
        notes.append(
            f"--max-drop: AP by labels cannot tell {budget.max_drop:g} points from {budget.images} images (its 90 % "
            f"interval is {budget.undecided:.2f} points wide); points are of agreement with FP32's detections above "
            "0.25"
        )
    elif budget.truth != "labels":
        notes.append("--max-drop: there are no labels; points are of agreement with FP32's detections above 0.25")
    if chosen.int8_macs < _SMALL_SHARE:
        other = "--half" if remainder == "fp16" else "an export without --int8"
        notes.append(
            f"{remainder.upper()} may be the better choice: within --max-drop {budget.max_drop:g} only "
            f"{percent(chosen.int8_macs)} of the MACs are in INT8; compare with {other}"
        )
    return notes
