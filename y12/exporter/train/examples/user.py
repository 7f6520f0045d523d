"""A user's data set for training: a data.yaml or a COCO JSON through the readers of `y12.exporter.evaluate`."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from y12.errors import DatasetError
from y12.exporter.data.dataset import Dataset
from y12.exporter.data.open import labelled_dataset
from y12.exporter.data.sizes import Progress, checked_sizes
from y12.exporter.train.examples.objects import Objects, Outline
from y12.exporter.train.examples.options import DataOptions
from y12.runtime.results.oriented import corners_from_xywhr

__all__ = ["TrainingData", "training_data"]

_WANTS_MASKS = ("segment", "multitask")
_WANTS_KEYPOINTS = ("pose", "multitask")


@dataclass(frozen=True)
class TrainingData:
    """Labelled images to train on.

    Attributes:
        origin: the file that names them.
        names: the class names, by class id from 0.
        paths: the images.
        objects: of each image.
        masks, points: whether objects have masks; how many keypoints they have, or None.
        flip_idx: which point each keypoint becomes in a mirrored picture, where the data tell it.
        oriented: whether the boxes are oriented.
        notes: what was left out, and what a reader has to know.
        bits: how many bits 16-bit images hold; None goes by each file.
    """

    origin: Path
    names: tuple[str, ...]
    paths: tuple[Path, ...]
    objects: tuple[Objects, ...]
    masks: bool = False
    points: int | None = None
    flip_idx: tuple[int, ...] | None = None
    oriented: bool = False
    notes: tuple[str, ...] = ()
    bits: int | None = None


def training_data(
    data: Path, task: str, options: DataOptions | None = None, progress: Progress | None = None
) -> TrainingData:
    """Read what to train on; every label and every image is checked before the first step.

    Args:
        data: a data.yaml, whose `train` is read unless `options` say otherwise; or a COCO JSON.
        task: "detect", "segment", "pose", "obb" or "multitask": which labels are needed.
        options: how to read it.
        progress: told how many images are checked.

    Raises:
        DatasetError: labels or images are wrong (the first ten are named with file and line), or the labels do not
            tell what the task needs.
    """
    options = options or DataOptions()
    is_json = data.suffix.lower() == ".json"
    split = options.split if is_json else options.split or "train"
    dataset = labelled_dataset(data, split, options.images, oriented=task == "obb", strict=options.strict)
    masks, keypoints = _told(dataset, task)
    sizes = checked_sizes(dataset.samples, data, decode=options.check == "decode", progress=progress, bits=options.bits)
    truth = dataset.ground_truth(sizes)
    counts: dict[str, int] = defaultdict(int)
    by_image = _annotations_by_image(truth["annotations"], counts)
    form = _Form(
        {category: i for i, (category, _) in enumerate(dataset.categories)},
        masks,
        dataset.points if keypoints else None,
        oriented=task == "obb",
    )
    objects = tuple(
        form.objects(by_image.get(sample.image_id, ()), sizes[sample.image_id], counts) for sample in dataset.samples
    )
    if not any(len(one.labels) for one in objects):
        raise DatasetError(f"{data}: expected objects to train on, found none that are inside their images")
    return TrainingData(
        data,
        tuple(name for _, name in dataset.categories),
        tuple(sample.path for sample in dataset.samples),
        objects,
        masks,
        form.points,
        dataset.flip_idx,
        form.oriented,
        (*dataset.notes, *_notes(objects, counts)),
        options.bits,
    )


def _told(dataset: Dataset, task: str) -> tuple[bool, bool]:
    """Return whether to train on masks and on keypoints.

    Raises:
        DatasetError: the labels do not tell what the task needs.
    """
    if task == "obb" and "obb" not in dataset.kinds:
        raise DatasetError(f"{dataset.origin}: expected a data.yaml with oriented boxes for the task obb, found a JSON")
    segm, keypoints = "segm" in dataset.kinds, "keypoints" in dataset.kinds
    if (task == "segment" and not segm) or (task == "pose" and not keypoints):
        wanted = "an outline for every object" if task == "segment" else "keypoints (kpt_shape in a data.yaml)"
        raise DatasetError(
            f"{dataset.origin}: expected {wanted} for the task {task}, found labels of {', '.join(dataset.kinds)} only"
        )
    if task == "multitask" and not (segm or keypoints):
        raise DatasetError(f"{dataset.origin}: expected outlines or keypoints for the task multitask, found neither")
    return segm and task in _WANTS_MASKS, keypoints and task in _WANTS_KEYPOINTS


def _annotations_by_image(
    annotations: Sequence[dict[str, Any]], counts: dict[str, int]
) -> Mapping[int, list[dict[str, Any]]]:
    """Sort annotations by image, without crowds: their outline is not one object's."""
    by_image: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for annotation in annotations:
        if annotation.get("iscrowd"):
            counts["crowd"] += 1
        else:
            by_image[annotation["image_id"]].append(annotation)
    return by_image


