"""Labelled images of either form, told apart by the file's name."""

from pathlib import Path

from y12.errors import DatasetError
from y12.exporter.data.coco_json import coco_dataset
from y12.exporter.data.dataset import Dataset
from y12.exporter.data.yolo import yolo_dataset

__all__ = ["labelled_dataset"]


def labelled_dataset(
    data: Path, split: str | None = None, images: Path | None = None, *, oriented: bool = False, strict: bool = False
) -> Dataset:
    """Read a data.yaml or a COCO JSON.

    Args:
        data: the file.
        split: part of a data.yaml; None is "val".
        images: where a COCO JSON's file names start; None looks beside it.
        oriented: the labels are oriented boxes.
        strict: refuse labels of nothing, which are otherwise left out and told.

    Raises:
        DatasetError: the file or its labels are wrong, or an option is of the other form.
    """
    suffix = data.suffix.lower()
    if suffix in (".yaml", ".yml"):
        if images is not None:
            raise DatasetError("--images: is for a COCO JSON; a data.yaml says itself where its images are")
        return yolo_dataset(data, split or "val", oriented=oriented, strict=strict)
    if suffix == ".json":
        if split is not None:
            raise DatasetError("--split: is for a data.yaml; a COCO JSON is one split")
        return coco_dataset(data, images, strict=strict)
    raise DatasetError(f"{data}: expected a data.yaml or a COCO .json")
