"""What to look at: images and videos from paths, folders and patterns, each read when its turn comes."""

import glob
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from y12.errors import InputError
from y12.files import IMAGE_SUFFIXES
from y12.runtime.preprocess.images import image_from
from y12.runtime.preprocess.video import images_from_video, import_av

VIDEO_SUFFIXES = frozenset(
    (".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ts", ".webm", ".wmv")
)


@dataclass
class Frame:
    """One picture: of an image file, or of a video.

    Attributes:
        path: the file.
        number: counts a video's frames from 0; None for an image file.
        source: the decoded frame, (H, W, 3) BGR; an image file's path; or why a video cannot be read on.
        load_ms: how long decoding took so far.
        time_s: of a video's frame, seconds from the video's beginning; None where its file does not say.
    """

    path: Path
    number: int | None
    source: NDArray[np.uint8] | Path | InputError
    load_ms: float = 0.0
    time_s: float | None = None

    def load(self) -> NDArray[np.uint8]:
        """Return the picture as (H, W, 3) BGR, decoded now where it was not yet.

        Raises:
            InputError: the file cannot be decoded, or a video cannot be read on.
        """
        if isinstance(self.source, InputError):
            raise self.source
        return image_from(self.source)

    def load_and_keep(self) -> NDArray[np.uint8]:
        """Do as `load`, and hold the picture, so that it is not decoded again."""
        self.source = image_bgr = self.load()
        return image_bgr


def paths_from(arguments: list[str]) -> list[Path]:
    """List the files that the arguments mean: files as they are; of a folder or a pattern, images and videos.

    Folders are not searched deeper. A file named twice is listed once.

    Raises:
        InputError: a folder or pattern holds nothing to look at.
        MissingPackageError: there is a video, and nothing that reads it.
    """
    found: dict[Path, None] = {}
    for argument in arguments:
        path = Path(argument)
        if os.path.isdir(argument):  # unlike Path's, it takes a name that no file can have
            paths = [p for p in sorted(path.iterdir()) if p.suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES]
        elif not os.path.exists(argument) and glob.has_magic(argument):
            paths = [Path(p) for p in sorted(glob.glob(argument, recursive=True)) if Path(p).is_file()]
        else:
            paths = [path]  # a missing file is reported when its turn comes
        if not paths:
            raise InputError(f"{argument}: expected images or videos there, found none")
        found.update(dict.fromkeys(paths))
    if any(map(_is_video, found)):
        import_av()  # said before the work begins
    return list(found)


def frames_from(paths: Sequence[Path], given_up: Collection[Path] = ()) -> Iterator[Frame]:
    """Yield each image file, and each video frame by frame; what cannot be read tells so in its place.

    Image files are not opened here, and only one frame of a video is in memory. Videos in `given_up`, which may grow
    meanwhile, are left at the next frame.
    """
    for path in paths:
        if not _is_video(path):
            yield Frame(path, None, path)
            continue
        try:
            for frame in _frames_from_video(path):
                yield frame
                if path in given_up:
                    break
        except InputError as error:
            yield Frame(path, None, error)


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES


def _ms_since(started: float) -> float:
    return (perf_counter() - started) * 1e3


def _frames_from_video(path: Path) -> Iterator[Frame]:
    started = perf_counter()
    for number, image in enumerate(images_from_video(path)):
        yield Frame(path, number, image.image_bgr, _ms_since(started), image.time_s)
        started = perf_counter()
