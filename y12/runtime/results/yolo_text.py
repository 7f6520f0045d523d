"""Detections as the lines of a YOLO label file, every coordinate a fraction of the image's width or height.

    boxes              class cx cy w h
    segments           class x1 y1 x2 y2 x3 y3 …        one outline an object, its parts joined by lines without area
    keypoints          class cx cy w h (x y v) x K      v is 2 where a point is seen, else the point is 0 0 0
    oriented boxes     class x1 y1 x2 y2 x3 y3 x4 y4
    whole images       confidence name                  of a classifier

With confidences they come last, and each keypoint has its own in the place of v. Without, the lines are labels to train
on: nothing lies outside the image. An object whose mask has no outline is written as its box's four corners.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from y12.runtime.results.coco import parts_of
from y12.runtime.results.objects import Objects
from y12.runtime.results.oriented import corners_from_xywhr
from y12.runtime.results.outlines import joined
from y12.text import NAME, visible

__all__ = ["yolo_lines"]

_SEEN = 0.5  # a keypoint's visibility above which it counts as seen
_LEAST = 1e-6  # of a box's sides: a reader refuses one without area


def yolo_lines(found: Objects, *, conf: bool = False, tolerance: float = 0.0) -> list[str]:
    """Return a line for each object.

    Args:
        found: in one image.
        conf: add the confidences.
        tolerance: how far in pixels a segment's outline may stray to have fewer points.

    Raises:
        InputError: `tolerance` is negative or no number.
    """
    if found.whole_image:
        scored = zip(found.confidence.tolist(), found.class_name, strict=True)
        return [f"{_text([score])} {visible(name, NAME)}" for score, name in scored]
    rows = zip(found.class_id.tolist(), _shapes(found, conf, tolerance), found.confidence.tolist(), strict=True)
    return [f"{class_id} {_text([*shape, *[score] * conf])}" for class_id, shape, score in rows]


def _shapes(found: Objects, conf: bool, tolerance: float) -> Iterable[NDArray[np.float64]]:
    """Return each object's numbers, flat."""
    height, width = found.image_hw
    size = np.array([width, height], np.float64)
    if found.xywhr is not None:
        corners = corners_from_xywhr(found.xywhr) / size
        return [(corner if conf else corner.clip(0, 1)).reshape(-1) for corner in corners]
    if found.keypoints is not None:
        points = found.keypoints / np.array([width, height, 1.0])
        return [
            np.concatenate([box, (point if conf else _labelled(point)).reshape(-1)])
            for box, point in zip(_boxes(found, size), points, strict=True)
        ]
    parts = parts_of(found, tolerance)
    return _boxes(found, size) if parts is None else [(joined(part) / size).reshape(-1) for part in parts]


def _boxes(found: Objects, size: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return centres and sides, (N, 4)."""
    first, last = found.xyxy[:, :2] / size, found.xyxy[:, 2:] / size
    return np.concatenate([(first + last) / 2, np.maximum(last - first, _LEAST)], axis=1)


def _labelled(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (K, 3) keypoints as labels have them: 2 for one that is seen inside the image, else 0 0 0."""
    inside = ((points[:, :2] >= 0) & (points[:, :2] <= 1)).all(axis=1) & (points[:, 2] > _SEEN)
    return np.where(inside[:, None], np.concatenate([points[:, :2], np.full((len(points), 1), 2.0)], axis=1), 0.0)


def _text(values: Iterable[float]) -> str:
    return " ".join(f"{value:.6f}".rstrip("0").rstrip(".") for value in values)
