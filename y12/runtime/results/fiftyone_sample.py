"""Detections as a sample of FiftyOne, whose labels lie in shares of the image's sides."""

import math
import os
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from y12.errors import InputError, Y12Error
from y12.runtime.results.objects import Objects
from y12.runtime.results.oriented import corners_from_xywhr

if TYPE_CHECKING:
    import fiftyone

__all__ = ["fiftyone_sample"]


def fiftyone_sample(found: Objects, filepath: str | os.PathLike[str] | None = None) -> "fiftyone.Sample":
    """Return a sample with what was found: `detections` (with masks), `polylines` of oriented boxes, `keypoints`.

    A classifier's classes are `classifications`. No database is touched before the sample is added to a dataset.

    Args:
        found: what a model found in the image.
        filepath: the image's; None takes the path that the result keeps.

    Raises:
        InputError: there is no path.
        Y12Error: FiftyOne is not installed.
    """
    try:
        import fiftyone
    except ImportError as error:
        raise Y12Error("to_fiftyone: expected the package fiftyone, found none: pip install fiftyone") from error
    path = found.image if filepath is None else filepath
    if not isinstance(path, str | os.PathLike):
        raise InputError("to_fiftyone: expected the image's path, found a result that keeps none; pass filepath")
    fields: dict[str, Any] = {}
    if found.whole_image:
        fields["classifications"] = fiftyone.Classifications(
            classifications=[fiftyone.Classification(**about) for about in _about(found)]
        )
    elif found.xywhr is not None:
        fields["polylines"] = fiftyone.Polylines(polylines=_outlined(fiftyone, found))
    else:
        fields["detections"] = fiftyone.Detections(detections=_boxed(fiftyone, found))
    if found.keypoints is not None:
        fields["keypoints"] = fiftyone.Keypoints(keypoints=_pointed(fiftyone, found))
    return fiftyone.Sample(filepath=os.fspath(path), **fields)


def _about(found: Objects) -> list[dict[str, Any]]:
    """Return what every label has, an object each."""
    names, scores = found.class_name, found.confidence.tolist()
    labels: list[dict[str, Any]] = [
        {"label": name, "confidence": score} for name, score in zip(names, scores, strict=True)
    ]
    if found.tracker_id is not None:
        for label, index in zip(labels, found.tracker_id.tolist(), strict=True):
            label["index"] = index
    return labels


def _shares(pixels: NDArray[np.floating], found: Objects) -> Any:
    height, width = found.image_hw
    return (pixels.astype(np.float64) / (width, height)).tolist()


def _boxed(fiftyone: Any, found: Objects) -> list[Any]:
    sizes = found.xyxy[:, 2:] - found.xyxy[:, :2]
    return [
        fiftyone.Detection(
            bounding_box=[*_shares(found.xyxy[i, :2], found), *_shares(sizes[i], found)],
            **({} if found.masks is None else {"mask": _mask_in_box(found, i)}),
            **about,
        )
        for i, about in enumerate(_about(found))
    ]


def _mask_in_box(found: Objects, i: int) -> NDArray[np.bool_] | None:
    """Return the mask over the pixels that the box touches; None of a box that touches none."""
    assert found.masks is not None
    height, width = found.image_hw
    x1, y1, x2, y2 = map(float, found.xyxy[i])
    left, top = max(0, math.floor(x1)), max(0, math.floor(y1))
    right, bottom = min(width, math.ceil(x2)), min(height, math.ceil(y2))
    if right <= left or bottom <= top:
        return None
    crop = found.masks.crops[i]
    rows, columns = crop.bitmap.shape
    whole = np.zeros((bottom - top, right - left), np.bool_)
    y, x = crop.top - top, crop.left - left  # of the crop in the box
    down, across = slice(max(0, y), max(0, y + rows)), slice(max(0, x), max(0, x + columns))
    inside = whole[down, across]
    inside[...] = crop.bitmap[max(0, -y) :, max(0, -x) :][: inside.shape[0], : inside.shape[1]]
    return whole


def _outlined(fiftyone: Any, found: Objects) -> list[Any]:
    assert found.xywhr is not None
    corners = corners_from_xywhr(found.xywhr)
    return [
        fiftyone.Polyline(points=[_shares(corners[i], found)], closed=True, filled=False, **about)
        for i, about in enumerate(_about(found))
    ]


def _pointed(fiftyone: Any, found: Objects) -> list[Any]:
    """Return an object's points, with each point's visibility as its confidence."""
    assert found.keypoints is not None
    points = []
    for about, keypoints in zip(_about(found), found.keypoints, strict=True):
        about["confidence"] = keypoints[:, 2].tolist()
        points.append(fiftyone.Keypoint(points=_shares(keypoints[:, :2], found), **about))
    return points
