"""Detections as JSON: y12's own records, and COCO's results.

A record has box_xyxy, rounded to 1/1000 pixel, confidence, class_id and class_name; of an oriented box xywhr (radians)
and its corners; keypoints as [x, y, visibility]; and, where asked for, segmentation: COCO's compressed run lengths, or
a list of outlines, each a list of [x, y].
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from y12.errors import InputError
from y12.runtime.results.masks import Masks
from y12.runtime.results.objects import Objects
from y12.runtime.results.oriented import corners_from_xywhr


def records_from(detections: Objects, masks: str | None = None) -> list[dict[str, Any]]:
    """Return one record an object; `masks` is "rle", "polygon" or None.

    Raises:
        InputError: another word, or masks of a model that gives none.
    """
    segmentations = _segmentations(detections, masks)
    corners = None if detections.xywhr is None else corners_from_xywhr(detections.xywhr)
    records: list[dict[str, Any]] = []
    for i, name in enumerate(detections.class_name):
        record: dict[str, Any] = {
            "box_xyxy": _rounded(detections.xyxy[i]),
            "confidence": round(float(detections.confidence[i]), 6),
            "class_id": int(detections.class_id[i]),
            "class_name": name,
        }
        if detections.xywhr is not None and corners is not None:
            x, y, w, h, angle = detections.xywhr[i]
            record["xywhr"] = [*_rounded(np.array([x, y, w, h])), round(float(angle), 6)]
            record["corners"] = _rounded(corners[i])
        if detections.keypoints is not None:
            record["keypoints"] = _rounded(detections.keypoints[i])
        if segmentations is not None:
            record["segmentation"] = segmentations[i]
        records.append(record)
    return records


def coco_from(detections: Objects, image_id: int, category_ids: Sequence[int] | None = None) -> list[dict[str, Any]]:
    """Return COCO's results: bbox as left, top, width, height; segmentation as RLE; keypoints flat as x, y, v.

    Raises:
        InputError: `category_ids` has not one id for each of the names.
    """
    if category_ids is not None and len(category_ids) != len(detections.names):
        raise InputError(
            f"category_ids: expected {len(detections.names)} ids, one for each class, found {len(category_ids)}"
        )
    runs = None if detections.masks is None else detections.masks.coco_rle()
    results: list[dict[str, Any]] = []
    for i, class_id in enumerate(detections.class_id.tolist()):
        x1, y1, x2, y2 = (float(v) for v in detections.xyxy[i])
        result: dict[str, Any] = {
            "image_id": image_id,
            "category_id": class_id if category_ids is None else int(category_ids[class_id]),
            "bbox": [round(v, 3) for v in (x1, y1, x2 - x1, y2 - y1)],
            "score": float(detections.confidence[i]),  # not rounded: it decides the order
        }
        if runs is not None:
            result["segmentation"] = runs[i]
        if detections.keypoints is not None:
            result["keypoints"] = _rounded(detections.keypoints[i].reshape(-1))
        results.append(result)
    return results


def _segmentations(detections: Objects, form: str | None) -> list[Any] | None:
    if form is None:
        return None
    if form not in _FORMS:
        raise InputError(f"masks: expected one of {', '.join(_FORMS)} or None, found {form!r}")
    if detections.masks is None:
        raise InputError(f"masks: {form} was asked for, but the model gives no masks: use a segmentation model")
    return _FORMS[form](detections.masks)


def _outlines(masks: Masks) -> list[Any]:
    return [[outline.tolist() for outline in outlines] for outlines in masks.polygons()]


_FORMS: dict[str, Callable[[Masks], list[Any]]] = {"rle": lambda masks: masks.coco_rle(), "polygon": _outlines}


def _rounded(values: NDArray[np.floating]) -> Any:
    """Return an array as nested lists of numbers, rounded to 1/1000 (in float64: float32 has no 0.333)."""
    return np.round(values.astype(np.float64), 3).tolist()
