"""What the files of this room read of a `Detections`, which imports them."""

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from y12.runtime.results.masks import Masks

if TYPE_CHECKING:
    from y12.runtime.preprocess.images import ImageSource

__all__ = ["Objects"]


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

    def __len__(self) -> int: ...

    @property
    def class_name(self) -> list[str]:
        """The name of each object's class."""

    @property
    def mask(self) -> NDArray[np.bool_] | None:
        """The masks over the whole image."""

    @property
    def data(self) -> dict[str, NDArray[Any]]:
        """Columns by supervision's names."""

    def counts(self) -> dict[str, int]:
        """Return how many objects of each class there are, by name."""
