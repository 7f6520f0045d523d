"""The mask that COCO's compressed run lengths stand for.

pycocotools has this too, but warns on NumPy 2 at each call. What the text looks like: `y12.runtime.results.rle`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["decoded"]


def decoded(runs: Mapping[str, Any]) -> NDArray[np.uint8]:
    """Return the mask (H, W), 0 and 1, of {"size": [H, W], "counts": compressed text}.

    Raises:
        ValueError: the runs do not add up to the mask.
    """
    counts, (height, width) = runs["counts"], runs["size"]
    text = counts.encode("ascii") if isinstance(counts, str) else bytes(counts)
    groups = np.frombuffer(text, np.uint8).astype(np.int64) - 48
    lengths = _lengths(groups)
    if lengths.min(initial=0) < 0 or lengths.sum() != height * width:
        raise ValueError(f"expected runs of {height} x {width} pixels, found others")
    values = np.zeros(len(lengths), np.uint8)
    values[1::2] = 1
    return np.asarray(np.repeat(values, lengths).reshape(width, height).T)


def _lengths(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the numbers that groups of five bits make together, and undo the differences to the number two before."""
    if not groups.size:
        return groups
    last = groups & 32 == 0
    starts = np.flatnonzero(np.concatenate([[True], last[:-1]]))
    within = np.arange(len(groups)) - np.repeat(starts, np.diff(np.append(starts, len(groups))))
    numbers = np.add.reduceat((groups & 31) << (5 * within), starts)
    negative = groups[last] & 16 != 0
    numbers -= np.where(negative, np.int64(1) << (5 * (within[last] + 1)), 0)
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return np.asarray(numbers)
