"""An image that is an array already."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from y12.errors import InputError
from y12.runtime.preprocess.depth import levels_of, to_bytes

__all__ = ["image_from_array"]


def image_from_array(array: NDArray[Any], bits: int | None) -> NDArray[np.uint8]:
    """Return an (H, W) or (H, W, 1) gray, (H, W, 3) BGR or (H, W, 4) BGRA array as (H, W, 3) uint8 BGR.

    Raises:
        InputError: it is none of these.
    """
    import cv2

    if array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] == 3 and array.size and array.flags.c_contiguous:
        return array  # what nearly all are: the words for the others take longer than everything else here
    found = f"found {array.dtype} {array.shape}"
    is_deep = array.dtype.kind == "u" and array.dtype.itemsize == 2
    if array.dtype != np.uint8 and not is_deep:
        raise InputError(f"expected a uint8 image array (H, W, 3) with values 0-255, or a uint16 one, {found}")
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim == 3 and array.shape[2] not in (1, 3, 4) and array.shape[0] in (1, 3, 4):
        raise InputError(f"expected an image array (H, W, 3), {found}, which looks like CHW: use .transpose(1, 2, 0)")
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or array.size == 0:
        raise InputError(f"expected an image array (H, W, 3) BGR, (H, W, 4) BGRA or (H, W) gray, {found}")
    if is_deep:
        array = to_bytes(array, levels_of("the array", (0, int(array.max())), bits=bits))
    array = np.ascontiguousarray(array)
    if array.shape[2] == 3:
        return array
    code = cv2.COLOR_BGRA2BGR if array.shape[2] == 4 else cv2.COLOR_GRAY2BGR
    return np.asarray(cv2.cvtColor(array, code), dtype=np.uint8)
