"""Detections as others take them: in words, as a table of pandas or polars, as supervision's own."""

from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from y12.errors import MissingPackageError, Y12Error
from y12.runtime.results.objects import Objects
from y12.text import NAME, visible

if TYPE_CHECKING:
    import supervision

__all__ = ["described", "supervision_from", "table_from", "words"]


def words(found: Objects) -> str:
    """Say what was found: "2 person, 1 bus", most first; of a classifier "cat 0.70, dog 0.20"; "" of nothing."""
    if found.whole_image:
        scored = zip(found.class_name, found.confidence.tolist(), strict=True)
        return ", ".join(f"{visible(name, NAME)} {score:.2f}" for name, score in scored)
    counts = sorted(found.counts().items(), key=lambda item: -item[1])
    return ", ".join(f"{number} {visible(name, NAME)}" for name, number in counts)


def described(found: Objects) -> str:
    """Say the same in a line of its own: "3 detections in 640x480: 2 person, 1 bus"."""
    height, width = found.image_hw
    what = "class" if found.whole_image else "detection"
    plural = "" if len(found) == 1 else "es" if found.whole_image else "s"
    listed = words(found)
    return f"{len(found)} {what}{plural} in {width}x{height}" + (f": {listed}" if listed else "")


def supervision_from(found: Objects) -> "supervision.Detections":
    """Return supervision's Detections: names, oriented corners and keypoints are columns of its `data`.

    Raises:
        MissingPackageError: supervision is not installed.
    """
    try:
        import supervision
    except ImportError as error:
        raise MissingPackageError("supervision", "draw", "to_supervision") from error
    data: dict[str, Any] = dict(found.data)
    if found.keypoints is not None:
        data["keypoints"] = found.keypoints
    return supervision.Detections(
        xyxy=found.xyxy,
        mask=found.mask,
        confidence=found.confidence,
        class_id=found.class_id.astype(int),
        tracker_id=None if found.tracker_id is None else found.tracker_id.astype(int),
        data=data,
    )


def table_from(found: Objects) -> Any:
    """Return a row an object, in a DataFrame of pandas, or of polars where that alone is installed.

    Raises:
        Y12Error: neither is.
    """
    columns: dict[str, Any] = {
        "class_name": found.class_name,
        "class_id": found.class_id,
        "confidence": found.confidence,
        **dict(zip(("x1", "y1", "x2", "y2"), np.ascontiguousarray(found.xyxy.T), strict=True)),
    }
    if found.xywhr is not None:
        places = ("x", "y", "width", "height", "angle")
        columns |= dict(zip(places, np.ascontiguousarray(found.xywhr.T), strict=True))
    if found.tracker_id is not None:
        columns["tracker_id"] = found.tracker_id
    for package in ("pandas", "polars"):
        with suppress(ImportError):
            return import_module(package).DataFrame(columns)
    raise Y12Error("to_df: expected pandas or polars, found neither: pip install pandas")
