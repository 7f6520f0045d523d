"""Detections as Label Studio's pre-annotations: a task with a prediction, which a person corrects.

A region says what it is, of which size the image was, and where it lies in percent of that. Boxes are rectangles, and
oriented ones rectangles turned about their first corner; masks are polygons, keypoints points with their object's
name; a classifier's classes are choices.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from y12.runtime.results.objects import Objects
from y12.runtime.results.oriented import corners_from_xywhr

__all__ = ["label_studio_task"]

_SEEN = 0.5  # a keypoint's visibility above which it is set
_POINT = 0.5  # a keypoint's size, in percent of the image's width


def label_studio_task(found: Objects, image: str, model: str = "y12", tolerance: float = 1.0) -> dict[str, Any]:
    """Return a task as Label Studio imports it.

    Args:
        found: what a model found in the image.
        image: where Label Studio finds the image: a URL, or a path of its local storage.
        model: what the predictions are told to be from.
        tolerance: how far in pixels a polygon may stray to have fewer points.

    Raises:
        InputError: `tolerance` is negative or no number.
    """
    regions = _choices(found) if found.whole_image else _regions(found, tolerance)
    score = float(found.confidence.mean()) if len(found) else 0.0
    return {
        "data": {"image": image},
        "predictions": [{"model_version": model, "score": round(score, 6), "result": regions}],
    }


def _choices(found: Objects) -> list[dict[str, Any]]:
    """Return the best class of a classifier."""
    names, scores = found.class_name[:1], found.confidence[:1].tolist()
    return [
        {"type": "choices", "from_name": "choice", "to_name": "image", "value": {"choices": [name]}, "score": score}
        for name, score in zip(names, scores, strict=True)
    ]


def _regions(found: Objects, tolerance: float) -> list[dict[str, Any]]:
    outlines = None if found.masks is None else found.masks.polygons(tolerance, edges=True)
    corners = None if found.xywhr is None else corners_from_xywhr(found.xywhr)
    regions: list[dict[str, Any]] = []
    for i, name in enumerate(found.class_name):
        if outlines is not None and outlines[i]:
            for outline in outlines[i]:
                regions.append(_region(found, i, "polygon", name, {"points": _percent(outline, found).tolist()}))
        elif found.xywhr is not None and corners is not None:
            _, _, w, h, angle = map(float, found.xywhr[i])
            regions.append(_rectangle(found, i, name, corners[i, 0], (w, h), math.degrees(angle) % 360))
        else:
            x1, y1, x2, y2 = map(float, found.xyxy[i])
            regions.append(_rectangle(found, i, name, (x1, y1), (x2 - x1, y2 - y1), 0.0))
        if found.keypoints is not None:
            for point in found.keypoints[i][found.keypoints[i, :, 2] > _SEEN, :2]:
                x, y = _percent(point, found).tolist()
                regions.append(_region(found, i, "keypoint", name, {"x": x, "y": y, "width": _POINT}))
    return regions


def _rectangle(
    found: Objects, i: int, name: str, corner: Sequence[float] | NDArray[np.float32], size: Sequence[float], turn: float
) -> dict[str, Any]:
    """Return a rectangle; turned ones are turned clockwise about their first corner."""
    (x, y), (width, height) = _percent(corner, found).tolist(), _percent(size, found).tolist()
    value = {"x": x, "y": y, "width": width, "height": height, "rotation": round(turn, 6)}
    return _region(found, i, "rectangle", name, value)


def _percent(pixels: Sequence[float] | NDArray[np.float32], found: Objects) -> NDArray[np.float64]:
    """Return x, y in pixels, (…, 2), in percent of the image's sides."""
    height, width = found.image_hw
    return np.round(np.asarray(pixels, np.float64) * 100 / (width, height), 6)


def _region(found: Objects, i: int, kind: str, name: str, value: dict[str, Any]) -> dict[str, Any]:
    height, width = found.image_hw
    return {
        "type": f"{kind}labels",
        "from_name": f"{kind}_label",
        "to_name": "image",
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "value": {**value, f"{kind}labels": [name]},
        "score": round(float(found.confidence[i]), 6),
    }
