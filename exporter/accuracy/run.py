"""The whole story of an evaluation: labels, artefact, one image after the other, COCO's figures."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from exporter.accuracy.classes import ClassMap, class_map
from exporter.accuracy.classify import class_tree, top_figures
from exporter.accuracy.coco_json import coco_dataset, coco_ground_truth, ground_truth_kinds
from exporter.accuracy.dataset import Dataset, GroundTruth, Sample
from exporter.accuracy.evaluate import Figures, evaluate, require_pycocotools
from exporter.accuracy.fit import detect_options, kinds_for
from exporter.accuracy.inference import Inference, Progress
from exporter.accuracy.options import ValOptions
from exporter.accuracy.report import ValReport
from exporter.accuracy.results_json import read_results, result_kinds
from exporter.accuracy.yolo import yolo_dataset
from exporter.errors import DatasetError
from runtime.manifest import Manifest
from runtime.options import DetectOptions
from runtime.session import Runtime

if TYPE_CHECKING:
    from runtime.detections import Detections
    from runtime.executor import Executor

__all__ = ["Validation", "validate", "validate_results"]

_NO_CATEGORY = -1  # of a class that the data does not know


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
    with Runtime(artefact, executor, imgsz=options.imgsz, provider=options.provider) as runtime:
        if runtime.manifest.task == "classify":
            return _classified(runtime, data, options, progress)
        return _detected(runtime, data, options, progress)


def _detected(runtime: Runtime, data: Path, options: ValOptions, progress: Progress | None) -> Validation:
    require_pycocotools()
    manifest = runtime.manifest
    dataset = _dataset(data, options, oriented=manifest.task == "obb")
    kinds, notes = kinds_for(dataset, manifest)
    classes = class_map(manifest.names, dataset.categories, str(data), by_order=data.suffix.lower() == ".json")
    inference = Inference(runtime, detect_options(options, manifest, classes), progress)
    runtime.check_options(inference.options)
    found = _Found(classes, kinds)
    for sample, detections in inference.over(dataset.samples):
        found.keep(sample, detections)
    figures, evaluation_s = _figures(dataset.ground_truth(found.sizes_hw), found.results, found.kinds_given)
    report = replace(
        _report(inference, data, len(dataset.samples), classes),
        labels=dataset.labels,
        background=dataset.background,
        figures=figures,
        evaluation_s=evaluation_s,
        notes=(*notes, *dataset.notes, *found.notes),
    )
    return Validation(report, found.results)


def _classified(runtime: Runtime, data: Path, options: ValOptions, progress: Progress | None) -> Validation:
    if options.chosen_thresholds or options.images is not None:
        raise DatasetError("thresholds and --images: are for detectors; a classifier's best five classes are looked at")
    tree = class_tree(data, options.split, runtime.manifest.names)
    inference = Inference(runtime, runtime.options, progress)
    figures = top_figures(tree, inference)
    report = replace(
        _report(inference, data, len(tree.samples), tree.classes),
        labels=len(tree.labels),
        top1=figures.top1,
        top5=figures.top5,
    )
    return Validation(report, [])


def _report(inference: Inference, data: Path, images: int, classes: ClassMap) -> ValReport:
    """Give what every report tells."""
    runtime = inference.runtime
    height, width = runtime.input_hw
    return ValReport(
        artefact=str(runtime.artefact.path),
        data=str(data),
        images=images,
        labels=0,
        description=runtime.description,
        settings={
            **_thresholds(runtime.manifest, inference.options),
            "imgsz": f"{height},{width}",
            "precision": runtime.manifest.precision,
            "classes": classes.how,
        },
        ms_per_image={name: ms / images for name, ms in inference.stages_ms.items()},
    )


def _thresholds(manifest: Manifest, options: DetectOptions) -> dict[str, Any]:
    """Give a detector's thresholds, and whose NMS applied them."""
    if manifest.task == "classify":
        return {}
    chosen = {name: getattr(options, name) for name in ("conf", "iou", "max_det", "multi_label")}
    return {**chosen, "nms": "by the runtime" if manifest.nms is None else "in the graph"}


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
    )
    return Validation(report, results)


def _dataset(data: Path, options: ValOptions, *, oriented: bool) -> Dataset:
    suffix = data.suffix.lower()
    if suffix in (".yaml", ".yml"):
        if options.images is not None:
            raise DatasetError("--images: is for a COCO JSON; a data.yaml says itself where its images are")
        return yolo_dataset(data, options.split or "val", oriented=oriented)
    if suffix == ".json":
        if options.split is not None:
            raise DatasetError("--split: is for a data.yaml; a COCO JSON is one split")
        return coco_dataset(data, options.images)
    raise DatasetError(f"{data}: expected a data.yaml or a COCO .json")


def _figures(
    truth: GroundTruth, results: list[dict[str, Any]], kinds: tuple[str, ...]
) -> tuple[tuple[Figures, ...], float]:
    """Give the figures of each kind, and how many seconds they took."""
    started = perf_counter()
    return tuple(evaluate(truth, results, kind) for kind in kinds), perf_counter() - started


@dataclass
class _Found:
    """What was found so far, in COCO's form, and the sizes of the images."""

    classes: ClassMap
    kinds: tuple[str, ...]
    results: list[dict[str, Any]] = field(default_factory=list)
    sizes_hw: dict[int, tuple[int, int]] = field(default_factory=dict)
    truncated: int = 0
    without_masks: int = 0

    def keep(self, sample: Sample, found: "Detections") -> None:
        """Add an image's detections."""
        sample.check_size(found.image_hw)
        self.sizes_hw[sample.image_id] = found.image_hw
        self.truncated += found.truncated
        self.without_masks += found.masks is None
        if "segm" not in self.kinds:
            found = replace(found, masks=None)  # they are drawn only when they are asked for
        ids = [_NO_CATEGORY if category is None else category for category in self.classes.category_ids]
        results = found.to_coco(sample.image_id, ids)
        if found.xywhr is not None:
            for result, xywhr in zip(results, found.xywhr.tolist(), strict=True):
                result["xywhr"] = [round(v, 6) for v in xywhr]
        self.results += (result for result in results if result["category_id"] != _NO_CATEGORY)

    @property
    def kinds_given(self) -> tuple[str, ...]:
        """The kinds to evaluate; a multi-task model need not give masks."""
        return tuple(kind for kind in self.kinds if kind != "segm" or not self.without_masks)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the figures has to know of the run."""
        notes = []
        if self.kinds_given != self.kinds:
            notes.append("masks were not evaluated: the model gives none")
        if self.truncated:
            notes.append(f"in {self.truncated} images the graph's NMS saw only the best of the candidates")
        return tuple(notes)
