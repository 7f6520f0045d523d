"""How near a graph's objects are to a truth's, without thresholds: what orders graphs on a dozen of images.

Average precision takes a step where an overlap falls below 0.95, 0.90, …: of few objects most graphs lose nothing, or
all the same. This moves with every box.
"""

import contextlib
import io
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from y12.exporter.data.dataset import GroundTruth
from y12.exporter.evaluate.coco import Result, prepared

__all__ = ["points_apart"]


def points_apart(truth: GroundTruth, results: Sequence[Result], kind: str) -> float:
    """Return how far results are from a truth, in points of 100; 0 where they are the same.

        100 (1 - mean over objects g of max over results r of g's image and class of overlap(r, g) min(1, s_r / s_g))

    overlap: IoU of boxes or masks, OKS of keypoints, as pycocotools has them. s: scores; 1 of an object without any.
    Crowds are left out. NaN where there is no object.

    Args:
        truth: COCO's images, annotations and categories; annotations may have a "score".
        results: COCO's results.
        kind: "bbox", "segm", "keypoints" or "obb".

    Raises:
        MissingPackageError: pycocotools is not installed.
    """
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints as it goes
        evaluation = prepared(truth, results, kind, by_size=False)
        evaluation.evaluate()
    kept = [share for place in evaluation.ious for share in _kept(evaluation, place)]
    return 100 * (1 - float(np.mean(kept))) if kept else float("nan")


def _kept(evaluation: Any, place: tuple[int, int]) -> Iterator[float]:
    """Yield what is kept of each object of an image and a class, 0 to 1."""
    results, objects = evaluation._dts[place], evaluation._gts[place]  # pycocotools has no other way to them
    best = np.argsort([-result["score"] for result in results], kind="mergesort")[: evaluation.params.maxDets[-1]]
    scores = np.array([results[i]["score"] for i in best])
    overlaps = np.asarray(evaluation.ious[place]).reshape(len(scores), len(objects))
    for i, wanted in enumerate(objects):
        if not wanted["ignore"]:
            shares = overlaps[:, i] * np.minimum(1, scores / wanted.get("score", 1.0))
            yield float(shares.max(initial=0.0))
