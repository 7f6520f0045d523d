"""A YOLO data set: a data.yaml, images, and a text file of labels for each image.

The labels of `…/images/…/name.jpg` are in `…/labels/…/name.txt`; where no folder is called images, beside the
image. An image without such a file shows background only.
"""

import os
from array import array
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from y12.errors import DatasetError
from y12.exporter.data.bounds import MAX_LABELS, ImageTotals, NothingError, ShapeError
from y12.exporter.data.data_yaml import DataYaml, read_data_yaml
from y12.exporter.data.dataset import Dataset, GroundTruth, Sample, SizesHw
from y12.exporter.data.files import read_text
from y12.exporter.data.label_lines import Label, LabelForm, LabelLineError, parse_line
from y12.exporter.data.label_pixels import annotation_from_label
from y12.exporter.data.passed_over import labels_without_image, unread_in
from y12.exporter.data.problems import LeftOut, Problems
from y12.exporter.data.splits import images_of

__all__ = ["label_path", "yolo_dataset", "yolo_labels"]

_MAX_LABEL_BYTES = 64 << 20


def yolo_dataset(path: Path, split: str, *, oriented: bool = False, strict: bool = False) -> Dataset:
    """Read the labels of a split; all of them are checked before any image is looked at.

    Args:
        path: the data.yaml.
        split: "train", "val" or "test".
        oriented: the labels are oriented boxes of four corners.
        strict: refuse labels of nothing, which are otherwise left out and told.

    Raises:
        DatasetError: the data.yaml or labels are wrong; the first ten wrong lines are named.
    """
    data = read_data_yaml(path)
    assert data.splits is not None  # a file's
    images = images_of(data.splits, split, DatasetError)
    dataset = yolo_labels(images, data, oriented=oriented, strict=strict)
    unused = (*labels_without_image(images, label_path), *unread_in([image.parent for image in images]))
    return replace(dataset, notes=(*data.splits.notes(split), *dataset.notes, *unused))


def yolo_labels(images: Sequence[Path], data: DataYaml, *, oriented: bool = False, strict: bool = False) -> Dataset:
    """Read the labels of images; all of them are checked before any image is looked at.

    Args:
        images: files; their labels are where `label_path` says.
        data: tells the classes and the keypoints of the labels.
        oriented: the labels are oriented boxes of four corners.
        strict: refuse labels of nothing, which are otherwise left out and told.

    Raises:
        DatasetError: labels are wrong, or there are none; the first ten wrong lines are named.
    """
    nothing = LeftOut()
    labels = _all_labels(
        images, data, LabelForm(len(data.names), data.kpt_shape, oriented), None if strict else nothing
    )
    unique = [_without_repeats(one) for one in labels]
    repeated = sum(map(len, labels)) - sum(map(len, unique))
    samples = tuple(Sample(i, image) for i, image in zip(_image_ids(images), images, strict=True))
    flat = [label for one in unique for label in one]
    kinds, notes = _kinds(flat, oriented)
    return Dataset(
        origin=data.file,
        samples=samples,
        categories=tuple(enumerate(data.names)),
        kinds=kinds,
        labels=len(flat),
        background=sum(not one for one in unique),
        ground_truth=lambda sizes_hw: (
            _images_and_annotations(samples, unique, sizes_hw, oriented)
            | {"categories": [{"id": i, "name": name} for i, name in enumerate(data.names)]}
        ),
        points=data.kpt_shape[0] if data.kpt_shape else None,
        flip_idx=data.flip_idx,
        notes=(*notes, *_notes(flat, repeated), *nothing.notes),
    )


def label_path(image: Path) -> Path:
    """Return where the labels of an image are.

    >>> label_path(Path("data/images/val/1.jpg")).as_posix()
    'data/labels/val/1.txt'
    """
    parts = list(image.parent.parts)
    if "images" in parts:
        parts[len(parts) - 1 - parts[::-1].index("images")] = "labels"
    return Path(*parts, image.stem + ".txt")


