"""Where annotated pictures and counts go: files that are whole or not there, never over an input or another run's."""

import csv
import io
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from y12.errors import InputError
from y12.files import write_atomically
from y12.runtime.cli.video_out import VideoWriter
from y12.text import visible

if TYPE_CHECKING:
    from y12.runtime.cli.sources import Source

__all__ = ["CountTable", "Saver", "run_folder"]

QUALITY = 95  # JPEG


class Saver:
    """Save annotated pictures into a run's own folder: NAME_annotated.jpg of an image, NAME_annotated.mp4 of a video.

    Two inputs of one name give NAME_annotated_2. Close it, also after a failure: a video is whole only then.

    Args:
        folder: created where it is missing; one that holds anything is left alone, and FOLDER_2, FOLDER_3 … taken.
        inputs: files that are never written over, and whose numbering decides the names.
        exist_ok: write into `folder` itself, over what an earlier run has written there.

    Raises:
        InputError: there can be no such folder.
    """

    def __init__(self, folder: Path, inputs: "Sequence[Source]", exist_ok: bool = False) -> None:
        self.folder = run_folder(folder, exist_ok)
        self._taken = {path.resolve() for path in inputs if isinstance(path, Path)}
        self._paths: dict[Source, Path] = {}
        self._video: VideoWriter | None = None
        self.count = 0  # of pictures, a video's each

    def __enter__(self) -> "Saver":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Finish a video that is being written.

        Raises:
            InputError: it cannot be.
        """
        video, self._video = self._video, None
        if video is not None:
            video.close()

    def path_of(self, source: "Source", number: int | None) -> Path:
        """Return where the picture of `source` goes, or those of a video, which have a number."""
        if source not in self._paths:
            self._paths[source] = self._free_path(source, ".jpg" if number is None else ".mp4")
        return self._paths[source]

    def save(
        self, source: "Source", number: int | None, image_bgr: NDArray[np.uint8], time_s: float | None = None
    ) -> Path:
        """Write the picture of `source`, of a video the frame `number` and its time, and give the file's path.

        Raises:
            InputError: the folder cannot be written to, or a video's pictures change their size.
        """
        path = self.path_of(source, number)
        if self._video is not None and self._video.path != path:
            self.close()
        if number is None:
            _write_jpeg(path, image_bgr)
        else:
            if self._video is None:
                height, width = image_bgr.shape[:2]
                self._video = VideoWriter(path, (height, width))
            self._video.write(image_bgr, time_s)
        self.count += 1
        return path

    def _free_path(self, source: "Source", suffix: str) -> Path:
        """Find a name that no other input of this call uses and that is no input itself."""
        stem = f"{source.stem}_annotated"
        attempt, candidate = 1, self.folder / f"{stem}{suffix}"
        while (key := candidate.resolve()) in self._taken:
            attempt += 1
            candidate = self.folder / f"{stem}_{attempt}{suffix}"
        self._taken.add(key)
        return candidate


def run_folder(folder: Path, exist_ok: bool) -> Path:
    """Create a run's folder, or the first of its numbered neighbours that is free.

    Raises:
        InputError: there can be no such folder.
    """
    try:
        for number in count(1):
            candidate = folder if number == 1 else folder.with_name(f"{folder.name}_{number}")
            try:
                candidate.mkdir(parents=True, exist_ok=exist_ok)
            except FileExistsError:
                if not candidate.is_dir():
                    raise
                if any(candidate.iterdir()):
                    continue
            return candidate
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{folder}: expected a folder to write to, cannot be written ({reason})") from error
    raise AssertionError  # numbers do not end


def _write_jpeg(path: Path, image_bgr: NDArray[np.uint8]) -> None:
    import cv2

    done, content = cv2.imencode(".jpg", image_bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not done:
        raise InputError(f"{path}: a picture of shape {image_bgr.shape} cannot be written as JPEG")
    write_atomically(path, content.tobytes())


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
