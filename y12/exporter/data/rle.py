"""The mask that COCO's compressed run lengths stand for.

pycocotools has this too, but warns on NumPy 2 at each call. What the text looks like: `y12.runtime.results.rle`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["decoded", "lengths_in"]

_MAX_GROUPS = 8  # of five bits in one number: beyond what a mask of y12's largest image needs


def decoded(runs: Mapping[str, Any]) -> NDArray[np.uint8]:
    """Return the mask (H, W), 0 and 1, of {"size": [H, W], "counts": compressed text}.

    Raises:
        ValueError: the runs do not add up to the mask.
    """
    counts, (height, width) = runs["counts"], runs["size"]
    lengths = lengths_in(counts)
    if lengths.min(initial=0) < 0 or lengths.sum() != height * width:
        raise ValueError(f"expected runs of {height} x {width} pixels, found others")
    values = np.zeros(len(lengths), np.uint8)
    values[1::2] = 1
    return np.asarray(np.repeat(values, lengths).reshape(width, height).T)


def lengths_in(counts: str | bytes) -> NDArray[np.int64]:
    """Return the run lengths that a compressed text stands for; whether they fit a mask is not looked at.

    A character has five bits of a number and a sixth that says that more follow; from the third number on, it is the
    difference to the number two before.

    Raises:
        ValueError: it is no such text.
    """
    text = counts.encode("ascii") if isinstance(counts, str) else bytes(counts)
    groups = np.frombuffer(text, np.uint8).astype(np.int64) - 48
    if not groups.size:
        return groups
    last = groups & 32 == 0
    if groups.min() < 0 or groups.max() >= 64:
        raise ValueError("a damaged text")
    if not last[-1]:
        raise ValueError("a text that breaks off")
    starts = np.flatnonzero(np.concatenate([[True], last[:-1]]))
    within = np.arange(len(groups)) - np.repeat(starts, np.diff(np.append(starts, len(groups))))
    if within.max() >= _MAX_GROUPS:
        raise ValueError("a damaged text")
    numbers = np.add.reduceat((groups & 31) << (5 * within), starts)
    negative = groups[last] & 16 != 0
    numbers -= np.where(negative, np.int64(1) << (5 * (within[last] + 1)), 0)
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return np.asarray(numbers)
