"""Do the arrays of a `Detections` fit together, and which of their rows does an index pick?"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from y12.errors import InputError
from y12.runtime.results.objects import Objects

__all__ = ["Index", "check_arrays", "row_index"]

Index = int | slice | Sequence[int] | Sequence[bool] | NDArray[np.bool_] | NDArray[np.integer[Any]]


def check_arrays(found: Objects) -> None:
    """Refuse arrays that contradict each other.

    Raises:
        InputError: they do.
    """
    _check_shape("xyxy", np.shape(found.xyxy), ("N", 4))
    count = len(found.xyxy)
    _check_shape("confidence", np.shape(found.confidence), (count,))
    _check_shape("class_id", np.shape(found.class_id), (count,))
    if found.masks is not None:
        _check_shape("masks", (len(found.masks), *found.masks.image_hw), (count, *found.image_hw))
    if found.keypoints is not None:
        _check_shape("keypoints", np.shape(found.keypoints), (count, "K", 3))
    if found.xywhr is not None:
        _check_shape("xywhr", np.shape(found.xywhr), (count, 5))
    if found.tracker_id is not None:
        _check_shape("tracker_id", np.shape(found.tracker_id), (count,))
    ids, last = found.class_id, len(found.names) - 1
    if ids.dtype.kind not in "iu":
        raise InputError(f"class_id: expected integers, found {ids.dtype}")
    if count and not 0 <= ids.min() <= ids.max() <= last:
        raise InputError(f"class_id: expected 0 to {last}, the indices of the names, found {ids.min()} to {ids.max()}")


def row_index(index: Index) -> Any:
    """Turn an int into a slice of one row, and an empty list into an empty integer array."""
    if isinstance(index, int | np.integer) and not isinstance(index, bool):
        return [index]
    if isinstance(index, slice):
        return index
    array = np.asarray(index)
    return array if array.size else array.astype(np.intp)


def _check_shape(name: str, found: tuple[int, ...], expected: tuple[int | str, ...]) -> None:
    """Refuse an array whose shape differs from `expected`; a text stands for any size."""
    if found == expected:  # before the loop, which takes longer than most of what is done with a result
        return
    fits = len(found) == len(expected) and all(
        isinstance(e, str) or e == f for e, f in zip(expected, found, strict=True)
    )
    if not fits:
        shown = "(" + ", ".join(map(str, expected)) + ("," if len(expected) == 1 else "") + ")"
        raise InputError(f"{name}: expected shape {shown}, found {found}")