def _notes(objects: Sequence[Objects], counts: Mapping[str, int]) -> list[str]:
    notes = []
    if counts["crowd"]:
        notes.append(f"{counts['crowd']} annotations of crowds were left out")
    if counts["outside"]:
        notes.append(f"{counts['outside']} annotations without an area inside their image were left out")
    if background := sum(not len(one.labels) for one in objects):
        notes.append(f"{background} of {len(objects)} images show background only")
    return notes


@dataclass(frozen=True)
class _Form:
    """How annotations become objects: the class of each category, and what else is trained on."""

    classes: Mapping[int, int]
    masks: bool
    points: int | None
    oriented: bool

    def objects(
        self, annotations: Sequence[dict[str, Any]], image_hw: tuple[int, int], counts: dict[str, int]
    ) -> Objects:
        boxes = [_box(annotation, image_hw) for annotation in annotations]
        kept = [i for i, box in enumerate(boxes) if self.oriented or (box[2] > box[0] and box[3] > box[1])]
        counts["outside"] += len(boxes) - len(kept)
        known = [annotations[i] for i in kept]
        return Objects(
            image_hw,
            np.array([self.classes[annotation["category_id"]] for annotation in known], np.int64),
            np.array([boxes[i] for i in kept], np.float64).reshape(-1, 4),
            tuple(_outline(annotation["segmentation"], image_hw) for annotation in known) if self.masks else None,
            self._keypoints(known),
            _oriented_corners(known) if self.oriented else None,
        )

    def _keypoints(self, known: Sequence[dict[str, Any]]) -> NDArray[np.float64] | None:
        """Return (N, K, 3); an object without keypoints has none that are labelled."""
        if self.points is None:
            return None
        empty = [0.0] * (3 * self.points)
        rows = [annotation.get("keypoints", empty) for annotation in known]
        return np.array(rows, np.float64).reshape(-1, self.points, 3)


def _box(annotation: Mapping[str, Any], image_hw: tuple[int, int]) -> NDArray[np.float64]:
    """Return left, top, right, bottom inside the image; that of the outline where no box is labelled."""
    height, width = image_hw
    if "bbox" in annotation:
        left, top, box_width, box_height = annotation["bbox"]
    else:
        left, top, box_width, box_height = _extent(_outline(annotation["segmentation"], image_hw))
    corners = np.array([left, top, left + box_width, top + box_height], np.float64)
    return np.asarray(corners.clip(0, (width, height, width, height)))


def _extent(outline: Outline) -> tuple[float, float, float, float]:
    """Return left, top, width and height of what an outline covers."""
    if isinstance(outline, dict):
        from pycocotools import mask as rle

        left, top, width, height = rle.toBbox(outline).tolist()
        return left, top, width, height
    points = np.concatenate(outline)
    (left, top), (right, bottom) = points.min(0).tolist(), points.max(0).tolist()
    return left, top, right - left, bottom - top


def _outline(segmentation: Any, image_hw: tuple[int, int]) -> Outline:
    """Return polygons inside the image, or compressed run lengths."""
    if isinstance(segmentation, dict):
        from pycocotools import mask as rle

        compressed = isinstance(segmentation["counts"], str)
        return segmentation if compressed else dict(rle.frPyObjects(segmentation, *image_hw))
    limit = np.array(image_hw[::-1], np.float64)
    return tuple(np.array(polygon, np.float64).reshape(-1, 2).clip(0, limit) for polygon in segmentation)


def _oriented_corners(known: Sequence[dict[str, Any]]) -> NDArray[np.float64]:
    xywhr = np.array([annotation["xywhr"] for annotation in known], np.float64).reshape(-1, 5)
    return corners_from_xywhr(xywhr).astype(np.float64)
