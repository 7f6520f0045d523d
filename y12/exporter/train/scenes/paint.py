"""What the drawn scenes are painted with: colours, textures, backgrounds, and clutter that is of no class."""

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["background", "fill", "noise", "random_colour"]

Image = NDArray[np.uint8]
_SHIFT = 4  # fractional bits of the coordinates that OpenCV is given


def random_colour(rng: np.random.Generator) -> NDArray[np.float32]:
    """Return an RGB colour, (3,) in 0-255."""
    return rng.uniform(0, 255, 3).astype(np.float32)


def noise(rng: np.random.Generator, hw: tuple[int, int], cells: int) -> Image:
    """Return smooth noise (H, W, 3): `cells` random values along the longer side, interpolated."""
    height, width = hw
    longer = max(hw)
    rows, columns = max(2, height * cells // longer), max(2, width * cells // longer)
    coarse = rng.integers(0, 256, (rows, columns, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def background(rng: np.random.Generator, side: int) -> Image:
    """Return a (side, side, 3) background: a gradient, stripes, checks or noise, roughened, with clutter on it."""
    kind = rng.integers(4)
    if kind == 0:
        base = _ramp(rng, (side, side))
    elif kind == 1:
        base = _stripes(rng, (side, side), rng.uniform(0.03, 0.2) * side)
    elif kind == 2:
        base = _checks(rng, side)
    else:
        base = noise(rng, (side, side), int(rng.integers(2, 7)))
    for _ in range(rng.integers(1, 4)):  # octaves
        share = rng.uniform(0.05, 0.35)
        base = _mixed(base, noise(rng, (side, side), int(2 ** rng.uniform(2, 6.5))), share)
    if rng.random() < 0.7:
        _add_clutter(rng, base)
    return base


def fill(rng: np.random.Generator, hw: tuple[int, int], away_from: NDArray[np.float64]) -> Image:
    """Return an (H, W, 3) patch of colour, gradient, stripes or noise whose mean differs from `away_from`, RGB."""
    colour = _distant_colour(rng, away_from)
    patch = np.empty((*hw, 3), np.uint8)
    patch[:] = colour.astype(np.uint8)
    kind = rng.integers(4)
    if kind == 0:
        return patch
    if kind == 1:
        other = _ramp(rng, hw)
    elif kind == 2:
        other = _stripes(rng, hw, rng.uniform(0.1, 0.5) * max(hw))
    else:
        other = noise(rng, hw, int(rng.integers(2, 9)))
    return _mixed(patch, other, rng.uniform(0.1, 0.4))


def _distant_colour(rng: np.random.Generator, away_from: NDArray[np.float64]) -> NDArray[np.float32]:
    """Draw colours until one is distant enough; the farthest of eight otherwise."""
    colours = rng.uniform(0, 255, (8, 3)).astype(np.float32)
    distance = np.abs(colours - away_from).sum(1)
    enough = np.flatnonzero(distance > rng.uniform(110, 260))
    return np.asarray(colours[enough[0] if enough.size else distance.argmax()])


def _mixed(first: Image, second: Image, share: float) -> Image:
    return np.asarray(cv2.addWeighted(first, 1 - share, second, share, 0), np.uint8)


def _ramp(rng: np.random.Generator, hw: tuple[int, int]) -> Image:
    """Blend four random corner colours."""
    corners = rng.integers(0, 256, (2, 2, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(corners, hw[::-1], interpolation=cv2.INTER_LINEAR), np.uint8)


def _phase(rng: np.random.Generator, hw: tuple[int, int], period: float) -> NDArray[np.float32]:
    """Return the position (H, W) across stripes of a random direction, in periods."""
    angle = rng.uniform(0, np.pi)
    rows = np.arange(hw[0], dtype=np.float32) * np.float32(np.sin(angle) / period)
    columns = np.arange(hw[1], dtype=np.float32) * np.float32(np.cos(angle) / period)
    return np.asarray(rows[:, None] + columns[None] + np.float32(rng.random()))


def _two_tone(rng: np.random.Generator, where: NDArray[np.bool_]) -> Image:
    table = np.stack([random_colour(rng), random_colour(rng)]).astype(np.uint8)
    return np.asarray(np.take(table, where.view(np.uint8), axis=0))


def _stripes(rng: np.random.Generator, hw: tuple[int, int], period: float) -> Image:
    phase = _phase(rng, hw, max(period, 3.0))
    return _two_tone(rng, phase - np.floor(phase) < rng.uniform(0.3, 0.7))


def _checks(rng: np.random.Generator, side: int) -> Image:
    first, second = (_phase(rng, (side, side), rng.uniform(0.05, 0.3) * side) for _ in range(2))
    return _two_tone(rng, (np.floor(first) + np.floor(second)) % 2 < 1)


def _add_clutter(rng: np.random.Generator, image: Image) -> None:
    """Draw open lines and ragged blobs, in place."""
    side = image.shape[0]
    for _ in range(rng.integers(1, 7)):
        colour = random_colour(rng).tolist()
        if rng.random() < 0.6:
            points = rng.uniform(-0.1, 1.1, (int(rng.integers(2, 5)), 2)) * side
            thick = int(rng.integers(1, max(2, side // 80) + 1))
            cv2.polylines(image, [_fixed(points)], False, colour, thick, cv2.LINE_AA, _SHIFT)
        else:
            points = _blob(rng) * rng.uniform(0.05, 0.25) * side + rng.uniform(0, side, 2)
            cv2.fillPoly(image, [_fixed(points)], colour, cv2.LINE_AA, _SHIFT)


def _blob(rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the outline (P, 2) of a splinter, about 2 long: ragged and narrow, so that it looks like no class."""
    at = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    radius, narrow, angle = rng.uniform(0.5, 1.0, 20), rng.uniform(0.2, 0.4), rng.uniform(0, np.pi)
    x, y = radius * np.cos(at), radius * np.sin(at) * narrow
    return np.stack([x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle)], axis=1)


def _fixed(points: NDArray[np.float64]) -> NDArray[np.int32]:
    return np.round(points * 2**_SHIFT).astype(np.int32)
