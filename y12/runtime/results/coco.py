"""Detections in COCO's JSON: as results, which are evaluated, and as a data set, which is opened like any labelled one.

Results have their masks as run lengths. A data set has them as polygons along the pixels' edges, which hold no holes;
an oriented box is a polygon of its four corners. A data set's annotations have a score too, which no reader minds.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from y12.errors import InputError
from y12.runtime.results.objects import Objects
from y12.runtime.results.oriented import corners_from_xywhr

__all__ = ["annotations_from", "categories_from", "coco_from", "parts_of", "rounded"]

_SEEN = 0.5  # a keypoint's visibility above which it counts as labelled


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
            result["keypoints"] = rounded(detections.keypoints[i].reshape(-1))
        results.append(result)
    return results


def annotations_from(
    found: Objects, image_id: int, category_ids: Sequence[int], first_id: int, tolerance: float = 0.0
) -> list[dict[str, Any]]:
    """Return the annotations of a data set, whose ids begin with `first_id`, 1 or more.

    Raises:
        InputError: as `coco_from`, or `tolerance` is negative or no number.
    """
    if found.xywhr is not None:
        polygons: list[Any] | None = [[rounded(each.reshape(-1))] for each in corners_from_xywhr(found.xywhr)]
    else:
        polygons = [[rounded(part.reshape(-1)) for part in parts] for parts in parts_of(found, tolerance) or ()] or None
    annotations = coco_from(found, image_id, category_ids)
    areas = found.area.tolist()
    for i, annotation in enumerate(annotations):
        annotation |= {"id": first_id + i, "area": round(areas[i], 3), "iscrowd": 0}
        if polygons is not None:
            annotation["segmentation"] = polygons[i]
        if found.keypoints is not None:
            seen = found.keypoints[i, :, 2:] > _SEEN
            points = np.where(seen, np.concatenate([found.keypoints[i, :, :2], np.full(seen.shape, 2.0)], axis=1), 0.0)
            annotation |= {"keypoints": rounded(points.reshape(-1)), "num_keypoints": int(seen.sum())}
    return annotations


def categories_from(names: Sequence[str], category_ids: Sequence[int], keypoints: int | None) -> list[dict[str, Any]]:
    """Return the categories of a data set; `keypoints` is how many each object has, None of a model without."""
    points = {} if keypoints is None else {"keypoints": [str(k) for k in range(keypoints)], "skeleton": []}
    pairs = zip(names, category_ids, strict=True)
    return [{"id": number, "name": name, "supercategory": "", **points} for name, number in pairs]


def parts_of(found: Objects, tolerance: float) -> list[list[NDArray[np.float32]]] | None:
    """Return each object's outlines along the pixels' edges, of an empty mask its box's; None of a model without masks.

    Raises:
        InputError: `tolerance` is negative or no number.
    """
    if found.masks is None:
        return None
    boxes = found.xyxy[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)
    return [parts or [box] for parts, box in zip(found.masks.polygons(tolerance, edges=True), boxes, strict=True)]


def rounded(values: NDArray[np.floating]) -> Any:
    """Return an array as nested lists of numbers, rounded to 1/1000 (in float64: float32 has no 0.333)."""
    return np.round(values.astype(np.float64), 3).tolist()
