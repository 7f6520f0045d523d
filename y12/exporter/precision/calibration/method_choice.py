"""Choose between calibration methods by what the quantised network predicts.

No method is the best for every network: least squared error keeps COCO's detectors best, and takes two thirds of the
confidence of one whose objects are rare in the images, whose few large activations it clips. So each is tried: the
graph is quantised with its ranges, and on some of the calibration images the scores are compared with FP32's at the
anchor points where FP32's are highest, whether an object is there or not:

    error = mean |logit(s_int8) - logit(s_fp32)|,  over the 100 best anchor points of each image, of FP32's best class
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from y12.exporter.data.image_lists import evenly
from y12.exporter.graph.measurable import measurable
from y12.exporter.precision.calibration.activations import Values, activations
from y12.exporter.precision.ranges import Ranges
from y12.runtime.artefact.manifest import Manifest
from y12.runtime.artefact.output_layout import output_layout
from y12.runtime.backends.onnx_runtime import threads_at_hand
from y12.runtime.postprocess.predictions import predictions_from

__all__ = ["ScoreError", "best_ranges"]

_IMAGES = 16
_BEST_ANCHORS = 100  # of an image
_MARGIN = 0.05  # what is better by less is better by chance, on 16 images
# What decides, in words: it stands behind the errors wherever they are told.
_RULE = f"taken is the first that no other betters by {100 * _MARGIN:g} % or more, as less is chance on so few images"
_LEAST = 1e-6  # of a score, so that its logit is finite

Scores = NDArray[np.float64]
Progress = Callable[[int, int], None]


def best_ranges(
    measure: "ScoreError",
    quantized: Callable[[Ranges], onnx.ModelProto],
    candidates: Sequence[Ranges],
    progress: Progress | None = None,
) -> Ranges:
    """Return the ranges with which the quantised graph's scores are nearest to the FP32 graph's, as far as can be told.

    Args:
        measure: the error of a graph's scores.
        quantized: returns the typed graph for ranges.
        candidates: to choose between, the preferred ones first.
        progress: called after each candidate with how many are done, and their number.

    Raises:
        CalibrationError: an image cannot be used.
        Y12Error: a graph cannot be run.
    """
    errors = []
    for done, ranges in enumerate(candidates, 1):
        errors.append(measure.of(quantized(ranges)))
        if progress is not None:
            progress(done, len(candidates))
    chosen = candidates[_choice(errors)]
    listed = "; ".join(f"{ranges.method} {error:.3f}" for ranges, error in zip(candidates, errors, strict=True))
    note = f"{chosen.method} chosen, by the mean error of the best anchor points' scores, as logits: {listed} ({_RULE})"
    return replace(chosen, notes=(*chosen.notes, note))


def _choice(errors: Sequence[float]) -> int:
    """Return the index of the first error that the least one is not better than by more than chance."""
    least = min(errors)
    return next(i for i, error in enumerate(errors) if error == least or least > error * (1 - _MARGIN))


class ScoreError:
    """The error of typed graphs' scores, of the equation above; the FP32 graph is run once.

    Args:
        graph: the FP32 graph.
        images: to compare on; sixteen of them, evenly out of them.
        manifest: of the graph.
        bits: how many bits 16-bit images hold; None goes by each file.

    Raises:
        CalibrationError: an image cannot be used.
        Y12Error: the graph cannot be run.
    """

    def __init__(
        self, graph: onnx.ModelProto, images: Sequence[Path], manifest: Manifest, bits: int | None = None
    ) -> None:
        self._images, self._layout = evenly(images, _IMAGES), output_layout(manifest.of_predictions)
        self._manifest, self._bits = manifest, bits
        self._best = [_best_anchors(scores) for scores in self._scores(graph)]

    def of(self, typed: onnx.ModelProto) -> float:
        """Return the error of a graph, with the same errors raised."""
        by_image = self._scores(typed)
        shifts = [
            np.abs(_logit(scores[at]) - logits).mean()
            for scores, (at, logits) in zip(by_image, self._best, strict=True)
        ]
        return float(sum(shifts) / len(shifts))

    def _scores(self, graph: onnx.ModelProto) -> Iterator[Scores]:
        """Yield each image's scores, (nc, A); of a classifier, whose classes take the anchor points' place, (1, nc)."""
        names, profile = [output.name for output in graph.graph.output], self._manifest.profile

        def take(paths: Sequence[Path], values: Values) -> list[Scores]:
            return [self._of_image({name: values[name][i] for name in names}) for i in range(len(paths))]

        of_images = activations(
            measurable(graph),
            names,
            self._images,
            self._manifest.task,
            profile,
            take,
            self._bits,
            threads=threads_at_hand(),
            integers=self._manifest.is_for_cpu,
        )
        for _, scores in of_images:
            yield from scores

    def _of_image(self, outputs: Mapping[str, NDArray[np.float32]]) -> Scores:
        if self._layout is None:
            return np.asarray(outputs["output0"], np.float64)[None]
        predictions = predictions_from(outputs, self._layout, self._manifest.profile.opt_hw)
        return np.asarray(predictions.scores, np.float64)


def _best_anchors(scores: Scores) -> tuple[tuple[NDArray[np.intp], NDArray[np.intp]], Scores]:
    """Return the class and the anchor point of the 100 best, and the logits there."""
    classes, anchors = scores.argmax(axis=0), np.argsort(-scores.max(axis=0), kind="stable")[:_BEST_ANCHORS]
    at = classes[anchors], anchors
    return at, _logit(scores[at])


def _logit(scores: Scores) -> Scores:
    clipped = np.clip(scores, _LEAST, 1 - _LEAST)
    return np.asarray(np.log(clipped / (1 - clipped)))
