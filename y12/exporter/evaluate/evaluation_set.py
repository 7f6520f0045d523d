"""Images to measure on, with their labels where there are any."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from y12.errors import DatasetError
from y12.exporter.data.classes import ClassMap, class_map
from y12.exporter.data.data_yaml import DataYaml, read_data_yaml
from y12.exporter.data.dataset import Dataset, Sample
from y12.exporter.data.image_lists import images_in, without_repeats
from y12.exporter.data.open import labelled_dataset
from y12.exporter.data.passed_over import unread_in
from y12.exporter.data.yolo import label_path, yolo_labels
from y12.exporter.evaluate.classification import ClassTree, class_tree
from y12.exporter.evaluate.fit import kinds_for

__all__ = ["EvaluationSet", "classes_of", "evaluation_set_of_images", "open_evaluation_set"]

_YAML = (".yaml", ".yml")
_REASON = 240  # characters: the path of the first file that is wrong is among them


@dataclass(frozen=True)
class EvaluationSet:
    """Images to measure graphs on.

    Attributes:
        data: what they are, in words.
        samples: the images.
        labels: what they show, of a detector; of a classifier the classes. None where there are no labels.
        notes: what a reader of the figures has to know.
        bits: how many bits 16-bit images hold; None goes by each file.
    """

    data: str
    samples: tuple[Sample, ...]
    labels: Dataset | ClassTree | None = None
    notes: tuple[str, ...] = ()
    bits: int | None = None

    @property
    def truth(self) -> str:
        """What a graph is held against."""
        return "labels" if self.labels is not None else "detections of FP32"


def open_evaluation_set(
    data: Path, task: str, names: tuple[str, ...], kpt_shape: tuple[int, int] | None
) -> EvaluationSet:
    """Read a data.yaml (its val), a COCO JSON, or a folder of images.

    A folder's labels are looked for where YOLO keeps them; of a classifier it is one with a folder for each class.
    Nobody said that they are of this model's classes, hence a note where they do not fit, and no refusal.

    Args:
        data: where the images are.
        task: of the model.
        names: its classes.
        kpt_shape: of its keypoints; None where there are none.

    Raises:
        DatasetError: there are no images, or the labels of a file are wrong or do not fit the model.
    """
    notes = []
    if task == "classify":
        try:
            return _classified(class_tree(data, None, names), data)
        except DatasetError as error:
            if not data.is_dir():
                raise
            if any(path.is_dir() for path in data.iterdir()):
                notes.append(f"the folders in {data} are not taken for classes: {_reason(error, data)}")
    elif not data.is_dir():
        dataset = labelled_dataset(data, oriented=task == "obb")
        return _labelled(f"{data.name}, {len(dataset.samples)} images", dataset, task, names, kpt_shape)
    images = without_repeats(images_in(data, DatasetError), str(data), DatasetError)
    if not images:
        raise DatasetError(f"{data}: expected images to measure on, found none")
    evaluation_set = evaluation_set_of_images(images, data, task, names, kpt_shape)
    return replace(evaluation_set, notes=(*notes, *evaluation_set.notes, *unread_in([data])))


def evaluation_set_of_images(
    images: Sequence[Path], origin: Path, task: str, names: tuple[str, ...], kpt_shape: tuple[int, int] | None
) -> EvaluationSet:
    """Return images, with the labels that lie beside them; a classifier's are not looked for.

    Args:
        images: files.
        origin: the folder or the data.yaml that named the images.
        task: of the model.
        names: its classes, which are those of the labels where `origin` is no data.yaml.
        kpt_shape: of its keypoints; None where there are none.

    Raises:
        DatasetError: the data.yaml's labels are wrong or do not fit the model.
    """
    words = f"{origin.name}, {len(images)} images"
    samples = tuple(Sample(i, image) for i, image in enumerate(images, 1))
    if task == "classify" or not any(os.path.isfile(label_path(image)) for image in images):
        return EvaluationSet(words, samples)
    oriented = task == "obb"
    if origin.suffix.lower() in _YAML:
        return _labelled(words, yolo_labels(images, read_data_yaml(origin), oriented=oriented), task, names, kpt_shape)
    own = DataYaml(origin, names, kpt_shape=kpt_shape)
    try:
        evaluation_set = _labelled(words, yolo_labels(images, own, oriented=oriented), task, names, kpt_shape)
    except DatasetError as error:
        reason = _reason(error, origin)
        note = f"labels beside the images of {origin} are not used, as they do not fit the model: {reason}"
        return EvaluationSet(words, samples, notes=(note,))
    return replace(
        evaluation_set, notes=(*evaluation_set.notes, f"labels found beside the images of {origin} are used")
    )


def classes_of(labels: Dataset, names: tuple[str, ...]) -> ClassMap:
    """Return a model's classes, matched with the labels'."""
    by_order = labels.origin.is_dir()  # its labels are of the model's own classes, in their order
    return class_map(names, labels.categories, str(labels.origin), by_order=by_order, unused=labels.unused)


def _labelled(
    words: str, dataset: Dataset, task: str, names: tuple[str, ...], kpt_shape: tuple[int, int] | None
) -> EvaluationSet:
    """Return labels that fit a model; that is decided here, before a network is traced or run."""
    _, notes = kinds_for(dataset, task, kpt_shape)
    classes_of(dataset, names)
    return EvaluationSet(words, dataset.samples, dataset, (*notes, *dataset.notes))


def _classified(tree: ClassTree, data: Path) -> EvaluationSet:
    words = f"{data.name}, {len(tree.samples)} images"
    return EvaluationSet(
        words, tree.samples, tree, (f"folders of {data.name} matched with classes {tree.classes.how}",)
    )


def _reason(error: DatasetError, origin: Path) -> str:
    """Return what was wrong, short enough for a note; that speaks of `origin` already."""
    return str(error).removeprefix(f"{origin}: ")[:_REASON]
