"""A data.yaml as values: where the images are, what the classes are called, how many keypoints there are."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from exporter.accuracy.files import read_text
from exporter.errors import DatasetError
from exporter.model.shown import shown
from exporter.safe_yaml import mapping_from_yaml
from runtime.manifest import MAX_KEYPOINTS

__all__ = ["IMAGE_SUFFIXES", "SPLITS", "DataYaml", "image_paths", "read_data_yaml"]

SPLITS = ("train", "val", "test")
# What `runtime.images.FORMATS` are called on disk.
IMAGE_SUFFIXES = frozenset(
    (".avif", ".bmp", ".gif", ".jp2", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
)
_MAX_YAML_BYTES = 4 << 20
_MAX_LIST_BYTES = 256 << 20
_MAX_DEPTH = 8
_MAX_CLASSES = 100_000
_MAX_IMAGES = 5_000_000


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
    text = read_text(path, "a data.yaml", _MAX_YAML_BYTES)
    data = mapping_from_yaml(text, path, DatasetError, keys="names and val", max_depth=_MAX_DEPTH)
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
    found: dict[Path, None] = {}
    for source in data.splits[split]:
        for path in _images_of(data.root / source, data):
            found[path] = None
            if len(found) > _MAX_IMAGES:
                raise DatasetError(f"{data.file}: {split}: expected at most {_MAX_IMAGES} images")
    if not found:
        raise DatasetError(f"{data.file}: {split}: expected images in {', '.join(data.splits[split])}, found none")
    return tuple(found)


def _images_of(source: Path, data: DataYaml) -> Iterator[Path]:
    if source.suffix == ".txt" and source.is_file():
        for line in read_text(source, "a list of images", _MAX_LIST_BYTES).splitlines():
            if line.strip():
                # "./" in a list means the list's own folder; anything else starts where all paths start
                yield (source.parent if line.startswith("./") else data.root) / line.strip()
    elif source.is_dir():
        for folder, below, files in os.walk(source):
            below.sort()
            yield from (Path(folder, f) for f in sorted(files) if Path(f).suffix.lower() in IMAGE_SUFFIXES)
    elif source.is_file():
        yield source
    else:
        raise DatasetError(f"{data.file}: expected a folder, a list or an image at {source}, found nothing there")


def _names(value: object, path: Path) -> tuple[str, ...]:
    """Give the class names from a list, or from a mapping whose keys are 0, 1, 2 …."""
    if isinstance(value, dict):
        if sorted(value, key=str) != sorted(range(len(value)), key=str):
            raise DatasetError(f"{path}: names: expected the ids 0 to {len(value) - 1}, found {shown(list(value))}")
        value = [value[i] for i in range(len(value))]
    if not isinstance(value, list) or not 0 < len(value) <= _MAX_CLASSES:
        raise DatasetError(f"{path}: names: expected a list of class names or a mapping from ids, found {shown(value)}")
    wrong = [name for name in value if not isinstance(name, str | int) or isinstance(name, bool)]
    if wrong:
        raise DatasetError(f"{path}: names: expected texts, found {shown(wrong[0])}: put it in quotes")
    return tuple(str(name) for name in value)


def _sources(value: object, split: str, path: Path) -> tuple[str, ...]:
    sources = value if isinstance(value, list) else [value]
    if not all(isinstance(source, str) and source for source in sources):
        raise DatasetError(f"{path}: {split}: expected a folder, a list or an image, or several, found {shown(value)}")
    return tuple(sources)


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
