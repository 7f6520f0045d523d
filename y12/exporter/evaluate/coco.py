"""COCO's evaluation by pycocotools: ground truth and results in, figures out."""

import contextlib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from y12.errors import MissingPackageError
from y12.exporter.data.dataset import GroundTruth

__all__ = [
    "KIND_NAMES",
    "ClassFigures",
    "Figures",
    "Result",
    "accumulated",
    "coco_sigmas_exist",
    "evaluate",
    "evaluation_of",
    "figures_in",
    "prepared",
    "require_pycocotools",
]

KIND_NAMES = {"bbox": "boxes", "segm": "masks", "keypoints": "keypoints", "obb": "oriented boxes"}

Result = Mapping[str, Any]  # COCO's result form: image_id, category_id, score, and bbox, segmentation or keypoints

# pycocotools' `stats`, in its order.
_BOX_FIGURES = (
    *("AP", "AP50", "AP75", "APsmall", "APmedium", "APlarge"),
    *("AR1", "AR10", "AR100", "ARsmall", "ARmedium", "ARlarge"),
)
_KEYPOINT_FIGURES = ("AP", "AP50", "AP75", "APmedium", "APlarge", "AR", "AR50", "AR75", "ARmedium", "ARlarge")
# What a kind looks at. pycocotools derives a result's area from what it sees, hence nothing else is shown to it.
_FIELDS = {"bbox": ("bbox",), "segm": ("segmentation",), "keypoints": ("keypoints",), "obb": ("bbox", "xywhr")}
_COCO_POINTS = 17


@dataclass(frozen=True)
class ClassFigures:
    """One class: AP over the IoU thresholds 0.50 to 0.95 and at 0.50; None where it has no labels."""

    name: str
    labels: int
    ap: float | None
    ap50: float | None


@dataclass(frozen=True)
class Figures:
    """What COCO's evaluation gives for one kind.

    Attributes:
        kind: "bbox", "segm", "keypoints" or "obb".
        values: by name, 0-1; None where no label is of that size. "AP" is AP50-95.
        classes: the classes' own figures.
    """

    kind: str
    values: Mapping[str, float | None]
    classes: tuple[ClassFigures, ...]


def coco_sigmas_exist(points: int) -> bool:
    """Return whether COCO defines OKS's tolerances for that many keypoints; others get 1/K each."""
    return points == _COCO_POINTS


def evaluate(ground_truth: GroundTruth, results: Sequence[Result], kind: str, *, by_size: bool = True) -> Figures:
    """Return COCO's figures over all images and categories of the ground truth; the arguments are left as they are.

    Args:
        ground_truth: COCO's images, annotations and categories.
        results: COCO's results; of each, only what `kind` needs is looked at, and those without it are left out.
        kind: "bbox", "segm" or "keypoints"; or "obb", where annotations and results carry "xywhr".
        by_size: False leaves out the figures of small, medium and large objects, three quarters of the work.

    Raises:
        MissingPackageError: pycocotools is not installed.
    """
    return figures_in(accumulated(ground_truth, results, kind, by_size=by_size), kind)


def accumulated(ground_truth: GroundTruth, results: Sequence[Result], kind: str, *, by_size: bool = True) -> Any:
    """Return pycocotools' evaluation after all of it has run; the arguments are those of `evaluate`.

    Raises:
        MissingPackageError: pycocotools is not installed.
    """
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints as it goes
        evaluation = prepared(ground_truth, results, kind, by_size=by_size)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def figures_in(evaluation: Any, kind: str) -> Figures:
    """Return the figures of an evaluation that has run."""
    names = _KEYPOINT_FIGURES if kind == "keypoints" else _BOX_FIGURES
    values = {name: None if stat < 0 else float(stat) for name, stat in zip(names, evaluation.stats, strict=True)}
    return Figures(kind, values, tuple(_class_figures(evaluation)))


def evaluation_of(images: Any, annotations: list[dict[str, Any]], results: list[dict[str, Any]], kind: str) -> Any:
    """Return pycocotools' evaluation of any size, before it has run, of entries that another evaluation has prepared.

    Args:
        images: COCO's `dataset` with the images and the categories.
        annotations: with all fields that pycocotools looks at.
        results: the same.
        kind: as of `evaluate`.
    """
    return _evaluation(_index(annotations, images), _index(results, images), kind, by_size=False)


def prepared(ground_truth: GroundTruth, results: Sequence[Result], kind: str, *, by_size: bool = True) -> Any:
    """Return pycocotools' evaluation before it has run; it prints as it goes."""
    require_pycocotools()
    truth = _index(list(_annotations(ground_truth, kind)), ground_truth)
    return _evaluation(truth, _loaded_results(truth, results, kind), kind, by_size=by_size)


