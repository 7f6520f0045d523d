"""A data.yaml as values: where the images are, what the classes are called, how many keypoints there are."""

import re
from dataclasses import dataclass
from pathlib import Path

from y12.errors import DatasetError
from y12.exporter.data.image_lists import data_yaml_from
from y12.exporter.data.splits import Splits, splits_from
from y12.runtime.artefact.manifest import MAX_KEYPOINTS
from y12.text import is_text, shown

__all__ = ["DataYaml", "read_data_yaml"]

_MAX_CLASSES = 100_000
_PAIR = re.compile(r"[(\[]\s*(\d{1,9})\s*,\s*(\d{1,9})\s*,?\s*[)\]]")  # as Python writes two numbers


@dataclass(frozen=True)
class DataYaml:
    """What a data.yaml says.

    Attributes:
        file: the file itself.
        names: the class names, by class id; "0", "1" … where it only counts them.
        splits: where the images of its splits are; None of labels that no data.yaml describes.
        kpt_shape: for keypoints (K, D): K points of x, y and, where D is 3, visibility.
    """

    file: Path
    names: tuple[str, ...]
    splits: Splits | None = None
    kpt_shape: tuple[int, int] | None = None


def read_data_yaml(path: Path) -> DataYaml:
    """Read the keys path, train, val, test (also valid, validation …), names, nc and kpt_shape.

    Raises:
        DatasetError: it is no YAML, uses aliases, or a value of these is wrong.
    """
    data = data_yaml_from(path, DatasetError, keys="names and val")
    classes = _count(data.get("nc"), path)
    names = _names(data.get("names", classes and list(range(classes))), path)
    if classes is not None and classes != len(names):
        raise DatasetError(f"{path}: nc is {classes}, but there are {len(names)} names")
    return DataYaml(path, names, splits_from(data, path, DatasetError), _kpt_shape(data.get("kpt_shape"), path))


def _count(value: object, path: Path) -> int | None:
    """Return a number of classes, which some write as a text."""
    if isinstance(value, str) and value.isdecimal() and len(value) < 9:
        value = int(value)
    if value is None or (type(value) is int and 0 < value <= _MAX_CLASSES):
        return value
    raise DatasetError(f"{path}: nc: expected a number of classes up to {_MAX_CLASSES}, found {shown(value)}")


def _names(value: object, path: Path) -> tuple[str, ...]:
    """Return the class names from a list, or from a mapping whose keys are 0, 1, 2 …, as numbers or as texts."""
    if isinstance(value, dict):
        by_id = {str(class_id): name for class_id, name in value.items()}
        ids = [str(i) for i in range(len(value))]
        if set(by_id) != set(ids):
            raise DatasetError(f"{path}: names: expected the ids 0 to {len(value) - 1}, found {shown(list(value))}")
        value = [by_id[class_id] for class_id in ids]
    if not isinstance(value, list) or not 0 < len(value) <= _MAX_CLASSES:
        raise DatasetError(f"{path}: names: expected a list of class names or a mapping from ids, found {shown(value)}")
    wrong = [name for name in value if type(name) is not int and not is_text(name)]
    if wrong:
        raise DatasetError(f"{path}: names: expected texts, found {shown(wrong[0])}: put it in quotes")
    return tuple(str(name) for name in value)


def _kpt_shape(value: object, path: Path) -> tuple[int, int] | None:
    if value is None:
        return None
    if isinstance(value, str) and (pair := _PAIR.fullmatch(value.strip())):
        value = [int(number) for number in pair.groups()]
    if isinstance(value, list) and len(value) == 2 and all(type(v) is int for v in value):
        points, size = value
        if 1 <= points <= MAX_KEYPOINTS and size in (2, 3):
            return points, size
    raise DatasetError(
        f"{path}: kpt_shape: expected [K, 2] or [K, 3] with K from 1 to {MAX_KEYPOINTS}, found {shown(value)}"
    )
