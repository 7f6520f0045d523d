"""COCO's compressed run lengths: the text that stands for a binary mask in COCO's JSON."""

import numpy as np
from numpy.typing import NDArray

_GROUPS = 7  # of five bits: enough for runs of up to 2^34 pixels


def run_edges(bitmap: NDArray[np.bool_], left: int, top: int, height: int) -> NDArray[np.int64]:
    """Return where runs of a mask begin and end, alternating, as indices into the columns laid end to end.

    Args:
        bitmap: (h, w), the part of the mask that can be set.
        left: the image's column at which it begins.
        top: the row.
        height: of the image.
    """
    rows, columns = bitmap.shape
    if not bitmap.size:
        return np.empty(0, dtype=np.int64)
    # Rows are compared, and the few edges sorted: turning a whole mask on its side takes ten times as long.
    row, column = np.divmod(np.flatnonzero(bitmap[1:] != bitmap[:-1]), columns)
    begun, ended = np.flatnonzero(bitmap[0]), np.flatnonzero(bitmap[-1])
    row = np.concatenate([np.zeros_like(begun), row + 1, np.full_like(ended, rows)])
    column = np.concatenate([begun, column, ended])
    edges = np.sort((left + column) * height + top + row)
    touching = np.flatnonzero(edges[1:] == edges[:-1])  # a run that goes on at the top of the next column
    return np.delete(edges, np.concatenate([touching, touching + 1])).astype(np.int64)


def compressed_counts(edges: NDArray[np.int64], pixels: int) -> str:
    """Return the text of a mask whose columns are laid end to end.

    The lengths of the runs follow each other, background first; from the fourth on, each is written as its
    difference to the one two before it. A number is written in groups of five bits, the lowest first, each as the
    character 48 + group, + 32 where more groups follow; the last group's highest bit is the sign.

    Args:
        edges: (E,) rising indices at which background turns to object, object to background, and so on.
        pixels: how many pixels the mask has.
    """
    counts = np.diff(np.concatenate([[0], edges, [pixels]]))
    if len(counts) > 1 and counts[-1] == 0:  # the object ends with the image
        counts = counts[:-1]
    numbers = counts.copy()
    numbers[3:] -= counts[1:-2]
    groups, written = np.zeros((len(numbers), _GROUPS), np.uint8), np.zeros((len(numbers), _GROUPS), np.bool_)
    unfinished = np.ones(len(numbers), np.bool_)
    for k in range(_GROUPS):
        low = numbers & 31
        numbers >>= 5  # keeps the sign
        more = np.where(low & 16, numbers != -1, numbers != 0)
        groups[:, k] = low + 48 + 32 * more
        written[:, k] = unfinished
        unfinished = unfinished & more
    return groups[written].tobytes().decode("ascii")
