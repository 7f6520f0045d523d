"""Score graphs on the same images: against labels, or else against what the FP32 graph finds in them.

Agreement is the figure that labels give, with FP32's detections above 0.25 in the place of labels. FP32 itself has 1;
another graph loses for what it misses, adds, shifts, or ranks otherwise.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx

from exporter.accuracy.classes import ClassMap, class_map
from exporter.accuracy.classify import ClassTree
from exporter.accuracy.dataset import KINDS_OF_TASK, Dataset, GroundTruth, Sample
from exporter.accuracy.evaluate import KIND_NAMES, evaluate
from exporter.accuracy.fit import detect_options, kinds_for
from exporter.accuracy.found import Found
from exporter.accuracy.inference import Inference
from exporter.accuracy.options import ValOptions
from exporter.errors import DatasetError
from exporter.sensitivity.data import Trial
from runtime.detections import Detections
from runtime.manifest import ONNX_KEY, Manifest
from runtime.session import Runtime

__all__ = [
    "CONF",
    "Figures",
    "Outcome",
    "Truth",
    "detections_of",
    "figures_of",
    "outcome_of",
    "points_lost",
    "truth_from",
]

CONF = 0.25  # of the detections that stand in for labels: the usual threshold of use
_SEEN = 0.5  # a keypoint of less visibility is not one that has to be found
_BUDGETED = ("AP50-95", "top-1")

Figures = Mapping[str, float]


@dataclass(frozen=True)
class Outcome:
    """What a graph found.

    Attributes:
        results: in COCO's form; of a classifier the best class of each image as category_id.
        sizes_hw: (height, width) of each image, by its id.
        category_ids: of the results, by the model's class ids.
        ms: that the network took, per image.
    """

    results: Sequence[Mapping[str, Any]]
    sizes_hw: Mapping[int, tuple[int, int]]
    category_ids: tuple[int | None, ...]
    ms: float = 0.0

    def of(self, image_ids: set[int]) -> "Outcome":
        """Give what was found in some of the images."""
        results = [result for result in self.results if result["image_id"] in image_ids]
        return replace(self, results=results, sizes_hw={i: hw for i, hw in self.sizes_hw.items() if i in image_ids})


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

    def of(self, image_ids: set[int]) -> "Truth":
        """Give that of some of the images."""
        coco = {
            **self.coco,
            "images": [image for image in self.coco["images"] if image["id"] in image_ids],
            "annotations": [label for label in self.coco["annotations"] if label["image_id"] in image_ids],
        }
        return replace(self, coco=coco)


def outcome_of(graph: onnx.ModelProto, manifest: Manifest, trial: Trial) -> Outcome:
    """Run a graph without NMS in ONNX Runtime, as `y12-val` does.

    Args:
        graph: of any precision; its metadata does not count.
        manifest: of the model.
        trial: the images.

    Raises:
        Y12Error: an image cannot be used, or the graph cannot be run.
    """
    with _runtime(graph, manifest) as runtime:
        if manifest.task == "classify":
            return _classified(Inference(runtime, runtime.options), trial.samples)
        classes = _classes(trial, manifest)
        options = detect_options(ValOptions(), runtime.manifest, classes)
        return _detected(Inference(runtime, options), trial, _kinds(trial, manifest), classes)


def detections_of(graph: onnx.ModelProto, manifest: Manifest, images: Sequence[Path]) -> list[Detections]:
    """Give what a graph without NMS finds in images at the task's usual thresholds.

    Raises:
        Y12Error: an image cannot be used, or the graph cannot be run.
    """
    with _runtime(graph, manifest) as runtime:
        return [runtime.infer(image) for image in images]


def truth_from(trial: Trial, manifest: Manifest, reference: Outcome, *, labels: bool = True) -> Truth:
    """Give what graphs are held against.

    Args:
        trial: the images.
        manifest: of the model.
        reference: what FP32 found in them.
        labels: False takes FP32's detections even where there are labels.

    Raises:
        DatasetError: there are no labels, and FP32 finds nothing either.
    """
    kinds = _kinds(trial, manifest)
    if labels and isinstance(trial.labels, ClassTree):
        by_image = zip(trial.labels.samples, trial.labels.labels, strict=True)
        return Truth("labels", (), _classes_of((sample.image_id, label) for sample, label in by_image))
    if labels and isinstance(trial.labels, Dataset):
        return Truth("labels", kinds, trial.labels.ground_truth(reference.sizes_hw))
    words = "detections of FP32"
    if manifest.task == "classify":
        return Truth(words, (), _classes_of((r["image_id"], r["category_id"]) for r in reference.results))
    annotations = [_annotation(result, i) for i, result in enumerate(reference.results, 1) if result["score"] > CONF]
    if not annotations:
        raise DatasetError(
            f"{trial.data}: expected images in which the model finds something (FP32 finds nothing above {CONF:g}), or "
            "labels: nothing can be measured on them"
        )
    images = [{"id": i, "height": hw[0], "width": hw[1]} for i, hw in reference.sizes_hw.items()]
    categories = [{"id": i, "name": str(i)} for i in reference.category_ids if i is not None]
    return Truth(words, kinds, {"images": images, "annotations": annotations, "categories": categories})


def figures_of(truth: Truth, outcome: Outcome) -> Figures:
    """Give the figures by name, such as "boxes AP50-95", 0 to 1."""
    if not truth.kinds:
        expected = {label["image_id"]: label["category_id"] for label in truth.coco["annotations"]}
        right = sum(expected[result["image_id"]] == result["category_id"] for result in outcome.results)
        return {"top-1": right / len(expected)}
    figures = {}
    for kind in truth.kinds:
        values = evaluate(truth.coco, outcome.results, kind).values
        for name, shown in (("AP", "AP50-95"), ("AP50", "AP50")):
            figures[f"{KIND_NAMES[kind]} {shown}"] = values[name] or 0.0
    return figures


def points_lost(reference: Figures, candidate: Figures) -> float:
    """Give how many points of 100 are lost, of the figure that loses most among those that budgets are in.

    Below 0 where the candidate is better in all of them.
    """
    return max(100 * (value - candidate[name]) for name, value in reference.items() if name.endswith(_BUDGETED))


@contextmanager
def _runtime(graph: onnx.ModelProto, manifest: Manifest) -> Iterator[Runtime]:
    """Open a graph as y12-val opens its file."""
    described = onnx.ModelProto()
    described.CopyFrom(graph)
    del described.metadata_props[:]
    own = replace(manifest, nms=None, engine={}, thresholds=None)
    described.metadata_props.add(key=ONNX_KEY, value=own.to_json())
    with tempfile.TemporaryDirectory(prefix="y12-") as folder:
        path = Path(folder, "trial.onnx")
        path.write_bytes(described.SerializeToString())
        with Runtime(path, provider="cpu") as runtime:
            yield runtime


def _classes(trial: Trial, manifest: Manifest) -> ClassMap:
    if not isinstance(trial.labels, Dataset):
        return ClassMap(tuple(range(len(manifest.names))), "all")
    by_order = trial.labels.origin.suffix.lower() == ".json"
    return class_map(manifest.names, trial.labels.categories, str(trial.labels.origin), by_order=by_order)


def _kinds(trial: Trial, manifest: Manifest) -> tuple[str, ...]:
    if isinstance(trial.labels, Dataset):
        return kinds_for(trial.labels, manifest)[0]
    kinds = KINDS_OF_TASK.get(manifest.task, ())
    return kinds if manifest.kpt_shape is not None else tuple(kind for kind in kinds if kind != "keypoints")


def _detected(inference: Inference, trial: Trial, kinds: tuple[str, ...], classes: ClassMap) -> Outcome:
    found = Found(classes, kinds)
    for sample, detections in inference.over(trial.samples):
        found.keep(sample, detections)
    return Outcome(found.results, found.sizes_hw, classes.category_ids, _ms(inference, trial.samples))


def _classified(inference: Inference, samples: Sequence[Sample]) -> Outcome:
    results, sizes_hw = [], {}
    for sample, found in inference.over(samples):
        sizes_hw[sample.image_id] = found.image_hw
        results.append({"image_id": sample.image_id, "category_id": int(found.class_id[0])})
    return Outcome(results, sizes_hw, (), _ms(inference, samples))


def _ms(inference: Inference, samples: Sequence[Sample]) -> float:
    return inference.stages_ms["execute"] / len(samples)


def _classes_of(pairs: Any) -> GroundTruth:
    labels = [{"image_id": image_id, "category_id": class_id} for image_id, class_id in pairs]
    return {"images": [{"id": label["image_id"]} for label in labels], "annotations": labels, "categories": []}


def _annotation(result: Mapping[str, Any], number: int) -> dict[str, Any]:
    """Make a label of a detection."""
    annotation = {key: value for key, value in result.items() if key != "score"}
    annotation["id"], annotation["iscrowd"] = number, 0
    if "keypoints" in annotation:
        points = list(annotation["keypoints"])  # x, y, visibility of each
        points[2::3] = [2 if seen >= _SEEN else 0 for seen in points[2::3]]
        annotation["keypoints"] = points
    return annotation
