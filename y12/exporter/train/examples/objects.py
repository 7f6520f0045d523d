"""The labelled objects of one image as arrays, and where they lie once the image is resized, moved, turned or mirrored.

Coordinates are those of labels: the left edge of the first pixel is 0, its centre 0.5. A matrix (3, 3) maps them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from y12.exporter.data.rle import decoded
from y12.exporter.train.examples.example import reduced_mask

__all__ = ["Frame", "Labels", "Objects", "joined", "moved"]

Array = NDArray[np.float64]
Outline = tuple[Array, ...] | dict[str, Any]  # polygons (P, 2) in pixels; or COCO's run lengths, compressed

_MIN_SIDE = 2.0  # pixels of a box: less is not seen by a network whose finest stride is 8


@dataclass(frozen=True)
class Objects:
    """N objects in pixels of their image of (height, width) `image_hw`.

    Attributes:
        image_hw: the decoded image's size.
        labels: (N,) int64.
        boxes: (N, 4): left, top, right, bottom; of an oriented box, those of its corners.
        outlines: what each object covers; None where it is not labelled or not trained on.
        keypoints: (N, K, 3), or None.
        corners: (N, 4, 2) of oriented boxes, the width first, or None.
    """

    image_hw: tuple[int, int]
    labels: NDArray[np.int64]
    boxes: Array
    outlines: tuple[Outline, ...] | None = None
    keypoints: Array | None = None
    corners: Array | None = None


@dataclass(frozen=True)
class Frame:
    """The picture objects are moved into.

    Attributes:
        side: its sides, in pixels.
        min_visible: the share of a box that has to be left inside.
        flip: which point each keypoint becomes, where the picture is mirrored, else None.
    """

    side: int
    min_visible: float = 0.0
    flip: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Labels:
    """What an `Example` says of its objects, without the image."""

    labels: NDArray[np.int64]
    boxes: NDArray[np.float32]
    masks: NDArray[np.bool_] | None
    keypoints: NDArray[np.float32] | None
    angles: NDArray[np.float32] | None


def joined(parts: Sequence[Labels]) -> Labels:
    """Put the labels of the images of a mosaic together."""
    columns: dict[str, Any] = {}
    for field in fields(Labels):
        values = [getattr(part, field.name) for part in parts]
        columns[field.name] = None if values[0] is None else np.concatenate(values)
    return Labels(**columns)


def moved(objects: Objects, matrix: Array, frame: Frame) -> Labels:
    """Return the objects' labels after `matrix`, cut at the frame; those of which too little is left are dropped.

    Upright boxes are cut at the frame. Where an outline is known and the box was cut or turned, the box is that of
    the visible pixels; where none is known, a turned box is that of its four corners. An oriented box is kept whole
    if its centre is inside. Keypoints outside the frame count as not labelled.
    """
    corners = _corners(objects.boxes) if objects.corners is None else objects.corners
    corners = _mapped(corners, matrix)  # (N, 4, 2)
    whole = np.concatenate([corners.min(1), corners.max(1)], axis=1)
    cut = whole.clip(0, frame.side)
    share = _areas(cut) / np.maximum(_areas(whole), 1e-9)
    kept = (share >= max(frame.min_visible, 1e-9)) & (_shorter_sides(cut) >= _MIN_SIDE)
    boxes, angles, masks = cut, None, None
    if objects.corners is not None:
        centre = corners.mean(1)
        kept &= ((centre >= 0) & (centre < frame.side)).all(1)
        boxes, angles = _unturned(corners)
    elif objects.outlines is not None:
        redrawn = (share < 1 - 1e-6) | bool(np.abs(matrix[[0, 1], [1, 0]]).max() > 1e-9)
        masks = np.zeros((len(kept), frame.side // 4, frame.side // 4), bool)
        for i in np.flatnonzero(kept):
            drawn = _drawn(objects, int(i), matrix, frame.side)
            masks[i] = reduced_mask(drawn)
            if redrawn[i]:
                boxes[i], kept[i] = _visible_box(drawn)
    return Labels(
        objects.labels[kept],
        boxes[kept].astype(np.float32),
        None if masks is None else masks[kept],
        None if objects.keypoints is None else _points(objects.keypoints[kept], matrix, frame),
        None if angles is None else angles[kept].astype(np.float32),
    )


def _corners(boxes: Array) -> Array:
    """Return the corners (N, 4, 2) of boxes (N, 4), clockwise from the top left."""
    return np.asarray(boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2))


def _mapped(points: Array, matrix: Array) -> Array:
    return np.asarray(points @ matrix[:2, :2].T + matrix[:2, 2])


def _areas(boxes: Array) -> Array:
    return np.asarray((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))


def _shorter_sides(boxes: Array) -> Array:
    return np.asarray(np.minimum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]))


def _unturned(corners: Array) -> tuple[Array, Array]:
    """Return the unturned boxes (N, 4) and the angles (N,), -pi/4 to 3 pi/4, of oriented boxes' corners (N, 4, 2).

    A mirrored or unevenly resized rectangle is one still but for a fraction of a pixel; opposite sides are averaged.
    """
    along = (corners[:, 1] - corners[:, 0] + corners[:, 2] - corners[:, 3]) / 2  # the width's direction
    across = (corners[:, 3] - corners[:, 0] + corners[:, 2] - corners[:, 1]) / 2
    half = np.stack([np.linalg.norm(along, axis=1), np.linalg.norm(across, axis=1)], axis=1) / 2
    centre = corners.mean(1)
    angle = (np.arctan2(along[:, 1], along[:, 0]) + np.pi / 4) % np.pi - np.pi / 4
    return np.concatenate([centre - half, centre + half], axis=1), angle


def _points(keypoints: Array, matrix: Array, frame: Frame) -> NDArray[np.float32]:
    xy = _mapped(keypoints[..., :2], matrix)
    inside = ((xy >= 0) & (xy < frame.side)).all(-1)
    seen = np.where(inside, keypoints[..., 2], 0)
    points = np.concatenate([np.where(seen[..., None] > 0, xy, 0), seen[..., None]], axis=-1)
    if frame.flip is not None:
        points = points[:, list(frame.flip)]
    return points.astype(np.float32)


def _drawn(objects: Objects, i: int, matrix: Array, side: int) -> NDArray[np.bool_]:
    """Return the pixels (side, side) that an object covers; polygons are filled as COCO's evaluation fills them."""
    from pycocotools import mask as rle

    assert objects.outlines is not None
    outline = objects.outlines[i]
    if isinstance(outline, dict):
        return _warped(decoded(outline), matrix, side)
    polygons = [_mapped(polygon, matrix).ravel().tolist() for polygon in outline]
    runs = rle.frPyObjects(polygons, side, side)
    return decoded(runs[0] if len(runs) == 1 else rle.merge(runs)).view(bool)


def _warped(mask: NDArray[np.uint8], matrix: Array, side: int) -> NDArray[np.bool_]:
    """Resample a mask; OpenCV counts from the centre of the first pixel, labels from its edge."""
    import cv2

    shift = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    centred = np.linalg.inv(shift) @ matrix @ shift
    return np.asarray(cv2.warpAffine(mask * np.uint8(255), centred[:2], (side, side)) >= 128)


def _visible_box(drawn: NDArray[np.bool_]) -> tuple[tuple[float, float, float, float], bool]:
    """Return the box of the pixels set, and whether it is large enough."""
    import cv2

    left, top, width, height = cv2.boundingRect(drawn.view(np.uint8))
    return (left, top, left + width, top + height), min(width, height) >= _MIN_SIDE
