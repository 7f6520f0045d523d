"""Round each weight up or down so that the convolution's output, not the weight, is nearest.

With d = w8 - w in steps of the channel's scale s, and H = E[x^ x^T] over what the kernel sees, an output's expected
squared error from its channel's weights is the quadratic form

    E (s d.x^)² = s² d^T H d,     d_j = floor(w_j / s) - w_j / s  or one more

(arXiv:2004.10568, equation 13). Two steps find a small one, both for all channels at once and without a seed:

1. One weight after the other, in order, is rounded to what is nearest to it once it makes up for the errors before it.
   With H = R R^T, R upper triangular, the form is a sum with one term for each weight, sum_j (sum_i<=j d_i R_ij)^2,
   and each d_j makes the term smallest that it is the last in:

       q_j = round(w_j / s - (sum_i<j d_i R_ij) / R_jj),  held to floor and ceil of w_j / s

   This is GPTQ's rounding (arXiv:2210.17323, section 3.3) without its inverse of H, and with two choices only.
2. Weights are turned over one by one wherever that makes the form smaller, until none is:
       turning d_j by t = +-1 changes it by 2 t (H d)_j + H_jj

A channel for which rounding to nearest has the smaller form keeps it.
"""

import numpy as np
from numpy.typing import NDArray

from exporter.precision.ranges import INT8_MAX

__all__ = ["chosen_steps", "forms"]

_DAMPING = 0.01  # of the mean of H's diagonal, added to it: H is an estimate, and may be singular
_LEAST_MEAN = 1e-20  # of the diagonal, of inputs that are always 0
_BLOCK = 64  # weights whose errors are added up one by one; those before them in one product
_SWEEPS = 20
_LEAST_GAIN = 1e-9  # of H_jj: turning a weight over for less than that would only follow rounding errors

Array = NDArray[np.float64]


def chosen_steps(wanted: Array, squares: Array) -> NDArray[np.int8]:
    """Choose integers, (O, K), for weights in steps, (O, K), and H, (K, K); each is floor or ceil of its weight."""
    low = np.clip(np.floor(wanted), -INT8_MAX, INT8_MAX)
    high = np.clip(np.ceil(wanted), -INT8_MAX, INT8_MAX)
    damped = squares.copy()
    damped.ravel()[:: len(damped) + 1] += _DAMPING * max(float(np.diag(squares).mean()), _LEAST_MEAN)
    nearest = np.clip(np.rint(wanted), low, high)
    best = _turned(_corrected(wanted, low, high, damped), wanted, low, high, damped)
    worse = forms(best - wanted, squares) >= forms(nearest - wanted, squares)
    best[worse] = nearest[worse]
    return best.astype(np.int8)


def forms(errors: Array, squares: Array) -> Array:
    """Give d^T H d of each channel, (O,), for errors (O, K) and H (K, K)."""
    return np.asarray(((errors @ squares) * errors).sum(axis=1))


def _corrected(wanted: Array, low: Array, high: Array, squares: Array) -> Array:
    """Round in order, each weight so that it makes up for the errors before it."""
    root = np.linalg.cholesky(squares[::-1, ::-1])[::-1, ::-1]  # upper: H = R R^T
    steps, errors = np.empty_like(wanted), np.empty_like(wanted)  # (O, K)
    for start in range(0, len(squares), _BLOCK):
        stop = min(start + _BLOCK, len(squares))
        before = errors[:, :start] @ root[:start, start:stop]
        for j in range(start, stop):
            owed = before[:, j - start] + errors[:, start:j] @ root[start:j, j]
            steps[:, j] = np.clip(np.rint(wanted[:, j] - owed / root[j, j]), low[:, j], high[:, j])
            errors[:, j] = steps[:, j] - wanted[:, j]
    return steps


def _turned(steps: Array, wanted: Array, low: Array, high: Array, squares: Array) -> Array:
    """Turn weights over while that makes a channel's form smaller."""
    slopes = (steps - wanted) @ squares  # H d, (O, K)
    for _ in range(_SWEEPS):
        turned = False
        for j, own in enumerate(np.diag(squares)):
            turn = low[:, j] + high[:, j] - 2 * steps[:, j]  # +1, -1, or 0 where there is no choice
            gains = -(2 * turn * slopes[:, j] + turn**2 * own)
            (channels,) = np.nonzero(gains > _LEAST_GAIN * own)
            if len(channels):
                steps[channels, j] += turn[channels]
                slopes[channels] += turn[channels, None] * squares[j]
                turned = True
        if not turned:
            break
    return steps
