"""A data.yaml as values: where the images are, what the classes are called, how many keypoints there are."""

from dataclasses import dataclass
from pathlib import Path

from y12.errors import DatasetError
from y12.exporter.data.image_lists import data_yaml_from, entries_from, images_named, without_repeats
from y12.files import IMAGE_SUFFIXES
from y12.runtime.artefact.manifest import MAX_KEYPOINTS
from y12.text import is_text, shown

__all__ = ["IMAGE_SUFFIXES", "SPLITS", "DataYaml", "image_paths", "read_data_yaml"]

SPLITS = ("train", "val", "test")
_MAX_CLASSES = 100_000


@dataclass(frozen=True)
class DataYaml:
    """What a data.yaml says.

    Attributes:
        file: the file itself.
        root: the folder that its paths start from.
        splits: the folders, lists or images of each split it names.
        names: the class names, by class id.
        kpt_shape: for keypoints (K, D): K points of x, y and, where D is 3, visibility.
    """

    file: Path
    root: Path
    splits: dict[str, tuple[str, ...]]
    names: tuple[str, ...]
    kpt_shape: tuple[int, int] | None = None


def read_data_yaml(path: Path) -> DataYaml:
    """Read the keys path, train, val, test, names, nc and kpt_shape; others are not looked at.

    Raises:
        DatasetError: it is no YAML, uses aliases, or a value of these is wrong.
    """
    data = data_yaml_from(path, DatasetError, keys="names and val")
    names = _names(data.get("names"), path)
    classes = data.get("nc")
    if classes is not None and classes != len(names):
        raise DatasetError(f"{path}: nc is {shown(classes)}, but there are {len(names)} names")
    root = data.get("path", ".")
    if not isinstance(root, str):
        raise DatasetError(f"{path}: path: expected a folder, found {shown(root)}")
    splits = {name: _sources(data[name], name, path) for name in SPLITS if data.get(name)}
    return DataYaml(path, path.parent / root, splits, names, _kpt_shape(data.get("kpt_shape"), path))


def image_paths(data: DataYaml, split: str) -> tuple[Path, ...]:
    """List the images of a split: those of its folders (searched deeper), lists (.txt) and single files.

    Raises:
        DatasetError: the split is not named, or a path does not exist, or there is no image.
    """
    if split not in data.splits:
        known = ", ".join(data.splits) or "none"
        raise DatasetError(f"{data.file}: expected the split '{split}', found {known}; choose one with --split")
    named = images_named(data.splits[split], data.root, data.file, DatasetError)
    images = without_repeats(named, f"{data.file}: {split}", DatasetError)
    if not images:
        raise DatasetError(f"{data.file}: {split}: expected images in {', '.join(data.splits[split])}, found none")
    return images


def _names(value: object, path: Path) -> tuple[str, ...]:
    """Return the class names from a list, or from a mapping whose keys are 0, 1, 2 …."""
    if isinstance(value, dict):
        if sorted(value, key=str) != sorted(range(len(value)), key=str):
            raise DatasetError(f"{path}: names: expected the ids 0 to {len(value) - 1}, found {shown(list(value))}")
        value = [value[i] for i in range(len(value))]
    if not isinstance(value, list) or not 0 < len(value) <= _MAX_CLASSES:
        raise DatasetError(f"{path}: names: expected a list of class names or a mapping from ids, found {shown(value)}")
    wrong = [name for name in value if type(name) is not int and not is_text(name)]
    if wrong:
        raise DatasetError(f"{path}: names: expected texts, found {shown(wrong[0])}: put it in quotes")
    return tuple(str(name) for name in value)


def _sources(value: object, split: str, path: Path) -> tuple[str, ...]:
    sources = entries_from(value)
    if sources is None:
        raise DatasetError(f"{path}: {split}: expected a folder, a list or an image, or several, found {shown(value)}")
    return sources


def _kpt_shape(value: object, path: Path) -> tuple[int, int] | None:
    if value is None:
        return None
    if isinstance(value, list) and len(value) == 2 and all(type(v) is int for v in value):
        points, size = value
        if 1 <= points <= MAX_KEYPOINTS and size in (2, 3):
            return points, size
    raise DatasetError(
        f"{path}: kpt_shape: expected [K, 2] or [K, 3] with K from 1 to {MAX_KEYPOINTS}, found {shown(value)}"
    )
