"""Which images to calibrate on: those of a folder, or of the training split of a data.yaml."""

from collections.abc import Iterator
from pathlib import Path

from y12.errors import CalibrationError
from y12.exporter.data.image_lists import (
    data_yaml_from,
    entries_from,
    evenly,
    images_in,
    images_named,
    without_repeats,
)
from y12.files import IMAGE_SUFFIXES
from y12.text import shown

__all__ = ["calibration_images"]


def calibration_images(source: Path, limit: int | None = None) -> list[Path]:
    """Return the images to calibrate on, sorted by path whatever the file system's order is.

    Args:
        source: a folder (searched deeper), or a data.yaml whose `train` names folders, lists (.txt) or images.
        limit: take no more than so many, evenly out of the list; None takes all.

    Raises:
        CalibrationError: there is no image, a path does not exist, or the YAML has no training split: calibrating on
            the validation split would make the accuracy measured on it look better than it is.
    """
    if limit is not None and limit < 1:
        raise CalibrationError(f"calibration images: expected a limit of 1 or more, found {limit}")
    paths = sorted(without_repeats(_listed(source), str(source), CalibrationError))
    if not paths:
        known = ", ".join(sorted(IMAGE_SUFFIXES))
        raise CalibrationError(f"{source}: expected images to calibrate on, found none; known: {known}")
    return paths if limit is None else evenly(paths, limit)


def _listed(source: Path) -> Iterator[Path]:
    if source.is_dir():
        return images_in(source, CalibrationError)
    if source.suffix.lower() in (".yaml", ".yml"):
        return _in_training_split(source)
    kind = "a file" if source.exists() else "nothing there"
    raise CalibrationError(f"{source}: expected a folder of images or a data.yaml to calibrate on, found {kind}")


def _in_training_split(file: Path) -> Iterator[Path]:
    data = data_yaml_from(file, CalibrationError, keys="train")
    root, train = data.get("path", "."), data.get("train")
    entries = entries_from(train)
    if not isinstance(root, str) or entries is None:
        splits = ", ".join(name for name in ("train", "val", "test") if data.get(name)) or "none"
        raise CalibrationError(
            f"{file}: expected train to name a folder, a list or an image (found {shown(train)}; splits: {splits}); "
            "name one, or calibrate on a folder: images the accuracy is measured on must not be calibrated on"
        )
    return images_named(entries, file.parent / root, file, CalibrationError)
