"""Accuracy of the graphs of one export on the same images, the confidences that keep it, and where they differ."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

from y12.exporter.evaluate.cautions import on_classes, on_success
from y12.exporter.evaluate.confidence_table import confidence_table_between
from y12.exporter.evaluate.evaluation_set import EvaluationSet
from y12.exporter.evaluate.graph_results import Outcome, outcome_of
from y12.exporter.evaluate.results import Accuracy, Score
from y12.exporter.evaluate.scoring import Truth, figures_of, truth_from
from y12.exporter.evaluate.worst import agreement_by_image
from y12.runtime.artefact.manifest import Manifest
from y12.runtime.thresholds import ConfidenceTable

__all__ = ["Measured", "measured"]

_WORST = 6  # images: more than one looks at, fewer than make the page heavy

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Measured:
    """What measuring gave.

    Attributes:
        accuracy: of every graph.
        thresholds: the confidences with which the last graph keeps FP32's precision and recall; None where that
            cannot be told, as of classifiers and of too few detections, and of FP32 alone.
        worst: the images on which the last graph differs most from FP32, the worst first: the name that
            `accuracy.worst` has → file.
    """

    accuracy: Accuracy
    thresholds: ConfidenceTable | None
    worst: Mapping[str, Path]


def measured(
    graphs: Mapping[str, onnx.ModelProto],
    evaluation_set: EvaluationSet,
    manifest: Manifest,
    progress: Progress | None = None,
) -> Measured:
    """Return the figures of graphs on the same images.

    Args:
        graphs: by precision, FP32 first and the artefact's last, which may be the same one; without NMS.
        evaluation_set: the images.
        manifest: of the model.
        progress: called as images are done with how many are, of all graphs, and how many there are.

    Raises:
        DatasetError: the labels do not fit the model, or there are none and FP32 finds nothing.
        Y12Error: an image cannot be used.
    """
    scores: list[Score] = []
    first = last = Outcome((), {})

    def advance(done: int, images: int) -> None:
        if progress is not None:
            progress(len(scores) * images + done, len(graphs) * images)

    for precision, graph in graphs.items():
        # Of many images this takes gigabytes; only the first one and the last one are needed further.
        used = len(scores) in (0, len(graphs) - 1)
        last = outcome_of(graph, manifest, evaluation_set, used=used, progress=advance)
        if not scores:
            first, truth = last, truth_from(evaluation_set, last)
        scores.append(Score(precision, figures_of(truth, last)))
    worst = _worst(first, last, evaluation_set)
    by_name = dict(zip(_names(list(worst)), worst.items(), strict=True))
    agreements = {name: agreement for name, (_, agreement) in by_name.items()}
    measured_on = (evaluation_set.data, len(evaluation_set.samples), truth.words)
    notes = _cautions(truth, scores[0], first, manifest)
    accuracy = Accuracy(*measured_on, tuple(scores), agreements, notes)
    thresholds = confidence_table_between(truth, first, last, len(evaluation_set.samples)) if len(graphs) > 1 else None
    return Measured(accuracy, thresholds, {name: path for name, (path, _) in by_name.items()})


def _cautions(truth: Truth, reference: Score, outcome: Outcome, manifest: Manifest) -> tuple[str, ...]:
    """Return what the figures do not say; where FP32 is right in nothing, no precision can be seen to lose anything."""
    notes = on_success(reference.figures.values(), len(outcome.results))
    if truth.words == "labels":
        names = {category["id"]: category["name"] for category in truth.coco["categories"]}
        names = names or dict(enumerate(manifest.names))  # a classifier's labels are of its own classes
        labelled = {names[annotation["category_id"]] for annotation in truth.coco["annotations"]}
        notes += on_classes(labelled, len(manifest.names))
    return tuple(f"--val: {note}" for note in notes)


def _worst(reference: Outcome, candidate: Outcome, evaluation_set: EvaluationSet) -> dict[Path, float]:
    """Return the files on which two differ most, the worst first, with their agreement."""
    agreements = {i: round(a, 4) for i, a in agreement_by_image(reference.as_used(), candidate.as_used()).items()}
    order = sorted((i for i in agreements if agreements[i] < 1), key=lambda i: (agreements[i], i))
    paths = {sample.image_id: sample.path for sample in evaluation_set.samples}
    return {paths[i]: agreements[i] for i in order[:_WORST]}


def _names(paths: Sequence[Path]) -> list[str]:
    """Return names of files, no two of them the same: with their folder where the file's own name occurs twice."""
    count = Counter(path.name for path in paths)
    names = [path.name if count[path.name] == 1 else f"{path.parent.name}/{path.name}" for path in paths]
    return names if len(set(names)) == len(names) else [path.as_posix() for path in paths]
