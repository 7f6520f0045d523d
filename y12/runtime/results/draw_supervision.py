"""Masks, boxes and skeletons by supervision's annotators; y12's labels come on top (`labels.py`)."""

from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from y12.runtime.results.objects import Objects
from y12.runtime.results.oriented import corners_from_xywhr
from y12.runtime.results.style import (
    MASK_OPACITY,
    VISIBLE,
    Rgb,
    class_colour,
    edges_by_colour,
    side_colour,
    thickness_for,
)

__all__ = ["drawn_by_supervision"]


def drawn_by_supervision(image_bgr: NDArray[np.uint8], found: Objects) -> NDArray[np.uint8]:
    """Return a copy of an (H, W, 3) image with the objects drawn in, the best on top."""
    import supervision

    scene, thickness = image_bgr.copy(), thickness_for(max(image_bgr.shape[:2]))
    palette = supervision.ColorPalette([supervision.Color(*class_colour(i)) for i in range(len(found.names))])
    rows = range(len(found) - 1, -1, -1)
    if found.masks is not None:
        annotator: Any = supervision.MaskAnnotator(palette, MASK_OPACITY)
        for i in rows:  # one by one: the masks of all, over the whole image, could fill the memory
            scene = annotator.annotate(scene, _one(supervision, found, i, with_mask=True))
    boxes = supervision.BoxAnnotator if found.xywhr is None else supervision.OrientedBoxAnnotator
    annotator = boxes(palette, thickness)
    for i in rows:
        scene = annotator.annotate(scene, _one(supervision, found, i))
        if found.keypoints is not None:
            middle = class_colour(int(found.class_id[i]))
            scene = _with_keypoints(supervision, scene, found.keypoints[i], middle, thickness)
    return np.asarray(scene, np.uint8)


def _one(supervision: ModuleType, found: Objects, i: int, with_mask: bool = False) -> Any:
    """Return one object as supervision has it."""
    mask = None
    if with_mask and found.masks is not None:
        crop = found.masks.crops[i]
        height, width = crop.bitmap.shape
        mask = np.zeros((1, *found.image_hw), np.bool_)
        mask[0, crop.top : crop.top + height, crop.left : crop.left + width] = crop.bitmap
    data = {} if found.xywhr is None else {"xyxyxyxy": corners_from_xywhr(found.xywhr[i : i + 1])}
    return supervision.Detections(
        np.round(found.xyxy[i : i + 1]), mask=mask, class_id=found.class_id[i : i + 1].astype(int), data=data
    )


def _with_keypoints(
    supervision: ModuleType, scene: Any, keypoints: NDArray[np.float32], middle: Rgb, thickness: int
) -> Any:
    """Draw the (K, 3) points of an object, and the lines between them, each side in its colour."""
    count = len(keypoints)
    xy = np.where(keypoints[:, 2:] >= VISIBLE, keypoints[:, :2], 0)  # at 0, 0 is what supervision leaves out
    for colour, edges in edges_by_colour(count, middle).items():
        joined = [(a + 1, b + 1) for a, b in edges]  # it counts from 1
        annotator = supervision.EdgeAnnotator(supervision.Color(*colour), thickness, joined)
        scene = annotator.annotate(scene, supervision.KeyPoints(xy[None]))
    colours = [side_colour((point,), count, middle) for point in range(count)]
    for colour in sorted(set(colours)):
        own = np.array([colour == other for other in colours])[:, None]
        annotator = supervision.VertexAnnotator(supervision.Color(*colour), thickness + 1)
        scene = annotator.annotate(scene, supervision.KeyPoints(np.where(own, xy, 0)[None]))
    return scene
