"""The images in a folder or a list, for whoever evaluates or calibrates on them; none is opened."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from y12.errors import Y12Error
from y12.exporter.safe_yaml import mapping_from_yaml
from y12.files import check_file, is_image_name, is_litter

__all__ = ["data_yaml_from", "evenly", "images_in", "images_listed", "without_repeats"]

Item = TypeVar("Item")

_MAX_YAML_BYTES = 4 << 20
_MAX_LIST_BYTES = 256 << 20
_MAX_DEPTH = 8
_MAX_IMAGES = 5_000_000
MAX_FOLDERS = 30_000  # ImageNet-21k has 22,000


def data_yaml_from(path: Path, error_type: type[Y12Error], *, keys: str) -> dict[str, Any]:
    """Read a data.yaml; its values are not looked at.

    Args:
        path: the file.
        error_type: what to raise.
        keys: what it is expected to hold, for the message where it is no mapping.

    Raises:
        error_type: it cannot be read, is too large, is no mapping in YAML or uses aliases.
    """
    text = _text(path, "a data.yaml", _MAX_YAML_BYTES, error_type)
    return mapping_from_yaml(text, path, error_type, keys=keys, max_depth=_MAX_DEPTH)


def images_in(folder: Path, error_type: type[Y12Error]) -> Iterator[Path]:
    """Yield the images in a folder and in those below it, in an order that the file system has no part in.

    What archives and file managers leave behind is passed over (`files.is_litter`).

    Raises:
        error_type: there are too many folders: a stranger's data.yaml can name the root of all.
    """
    for count, (inside, below, files) in enumerate(os.walk(folder)):
        if count == MAX_FOLDERS:
            raise error_type(f"{folder}: expected at most {MAX_FOLDERS} folders in it, found more: name one inside")
        below[:] = sorted(name for name in below if not is_litter(name))
        yield from (Path(inside, file) for file in sorted(files) if is_image_name(file))


def without_repeats(paths: Iterable[Path], where: str, error_type: type[Y12Error]) -> tuple[Path, ...]:
    """Return each path once, in their order; `where` says in a message what names them.

    Raises:
        error_type: there are too many.
    """
    unique: dict[Path, None] = {}
    for path in paths:
        unique[path] = None
        if len(unique) > _MAX_IMAGES:
            raise error_type(f"{where}: expected at most {_MAX_IMAGES} images")
    return tuple(unique)


def evenly(items: Sequence[Item], count: int) -> list[Item]:
    """Return so many of the items, evenly out of them and in their order; all where there are no more."""
    taken = min(count, len(items))
    return [items[i * len(items) // taken] for i in range(taken)]


def images_listed(file: Path, error_type: type[Y12Error]) -> Iterator[str]:
    """Yield the paths that a list of images has, one a line.

    Raises:
        error_type: the list cannot be read.
    """
    lines = _text(file, "a list of images", _MAX_LIST_BYTES, error_type).splitlines()
    yield from (line.strip() for line in lines if line.strip())


def _text(path: Path, what: str, max_bytes: int, error_type: type[Y12Error]) -> str:
    """Read a text; what is no UTF-8 becomes a character that no path has."""
    check_file(path, what, max_bytes, error_type)
    try:
        return path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise error_type(f"{path}: expected {what}, cannot be read ({error.strerror or error})") from error
