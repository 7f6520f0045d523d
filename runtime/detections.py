"""What was found in one image, with the field names of the `supervision` package, whose tools take it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol, Self, overload

import numpy as np
from numpy.typing import NDArray

from runtime.errors import InputError

Index = int | slice | Sequence[int] | Sequence[bool] | NDArray[np.bool_] | NDArray[np.integer[Any]]


class Anchor(Protocol):
    """A place in a box, such as supervision's `Position.TOP_LEFT`."""

    @property
    def value(self) -> str:
        """The name: CENTER, TOP_LEFT, BOTTOM_CENTER …."""


class Detection(NamedTuple):
    """One row of `Detections`, in the order in which supervision gives it."""

    xyxy: NDArray[np.float32]
    mask: NDArray[np.bool_] | None
    confidence: float
    class_id: int
    tracker_id: int | None
    data: dict[str, str]


@dataclass(eq=False)
class Detections:
    """The N objects of one image, best first, as parallel arrays.

    Attributes:
        xyxy: (N, 4) float32, left, top, right, bottom in pixels of the original image.
        confidence: (N,) float32 in 0-1.
        class_id: (N,) integers, indices into `names`.
        names: the model's class names, by class id.
        image_hw: (height, width) of the original image.
        mask: (N, H, W) bool over the original image, for a segmentation model.
        keypoints: (N, K, 3) float32, x, y in pixels of the original image and visibility 0-1, for pose.
        tracker_id: (N,) integers; y12 leaves it empty for a tracker to fill.

    Raises:
        InputError: an array's shape contradicts the others.
    """

    xyxy: NDArray[np.float32]
    confidence: NDArray[np.float32]
    class_id: NDArray[np.integer[Any]]
    names: tuple[str, ...]
    image_hw: tuple[int, int]
    mask: NDArray[np.bool_] | None = None
    keypoints: NDArray[np.float32] | None = None
    tracker_id: NDArray[np.integer[Any]] | None = None

    def __post_init__(self) -> None:
        _check_shape("xyxy", self.xyxy, ("N", 4))
        count = len(self.xyxy)
        _check_shape("confidence", self.confidence, (count,))
        _check_shape("class_id", self.class_id, (count,))
        if self.mask is not None:
            _check_shape("mask", self.mask, (count, *self.image_hw))
        if self.keypoints is not None:
            _check_shape("keypoints", self.keypoints, (count, "K", 3))
        if self.tracker_id is not None:
            _check_shape("tracker_id", self.tracker_id, (count,))
        if not np.issubdtype(self.class_id.dtype, np.integer):
            raise InputError(f"class_id: expected integers, found {self.class_id.dtype}")
        if count and not 0 <= self.class_id.min() <= self.class_id.max() < len(self.names):
            found = f"{self.class_id.min()} to {self.class_id.max()}"
            raise InputError(f"class_id: expected 0 to {len(self.names) - 1}, the indices of the names, found {found}")

    @classmethod
    def empty(cls, names: tuple[str, ...] = (), image_hw: tuple[int, int] = (0, 0)) -> Self:
        """Give the result of an image in which nothing was found."""
        return cls(
            np.empty((0, 4), np.float32),
            np.empty(0, np.float32),
            np.empty(0, np.int64),
            names=names,
            image_hw=image_hw,
        )

    def __len__(self) -> int:
        return len(self.xyxy)

    def __iter__(self) -> Iterator[Detection]:
        for i, name in enumerate(self.class_name):
            yield Detection(
                xyxy=self.xyxy[i],
                mask=None if self.mask is None else self.mask[i],
                confidence=float(self.confidence[i]),
                class_id=int(self.class_id[i]),
                tracker_id=None if self.tracker_id is None else int(self.tracker_id[i]),
                data={"class_name": name},
            )

    @overload
    def __getitem__(self, index: str) -> NDArray[np.str_]: ...
    @overload
    def __getitem__(self, index: Index) -> Self: ...
    def __getitem__(self, index: Index | str) -> Self | NDArray[np.str_]:
        """Give the rows that `index` picks, always as Detections; `["class_name"]` gives the names.

        Raises:
            IndexError: a row that does not exist, or a bool mask of another length.
            KeyError: a text other than "class_name".
        """
        if isinstance(index, str):
            return self.data[index]
        rows = _row_index(index)
        return replace(
            self,
            xyxy=self.xyxy[rows],
            confidence=self.confidence[rows],
            class_id=self.class_id[rows],
            mask=None if self.mask is None else self.mask[rows],
            keypoints=None if self.keypoints is None else self.keypoints[rows],
            tracker_id=None if self.tracker_id is None else self.tracker_id[rows],
        )

    @property
    def class_name(self) -> list[str]:
        """The name of each object's class."""
        return [self.names[i] for i in self.class_id]

    @property
    def data(self) -> dict[str, NDArray[np.str_]]:
        """What supervision's label annotator reads: the class names under "class_name"."""
        return {"class_name": np.array(self.class_name, dtype=np.str_)}

    @property
    def metadata(self) -> dict[str, object]:
        """Empty; supervision expects it."""
        return {}

    @property
    def area(self) -> NDArray[np.float32]:
        """The area of each mask, or else box, in square pixels, (N,)."""
        if self.mask is not None:
            return np.asarray(self.mask.sum(axis=(1, 2)), dtype=np.float32)
        return np.asarray(np.prod(self.xyxy[:, 2:] - self.xyxy[:, :2], axis=1), dtype=np.float32)

    def is_empty(self) -> bool:
        """Say whether nothing was found."""
        return len(self) == 0

    def get_anchors_coordinates(self, anchor: Anchor) -> NDArray[np.float32]:
        """Give x, y of a place in each box, (N, 2), by supervision's names.

        Raises:
            InputError: the place is not known, such as CENTER_OF_MASS, which needs masks.
        """
        vertical, _, horizontal = anchor.value.partition("_")
        along_x = {"LEFT": 0.0, "": 0.5, "CENTER": 0.5, "RIGHT": 1.0}.get(horizontal)
        along_y = {"TOP": 0.0, "CENTER": 0.5, "BOTTOM": 1.0}.get(vertical)
        if along_x is None or along_y is None:
            raise InputError(f"expected an anchor such as CENTER or BOTTOM_LEFT, found {anchor.value!r}")
        along = np.array([along_x, along_y], dtype=np.float32)
        return self.xyxy[:, :2] + (self.xyxy[:, 2:] - self.xyxy[:, :2]) * along

    def as_records(self) -> list[dict[str, Any]]:
        """Give a JSON-able dict per object: box_xyxy rounded to 1/1000 pixel, confidence, class."""
        records: list[dict[str, Any]] = []
        for i, found in enumerate(self):
            record: dict[str, Any] = {
                "box_xyxy": [round(float(v), 3) for v in found.xyxy],
                "confidence": round(found.confidence, 6),
                "class_id": found.class_id,
                "class_name": found.data["class_name"],
            }
            if self.keypoints is not None:
                record["keypoints"] = [[round(float(v), 3) for v in point] for point in self.keypoints[i]]
            records.append(record)
        return records


def _row_index(index: Index) -> Any:
    """Turn an int into a slice of one row, and an empty list into an empty integer array."""
    if isinstance(index, int | np.integer) and not isinstance(index, bool):
        return [index]
    if isinstance(index, slice):
        return index
    array = np.asarray(index)
    return array if array.size else array.astype(np.intp)


def _check_shape(name: str, array: NDArray[Any], expected: tuple[int | str, ...]) -> None:
    """Refuse an array whose shape differs from `expected`; a text stands for any size."""
    found = np.shape(array)
    fits = len(found) == len(expected) and all(
        isinstance(e, str) or e == f for e, f in zip(expected, found, strict=True)
    )
    if not fits:
        shown = "(" + ", ".join(map(str, expected)) + ("," if len(expected) == 1 else "") + ")"
        raise InputError(f"{name}: expected shape {shown}, found {found}")
