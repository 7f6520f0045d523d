"""What was found in one image, with the field names of the `supervision` package, whose tools take it."""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, overload

import numpy as np
from numpy.typing import NDArray

from y12.runtime.options import class_ids_from
from y12.runtime.results.anchors import Anchor, places_in
from y12.runtime.results.checks import Index, check_arrays, row_index
from y12.runtime.results.coco import coco_from
from y12.runtime.results.convert import described, supervision_from, table_from
from y12.runtime.results.masks import Masks
from y12.runtime.results.objects import Detection
from y12.runtime.results.oriented import corners_from_xywhr
from y12.runtime.results.passed_on import PassedOn
from y12.runtime.results.records import records_from
from y12.text import printable_json

if TYPE_CHECKING:
    import supervision

    from y12.runtime.preprocess.images import ImageSource


@dataclass(eq=False, repr=False)
class Detections(PassedOn):
    """The N objects of one image, best first, as parallel arrays.

    Attributes:
        xyxy: (N, 4) float32, left, top, right, bottom in pixels of the original image.
        confidence: (N,) float32 in 0-1.
        class_id: (N,) integers, indices into `names`.
        names: the model's class names, by class id.
        image_hw: (height, width) of the original image.
        masks: the objects' masks over the original image, for a segmentation model; drawn when asked for.
        keypoints: (N, K, 3) float32, x, y in pixels of the original image and visibility 0-1, for pose. Not
            clipped: a point may lie outside the image.
        xywhr: (N, 5) float32, oriented boxes: centre, w, h in pixels of the original image, and the angle of w in
            radians, y downwards. `xyxy` are then the upright boxes round them, clipped to the image.
        tracker_id: (N,) integers; y12 leaves it empty for a tracker to fill.
        truncated: NMS in the graph, or on a GPU, saw only the best of the candidates: objects may be missing.
        whole_image: the rows are classes of the image as a whole, for a classifier; `xyxy` is what it looked at.
        image: what `infer` was given, by reference, for `plot`: the path, or the array itself. None of a stream's
            arrays, which would fill the memory, and of those on a GPU.
        bits: how many bits of a 16-bit `image` were taken to count; None: as its file says.

    Raises:
        InputError: an array's shape contradicts the others.
    """

    xyxy: NDArray[np.float32]
    confidence: NDArray[np.float32]
    class_id: NDArray[np.integer[Any]]
    names: tuple[str, ...]
    image_hw: tuple[int, int]
    masks: Masks | None = None
    keypoints: NDArray[np.float32] | None = None
    xywhr: NDArray[np.float32] | None = None
    tracker_id: NDArray[np.integer[Any]] | None = None
    truncated: bool = False
    whole_image: bool = False
    image: "ImageSource | None" = None
    bits: int | None = None

    def __post_init__(self) -> None:
        check_arrays(self)

    @classmethod
    def empty(cls, names: tuple[str, ...] = (), image_hw: tuple[int, int] = (0, 0)) -> Self:
        """Return the result of an image in which nothing was found."""
        none = np.empty(0, np.float32)
        return cls(none.reshape(0, 4), none, np.empty(0, np.int64), names=names, image_hw=image_hw)

    def __len__(self) -> int:
        return len(self.xyxy)

    def __iter__(self) -> Iterator[Detection]:
        """Yield the rows one by one, with their masks, which are drawn for it."""
        mask, data = self.mask, self.data
        for i in range(len(self)):
            yield Detection(
                xyxy=self.xyxy[i],
                mask=None if mask is None else mask[i],
                confidence=float(self.confidence[i]),
                class_id=int(self.class_id[i]),
                tracker_id=None if self.tracker_id is None else int(self.tracker_id[i]),
                data={key: str(column[i]) if key == "class_name" else column[i] for key, column in data.items()},
            )

    @overload
    def __getitem__(self, index: str) -> NDArray[Any]: ...
    @overload
    def __getitem__(self, index: Index) -> Self: ...
    def __getitem__(self, index: Index | str) -> Self | NDArray[Any]:
        """Return the rows that `index` picks, always as Detections; a text gives a column of `data`.

        Raises:
            IndexError: a row that does not exist, or a bool mask of another length.
            KeyError: a text that `data` does not have.
        """
        if isinstance(index, str):
            return self.data[index]
        rows = row_index(index)
        return replace(
            self,
            xyxy=self.xyxy[rows],
            confidence=self.confidence[rows],
            class_id=self.class_id[rows],
            masks=None if self.masks is None else self.masks[rows],
            keypoints=None if self.keypoints is None else self.keypoints[rows],
            xywhr=None if self.xywhr is None else self.xywhr[rows],
            tracker_id=None if self.tracker_id is None else self.tracker_id[rows],
        )

    def __repr__(self) -> str:
        return described(self)

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the words and the picture."""
        from y12.runtime.results.picture import html_of  # here and below: not loaded where nothing is drawn

        return html_of(self)

    def filter(self, classes: "str | Iterable[str | int] | None" = None, conf: float | None = None) -> Self:
        """Return the objects of some classes only, by name or id, and those only whose confidence is above `conf`.

        Raises:
            InputError: no class has such a name or id; the nearest is told.
        """
        wanted = np.ones(len(self), np.bool_)
        if classes is not None:
            wanted &= np.isin(self.class_id, class_ids_from(classes, self.names))
        if conf is not None:
            wanted &= self.confidence > conf
        return self[wanted]

    def plot(self, image: "ImageSource | None" = None) -> NDArray[np.uint8]:
        """Return a copy of `image`, (H, W, 3) uint8 BGR, with all drawn in; None takes `self.image`, a path again read.

        Raises:
            InputError: there is none, it cannot be read, or has another size.
        """
        from y12.runtime.results.picture import plotted

        return plotted(self, image)

    def save(self, path: str | os.PathLike[str], image: "ImageSource | None" = None) -> Path:
        """Write that picture to a file, as its suffix says, and return its path.

        Raises:
            InputError: as `plot`; or it cannot be written there, or is the image's own file.
        """
        from y12.runtime.results.picture import saved

        return saved(self, path, image)

    @property
    def xywh(self) -> NDArray[np.float32]:
        """The boxes as centre x, centre y, width and height in pixels, (N, 4)."""
        boxes = self.xyxy.copy()
        boxes[:, 2:] -= boxes[:, :2]
        boxes[:, :2] += boxes[:, 2:] / 2
        return boxes

    @property
    def xyxyn(self) -> NDArray[np.float32]:
        """`xyxy` in shares of the image's width and height, 0-1."""
        height, width = self.image_hw
        return np.asarray(self.xyxy / (width, height, width, height), np.float32)

    @property
    def class_name(self) -> list[str]:
        """The name of each object's class."""
        return [self.names[i] for i in self.class_id]

    @cached_property
    def mask(self) -> NDArray[np.bool_] | None:
        """The masks over the whole original image, (N, H, W) bool, read-only; None where the model gives none."""
        return None if self.masks is None else self.masks.bitmaps

    @property
    def data(self) -> dict[str, NDArray[Any]]:
        """What supervision's annotators read: "class_name" (N,) and, of oriented boxes, "xyxyxyxy" (N, 4, 2)."""
        data: dict[str, NDArray[Any]] = {"class_name": np.array(self.class_name, dtype=np.str_)}
        if self.xywhr is not None:
            data["xyxyxyxy"] = corners_from_xywhr(self.xywhr)
        return data

    @property
    def metadata(self) -> dict[str, object]:
        """Empty; supervision expects it."""
        return {}

    @property
    def area(self) -> NDArray[np.float32]:
        """The area of each mask, or else box, in square pixels, (N,)."""
        if self.masks is not None:
            return self.masks.areas.astype(np.float32)
        return np.asarray(np.prod(self.xyxy[:, 2:] - self.xyxy[:, :2], axis=1), dtype=np.float32)

    def is_empty(self) -> bool:
        """Return whether nothing was found."""
        return len(self) == 0

    def get_anchors_coordinates(self, anchor: Anchor) -> NDArray[np.float32]:
        """Return x, y of a place in each box, (N, 2), by supervision's names.

        Raises:
            InputError: the place is not known, such as CENTER_OF_MASS, which needs masks.
        """
        return places_in(self.xyxy, anchor)

    def counts(self) -> dict[str, int]:
        """Return how many objects of each class were found, by name, as class ids are; none of a classifier's."""
        if self.whole_image:
            return {}
        ids, numbers = np.unique(self.class_id, return_counts=True)
        counts: dict[str, int] = {}
        for class_id, number in zip(ids.tolist(), numbers.tolist(), strict=True):
            name = self.names[class_id]
            counts[name] = counts.get(name, 0) + number  # two classes may have one name
        return counts

    def as_records(self, masks: str | None = None, tolerance: float = 0.0) -> list[dict[str, Any]]:
        """Return a JSON-able dict per object: see `y12.runtime.results.records`.

        Args:
            masks: "rle" or "polygon" adds each object's mask as "segmentation"; None draws no masks.
            tolerance: how far in pixels a polygon may stray to have fewer points.

        Raises:
            InputError: another word, masks of a model that gives none, or a tolerance that is no distance.
        """
        return records_from(self, masks, tolerance)

    def to_json(self, masks: str | None = None, tolerance: float = 0.0) -> str:
        """Return the records of `as_records` as JSON text, a list.

        Raises:
            InputError: as there.
        """
        return printable_json(json.dumps(self.as_records(masks, tolerance), ensure_ascii=False))

    def to_yolo(self, *, conf: bool = False, tolerance: float = 0.0) -> str:
        """Return the text of a YOLO label file, a line an object; `conf` adds the confidences, `tolerance` as above.

        Raises:
            InputError: `tolerance` is no distance.
        """
        from y12.runtime.results.yolo_text import yolo_lines

        return "".join(f"{line}\n" for line in yolo_lines(self, conf=conf, tolerance=tolerance))

    def crops(self, image: "ImageSource | None" = None) -> list[NDArray[np.uint8]]:
        """Return what lies in each box, (h, w, 3) BGR, an oriented one turned upright; `image` as for `plot`.

        Raises:
            InputError: as `plot`.
        """
        from y12.runtime.results.crops import crops_of
        from y12.runtime.results.picture import pixels_of

        return [crop.copy() for crop in crops_of(self, pixels_of(self, image, "crops"))]

    def to_df(self) -> Any:
        """Return a pandas DataFrame, a row an object, or one of polars where that alone is installed.

        Raises:
            Y12Error: neither is.
        """
        return table_from(self)

    def to_supervision(self) -> "supervision.Detections":
        """Return supervision's own Detections, for its slicers, zones and trackers; masks are drawn for it.

        Keypoints, (N, K, 3), are its `data["keypoints"]`, and follow their objects.

        Raises:
            MissingPackageError: supervision is not installed.
        """
        return supervision_from(self)

    def to_coco(self, image_id: int, category_ids: Sequence[int] | None = None) -> list[dict[str, Any]]:
        """Return COCO's results JSON, which pycocotools' `loadRes` takes.

        Args:
            image_id: the image's, in the annotations.
            category_ids: the annotations' category for each class id; None takes the class ids themselves.

        Raises:
            InputError: `category_ids` has not one id for each of the names.
        """
        return coco_from(self, image_id, category_ids)
