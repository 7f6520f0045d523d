"""Which images to calibrate on: those of a folder, or of the training split of a data.yaml."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from exporter.errors import CalibrationError
from exporter.model.shown import shown
from exporter.safe_yaml import mapping_from_yaml
from runtime.files import check_file

__all__ = ["calibration_images"]

# What `runtime.images.FORMATS` are called on disk.
_IMAGE_SUFFIXES = frozenset(
    (".avif", ".bmp", ".gif", ".jp2", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
)
_MAX_YAML_BYTES = 4 << 20
_MAX_LIST_BYTES = 256 << 20
_MAX_DEPTH = 8
_MAX_IMAGES = 5_000_000


def calibration_images(source: Path, limit: int | None = None) -> list[Path]:
    """List the images to calibrate on, sorted by path whatever the file system's order is.

    Args:
        source: a folder (searched deeper), or a data.yaml whose `train` names folders, lists (.txt) or images.
        limit: take no more than so many, evenly out of the list; None takes all.

    Raises:
        CalibrationError: there is no image, a path does not exist, or the YAML has no training split: calibrating on
            the validation split would make the accuracy measured on it look better than it is.
    """
    if limit is not None and limit < 1:
        raise CalibrationError(f"calibration images: expected a limit of 1 or more, found {limit}")
    found: set[Path] = set()
    for path in _listed(source):
        found.add(path)
        if len(found) > _MAX_IMAGES:
            raise CalibrationError(f"{source}: expected at most {_MAX_IMAGES} images to calibrate on")
    if not found:
        known = ", ".join(sorted(_IMAGE_SUFFIXES))
        raise CalibrationError(f"{source}: expected images to calibrate on, found none; known: {known}")
    paths = sorted(found)
    if limit is None or limit >= len(paths):
        return paths
    return [paths[i * len(paths) // limit] for i in range(limit)]


def _listed(source: Path) -> Iterator[Path]:
    if source.is_dir():
        yield from _in_folder(source)
    elif source.suffix.lower() in (".yaml", ".yml"):
        yield from _in_training_split(source)
    else:
        found = "a file" if source.exists() else "nothing there"
        raise CalibrationError(f"{source}: expected a folder of images or a data.yaml to calibrate on, found {found}")


def _in_folder(folder: Path) -> Iterator[Path]:
    for inside, _, files in os.walk(folder):
        yield from (Path(inside, file) for file in files if Path(file).suffix.lower() in _IMAGE_SUFFIXES)


def _in_training_split(file: Path) -> Iterator[Path]:
    text = _text(file, "a data.yaml", _MAX_YAML_BYTES)
    data = mapping_from_yaml(text, file, CalibrationError, keys="train", max_depth=_MAX_DEPTH)
    root, train = data.get("path", "."), data.get("train")
    sources: list[Any] = train if isinstance(train, list) else [train]
    if not isinstance(root, str) or not sources or not all(isinstance(entry, str) and entry for entry in sources):
        splits = ", ".join(name for name in ("train", "val", "test") if data.get(name)) or "none"
        raise CalibrationError(
            f"{file}: expected train to name a folder, a list or an image (found {shown(train)}; splits: {splits}); "
            "name one, or calibrate on a folder: images the accuracy is measured on must not be calibrated on"
        )
    for entry in sources:
        yield from _of_entry(file.parent / root, entry, file)


def _of_entry(root: Path, entry: str, file: Path) -> Iterator[Path]:
    source = root / entry
    if source.is_dir():
        yield from _in_folder(source)
    elif source.suffix == ".txt" and source.is_file():
        for line in _text(source, "a list of images", _MAX_LIST_BYTES).splitlines():
            if line.strip():
                # "./" in a list means the list's own folder; anything else starts where all paths start
                yield (source.parent if line.startswith("./") else root) / line.strip()
    elif source.is_file():
        yield source
    else:
        raise CalibrationError(f"{file}: expected a folder, a list or an image at {source}, found nothing there")


def _text(path: Path, what: str, max_bytes: int) -> str:
    check_file(path, what, max_bytes, CalibrationError)
    try:
        return path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise CalibrationError(f"{path}: expected {what}, cannot be read ({error.strerror or error})") from error
