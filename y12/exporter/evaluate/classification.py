"""A classifier on a folder of images for each class: how often the label is the best class, or among the best five."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from y12.errors import DatasetError
from y12.exporter.data.classes import ClassMap, class_map
from y12.exporter.data.dataset import Sample
from y12.exporter.data.image_lists import images_in
from y12.exporter.data.splits import SPLITS, class_folder, splits_of
from y12.exporter.evaluate.inference import Inference

__all__ = ["ClassTree", "Guess", "TopFigures", "class_tree", "guesses_of", "top_figures"]


@dataclass(frozen=True)
class ClassTree:
    """Labelled images of classes.

    Attributes:
        samples: the images.
        labels: the model's class of each.
        classes: how the folders were matched to the model's classes.
    """

    samples: tuple[Sample, ...]
    labels: tuple[int, ...]
    classes: ClassMap


@dataclass(frozen=True)
class Guess:
    """An image's class, the best five that are found, the best first, and their probabilities."""

    label: int
    ranked: tuple[int, ...]
    scores: tuple[float, ...]


@dataclass(frozen=True)
class TopFigures:
    """The share of images, 0-1, whose label is the best class, and among the best five."""

    top1: float
    top5: float


def class_tree(data: Path, split: str | None, names: Sequence[str]) -> ClassTree:
    """Return the images of a split, and the class of the model that each folder stands for.

    Args:
        data: a folder with a folder for each class, or with such folders in `val/` (or `valid/`, `validation/`); or a
            data.yaml that names it.
        split: "train", "val" or "test"; None is "val".
        names: the model's class names. Folders of other names are matched in their order, if there are as many.

    Raises:
        DatasetError: there are no images, or the folders are not the model's classes.
    """
    folder = _folder(data, split)
    folders = sorted(path for path in folder.iterdir() if path.is_dir()) if os.path.isdir(folder) else []
    if not folders:
        raise DatasetError(f"{data}: expected a folder of images for each class in {folder}, found none")
    classes = class_map(names, [(i, path.name) for i, path in enumerate(folders)], str(folder))
    samples: list[Sample] = []
    labels: list[int] = []
    for class_id, category in enumerate(classes.category_ids):
        for path in [] if category is None else images_in(folders[category], DatasetError):
            samples.append(Sample(len(samples) + 1, path))
            labels.append(class_id)
    if not samples:
        raise DatasetError(f"{folder}: expected images in the folders of the classes, found none")
    return ClassTree(tuple(samples), tuple(labels), classes)


def guesses_of(tree: ClassTree, inference: Inference) -> list[Guess]:
    """Return what is found in each image."""
    found = zip(inference.over(tree.samples), tree.labels, strict=True)
    return [
        Guess(label, tuple(one.class_id.tolist()[:5]), tuple(one.confidence.tolist()[:5])) for (_, one), label in found
    ]


def top_figures(guesses: Sequence[Guess]) -> TopFigures:
    """Return the figures over all images."""
    best = sum(guess.ranked[:1] == (guess.label,) for guess in guesses)
    among_five = sum(guess.label in guess.ranked for guess in guesses)
    return TopFigures(best / len(guesses), among_five / len(guesses))


def _folder(data: Path, split: str | None) -> Path:
    if data.suffix.lower() in (".yaml", ".yml"):
        sources = splits_of(data, DatasetError).sources.get(split or "val", ())
        if len(sources) != 1:
            raise DatasetError(f"{data}: expected one folder for the split '{split or 'val'}', found {len(sources)}")
        return sources[0]
    if not os.path.isdir(data):
        raise DatasetError(f"{data}: expected a folder with a folder of images for each class, for a classifier")
    folder = class_folder(data, split)
    inside = {path.name for path in folder.iterdir() if path.is_dir()} if folder == data else set()
    if inside and inside <= {name for names in SPLITS.values() for name in names}:
        raise DatasetError(f"{data}: expected folders of classes, or val among the splits, found {', '.join(inside)}")
    return folder
