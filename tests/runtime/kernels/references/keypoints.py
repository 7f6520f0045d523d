"""keypoints.cu in numpy."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["gathered"]


def gathered(rows: NDArray[np.float32], result: NDArray[np.void]) -> tuple[NDArray[np.float32], NDArray[np.void]]:
    """Return what `gather` leaves.

    Args:
        rows: (B, values, A), the keypoint rows.
        result: (B,) of `y12.runtime.kernels.nms_layout.result_dtype(room, 4 or 5)`.

    Returns:
        (B, room, values), 0 beyond the count; and the result, its `nonfinite` set where a value is NaN or infinite.
    """
    batch, values, _ = rows.shape
    out = np.zeros((batch, result["rows"].shape[1], values), np.float32)
    told = result.copy()
    for image in range(batch):
        count = int(result["header"]["count"][image])
        out[image, :count] = rows[image, :, result["rows"]["anchor"][image, :count]]
        if not np.isfinite(out[image]).all():
            told["header"]["nonfinite"][image] = 1
    return out, told
