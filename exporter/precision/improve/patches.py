"""What a convolution's kernel sees at some of its output's positions."""

import numpy as np
from numpy.typing import NDArray

from exporter.precision.improve.layers import Window

__all__ = ["patches", "positions"]


def positions(window: Window, shape: tuple[int, ...], count: int, random: np.random.Generator) -> NDArray[np.intp]:
    """Draw different places of the output (batch, row, column), at most `count`, for an input's shape: (P, 3)."""
    grid = (shape[0], *window.outputs(shape[2], shape[3]))
    total = int(np.prod(grid))
    chosen = np.sort(random.choice(total, min(count, total), replace=False))
    return np.stack(np.unravel_index(chosen, grid), axis=1)


def patches(values: NDArray[np.float32], window: Window, where: NDArray[np.intp], groups: int) -> NDArray[np.float32]:
    """Give what the kernel sees at each place, (G, P, K) with K = C / G * kh * kw; padding is 0.

    Args:
        values: the input, (B, C, H, W).
        window: where the kernel reads.
        where: places of the output, (P, 3): batch, row, column.
        groups: of channels, G.
    """
    (rows, row_there), (columns, column_there) = (
        _taps(where[:, 1 + axis], window, axis, values.shape[2 + axis]) for axis in (0, 1)
    )
    batch = where[:, 0, None, None]
    seen = values[batch, :, rows[:, :, None], columns[:, None, :]]  # (P, kh, kw, C)
    seen *= (row_there[:, :, None] & column_there[:, None, :])[..., None]
    count, channels = len(where), values.shape[1]
    split = seen.reshape(count, *window.size, groups, channels // groups)
    # (P, kh, kw, G, C/G) -> (G, P, C/G, kh, kw) -> (G, P, K), K as a weight has it
    return np.ascontiguousarray(split.transpose(3, 0, 4, 1, 2)).reshape(groups, count, -1)


def _taps(
    outputs: NDArray[np.intp], window: Window, axis: int, size: int
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Give where along one axis the kernel reads, (P, k), and whether that is inside; clipped where it is not."""
    steps = np.arange(window.size[axis]) * window.dilation[axis]
    places = outputs[:, None] * window.stride[axis] + steps - window.before[axis]
    return places.clip(0, size - 1), (places >= 0) & (places < size)
