"""Score graphs on the same images: against labels, or else against what the FP32 graph finds in them.

Agreement is the figure that labels give, with FP32's detections above 0.25 in the place of labels. FP32 itself has 1,
unless it finds more in an image than COCO looks at (100 boxes of a class, 20 persons); another graph loses for what it
misses, adds, shifts, or ranks otherwise.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from y12.errors import DatasetError
from y12.exporter.data.dataset import Dataset, GroundTruth
from y12.exporter.evaluate.classification import ClassTree
from y12.exporter.evaluate.coco import KIND_NAMES, evaluate
from y12.exporter.evaluate.evaluation_set import EvaluationSet
from y12.exporter.evaluate.graph_results import CONF, Outcome

__all__ = ["Figures", "Truth", "figures_of", "truth_from"]

_SEEN = 0.5  # a keypoint of less visibility is not one that has to be found

Figures = Mapping[str, float]


@dataclass(frozen=True)
class Truth:
    """What graphs are held against, in COCO's form; of a classifier, annotations of an image and its class only.

    Attributes:
        words: "labels" or "detections of FP32".
        kinds: what is measured: "bbox", "segm", "keypoints" or "obb"; nothing of a classifier.
        coco: images, annotations, categories.
    """

    words: str
    kinds: tuple[str, ...]
    coco: GroundTruth


def truth_from(evaluation_set: EvaluationSet, reference: Outcome, *, labels: bool = True) -> Truth:
    """Return what graphs are held against.

    Args:
        evaluation_set: the images.
        reference: what FP32 found in them.
        labels: False takes FP32's detections even where there are labels.

    Raises:
        DatasetError: there are no labels, and FP32 finds nothing either.
    """
    if labels and isinstance(evaluation_set.labels, ClassTree):
        by_image = zip(evaluation_set.labels.samples, evaluation_set.labels.labels, strict=True)
        return Truth("labels", (), _classes_of((sample.image_id, label) for sample, label in by_image))
    if labels and isinstance(evaluation_set.labels, Dataset):
        return Truth("labels", reference.labelled, evaluation_set.labels.ground_truth(reference.sizes_hw))
    words = "detections of FP32"
    if not reference.kinds:
        return Truth(words, (), _classes_of((r["image_id"], r["category_id"]) for r in reference.results))
    annotations = [_annotation(result, number) for number, result in enumerate(reference.sure, 1)]
    if not annotations:
        raise DatasetError(
            f"{evaluation_set.data}: expected images in which the model finds something (FP32 finds nothing "
            f"above {CONF:g}), or labels: nothing can be measured on them"
        )
    images = [{"id": i, "height": hw[0], "width": hw[1]} for i, hw in reference.sizes_hw.items()]
    categories = [{"id": i, "name": str(i)} for i in reference.category_ids if i is not None]
    return Truth(words, reference.kinds, {"images": images, "annotations": annotations, "categories": categories})


def figures_of(truth: Truth, outcome: Outcome) -> Figures:
    """Return the figures by name, such as "boxes AP50-95", 0 to 1; without those that nothing in the truth is about.

    Raises:
        DatasetError: no figure is left.
    """
    if not truth.kinds:
        expected = {label["image_id"]: label["category_id"] for label in truth.coco["annotations"]}
        right = sum(expected[result["image_id"]] == result["category_id"] for result in outcome.results)
        return {"top-1": right / len(expected)}
    figures = {}
    for kind in truth.kinds:
        values = evaluate(truth.coco, outcome.results, kind, by_size=False).values
        for name, shown in (("AP", "AP50-95"), ("AP50", "AP50")):
            value = values[name]
            if value is not None:
                figures[f"{KIND_NAMES[kind]} {shown}"] = value
    if not figures:
        raise DatasetError(f"expected objects to find, found none among {len(truth.coco['annotations'])} {truth.words}")
    return figures


def _classes_of(pairs: Iterable[tuple[int, int]]) -> GroundTruth:
    labels = [{"image_id": image_id, "category_id": class_id} for image_id, class_id in pairs]
    return {"images": [{"id": label["image_id"]} for label in labels], "annotations": labels, "categories": []}


def _annotation(result: Mapping[str, Any], number: int) -> dict[str, Any]:
    annotation = dict(result)
    annotation["id"], annotation["iscrowd"] = number, 0
    if "keypoints" in annotation:
        points = list(annotation["keypoints"])  # x, y, visibility of each
        points[2::3] = [2 if seen >= _SEEN else 0 for seen in points[2::3]]
        annotation["keypoints"] = points
    return annotation
