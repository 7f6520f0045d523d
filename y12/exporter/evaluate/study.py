"""What an evaluation tells beyond its figures, for who draws it: curves, confusions, and the worst images."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from y12.exporter.data.dataset import GroundTruth, Sample
from y12.exporter.evaluate.bootstrap import ClassMatches, matches_in
from y12.exporter.evaluate.classification import ClassTree, Guess
from y12.exporter.evaluate.coco import Figures, Result, accumulated, figures_in
from y12.exporter.evaluate.confusion import CONF, Confusion, Mistakes, confusion_in, confusion_of_classes
from y12.exporter.evaluate.curves import ConfidenceCurves, curves_from

__all__ = ["WORST", "KindStudy", "Study", "WorstImage", "study_of", "study_of_classifier"]

WORST = 12  # images: a sheet that one looks through


@dataclass(frozen=True)
class KindStudy:
    """One kind: "bbox", "segm", "keypoints" or "obb".

    Attributes:
        figures: COCO's.
        precision: (T, R, K) pycocotools' precision at each overlap, recall and class, whose mean is AP; -1 for a class
            without labels.
        matches: of the classes, in the figures' order.
        labels_by_size: how many labels count, by the names of COCO's sizes.
    """

    figures: Figures
    precision: NDArray[np.float64]
    matches: tuple[ClassMatches, ...]
    labels_by_size: Mapping[str, int]

    @cached_property
    def curves(self) -> ConfidenceCurves:
        """Precision, recall and F1 against confidence."""
        return curves_from(self.matches)


@dataclass(frozen=True)
class WorstImage:
    """An image with mistakes.

    Attributes:
        name: of its file.
        path: where it is; None where only its labels are known.
        mistakes: how many.
        labels: what is labelled, in COCO's form with `category_id` an index of the names; of a classifier the class.
        found: what is found above the matrix' confidence, in the same form; of a classifier the best five classes.
    """

    name: str
    path: Path | None
    mistakes: Mistakes
    labels: tuple[Result, ...]
    found: tuple[Result, ...]


@dataclass(frozen=True)
class Study:
    """All that is drawn.

    Attributes:
        confusion: the matrix, and the classes' names.
        worst: the images with the lowest F1, among equals those with most mistakes first.
        mistaken: how many images have any mistake.
        kinds: each of a detector's; none of a classifier.
        bits: how many bits 16-bit images hold; None goes by each file.
    """

    confusion: Confusion
    worst: tuple[WorstImage, ...]
    mistaken: int
    kinds: tuple[KindStudy, ...] = ()
    bits: int | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The classes."""
        return self.confusion.names


def study_of(
    truth: GroundTruth,
    results: Sequence[Result],
    kinds: Sequence[str],
    samples: Iterable[Sample] = (),
    conf: float = CONF,
) -> Study:
    """Match results with labels once for each kind, and return what that tells.

    Args:
        truth: COCO's images, annotations and categories.
        results: COCO's results.
        kinds: what to compare; the matrix and the mistakes are of the first one.
        samples: where the images are; none where they are not at hand.
        conf: look at results scored above this for the matrix and the mistakes.

    Raises:
        MissingPackageError: pycocotools is not installed.
    """
    studies: list[KindStudy] = []
    for kind in kinds:
        evaluation = accumulated(truth, results, kind)
        if not studies:
            confusion, mistakes = confusion_in(evaluation, kind, conf)
            class_ids = {int(category): k for k, category in enumerate(evaluation.params.catIds)}
        precision = np.asarray(evaluation.eval["precision"][:, :, :, 0, -1], np.float64)
        sizes = _labels_by_size(evaluation)
        studies.append(KindStudy(figures_in(evaluation, kind), precision, tuple(matches_in(evaluation)), sizes))
    worst = _worst(mistakes)
    paths = {sample.image_id: sample.path for sample in samples}
    names = {image["id"]: str(image.get("file_name", image["id"])) for image in truth["images"]}
    labels = _by_image(truth["annotations"], worst, class_ids)
    found = _by_image((r for r in results if r["score"] > conf), worst, class_ids)
    images = (WorstImage(names[i], paths.get(i), mistakes[i], labels[i], found[i]) for i in worst)
    return Study(confusion, tuple(images), sum(one.count > 0 for one in mistakes.values()), tuple(studies))


def study_of_classifier(tree: ClassTree, guesses: Sequence[Guess], names: tuple[str, ...]) -> Study:
    """Return what a classifier's best classes tell: the worst images are those most surely taken for another class."""
    confusion = confusion_of_classes(names, ((guess.label, guess.ranked[0]) for guess in guesses))
    wrong = [i for i, guess in enumerate(guesses) if guess.ranked[0] != guess.label]
    worst = sorted(wrong, key=lambda i: (-guesses[i].scores[0], i))[:WORST]
    images = tuple(_worst_of_classifier(tree.samples[i], guesses[i]) for i in worst)
    return Study(confusion, images, len(wrong))


def _worst_of_classifier(sample: Sample, guess: Guess) -> WorstImage:
    found = ({"category_id": k, "score": score} for k, score in zip(guess.ranked, guess.scores, strict=True))
    return WorstImage(
        sample.path.name, sample.path, Mistakes(confused=1), ({"category_id": guess.label},), tuple(found)
    )


def _worst(mistakes: Mapping[int, Mistakes]) -> list[int]:
    wrong = [image for image, one in mistakes.items() if one.count]
    return sorted(wrong, key=lambda image: (mistakes[image].f1, -mistakes[image].count, image))[:WORST]


def _by_image(
    entries: Iterable[Result], images: Sequence[int], class_ids: Mapping[int, int]
) -> defaultdict[int, tuple[dict[str, Any], ...]]:
    by_image: defaultdict[int, tuple[dict[str, Any], ...]] = defaultdict(tuple)
    wanted = set(images)
    for entry in entries:
        if entry["image_id"] in wanted and entry["category_id"] in class_ids:
            by_image[entry["image_id"]] += ({**entry, "category_id": class_ids[entry["category_id"]]},)
    return by_image


def _labels_by_size(evaluation: Any) -> dict[str, int]:
    """Return how many labels of each size count, any size left out."""
    images, sizes = len(evaluation.params.imgIds), evaluation.params.areaRngLbl
    counts = dict.fromkeys(sizes[1:], 0)
    for at, one in enumerate(evaluation.evalImgs):
        size = sizes[at // images % len(sizes)]
        if one is not None and size in counts:
            counts[size] += int(np.count_nonzero(np.asarray(one["gtIgnore"]) == 0))
    return counts
