"""Where the images of a data.yaml's splits are: its paths as publishers write them, found on this machine.

A path starts at `path`, or at the data.yaml's folder. Where nothing is there, it is looked for as the field's exports
lay data out: beside the data.yaml without the "../" in front (Roboflow's), and an absolute path of another machine
without its first folders. What is taken in a path's place is told.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from y12.errors import Y12Error
from y12.exporter.data.image_lists import data_yaml_from, images_in, images_listed, without_repeats
from y12.exporter.data.passed_over import unread_in
from y12.text import shown

__all__ = ["SPLITS", "Splits", "class_folder", "images_of", "splits_from", "splits_of"]

# Each split's names, in keys as in folders; the first is its own.
SPLITS: Mapping[str, tuple[str, ...]] = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
_DRIVE = re.compile(r"^[A-Za-z]:/")
_LEAST_PARTS = 2  # of an absolute path that are looked for here: one alone may be any folder


@dataclass(frozen=True)
class Splits:
    """The splits of a data.yaml.

    Attributes:
        file: the data.yaml.
        sources: for each split the folders, lists (.txt) or images that it names.
        roots: the folders that paths start from, the likeliest first; the data.yaml's own is among them.
        moved: what is taken in a path's place, in words: of each split, and of `path` under "path".
    """

    file: Path
    sources: Mapping[str, tuple[Path, ...]]
    roots: tuple[Path, ...]
    moved: Mapping[str, tuple[str, ...]]

    def notes(self, split: str) -> tuple[str, ...]:
        """Return what is to be told of where a split's images are."""
        return (*self.moved.get("path", ()), *self.moved.get(split, ()))


def splits_of(file: Path, error_type: type[Y12Error]) -> Splits:
    """Read where a data.yaml has its images; its other keys are not looked at.

    Raises:
        error_type: it is no YAML, or a path is no text.
    """
    return splits_from(data_yaml_from(file, error_type, keys="names and val"), file, error_type)


def splits_from(data: Mapping[str, Any], file: Path, error_type: type[Y12Error]) -> Splits:
    """Return the splits of a data.yaml that is read already.

    Raises:
        error_type: a path is no text, or two names of one split contradict each other.
    """
    path = data.get("path") or "."
    if not isinstance(path, str):
        raise error_type(f"{file}: path: expected a folder, found {shown(path)}")
    roots, told = _roots(path, file.parent)
    sources, moved = {}, {"path": told}
    for split, names in SPLITS.items():
        named = {name: entries for name in names if (entries := _entries(data.get(name), name, file, error_type))}
        if len(set(named.values())) > 1:
            raise error_type(f"{file}: {' and '.join(named)} name different images of one split: drop all but one")
        for name, entries in list(named.items())[:1]:
            found = tuple(_found(entry, roots) for entry in entries)
            sources[split] = found
            moved[split] = tuple(
                f"{name}: {shown(entry)} is not there; {at} is taken"
                for entry, at in zip(entries, found, strict=True)
                if at != roots[0] / entry and os.path.exists(at)
            )
    return Splits(file, sources, roots, moved)


def images_of(splits: Splits, split: str, error_type: type[Y12Error]) -> tuple[Path, ...]:
    """List the images of a split: those of its folders (searched deeper), lists and single files.

    Raises:
        error_type: the split is not named, or nothing is at a path, or there is no image.
    """
    if split not in splits.sources:
        known = ", ".join(splits.sources) or "none"
        raise error_type(f"{splits.file}: expected the split '{split}', found {known}; y12-val --split chooses one")
    sources = splits.sources[split]
    images = without_repeats(_images(splits, sources, error_type), f"{splits.file}: {split}", error_type)
    if not images:
        unread = "".join(f" ({note})" for note in unread_in([source for source in sources if source.is_dir()]))
        raise error_type(
            f"{splits.file}: {split}: expected images in {', '.join(map(str, sources))}, found none{unread}"
        )
    return images


def class_folder(folder: Path, split: str | None) -> Path:
    """Return the folder inside of a classifier's data that holds a split's folders of classes.

    Without a split it is "val" where that is there under any of its names, else `folder` itself.
    """
    names = SPLITS[split or "val"]
    inside = next((folder / name for name in names if (folder / name).is_dir()), folder / names[0])
    return inside if split is not None or inside.is_dir() else folder


def _entries(value: object, name: str, file: Path, error_type: type[Y12Error]) -> tuple[str, ...]:
    """Return what a key names, one text or a list of them; nothing where it is empty."""
    if not value:
        return ()
    entries = value if isinstance(value, list) else [value]
    if not all(isinstance(entry, str) and entry for entry in entries):
        raise error_type(f"{file}: {name}: expected a folder, a list or an image, or several, found {shown(value)}")
    return tuple(entries)


def _roots(path: str, beside: Path) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """Return the folders that paths may start from, and what is to be told of them."""
    plain = path.replace("\\", "/")
    written = beside / plain
    if os.path.isdir(written):  # unlike Path's, these take a name that no file can have
        return (written, beside), ()
    moved = beside / PurePosixPath(plain).name
    roots = (moved, beside) if os.path.isdir(moved) else (beside,)
    return roots, (f"path: {shown(path)} is not there; paths start at {roots[0]}",)


def _found(entry: str, roots: tuple[Path, ...]) -> Path:
    """Return where an entry is; where it should be, if it is nowhere."""
    places = list(_places(entry.replace("\\", "/"), roots))
    return next((place for place in places if os.path.exists(place)), places[0])


def _places(entry: str, roots: tuple[Path, ...]) -> Iterator[Path]:
    yield from (root / entry for root in roots)
    parts = PurePosixPath(entry).parts
    beneath = next((i for i, part in enumerate(parts) if part != ".."), len(parts))
    if 0 < beneath < len(parts):
        yield from (root.joinpath(*parts[beneath:]) for root in roots)
    if entry.startswith("/") or _DRIVE.match(entry):
        for i in range(1, len(parts) - _LEAST_PARTS + 1):
            yield from (root.joinpath(*parts[i:]) for root in roots)


def _images(splits: Splits, sources: tuple[Path, ...], error_type: type[Y12Error]) -> Iterator[Path]:
    for source in sources:
        if os.path.isdir(source):
            yield from images_in(source, error_type)
        elif source.suffix == ".txt" and os.path.isfile(source):
            for line in images_listed(source, error_type):
                # "./" in a list means the list's own folder; anything else starts where all paths start
                yield _found(line, (source.parent,) if line.startswith("./") else splits.roots)
        elif os.path.isfile(source):
            yield source
        else:
            also = [str(root) for root in splits.roots[1:]]
            tried = f" nor under {', '.join(also)}" if also else ""
            raise error_type(
                f"{splits.file}: expected a folder, a list or an image at {source}, found nothing there{tried}"
            )
