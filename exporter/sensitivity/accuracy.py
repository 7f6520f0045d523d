"""Accuracy of the graphs of one export on the same images, the confidences that keep it, and where they differ."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx

from exporter.accuracy.thresholds import labels_from_results, threshold_shift
from exporter.sensitivity.data import Trial
from exporter.sensitivity.results import Accuracy, Score
from exporter.sensitivity.scoring import CONF, Outcome, Truth, figures_of, outcome_of, truth_from
from exporter.sensitivity.worst import agreement_by_image
from runtime.manifest import Manifest
from runtime.thresholds import ThresholdShift

__all__ = ["Measured", "measured"]

_WORST = 6  # images: more than one looks at, fewer than make the page heavy
_FLOOR = 0.001  # the confidence that results are taken from

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Measured:
    """What measuring gave.

    Attributes:
        accuracy: of every graph.
        thresholds: the confidences with which the last graph keeps FP32's precision and recall; None where that
            cannot be told, as of classifiers and of too few detections.
        worst: files of the images on which the last graph differs most from FP32, the worst first.
    """

    accuracy: Accuracy
    thresholds: ThresholdShift | None
    worst: tuple[Path, ...]


def measured(
    graphs: Mapping[str, onnx.ModelProto], trial: Trial, manifest: Manifest, progress: Progress | None = None
) -> Measured:
    """Measure graphs on the same images.

    Args:
        graphs: by precision, FP32 first and the artefact's last; without NMS.
        trial: the images.
        manifest: of the model.
        progress: called after each graph with how many are done, and how many there are.

    Raises:
        DatasetError: the labels do not fit the model, or there are none and FP32 finds nothing.
        Y12Error: an image cannot be used.
    """
    outcomes: dict[str, Outcome] = {}
    for precision, graph in graphs.items():
        outcomes[precision] = outcome_of(graph, manifest, trial)
        if progress is not None:
            progress(len(outcomes), len(graphs))
    first, *_, last = outcomes.values()
    truth = truth_from(trial, manifest, first)
    scores = tuple(Score(precision, figures_of(truth, outcome)) for precision, outcome in outcomes.items())
    agreements = agreement_by_image(first, last)
    order = sorted(agreements, key=lambda i: (agreements[i], i))[:_WORST]
    paths = {sample.image_id: sample.path for sample in trial.samples}
    worst = {i: agreements[i] for i in order if agreements[i] < 1}
    by_name = {paths[i].name: round(agreement, 4) for i, agreement in worst.items()}
    accuracy = Accuracy(trial.data, len(trial.samples), truth.words, scores, by_name)
    return Measured(accuracy, _thresholds(truth, first, last, trial), tuple(paths[i] for i in worst))


def _thresholds(truth: Truth, reference: Outcome, candidate: Outcome, trial: Trial) -> ThresholdShift | None:
    if not truth.kinds or "bbox" not in truth.kinds:
        return None  # a classifier's best class has no threshold; oriented boxes are matched otherwise
    coco = truth.coco
    if truth.words != "labels":
        categories = [category["id"] for category in coco["categories"]]
        coco = labels_from_results(reference.results, CONF, list(reference.sizes_hw), categories)
    words = f"{len(trial.samples)} images, {truth.words}"
    return threshold_shift(coco, reference.results, candidate.results, data=words, floor=_FLOOR)
