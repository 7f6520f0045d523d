"""What a graph loses against FP32 on the same images, and how sure that is."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from y12.exporter.evaluate.bootstrap import average_precision, draws_of, interval_of, matches_of
from y12.exporter.evaluate.closeness import points_apart
from y12.exporter.evaluate.coco import KIND_NAMES
from y12.exporter.evaluate.evaluation_set import EvaluationSet
from y12.exporter.evaluate.graph_results import Outcome
from y12.exporter.evaluate.results import Loss
from y12.exporter.evaluate.scoring import Truth, truth_from

__all__ = ["Yardstick", "yardsticks_of"]

_Drawn = Mapping[str, NDArray[np.float64]]  # a figure's name → its value in each draw, 0 to 1


class Yardstick:
    """Holds graphs against a truth, image by image as FP32 is.

    Args:
        truth: what graphs are held against.
        reference: what FP32 finds.

    Attributes:
        images: their number.
        objects: how many there are to be found, in all of them.
        figures: what FP32 has, 0 to 1, by name, such as "boxes AP50-95"; none that nothing in the truth is about.

    Raises:
        MissingPackageError: pycocotools is not installed.
    """

    def __init__(self, truth: Truth, reference: Outcome) -> None:
        self._truth = truth
        self.images = len(truth.coco["images"])
        self.objects = sum(not annotation.get("iscrowd") for annotation in truth.coco["annotations"])
        self._draws = np.concatenate([np.ones((1, self.images)), draws_of(self.images)])  # first the images as they are
        measured = self._measured(reference, self._draws)
        self._reference = {name: values for name, values in measured.items() if not np.isnan(values[0])}
        self.figures = {name: float(values[0]) for name, values in self._reference.items()}

    @property
    def truth(self) -> str:
        """What graphs are held against, in words."""
        return self._truth.words

    @property
    def categories_by_image(self) -> dict[int, set[int]]:
        """The categories that each image has objects of, by its id."""
        by_image: dict[int, set[int]] = {}
        for annotation in self._truth.coco["annotations"]:
            by_image.setdefault(annotation["image_id"], set()).add(annotation["category_id"])
        return by_image

    def points_apart(self, outcome: Outcome) -> float:
        """Return how far a graph's objects are from the truth's, in points of 100, of the kind where they are farthest.

        Of a classifier it is the points of top-1 that are lost.
        """
        if not self._truth.kinds:
            return 100 * (self.figures["top-1"] - float(self._measured(outcome, self._draws[:1])["top-1"][0]))
        kinds = (kind for kind in self._truth.kinds if f"{KIND_NAMES[kind]} AP50-95" in self.figures)
        return max(points_apart(self._truth.coco, outcome.results, kind) for kind in kinds)

    def losses(self, outcome: Outcome) -> tuple[Loss, ...]:
        """Return what a graph loses of each figure, with the 90 % interval of what it loses on as many other images.

        Both these images and the others are one draw out of many: the interval is that of the difference of two draws
        of the bootstrap, about what is lost here.
        """
        own = self._measured(outcome, self._draws)
        lost = {name: 100 * (values - own[name]) for name, values in self._reference.items()}
        return tuple(
            Loss(name, self.truth, float(points[0]), *interval_of(points[0] + points[1:] - np.roll(points[1:], 1)))
            for name, points in lost.items()
        )

    def _measured(self, outcome: Outcome, draws: NDArray[np.float64]) -> _Drawn:
        if not self._truth.kinds:
            return {"top-1": draws @ self._right(outcome) / self.images}
        matches = {kind: matches_of(self._truth.coco, outcome.results, kind) for kind in self._truth.kinds}
        return {f"{KIND_NAMES[kind]} AP50-95": average_precision(classes, draws) for kind, classes in matches.items()}

    def _right(self, outcome: Outcome) -> NDArray[np.float64]:
        """Return 1 for each image whose class is told, 0 for the others, in the order of the truth's images."""
        told = {result["image_id"]: result["category_id"] for result in outcome.results}
        expected = self._truth.coco["annotations"]
        return np.array([told[label["image_id"]] == label["category_id"] for label in expected], np.float64)


def yardsticks_of(evaluation_set: EvaluationSet, fp32: Outcome) -> tuple[Yardstick, ...]:
    """Return labels, where there are any of objects, and agreement, where FP32 finds anything.

    Raises:
        DatasetError: there is neither.
    """
    yardsticks = [] if evaluation_set.labels is None else [Yardstick(truth_from(evaluation_set, fp32), fp32)]
    yardsticks = [one for one in yardsticks if one.figures]
    if fp32.sure or not yardsticks:
        yardsticks.append(Yardstick(truth_from(evaluation_set, fp32, labels=False), fp32))
    return tuple(yardsticks)
