"""Places in boxes, by supervision's names."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from y12.errors import InputError

__all__ = ["Anchor", "places_in"]


class Anchor(Protocol):
    """A place in a box, such as supervision's `Position.TOP_LEFT`."""

    @property
    def value(self) -> str:
        """The name: CENTER, TOP_LEFT, BOTTOM_CENTER …."""


def places_in(xyxy: NDArray[np.float32], anchor: Anchor) -> NDArray[np.float32]:
    """Return x, y of a place in each box, (N, 2).

    Raises:
        InputError: the place is not known.
    """
    vertical, _, horizontal = anchor.value.partition("_")
    along_x = {"LEFT": 0.0, "": 0.5, "CENTER": 0.5, "RIGHT": 1.0}.get(horizontal)
    along_y = {"TOP": 0.0, "CENTER": 0.5, "BOTTOM": 1.0}.get(vertical)
    if along_x is None or along_y is None:
        raise InputError(f"expected an anchor such as CENTER or BOTTOM_LEFT, found {anchor.value!r}")
    return xyxy[:, :2] + (xyxy[:, 2:] - xyxy[:, :2]) * np.array([along_x, along_y], dtype=np.float32)
