"""Where files go: a run's own folders, a name for each input, and whether there can be a file at all."""

import re
import tempfile
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from y12.errors import InputError, OutputError
from y12.files import is_device

if TYPE_CHECKING:
    from y12.runtime.cli.sources import Source

__all__ = ["RunFolders", "Stems", "checked_file"]

_STEM_BYTES = 200  # of a file's name, which has 255 and gets an ending


class RunFolders:
    """Make the folders of a run: one that holds anything is left alone, and FOLDER_2, FOLDER_3 … taken.

    A folder inside one that was made before goes with it: beside RUN_2 there is RUN_2/labels for RUN/labels.

    Args:
        exist_ok: write into the folders themselves, over what an earlier run has written there.
    """

    def __init__(self, exist_ok: bool = False) -> None:
        self._exist_ok = exist_ok
        self._made: dict[Path, Path] = {}

    def make(self, folder: Path) -> Path:
        """Make a folder, or the first of its numbered neighbours that is free, and give its path.

        Raises:
            OutputError: there can be no such folder.
        """
        inside = next((asked for asked in self._made if folder.is_relative_to(asked)), None)
        try:
            if inside is None:
                made = _made(folder, self._exist_ok)
            else:
                made = self._made[inside] / folder.relative_to(inside)
                made.mkdir(parents=True, exist_ok=True)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise OutputError(f"{folder}: expected a folder to write to, cannot be written ({reason})") from error
        self._made[folder] = made
        return made


def _made(folder: Path, exist_ok: bool) -> Path:
    for number in count(1):
        candidate = folder if number == 1 else folder.with_name(f"{folder.name}_{number}")
        try:
            candidate.mkdir(parents=True, exist_ok=exist_ok)
        except FileExistsError:
            if not candidate.is_dir():
                raise
            if any(candidate.iterdir()):
                continue
        with tempfile.TemporaryFile(dir=candidate):  # refused now, not after the first picture
            return candidate
    raise AssertionError  # numbers do not end


def checked_file(path: Path, option: str, inputs: "Sequence[Source]") -> Path:
    """Return the path of a file that is written at the end, having seen that it can be.

    Raises:
        InputError: it is an input.
        OutputError: it cannot be written.
    """
    if path.resolve() in {source.resolve() for source in inputs if isinstance(source, Path)}:
        raise InputError(f"{option}: expected another file than an input, found {path}")
    try:
        if path.is_dir():
            raise IsADirectoryError(0, "it is a folder")
        if not is_device(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=path.parent):
                pass
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"{path}: cannot be written ({reason})") from error
    return path


class Stems:
    """A name for each input: its own; where another has it, or has the name of a video's frame, with a number.

    What comes after an image's name begins with no underscore and number, so that no image is taken for a frame.
    """

    def __init__(self) -> None:
        self._stems: dict[Source, str] = {}
        self._images: set[str] = set()
        self._videos: set[str] = set()

    def of(self, source: "Source", number: int | None) -> str:
        """Return what the files of an image are called, or those of frame `number` of a video."""
        if source not in self._stems:
            own = source.stem.encode(errors="surrogateescape")[:_STEM_BYTES].decode(errors="surrogateescape")
            names = (own if i == 1 else f"{own}-{i}" for i in count(1))
            free = self._is_free_for_image if number is None else self._is_free_for_video
            self._stems[source] = next(filter(free, names))
            (self._images if number is None else self._videos).add(self._stems[source])
        stem = self._stems[source]
        return stem if number is None else f"{stem}_{number}"

    def _is_free_for_image(self, stem: str) -> bool:
        return stem not in self._images | self._videos and _video_of(stem) not in self._videos

    def _is_free_for_video(self, stem: str) -> bool:
        return stem not in self._images | self._videos and stem not in map(_video_of, self._images)


def _video_of(stem: str) -> str | None:
    """Return the name of the video whose frame would be called so."""
    found = re.fullmatch(r"(.*)_[0-9]+", stem, re.DOTALL)
    return found[1] if found else None
