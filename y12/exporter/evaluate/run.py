"""The whole story of an evaluation: labels, artefact, one image after the other, COCO's figures."""

from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from y12.errors import DatasetError
from y12.exporter.data.classes import ClassMap, class_map
from y12.exporter.data.coco_json import coco_ground_truth, ground_truth_kinds
from y12.exporter.data.dataset import GroundTruth
from y12.exporter.data.open import labelled_dataset
from y12.exporter.evaluate.cautions import on_classes, on_success
from y12.exporter.evaluate.classification import class_tree, top_figures
from y12.exporter.evaluate.coco import Figures, evaluate, require_pycocotools
from y12.exporter.evaluate.evaluate_options import ValOptions
from y12.exporter.evaluate.fit import detect_options, kinds_for
from y12.exporter.evaluate.inference import Inference, Progress
from y12.exporter.evaluate.predictions import CocoResults
from y12.exporter.evaluate.report import ValReport
from y12.exporter.evaluate.results_json import read_results, result_kinds
from y12.runtime.options import DetectOptions, GpuOptions
from y12.runtime.session import Runtime

if TYPE_CHECKING:
    from y12.runtime.executor import Executor

__all__ = ["Validation", "validate", "validate_results"]


@dataclass(frozen=True)
class Validation:
    """The report, and COCO's results that it was computed from."""

    report: ValReport
    results: list[dict[str, Any]]


def validate(
    artefact: Path,
    data: Path,
    options: ValOptions,
    *,
    executor: "Executor | None" = None,
    progress: Progress | None = None,
) -> Validation:
    """Run an artefact on labelled images, and evaluate what it finds.

    Args:
        artefact: an .onnx or .engine.
        data: a data.yaml or a COCO JSON.
        options: how.
        executor: what runs the network; None chooses by the artefact.
        progress: is told how many images are done.

    Raises:
        DatasetError: the labels are wrong, or do not fit the model.
        Y12Error: the artefact or an image cannot be used, or pycocotools is not installed.
    """
    gpu = GpuOptions(device=options.device)
    with Runtime(artefact, executor, imgsz=options.imgsz, provider=options.provider, gpu=gpu) as runtime:
        if runtime.manifest.task == "classify":
            return _classified(runtime, data, options, progress)
        return _detected(runtime, data, options, progress)


def _detected(runtime: Runtime, data: Path, options: ValOptions, progress: Progress | None) -> Validation:
    require_pycocotools()
    manifest = runtime.manifest
    dataset = labelled_dataset(data, options.split, options.images, oriented=manifest.task == "obb")
    kinds, notes = kinds_for(dataset, manifest.task, manifest.kpt_shape)
    classes = class_map(manifest.names, dataset.categories, str(data), by_order=options.by_order, unused=dataset.unused)
    inference = Inference(runtime, detect_options(options, manifest.nms, classes), progress)
    runtime.check_options(inference.options)
    collected = CocoResults(classes, kinds)
    for sample, detections in inference.over(dataset.samples):
        collected.keep(sample, detections)
    figures, evaluation_s = _figures(
        dataset.ground_truth(collected.sizes_hw), collected.results, collected.kinds_to_evaluate
    )
    labelled = {one.name for one in figures[0].classes if one.labels}
    cautions = on_classes(labelled, len(manifest.names)) + on_success(_leniently(figures), len(collected.results))
    report = replace(
        _report(inference, data, len(dataset.samples), classes),
        labels=dataset.labels,
        background=dataset.background,
        figures=figures,
        evaluation_s=evaluation_s,
        notes=(
            *runtime.artefact.notes,
            *runtime.notes_on(inference.options),
            *notes,
            *dataset.notes,
            *collected.notes,
            *cautions,
        ),
    )
    return Validation(report, collected.results)


def _classified(runtime: Runtime, data: Path, options: ValOptions, progress: Progress | None) -> Validation:
    if options.chosen_thresholds or options.images is not None:
        raise DatasetError("thresholds and --images: are for detectors; a classifier's best five classes are looked at")
    tree = class_tree(data, options.split, runtime.manifest.names)
    inference = Inference(runtime, runtime.options, progress)
    figures = top_figures(tree, inference)
    names = runtime.manifest.names
    cautions = on_classes({names[label] for label in tree.labels}, len(names))
    report = replace(
        _report(inference, data, len(tree.samples), tree.classes),
        labels=len(tree.labels),
        top1=figures.top1,
        top5=figures.top5,
        notes=(*cautions, *on_success((figures.top5,), len(tree.samples))),
    )
    return Validation(report, [])


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
            "imgsz": f"{height},{width}",
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


def validate_results(results_file: Path, data: Path) -> Validation:
    """Evaluate results that some program wrote, against a COCO JSON; no image is looked at.

    Raises:
        DatasetError: a file is wrong, or results and labels have nothing in common.
        MissingPackageError: pycocotools is not installed.
    """
    require_pycocotools()
    if data.suffix.lower() != ".json":
        raise DatasetError(f"{data}: expected a COCO JSON to evaluate results with, as they name its images by id")
    truth = coco_ground_truth(data)
    results = read_results(results_file, truth)
    kinds = tuple(kind for kind in ground_truth_kinds(truth) if kind in result_kinds(results))
    if not kinds:
        raise DatasetError(f"{results_file}: expected results of a kind that {data} has labels for, found none")
    figures, evaluation_s = _figures(truth, results, kinds)
    report = ValReport(
        artefact=str(results_file),
        data=str(data),
        images=len(truth["images"]),
        labels=len(truth["annotations"]),
        background=len(truth["images"]) - len({annotation["image_id"] for annotation in truth["annotations"]}),
        figures=figures,
        evaluation_s=evaluation_s,
        notes=on_success(_leniently(figures), len(results)),
    )
    return Validation(report, results)


def _leniently(figures: tuple[Figures, ...]) -> list[float | None]:
    """Return of each kind the figure that is 0 only where nothing was right."""
    return [one.values["AP50"] for one in figures]


def _figures(
    truth: GroundTruth, results: list[dict[str, Any]], kinds: tuple[str, ...]
) -> tuple[tuple[Figures, ...], float]:
    """Return the figures of each kind, and how many seconds they took."""
    started = perf_counter()
    return tuple(evaluate(truth, results, kind) for kind in kinds), perf_counter() - started
