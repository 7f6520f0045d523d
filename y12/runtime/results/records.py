"""Detections as JSON: y12's own records.

A record has box_xyxy, rounded to 1/1000 pixel, confidence, class_id and class_name; of an oriented box xywhr (radians)
and its corners; keypoints as [x, y, visibility]; and, where asked for, segmentation: COCO's compressed run lengths, or
a list of outlines, each a list of [x, y].
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from y12.errors import InputError
from y12.runtime.results.coco import rounded
from y12.runtime.results.masks import Masks
from y12.runtime.results.objects import Objects
from y12.runtime.results.oriented import corners_from_xywhr


def records_from(detections: Objects, masks: str | None = None, tolerance: float = 0.0) -> list[dict[str, Any]]:
    """Return one record an object; `masks` is "rle", "polygon" or None, `tolerance` in pixels is of polygons.

    Raises:
        InputError: another word, masks of a model that gives none, or a tolerance that is no distance.
    """
    segmentations = _segmentations(detections, masks, tolerance)
    corners = None if detections.xywhr is None else corners_from_xywhr(detections.xywhr)
    records: list[dict[str, Any]] = []
    for i, name in enumerate(detections.class_name):
        record: dict[str, Any] = {
            "box_xyxy": rounded(detections.xyxy[i]),
            "confidence": round(float(detections.confidence[i]), 6),
            "class_id": int(detections.class_id[i]),
            "class_name": name,
        }
        if detections.xywhr is not None and corners is not None:
            x, y, w, h, angle = detections.xywhr[i]
            record["xywhr"] = [*rounded(np.array([x, y, w, h])), round(float(angle), 6)]
            record["corners"] = rounded(corners[i])
        if detections.keypoints is not None:
            record["keypoints"] = rounded(detections.keypoints[i])
        if segmentations is not None:
            record["segmentation"] = segmentations[i]
        records.append(record)
    return records


def _segmentations(detections: Objects, form: str | None, tolerance: float) -> list[Any] | None:
    if form is None:
        return None
    if form not in _FORMS:
        raise InputError(f"masks: expected one of {', '.join(_FORMS)} or None, found {form!r}")
    if detections.masks is None:
        raise InputError(f"masks: {form} was asked for, but the model gives no masks: use a segmentation model")
    return _FORMS[form](detections.masks, tolerance)


def _outlines(masks: Masks, tolerance: float) -> list[Any]:
    return [[outline.tolist() for outline in outlines] for outlines in masks.polygons(tolerance)]


_FORMS: dict[str, Callable[[Masks, float], list[Any]]] = {
    "rle": lambda masks, _: masks.coco_rle(),
    "polygon": _outlines,
}
