"""The classes of the drawn scenes as outlines; each is told from the others at 16 pixels and however it is turned.

A square turned is a diamond, which is no other class; letters such as N and Z, 6 and 9, or T beside the cross
would not do.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["CLASS_NAMES", "outline"]

CLASS_NAMES = ("circle", "ring", "triangle", "square", "star", "cross", "heart", "crescent", "letter E", "digit 8")

Contours = tuple[NDArray[np.float64], ...]


@cache
def outline(class_id: int) -> Contours:
    """Return the closed contours (P, 2) of a class, x and y in about -0.5 to 0.5; filled by the even-odd rule."""
    contours = _FORMS[class_id]()
    points = np.concatenate(contours)
    low, high = points.min(0), points.max(0)
    return tuple((contour - (low + high) / 2) / (high - low).max() for contour in contours)


def _arc(
    radius: float, start: float = 0.0, end: float = 2 * np.pi, centre: tuple[float, float] = (0, 0)
) -> NDArray[np.float64]:
    at = np.linspace(start, end, 40, endpoint=end - start < 2 * np.pi - 1e-6)
    return np.stack([centre[0] + radius * np.cos(at), centre[1] + radius * np.sin(at)], axis=1)


def _polygon(corners: int) -> NDArray[np.float64]:
    at = 2 * np.pi * np.arange(corners) / corners - np.pi / 2
    return np.stack([np.cos(at), np.sin(at)], axis=1)


def _star() -> Contours:
    points = _polygon(10)
    points[1::2] *= 0.42
    return (points,)


def _cross() -> Contours:
    a, b = 1.0, 0.32
    ring = [(-b, -a), (b, -a), (b, -b), (a, -b), (a, b), (b, b), (b, a), (-b, a), (-b, b), (-a, b), (-a, -b), (-b, -b)]
    return (np.array(ring),)


def _heart() -> Contours:
    t = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    x = 16 * np.sin(t) ** 3
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
    return (np.stack([x, y], axis=1),)


def _crescent() -> Contours:
    outer = _arc(1.0, 0.25 * np.pi, 1.75 * np.pi)
    # The inner arc runs through the outer's two ends, about a centre to their right.
    centre, end = 0.55, outer[-1]
    radius, half = np.hypot(end[0] - centre, end[1]), np.arctan2(-end[1], end[0] - centre)
    inner = _arc(float(radius), float(half), float(2 * np.pi - half), (centre, 0.0))
    return (np.concatenate([outer, inner[::-1]]),)


def _letter_e() -> Contours:
    points = [(0, 0), (8, 0), (8, 2.2), (2.8, 2.2), (2.8, 4.4), (7, 4.4), (7, 6.6), (2.8, 6.6)]
    points += [(2.8, 8.8), (8, 8.8), (8, 11), (0, 11)]
    return (np.array(points),)


def _digit_8() -> Contours:
    upper, lower = (0.0, -0.8), (0.0, 0.85)
    arch = _arc(0.95, 0.80 * np.pi, 2.20 * np.pi)  # open downwards: the two together leave the waist open
    outer = np.concatenate([arch + upper, arch[::-1] * (1.08, -1.08) + lower])
    return (outer, _arc(0.42, centre=upper), _arc(0.47, centre=lower))


_FORMS = (
    lambda: (_arc(1.0),),
    lambda: (_arc(1.0), _arc(0.56)),
    lambda: (_polygon(3),),
    lambda: (_polygon(4),),
    _star,
    _cross,
    _heart,
    _crescent,
    _letter_e,
    _digit_8,
)
