"""Labelled images, whatever they were read from; the labels in pixels come once the images' sizes are known."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from y12.errors import DatasetError

__all__ = ["KINDS_OF_TASK", "Dataset", "GroundTruth", "Sample", "SizesHw"]

GroundTruth = dict[str, Any]  # COCO's form: images, annotations, categories
SizesHw = Mapping[int, tuple[int, int]]  # (height, width) of each decoded image, by image id

# What a model of each task gives, by COCO's names; "obb" is y12's. Classification has no COCO evaluation.
KINDS_OF_TASK: Mapping[str, tuple[str, ...]] = {
    "detect": ("bbox",),
    "segment": ("bbox", "segm"),
    "pose": ("bbox", "keypoints"),
    "multitask": ("bbox", "segm", "keypoints"),
    "obb": ("obb",),
}


@dataclass(frozen=True)
class Sample:
    """One labelled image; `height` and `width` are what the labels' file says of it, where it does."""

    image_id: int
    path: Path
    height: int | None = None
    width: int | None = None

    def check_size(self, image_hw: tuple[int, int]) -> None:
        """Refuse a decoded image of another size than was told: its labels would lie elsewhere.

        Raises:
            DatasetError: it has another size.
        """
        labelled_hw = self.height or image_hw[0], self.width or image_hw[1]
        if labelled_hw != image_hw:
            turned = ", turned by its EXIF orientation" if labelled_hw == image_hw[::-1] else ""
            raise DatasetError(
                f"{self.path}: expected {labelled_hw[1]}x{labelled_hw[0]} pixels, as its entry says, "
                f"found {image_hw[1]}x{image_hw[0]}{turned}"
            )


@dataclass(frozen=True)
class Dataset:
    """Labelled images.

    Attributes:
        origin: the file it was read from.
        samples: the images, background images among them.
        categories: the id and the name of each class, in order.
        kinds: what the labels tell: some of "bbox", "segm", "keypoints" and "obb".
        labels: how many labelled objects there are.
        background: how many images have none.
        ground_truth: gives the labels in COCO's form, in pixels, for the sizes of the decoded images.
        points: keypoints per object, where the labels tell it.
        flip_idx: which point each keypoint becomes in a mirrored picture, where the labels tell it.
        unused: ids of the categories that no label is of, where a file may have such for other reasons than chance.
        notes: what a reader of the figures has to know.
    """

    origin: Path
    samples: tuple[Sample, ...]
    categories: tuple[tuple[int, str], ...]
    kinds: tuple[str, ...]
    labels: int
    background: int
    ground_truth: Callable[[SizesHw], GroundTruth]
    points: int | None = None
    flip_idx: tuple[int, ...] | None = None
    unused: frozenset[int] = frozenset()
    notes: tuple[str, ...] = ()
