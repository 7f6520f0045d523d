"""What to look at: images and videos from paths, folders and patterns, one after the other."""

import glob
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from runtime.errors import InputError
from runtime.files import IMAGE_SUFFIXES
from runtime.images import image_from

if TYPE_CHECKING:
    import cv2

VIDEO_SUFFIXES = frozenset([".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".ts"])


@dataclass(frozen=True)
class Frame:
    """One picture: of an image file, or of a video, where `number` counts from 0; and how long its decoding took."""

    path: Path
    number: int | None
    image_bgr: NDArray[np.uint8]
    decode_ms: float


def paths_from(arguments: list[str]) -> list[Path]:
    """List the files that the arguments mean: files as they are; of a folder or a pattern, images and videos.

    Folders are not searched deeper. A file named twice is listed once.

    Raises:
        InputError: a folder or pattern holds nothing to look at.
    """
    found: dict[Path, None] = {}
    for argument in arguments:
        path = Path(argument)
        if path.is_dir():
            paths = [p for p in sorted(path.iterdir()) if p.suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES]
        elif not path.exists() and glob.has_magic(argument):
            paths = [Path(p) for p in sorted(glob.glob(argument, recursive=True)) if Path(p).is_file()]
        else:
            paths = [path]  # a missing file is reported when its turn comes
        if not paths:
            raise InputError(f"{argument}: expected images or videos there, found none")
        found.update(dict.fromkeys(paths))
    return list(found)


def frames_from(path: Path) -> Iterator[Frame]:
    """Give the picture of an image file, or those of a video one by one; only one is in memory.

    Raises:
        InputError: the file cannot be decoded, or a video ends before its first frame.
    """
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return _frames_from_video(path)
    started = perf_counter()
    image_bgr = image_from(path)
    return iter([Frame(path, None, image_bgr, _ms_since(started))])


def _ms_since(started: float) -> float:
    return (perf_counter() - started) * 1e3


def _frames_from_video(path: Path) -> Iterator[Frame]:
    import cv2

    if not path.is_file():
        raise InputError(f"{path}: expected a video file, found none")
    capture = cv2.VideoCapture(str(path))
    try:
        number = -1
        started = perf_counter()
        for number, image in enumerate(_read_all(capture)):
            yield Frame(path, number, image_from(image), _ms_since(started))
            started = perf_counter()
        if number < 0:
            raise InputError(f"{path}: expected a video, found none that OpenCV can decode")
    finally:
        capture.release()


def _read_all(capture: "cv2.VideoCapture") -> Iterator[NDArray[np.uint8]]:
    while True:
        ok, image = capture.read()
        if not ok:
            return
        yield np.asarray(image, dtype=np.uint8)