def require_pycocotools() -> None:
    """Refuse in one line where y12 was installed without it.

    Raises:
        MissingPackageError: it is not installed.
    """
    from importlib.util import find_spec

    if find_spec("pycocotools") is None:
        raise MissingPackageError("pycocotools", "val", "y12-val")


def _evaluation(truth: Any, predictions: Any, kind: str, *, by_size: bool) -> Any:
    from pycocotools.cocoeval import COCOeval

    from y12.exporter.evaluate.oriented_eval import OrientedEval

    evaluation = OrientedEval(truth, predictions, "bbox") if kind == "obb" else COCOeval(truth, predictions, kind)
    if kind == "keypoints":
        points = len(truth.dataset["annotations"][0]["keypoints"]) // 3
        if not coco_sigmas_exist(points):
            evaluation.params.kpt_oks_sigmas = np.full(points, 1 / points)
    if not by_size:
        evaluation.params.areaRng, evaluation.params.areaRngLbl = evaluation.params.areaRng[:1], ["all"]
    return evaluation


def _class_figures(evaluation: Any) -> Iterator[ClassFigures]:
    precision: NDArray[np.float64] = evaluation.eval["precision"][:, :, :, 0, -1]  # (T, R, K): any area, most boxes
    categories = {category["id"]: category["name"] for category in evaluation.cocoGt.dataset["categories"]}
    labels = dict.fromkeys(categories, 0)
    for annotation in evaluation.cocoGt.dataset["annotations"]:
        labels[annotation["category_id"]] += not annotation["ignore"]
    for k, category in enumerate(evaluation.params.catIds):
        yield ClassFigures(
            categories[category], labels[category], _mean(precision[:, :, k]), _mean(precision[:1, :, k])
        )


def _mean(precision: NDArray[np.float64]) -> float | None:
    """Return the mean of what is defined; -1 stands for a class without labels."""
    defined = precision[precision > -1]
    return float(defined.mean()) if defined.size else None


def _annotations(ground_truth: GroundTruth, kind: str) -> Iterator[dict[str, Any]]:
    """Yield copies of the annotations; fill in what COCO's format allows to be left out and pycocotools does not."""
    points = max((len(a.get("keypoints", ())) for a in ground_truth["annotations"]), default=0)
    sizes = {image["id"]: (image.get("height"), image.get("width")) for image in ground_truth["images"]}
    for number, original in enumerate(ground_truth["annotations"], 1):
        annotation = dict(original)
        annotation["id"] = number  # pycocotools takes an id of 0 for "not matched"
        annotation.setdefault("iscrowd", 0)
        if "bbox" not in annotation:
            annotation["bbox"] = _box_of_mask(annotation["segmentation"], sizes[annotation["image_id"]])
        annotation.setdefault("area", annotation["bbox"][2] * annotation["bbox"][3])
        if kind == "keypoints":
            keypoints = annotation.setdefault("keypoints", [0] * points)  # not labelled: neither right nor wrong
            annotation.setdefault("num_keypoints", sum(v > 0 for v in keypoints[2::3]))
        yield annotation


def _box_of_mask(segmentation: Any, image_hw: tuple[Any, Any]) -> list[float]:
    from pycocotools import mask

    rle = segmentation
    if isinstance(rle, list):
        rle = mask.merge(mask.frPyObjects(rle, *image_hw))
    elif isinstance(rle["counts"], list):
        rle = mask.frPyObjects(rle, *image_hw)
    return [float(v) for v in mask.toBbox(rle)]


def _loaded_results(truth: Any, results: Sequence[Result], kind: str) -> Any:
    """Return the results as pycocotools' own type."""
    keys = ("image_id", "category_id", "score", *_FIELDS[kind])
    complete = [{key: result[key] for key in keys} for result in results if all(key in result for key in keys)]
    if not complete:
        return _index([], truth.dataset)  # loadRes cannot take an empty list
    loaded = truth.loadRes(complete)
    if kind == "obb":
        for result in loaded.dataset["annotations"]:
            result["area"] = result["xywhr"][2] * result["xywhr"][3]
    return loaded


def _index(annotations: list[dict[str, Any]], like: Mapping[str, Any]) -> Any:
    from pycocotools.coco import COCO

    coco = COCO()
    coco.dataset = {"images": like["images"], "categories": like["categories"], "annotations": annotations}
    coco.createIndex()
    return coco
