"""Which images to calibrate on: those of a folder, or of the training split of a data.yaml."""

from collections.abc import Iterable
from pathlib import Path

from y12.errors import CalibrationError
from y12.exporter.data.image_lists import evenly, images_in, without_repeats
from y12.exporter.data.passed_over import unread_in
from y12.exporter.data.splits import images_of, splits_of
from y12.files import IMAGE_SUFFIXES

__all__ = ["calibration_images", "calibration_notes"]

_YAML = (".yaml", ".yml")


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


def calibration_notes(source: Path) -> tuple[str, ...]:
    """Return where a data.yaml's training images were found, if not where it says, and which pictures are not read.

    Raises:
        CalibrationError: the data.yaml cannot be read.
    """
    if source.suffix.lower() not in _YAML:
        return unread_in([source])
    splits = splits_of(source, CalibrationError)
    folders = [path for path in splits.sources.get("train", ()) if path.is_dir()]
    return (*splits.notes("train"), *unread_in(folders))


def _listed(source: Path) -> Iterable[Path]:
    if source.is_dir():
        return images_in(source, CalibrationError)
    if source.suffix.lower() not in _YAML:
        kind = "a file" if source.exists() else "nothing there"
        raise CalibrationError(f"{source}: expected a folder of images or a data.yaml to calibrate on, found {kind}")
    splits = splits_of(source, CalibrationError)
    if "train" not in splits.sources:
        raise CalibrationError(
            f"{source}: expected train to name a folder, a list or an image (splits: "
            f"{', '.join(splits.sources) or 'none'}); name one, or calibrate on a folder: images the accuracy is "
            "measured on must not be calibrated on"
        )
    return images_of(splits, "train", CalibrationError)
