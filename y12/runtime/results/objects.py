"""A row of a `Detections`, and what the files of this room read of one, which imports them."""

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from y12.runtime.results.masks import Masks

if TYPE_CHECKING:
    from y12.runtime.preprocess.images import ImageSource

__all__ = ["Detection", "Objects"]


class Detection(NamedTuple):
    """One row of `Detections`, in the order in which supervision gives it."""

    xyxy: NDArray[np.float32]
    mask: NDArray[np.bool_] | None
    confidence: float
    class_id: int
    tracker_id: int | None
    data: dict[str, str | NDArray[np.float32]]


class Objects(Protocol):
    """The attributes of a `Detections`, which says what they are."""

    xyxy: NDArray[np.float32]
    confidence: NDArray[np.float32]
    class_id: NDArray[np.integer[Any]]
    names: tuple[str, ...]
    image_hw: tuple[int, int]
    masks: Masks | None
    keypoints: NDArray[np.float32] | None
    xywhr: NDArray[np.float32] | None
    tracker_id: NDArray[np.integer[Any]] | None
    whole_image: bool
    image: "ImageSource | None"
    bits: int | None

    def __len__(self) -> int: ...

    @property
    def class_name(self) -> list[str]:
        """The name of each object's class."""

    @property
    def mask(self) -> NDArray[np.bool_] | None:
        """The masks over the whole image."""

    @property
    def area(self) -> NDArray[np.float32]:
        """The area of each mask, or else box."""

    @property
    def data(self) -> dict[str, NDArray[Any]]:
        """Columns by supervision's names."""

    def counts(self) -> dict[str, int]:
        """Return how many objects of each class there are, by name."""
