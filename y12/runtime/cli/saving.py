"""Where annotated pictures and counts go: files that are whole or not there, and never over an input."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from y12.errors import InputError
from y12.files import write_atomically
from y12.text import visible

if TYPE_CHECKING:
    from y12.runtime.cli.sources import Source

__all__ = ["CountTable", "Saver"]

QUALITY = 95  # JPEG


class Saver:
    """Save pictures into a folder as NAME_annotated.jpg; two inputs of one name give NAME_annotated_2.jpg.

    Args:
        folder: created where it is missing.
        inputs: files that are never written over, and whose numbering decides the names.
    """

    def __init__(self, folder: Path, inputs: "Sequence[Source]") -> None:
        self._folder = folder
        self._taken = {path.resolve() for path in inputs if isinstance(path, Path)}
        self._stems: dict[Source, str] = {}

    def save(self, source: "Source", number: int | None, image_bgr: NDArray[np.uint8]) -> Path:
        """Write the picture of `source` (of its frame `number`, for a video) and give its path.

        Raises:
            InputError: the folder cannot be written to.
        """
        import cv2

        if source not in self._stems:
            self._stems[source] = self._free_stem(source)
        frame = "" if number is None else f"_{number:06d}"
        path = self._folder / f"{self._stems[source]}{frame}.jpg"
        done, content = cv2.imencode(".jpg", image_bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        if not done:
            raise InputError(f"{path}: a picture of shape {image_bgr.shape} cannot be written as JPEG")
        write_atomically(path, content.tobytes())
        return path

    def _free_stem(self, source: "Source") -> str:
        """Find a name that no other input of this call uses and that is no input itself."""
        stem = f"{source.stem}_annotated"
        attempt, candidate = 1, stem
        while (key := (self._folder / f"{candidate}.jpg").resolve()) in self._taken:
            attempt += 1
            candidate = f"{stem}_{attempt}"
        self._taken.add(key)
        return candidate


class CountTable:
    """How many objects of each class each image, or frame of a video, shows: a CSV file with a column for each class.

    Args:
        path: of the file, which is written when all is done.
        task: of the model.
        names: its classes; those of one name share a column.

    Raises:
        InputError: the model finds no objects.
    """

    def __init__(self, path: Path, task: str, names: tuple[str, ...]) -> None:
        if task == "classify":
            raise InputError("--csv: expected a model that finds objects, found a classifier, which counts none")
        self._path, self._names = path, tuple(dict.fromkeys(names))
        self._rows: list[list[object]] = [["source", "frame", *(visible(name) for name in self._names)]]

    def add(self, source: "Source", number: int | None, counts: Mapping[str, int]) -> None:
        """Take note of a picture, which is frame `number` of a video."""
        row: list[object] = [visible(source), "" if number is None else number]
        self._rows.append(row + [counts.get(name, 0) for name in self._names])

    def write(self) -> None:
        """Write the file.

        Raises:
            InputError: it cannot be written.
        """
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(self._rows)
        write_atomically(self._path, text.getvalue().encode())