def _all_labels(
    images: Sequence[Path], data: DataYaml, form: LabelForm, nothing: LeftOut | None
) -> list[tuple[Label, ...]]:
    problems = Problems()
    labels = [_labels_of(label_path(image), form, problems, nothing) for image in images]
    problems.raise_if_any(str(data.file))
    if not any(labels):
        if files := sum(os.path.exists(label_path(image)) for image in images):
            raise DatasetError(
                f"{data.file}: expected labelled objects in {len(images)} images, found none: the {files} label files "
                f"there are, such as {label_path(images[0])}, are empty; name images with objects"
            )
        raise DatasetError(
            f"{data.file}: expected labels for {len(images)} images, found none; looked for files such as "
            f"{label_path(images[0])}"
        )
    return labels


def _labels_of(path: Path, form: LabelForm, problems: Problems, nothing: LeftOut | None) -> tuple[Label, ...]:
    if not os.path.exists(path) or (os.path.isfile(path) and os.path.getsize(path) == 0):
        return ()  # background
    text = read_text(path, "a label file", _MAX_LABEL_BYTES).replace("\r\n", "\n").replace("\r", "\n")
    if text.count("\n") > MAX_LABELS:
        problems.add(f"{path}: expected at most {MAX_LABELS} lines, labels of one image, found {text.count(chr(10))}")
        return ()
    labels, totals = [], ImageTotals()
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            label = parse_line(line, form)
            totals.add(label.sides)
            labels.append(label)
        except (LabelLineError, ShapeError) as error:
            if nothing is not None and isinstance(error, NothingError):
                nothing.add(f"{path.name}, line {number}")
            else:
                problems.add(f"{path}, line {number}: {error}")
    return tuple(labels)


def _without_repeats(labels: Sequence[Label]) -> tuple[Label, ...]:
    """Return each label once; by bytes, as floats of one hash are easily made, and bytes of one hash are not."""
    unique: dict[tuple[int, bytes], Label] = {}
    for label in labels:
        values = array("d", (*label.box, *(label.outline or ()), *(label.keypoints or ())))
        unique.setdefault((label.class_id, values.tobytes()), label)
    return tuple(unique.values())


def _image_ids(images: Sequence[Path]) -> Sequence[int]:
    """Return COCO's ids where the files are named by them (000000000139.jpg), else 1, 2, 3 …."""
    stems = [image.stem for image in images]
    if all(stem.isascii() and stem.isdigit() and len(stem) <= 15 for stem in stems):
        ids = [int(stem) for stem in stems]
        if len(set(ids)) == len(ids):
            return ids
    return range(1, len(images) + 1)


def _kinds(labels: Sequence[Label], oriented: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what the labels tell, and what a reader has to know of it."""
    if oriented:
        return ("obb",), ()
    if labels[0].keypoints is not None:
        return ("bbox", "keypoints"), ("the labels have no outlines: areas, also those of OKS, are those of the boxes",)
    outlined = sum(label.outline is not None for label in labels)
    if outlined == len(labels):
        return ("bbox", "segm"), ()
    if outlined:
        return ("bbox",), (f"{len(labels) - outlined} of {len(labels)} labels are boxes without an outline",)
    return ("bbox",), ()


def _notes(labels: Sequence[Label], repeated: int) -> list[str]:
    notes = []
    if clipped := sum(label.clipped for label in labels):
        notes.append(f"{clipped} labelled boxes reached beyond their images and were cut there")
    if repeated:
        notes.append(f"{repeated} labels repeat another of their image and were left out")
    return notes


def _images_and_annotations(
    samples: Sequence[Sample], labels: Sequence[Sequence[Label]], sizes_hw: SizesHw, oriented: bool
) -> GroundTruth:
    images, annotations = [], []
    for sample, ones in zip(samples, labels, strict=True):
        hw = sizes_hw[sample.image_id]
        images.append({"id": sample.image_id, "file_name": sample.path.name, "height": hw[0], "width": hw[1]})
        annotations += [
            annotation_from_label(label, hw, oriented=oriented) | {"image_id": sample.image_id} for label in ones
        ]
    for number, annotation in enumerate(annotations, 1):
        annotation["id"] = number
    return {"images": images, "annotations": annotations}
