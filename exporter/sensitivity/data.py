"""Images to measure on, with their labels where there are any."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from exporter.accuracy.classify import ClassTree, class_tree
from exporter.accuracy.data_yaml import DataYaml, read_data_yaml
from exporter.accuracy.dataset import Dataset, Sample
from exporter.accuracy.datasets import labelled_dataset
from exporter.accuracy.yolo import label_path, yolo_labels
from exporter.errors import DatasetError
from exporter.image_lists import images_in, without_repeats
from runtime.manifest import Manifest

__all__ = ["Trial", "trial_from", "trial_of_images"]


@dataclass(frozen=True)
class Trial:
    """Images to measure graphs on.

    Attributes:
        data: what they are, in words.
        samples: the images.
        labels: what they show, of a detector; of a classifier the classes. None where there are no labels.
        notes: what a reader of the figures has to know.
    """

    data: str
    samples: tuple[Sample, ...]
    labels: Dataset | ClassTree | None = None
    notes: tuple[str, ...] = ()

    @property
    def truth(self) -> str:
        """What a graph is held against."""
        return "labels" if self.labels is not None else "detections of FP32"


def trial_from(data: Path, manifest: Manifest) -> Trial:
    """Read a data.yaml (its val), a COCO JSON, or a folder of images.

    A folder's labels are looked for where YOLO keeps them; of a classifier it is one with a folder for each class.

    Raises:
        DatasetError: there are no images, or their labels are wrong.
    """
    if not data.is_dir():
        if manifest.task == "classify":
            tree = class_tree(data, None, manifest.names)
            return Trial(f"{data.name}, {len(tree.samples)} images", tree.samples, tree)
        dataset = labelled_dataset(data, oriented=manifest.task == "obb")
        return Trial(f"{data.name}, {len(dataset.samples)} images", dataset.samples, dataset)
    if manifest.task == "classify" and any(path.is_dir() for path in data.iterdir()):
        tree = class_tree(data, None, manifest.names)
        return Trial(f"{data.name}, {len(tree.samples)} images", tree.samples, tree)
    images = without_repeats(images_in(data), str(data), DatasetError)
    if not images:
        raise DatasetError(f"{data}: expected images to measure on, found none")
    return trial_of_images(images, manifest, data)


def trial_of_images(images: Sequence[Path], manifest: Manifest, origin: Path) -> Trial:
    """Take images, with the labels that lie beside them.

    Args:
        images: files.
        manifest: of the model; its classes are those of the labels where `origin` is no data.yaml.
        origin: the folder or the data.yaml that named the images.

    Raises:
        DatasetError: the data.yaml's labels are wrong.
    """
    words = f"{origin.name}, {len(images)} images"
    samples = tuple(Sample(i, image) for i, image in enumerate(images, 1))
    if manifest.task == "classify" or not any(label_path(image).is_file() for image in images):
        return Trial(words, samples)
    oriented = manifest.task == "obb"
    if origin.suffix.lower() in (".yaml", ".yml"):
        labels = yolo_labels(images, read_data_yaml(origin), oriented=oriented)
        return Trial(words, labels.samples, labels)
    classes = DataYaml(origin, origin, {}, manifest.names, manifest.kpt_shape)
    try:
        labels = yolo_labels(images, classes, oriented=oriented)
    except DatasetError as error:
        # Nobody said that these labels are of this model's classes.
        note = f"labels beside the images of {origin} are not used, as they do not fit the model: {error!s:.120}"
        return Trial(words, samples, notes=(note,))
    labels = replace(labels, notes=(*labels.notes, f"labels found beside the images of {origin} are used"))
    return Trial(words, labels.samples, labels, labels.notes)
