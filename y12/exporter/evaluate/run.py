"""The whole story of an evaluation: labels, artefact, one image after the other, COCO's figures."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from y12.errors import DatasetError
from y12.exporter.data.classes import ClassMap, class_map
from y12.exporter.data.coco_json import coco_ground_truth, ground_truth_kinds
from y12.exporter.data.dataset import Dataset, GroundTruth, Sample
from y12.exporter.data.open import labelled_dataset
from y12.exporter.data.problems import LeftOut
from y12.exporter.evaluate.cautions import on_classes, on_success
from y12.exporter.evaluate.classification import ClassTree, class_tree, guesses_of, top_figures
from y12.exporter.evaluate.coco import Figures, evaluate, require_pycocotools
from y12.exporter.evaluate.confusion import CONF
from y12.exporter.evaluate.evaluate_options import ValOptions
from y12.exporter.evaluate.fit import detect_options, kinds_for
from y12.exporter.evaluate.inference import Inference, Progress
from y12.exporter.evaluate.predictions import CocoResults
from y12.exporter.evaluate.report import ValReport
from y12.exporter.evaluate.results_json import read_results, result_kinds
from y12.exporter.evaluate.study import Study, study_of, study_of_classifier
from y12.runtime.options import DetectOptions, GpuOptions
from y12.runtime.session import Runtime

if TYPE_CHECKING:
    from y12.runtime.executor import Executor

__all__ = ["Validation", "validate", "validate_opened", "validate_results"]


@dataclass(frozen=True)
class Validation:
    """The report, COCO's results that it was computed from, and where it was asked for what can be drawn of it."""

    report: ValReport
    results: list[dict[str, Any]]
    study: Study | None = None


def validate(
    artefact: Path,
    data: Path,
    options: ValOptions,
    *,
    executor: "Executor | None" = None,
    progress: Progress | None = None,
    study: bool = False,
) -> Validation:
    """Run an artefact on labelled images, and evaluate what it finds.

    Args:
        artefact: an .onnx or .engine.
        data: a data.yaml or a COCO JSON.
        options: how.
        executor: what runs the network; None chooses by the artefact.
        progress: is told how many images are done.
        study: return what can be drawn, too.

    Raises:
        DatasetError: the labels are wrong, or do not fit the model.
        Y12Error: the artefact or an image cannot be used, or pycocotools is not installed.
    """
    gpu = GpuOptions(device=options.device)
    runtime = Runtime(
        artefact,
        executor,
        imgsz=options.imgsz,
        rect=options.rect,
        bits=options.bits,
        reduced_decode=options.reduced_decode,
        provider=options.provider,
        gpu=gpu,
    )
    with runtime:
        labels = _labels_for(runtime, data, options)
        return validate_opened(runtime, labels, options, data, progress=progress, study=study)


def validate_opened(
    runtime: Runtime,
    labels: Dataset | ClassTree,
    options: ValOptions,
    data: Path,
    *,
    progress: Progress | None = None,
    study: bool = False,
) -> Validation:
    """Do the same with an artefact that is open and labels that were read; `data` is what to call them.

    Raises:
        DatasetError: the labels do not fit the model.
        Y12Error: an image cannot be used, or pycocotools is not installed.
    """
    if isinstance(labels, ClassTree):
        made = _classified(runtime, labels, data, progress, study)
    else:
        made = _detected(runtime, labels, options, data, progress, study)
    return made if made.study is None else replace(made, study=replace(made.study, bits=runtime.bits))


def _labels_for(runtime: Runtime, data: Path, options: ValOptions) -> Dataset | ClassTree:
    if runtime.manifest.task != "classify":
        require_pycocotools()
        oriented = runtime.manifest.task == "obb"
        return labelled_dataset(data, options.split, options.images, oriented=oriented, strict=options.strict)
    if options.chosen_thresholds or options.images is not None:
        raise DatasetError("thresholds and --images: are for detectors; a classifier's best five classes are looked at")
    return class_tree(data, options.split, runtime.manifest.names)


def _detected(
    runtime: Runtime, dataset: Dataset, options: ValOptions, data: Path, progress: Progress | None, study: bool
) -> Validation:
    manifest = runtime.manifest
    kinds, notes = kinds_for(dataset, manifest.task, manifest.kpt_shape)
    classes = class_map(manifest.names, dataset.categories, str(data), by_order=options.by_order, unused=dataset.unused)
    inference = Inference(runtime, detect_options(options, manifest.nms, classes), progress)
    runtime.check_options(inference.options)
    collected = CocoResults(classes, kinds)
    for sample, detections in inference.over(dataset.samples):
        collected.keep(sample, detections)
    truth = dataset.ground_truth(collected.sizes_hw)
    made = _Evaluated.of(
        truth,
        collected.results,
        collected.kinds_to_evaluate,
        (dataset.samples, max(CONF, inference.options.conf)) if study else None,
    )
    labelled = {one.name for one in made.figures[0].classes if one.labels}
    cautions = on_classes(labelled, len(manifest.names)) + on_success(_leniently(made.figures), len(collected.results))
    report = replace(
        _report(inference, data, len(dataset.samples), classes),
        labels=dataset.labels,
        background=dataset.background,
        figures=made.figures,
        evaluation_s=made.seconds,
        notes=(
            *runtime.artefact.notes,
            *runtime.notes_on(inference.options),
            *notes,
            *dataset.notes,
            *collected.notes,
            *cautions,
        ),
    )
    return Validation(report, collected.results, made.study)


