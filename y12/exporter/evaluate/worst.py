"""Which images two graphs see most differently."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from y12.exporter.evaluate.graph_results import Outcome, Results

__all__ = ["agreement_by_image"]

_MIN_IOU = 0.5  # boxes that overlap less are not the same object


def agreement_by_image(reference: Outcome, candidate: Outcome) -> dict[int, float]:
    """Return for each image, by its id, how alike what is found above 0.25 is: 1 is the same, 0 nothing in common.

        2 x sum of the IoUs of matched boxes / (boxes of the reference + boxes of the candidate)

    Boxes are matched within their class, the candidate's best score first, from an IoU of 0.5. An image in which
    neither finds anything has 1. Of a classifier it is 1 where the best class is the same, else 0.
    """
    reference_results, candidate_results = _by_image(reference), _by_image(candidate)
    return {i: _agreement(reference_results[i], candidate_results[i]) for i in reference.sizes_hw}


def _by_image(outcome: Outcome) -> defaultdict[int, list[Mapping[str, Any]]]:
    by_image: defaultdict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for result in outcome.sure:
        by_image[result["image_id"]].append(result)
    return by_image


def _agreement(reference: Results, candidate: Results) -> float:
    if not reference and not candidate:
        return 1.0
    if "bbox" not in (*reference, *candidate)[0]:
        return float([r["category_id"] for r in reference] == [r["category_id"] for r in candidate])
    ious = _ious(reference, candidate)
    total = 0.0
    for j in sorted(range(len(candidate)), key=lambda j: -candidate[j]["score"]):
        best = int(ious[:, j].argmax()) if len(reference) else 0
        if len(reference) and ious[best, j] >= _MIN_IOU:
            total += ious[best, j]
            ious[best] = 0  # each box is matched once
    return float(2 * total / (len(reference) + len(candidate)))


def _ious(reference: Results, candidate: Results) -> NDArray[np.float64]:
    """Return the IoU of each pair of boxes, (N, M), 0 where the classes differ."""
    from pycocotools import mask

    if not reference or not candidate:
        return np.zeros((len(reference), len(candidate)))
    boxes, others = (np.array([r["bbox"] for r in results], np.float64) for results in (reference, candidate))
    classes, other_classes = (np.array([r["category_id"] for r in results]) for results in (reference, candidate))
    ious = np.asarray(mask.iou(boxes, others, [0] * len(others)), np.float64).reshape(len(reference), len(candidate))
    return np.where(classes[:, None] == other_classes, ious, 0.0)
