"""What is taken for what: found objects beside labelled ones, also across classes, and each image's mistakes.

Of the results above a confidence, first those count as right that COCO's evaluation matches at an overlap of `IOU`:
class by class, the best score first. What is left of results and labels is then matched in the same way whatever its
class: such a pair is a confusion. A result without a label is found where there is background, a label without a result
is missed. So the diagonal has the same hits as precision and recall at that confidence.
"""

import contextlib
import io
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from y12.exporter.evaluate.coco import KIND_NAMES, evaluation_of

__all__ = ["BACKGROUND", "CONF", "IOU", "Confusion", "Mistakes", "confusion_in", "confusion_of_classes"]

CONF = 0.25  # the usual threshold of use
IOU = 0.5
BACKGROUND = -1  # in the place of a class
_ALL = 1 << 30  # results of an image


@dataclass(frozen=True)
class Confusion:
    """How often an object of one class is found as one of another.

    Attributes:
        names: the classes.
        counts: by (labelled, found), indices of `names`; `BACKGROUND` in the place of what is not there.
        of: what was compared: "boxes", "oriented boxes", …; "images" of a classifier.
        conf, iou: the thresholds; None of a classifier, which has none.
    """

    names: tuple[str, ...]
    counts: Mapping[tuple[int, int], int]
    of: str
    conf: float | None = None
    iou: float | None = None

    def labels_of(self, class_id: int) -> int:
        """Return how many labels of a class there are, or for `BACKGROUND` results without a label."""
        return sum(count for (labelled, _), count in self.counts.items() if labelled == class_id)

    def most_confused(self) -> list[tuple[int, int, int]]:
        """Return (labelled, found, count) of what two classes have in common, the most frequent first."""
        pairs = [(a, b, n) for (a, b), n in self.counts.items() if a != b and BACKGROUND not in (a, b)]
        return sorted(pairs, key=lambda pair: (-pair[2], pair[0], pair[1]))


@dataclass(frozen=True)
class Mistakes:
    """One image: how many objects are found rightly, missed, found where there are none, or found as another class."""

    right: int = 0
    missed: int = 0
    extra: int = 0
    confused: int = 0

    @property
    def count(self) -> int:
        """All mistakes."""
        return self.missed + self.extra + self.confused

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall in this image; 1 where there is nothing and nothing is found."""
        labels, found = self.right + self.missed + self.confused, self.right + self.extra + self.confused
        return 2 * self.right / (labels + found) if labels + found else 1.0


def confusion_in(evaluation: Any, kind: str, conf: float = CONF) -> tuple[Confusion, dict[int, Mistakes]]:
    """Return the matrix, and each image's mistakes by its id, of an evaluation of pycocotools that has run.

    Args:
        evaluation: with the overlap `IOU` among its thresholds, and any size the first of its sizes.
        kind: what it compared: "bbox", "segm", "keypoints" or "obb".
        conf: look at results scored above this.
    """
    class_ids = {category: k for k, category in enumerate(evaluation.params.catIds)}
    names = {category["id"]: category["name"] for category in evaluation.cocoGt.dataset["categories"]}
    pairs: Counter[tuple[int, int, int]] = Counter()  # image, labelled, found
    labels, results = [], []
    for one in _of_any_size(evaluation):
        right, rest_labels, rest_results = _divided(one, evaluation, conf)
        class_id = class_ids[one["category_id"]]
        if right:
            pairs[one["image_id"], class_id, class_id] += right
        labels += [evaluation.cocoGt.anns[i] for i in rest_labels]
        results += [evaluation.cocoDt.anns[i] for i in rest_results]
    taken_labels, taken_results = set(), set()
    for label, result in _matched_across(evaluation, labels, results, kind):
        a, b = evaluation.cocoGt.anns[label], evaluation.cocoDt.anns[result]
        pairs[a["image_id"], class_ids[a["category_id"]], class_ids[b["category_id"]]] += 1
        taken_labels.add(label)
        taken_results.add(result)
    for label in labels:
        if label["id"] not in taken_labels:
            pairs[label["image_id"], class_ids[label["category_id"]], BACKGROUND] += 1
    for result in results:
        if result["id"] not in taken_results:
            pairs[result["image_id"], BACKGROUND, class_ids[result["category_id"]]] += 1
    ordered = tuple(names[category] for category in evaluation.params.catIds)
    confusion = Confusion(ordered, _summed(pairs), KIND_NAMES[kind], conf, IOU)
    return confusion, _by_image(pairs, evaluation.params.imgIds)


def confusion_of_classes(names: tuple[str, ...], pairs: Iterable[tuple[int, int]]) -> Confusion:
    """Return the matrix of a classifier from each image's (label, best class)."""
    return Confusion(names, dict(Counter(pairs)), "images")


def _of_any_size(evaluation: Any) -> list[Any]:
    """Return what pycocotools says of each image and category that has labels or results."""
    count, sizes = len(evaluation.params.imgIds), len(evaluation.params.areaRng)
    starts = range(0, len(evaluation.evalImgs), count * sizes)
    return [one for start in starts for one in evaluation.evalImgs[start : start + count] if one is not None]


def _divided(one: Any, evaluation: Any, conf: float) -> tuple[int, list[int], list[int]]:
    """Return how many results are right, and the ids of the labels and the results that are left."""
    at = int(np.argmin(np.abs(np.asarray(evaluation.params.iouThrs) - IOU)))
    scores = np.asarray(one["dtScores"], np.float64)
    matches, ignored = np.asarray(one["dtMatches"])[at], np.asarray(one["dtIgnore"])[at].astype(bool)
    sure = scores > conf
    taken = {int(label) for label in matches[sure] if label > 0}
    left = [int(i) for i in np.asarray(one["dtIds"], np.int64)[sure & ~ignored & (matches == 0)]]
    missed = [int(i) for i, gone in zip(one["gtIds"], one["gtIgnore"], strict=True) if not gone and i not in taken]
    return int(np.count_nonzero(sure & ~ignored & (matches > 0))), missed, left


def _matched_across(
    evaluation: Any, labels: list[dict[str, Any]], results: list[dict[str, Any]], kind: str
) -> list[tuple[int, int]]:
    """Return the ids of labels and results that are matched where their classes do not count."""
    if not labels or not results:
        return []
    category = evaluation.params.catIds[0]
    truth, found = ([{**entry, "category_id": category} for entry in entries] for entries in (labels, results))
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints as it goes
        across = evaluation_of(evaluation.cocoGt.dataset, truth, found, kind)
        across.params.catIds, across.params.iouThrs = [category], np.array([IOU])
        across.params.maxDets = [_ALL]
        across.evaluate()
    return [
        (int(label), int(result))
        for one in _of_any_size(across)
        for result, label in zip(one["dtIds"], np.asarray(one["dtMatches"])[0], strict=True)
        if label > 0
    ]


def _summed(pairs: Mapping[tuple[int, int, int], int]) -> dict[tuple[int, int], int]:
    counts: Counter[tuple[int, int]] = Counter()
    for (_, labelled, found), count in pairs.items():
        counts[labelled, found] += count
    return dict(counts)


def _by_image(pairs: Mapping[tuple[int, int, int], int], image_ids: Iterable[Any]) -> dict[int, Mistakes]:
    counts = {int(i): [0, 0, 0, 0] for i in image_ids}  # as `Mistakes` has them
    for (image, labelled, found), count in pairs.items():
        kind = 0 if labelled == found else 1 if found == BACKGROUND else 2 if labelled == BACKGROUND else 3
        counts[int(image)][kind] += count
    return {image: Mistakes(*ones) for image, ones in counts.items()}