def _classified(runtime: Runtime, tree: ClassTree, data: Path, progress: Progress | None, study: bool) -> Validation:
    inference = Inference(runtime, runtime.options, progress)
    guesses = guesses_of(tree, inference)
    figures = top_figures(guesses)
    names = runtime.manifest.names
    cautions = on_classes({names[label] for label in tree.labels}, len(names))
    report = replace(
        _report(inference, data, len(tree.samples), tree.classes),
        labels=len(tree.labels),
        top1=figures.top1,
        top5=figures.top5,
        notes=(*cautions, *on_success((figures.top5,), len(tree.samples))),
    )
    return Validation(report, [], study_of_classifier(tree, guesses, runtime.manifest.names) if study else None)


def _report(inference: Inference, data: Path, images: int, classes: ClassMap) -> ValReport:
    runtime = inference.runtime
    height, width = runtime.input_hw
    return ValReport(
        artefact=str(runtime.artefact.path),
        data=str(data),
        images=images,
        labels=0,
        description=runtime.description,
        settings={
            **_thresholds(runtime.manifest.task, inference.options, in_graph=runtime.manifest.nms is not None),
            "imgsz": f"{height},{width}" + ", rectangular" * runtime.input_size.is_rectangular,
            "precision": runtime.manifest.precision,
            "classes": classes.how,
        },
        ms_per_image={name: ms / images for name, ms in inference.stages_ms.items()},
    )


def _thresholds(task: str, options: DetectOptions, *, in_graph: bool) -> dict[str, Any]:
    """Return a detector's thresholds, and whose NMS applied them."""
    if task == "classify":
        return {}
    chosen = {name: getattr(options, name) for name in ("conf", "iou", "max_det", "multi_label")}
    return {**chosen, "nms": "in the graph" if in_graph else "by the runtime"}


def validate_results(results_file: Path, data: Path, *, study: bool = False, strict: bool = False) -> Validation:
    """Evaluate results that some program wrote, against a COCO JSON; no image is looked at.

    Args:
        results_file: COCO's results.
        data: the labels.
        study: return what can be drawn, too.
        strict: refuse labels of nothing, which are otherwise left out and told.

    Raises:
        DatasetError: a file is wrong, or results and labels have nothing in common.
        MissingPackageError: pycocotools is not installed.
    """
    require_pycocotools()
    if data.suffix.lower() != ".json":
        raise DatasetError(f"{data}: expected a COCO JSON to evaluate results with, as they name its images by id")
    nothing = LeftOut()
    truth = coco_ground_truth(data, None if strict else nothing)
    results = read_results(results_file, truth)
    kinds = tuple(kind for kind in ground_truth_kinds(truth) if kind in result_kinds(results))
    if not kinds:
        raise DatasetError(f"{results_file}: expected results of a kind that {data} has labels for, found none")
    made = _Evaluated.of(truth, results, kinds, ((), CONF) if study else None)
    report = ValReport(
        artefact=str(results_file),
        data=str(data),
        images=len(truth["images"]),
        labels=len(truth["annotations"]),
        background=len(truth["images"]) - len({annotation["image_id"] for annotation in truth["annotations"]}),
        figures=made.figures,
        evaluation_s=made.seconds,
        notes=(*nothing.notes, *on_success(_leniently(made.figures), len(results))),
    )
    return Validation(report, results, made.study)


def _leniently(figures: tuple[Figures, ...]) -> list[float | None]:
    """Return of each kind the figure that is 0 only where nothing was right."""
    return [one.values["AP50"] for one in figures]


@dataclass(frozen=True)
class _Evaluated:
    """The figures of each kind, how many seconds they took, and what can be drawn where that was asked for."""

    figures: tuple[Figures, ...]
    seconds: float
    study: Study | None

    @classmethod
    def of(
        cls,
        truth: GroundTruth,
        results: list[dict[str, Any]],
        kinds: tuple[str, ...],
        asked: tuple[Sequence[Sample], float] | None,
    ) -> "_Evaluated":
        """Evaluate; `asked` is where the images are and above which confidence they are looked at, for a study."""
        started = perf_counter()
        if asked is None:
            return cls(tuple(evaluate(truth, results, kind) for kind in kinds), perf_counter() - started, None)
        study = study_of(truth, results, kinds, *asked)
        return cls(tuple(kind.figures for kind in study.kinds), perf_counter() - started, study)
