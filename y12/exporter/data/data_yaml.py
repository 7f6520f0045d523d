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
_TUPLE = re.compile(r"[(\[]\s*(\d{1,9}\s*(?:,\s*\d{1,9}\s*)*),?\s*[)\]]")  # as Python writes numbers


@dataclass(frozen=True)
class DataYaml:
    """What a data.yaml says.

    Attributes:
        file: the file itself.
        names: the class names, by class id; "0", "1" … where it only counts them.
        splits: where the images of its splits are; None of labels that no data.yaml describes.
        kpt_shape: for keypoints (K, D): K points of x, y and, where D is 3, visibility.
        flip_idx: which point each of them becomes in a mirrored picture; None where it does not say.
    """

    file: Path
    names: tuple[str, ...]
    splits: Splits | None = None
    kpt_shape: tuple[int, int] | None = None
    flip_idx: tuple[int, ...] | None = None


def read_data_yaml(path: Path) -> DataYaml:
    """Read the keys path, train, val, test (also valid, validation …), names, nc, kpt_shape and flip_idx.

    Raises:
        DatasetError: it is no YAML, uses aliases, or a value of these is wrong.
    """
    data = data_yaml_from(path, DatasetError, keys="names and val")
    classes = _count(data.get("nc"), path)
    names = _names(data.get("names", classes and list(range(classes))), path)
    if classes is not None and classes != len(names):
        raise DatasetError(f"{path}: nc is {classes}, but there are {len(names)} names")
    kpt_shape = _kpt_shape(data.get("kpt_shape"), path)
    flip_idx = _flip_idx(data.get("flip_idx"), kpt_shape, path)
    return DataYaml(path, names, splits_from(data, path, DatasetError), kpt_shape, flip_idx)


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
    numbers = _numbers(value)
    if len(numbers) == 2 and 1 <= numbers[0] <= MAX_KEYPOINTS and numbers[1] in (2, 3):
        return numbers[0], numbers[1]
    raise DatasetError(
        f"{path}: kpt_shape: expected [K, 2] or [K, 3] with K from 1 to {MAX_KEYPOINTS}, found {shown(value)}"
    )


def _flip_idx(value: object, kpt_shape: tuple[int, int] | None, path: Path) -> tuple[int, ...] | None:
    """Return which point each one becomes in a mirrored picture: an order that undoes itself."""
    if value is None:
        return None
    order = _numbers(value)
    points = kpt_shape[0] if kpt_shape else len(order)
    if order and len(order) == points and all(i < points and order[i] == at for at, i in enumerate(order)):
        return order
    raise DatasetError(
        f"{path}: flip_idx: expected which of {points} keypoints each one becomes when mirrored, an order of 0 to "
        f"{points - 1} that undoes itself, found {shown(value)}"
    )


def _numbers(value: object) -> tuple[int, ...]:
    """Return a list of whole numbers, or what Python writes of a tuple of them; nothing of anything else."""
    if isinstance(value, str) and (found := _TUPLE.fullmatch(value.strip())):
        return tuple(int(number) for number in found[1].split(","))
    if isinstance(value, list) and all(type(number) is int and number >= 0 for number in value):
        return tuple(value)
    return ()
