"""What to look at: images, videos and streams that the arguments name, each read when its turn comes."""

import glob
import os
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from y12.errors import InputError
from y12.files import IMAGE_SUFFIXES, check_file, is_litter, unread_images
from y12.runtime.cli.common import say
from y12.runtime.preprocess.images import IN_FULL, MAX_FILE_BYTES, Reading
from y12.runtime.preprocess.reduced import Image
from y12.runtime.preprocess.streams import Stream, images_from_stream, stream_named
from y12.runtime.preprocess.video import images_from_video, import_av
from y12.runtime.stages import ms_since

VIDEO_SUFFIXES = frozenset(
    (".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ts", ".webm", ".wmv")
)


MAX_LIST_BYTES = 64 << 20


@dataclass(frozen=True)
class StandardInput:
    """One image, from whoever writes to this program."""

    stem = "stdin"

    def __str__(self) -> str:
        return "-"

    def image(self, reading: Reading) -> Image:
        """Read it, to the end.

        Raises:
            InputError: it is closed, or holds no image.
        """
        if sys.stdin is None:
            raise InputError("standard input: expected an image, found it closed")
        try:
            content = sys.stdin.buffer.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            raise InputError(f"standard input: cannot be read ({error.strerror or error})") from error
        return reading.image_from_bytes(content, "standard input")


Source = Path | Stream | StandardInput


@dataclass
class Frame:
    """One picture: an image, or one of a video's or a stream's.

    Attributes:
        path: where it is from.
        number: counts a video's frames from 0; None for an image.
        source: the decoded frame, (H, W, 3) BGR; where an image is from; or why a video cannot be read on.
        load_ms: how long decoding took so far.
        time_s: of a video's frame, seconds from the video's beginning; None where its file does not say.
        share: how much of its source is done with it, 0-1; None of a stream, and where a video does not say.
        reading: how an image is read.
    """

    path: Source
    number: int | None
    source: NDArray[np.uint8] | Path | StandardInput | InputError
    load_ms: float = 0.0
    time_s: float | None = None
    share: float | None = None
    reading: Reading = IN_FULL

    def load(self) -> Image:
        """Return the picture as (H, W, 3) BGR, or reduced, decoded now where it was not yet.

        Raises:
            InputError: the file cannot be decoded, or a video cannot be read on.
        """
        if isinstance(self.source, InputError):
            raise self.source
        if isinstance(self.source, StandardInput):
            return self.source.image(self.reading)
        return self.reading.image(self.source)

    def load_and_keep(self) -> NDArray[np.uint8]:
        """Do as `load`, in full, and hold the picture, so that it is not decoded again."""
        self.reading = Reading(self.reading.bits)
        image_bgr = self.load()
        assert isinstance(image_bgr, np.ndarray), "nobody asked for less"
        self.source = image_bgr
        return image_bgr


def sources_from(arguments: list[str], recursive: bool = False) -> list[Source]:
    """List what the arguments mean: images and videos, also those of folders, patterns and lists; streams.

    What exists as a file is the file, whatever else its name could mean. A source named twice is listed once.

    Args:
        arguments: as on the command line.
        recursive: search folders to the bottom.

    Raises:
        InputError: a folder, pattern or list holds nothing to look at, or an address is of a kind that is not read.
        MissingPackageError: there is a video or a stream, and nothing that reads it.
    """
    found: dict[Source, None] = {}
    for argument in arguments:
        found.update(dict.fromkeys(_meant(argument, recursive)))
    if any(map(is_moving, found)):
        import_av()  # said before the work begins
    return list(found)


def _meant(argument: str, recursive: bool) -> list[Source]:
    if argument == "-":
        return [StandardInput()]
    if os.path.isfile(argument) and argument.lower().endswith(".txt"):
        return [source for line in _lines(Path(argument)) for source in _files(line, recursive)]
    stream = None if os.path.isfile(argument) or os.path.isdir(argument) else stream_named(argument)
    return [stream] if stream else [*_files(argument, recursive)]


def _files(argument: str, recursive: bool) -> list[Path]:
    path = Path(argument)
    if os.path.isdir(argument):  # unlike Path's, it takes a name that no file can have
        inside = [
            p
            for p in sorted(path.rglob("*") if recursive else path.iterdir())
            if not any(map(is_litter, p.relative_to(path).parts))
        ]
        paths = [p for p in inside if p.suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES and not p.is_dir()]
        for note in unread_images(p.name for p in inside):
            say(f"note: {argument}: {note}")
    elif not os.path.exists(argument) and glob.has_magic(argument):
        paths = [Path(p) for p in sorted(glob.glob(argument, recursive=True)) if Path(p).is_file()]
    else:
        paths = [path]  # a missing file is reported when its turn comes
    if not paths:
        deeper = " (--recursive searches deeper)" if os.path.isdir(argument) and not recursive else ""
        raise InputError(f"{argument}: expected images or videos there, found none{deeper}")
    return paths


def _lines(path: Path) -> Iterator[str]:
    """Yield what a list names, a line each: beside the list where it is there, else in the current folder."""
    check_file(path, "a list of images and videos", MAX_LIST_BYTES)
    names = [line.strip() for line in path.read_bytes().decode(errors="surrogateescape").splitlines()]
    names = [name for name in names if name and not name.startswith("#")]
    if not names:
        raise InputError(f"{path}: expected a list of images and videos, found none in it")
    for name in names:
        # Whoever wrote the list is not who runs it: it cannot make this program open a connection.
        if name == "-" or "://" in name or name.lower().endswith(".txt"):
            raise InputError(f"{path}: expected images, videos, folders and patterns, found {name}: name it yourself")
        beside = os.path.join(path.parent, name)
        is_there = os.path.exists(beside) or (glob.has_magic(name) and glob.glob(beside, recursive=True))
        yield beside if is_there else name


def frames_from(
    sources: Sequence[Source],
    given_up: Collection[Source] = (),
    every: int = 1,
    tell: Callable[[str], None] = say,
    reading: Reading = IN_FULL,
) -> Iterator[Frame]:
    """Yield each image, and each video and stream frame by frame; what cannot be read tells so in its place.

    Images are not opened here, and only one frame of a video is in memory. Videos in `given_up`, which may grow
    meanwhile, are left at the next frame.

    Args:
        sources: from `sources_from`.
        given_up: those that are left.
        every: of a video or stream, the first frame and each so many further ones.
        tell: takes what there is to say about a stream.
        reading: how images are read.
    """
    for source in sources:
        if isinstance(source, StandardInput) or (isinstance(source, Path) and not is_moving(source)):
            yield Frame(source, None, source, share=1.0, reading=reading)
            continue
        try:
            for frame in _frames_from_video(source, tell):
                if (frame.number or 0) % every == 0:
                    yield frame
                if source in given_up:
                    break
        except InputError as error:
            yield Frame(source, None, error, share=1.0)


def is_moving(source: Source) -> bool:
    """Return whether it has frames: a video or a stream."""
    return is_live(source) or (isinstance(source, Path) and source.suffix.lower() in VIDEO_SUFFIXES)


def is_live(source: Source) -> bool:
    """Return whether its frames come when they come: what is late is old."""
    return isinstance(source, Stream)


def _frames_from_video(source: Path | Stream, tell: Callable[[str], None]) -> Iterator[Frame]:
    started = perf_counter()
    images = images_from_stream(source, tell) if isinstance(source, Stream) else images_from_video(source)
    for number, image in enumerate(images):
        yield Frame(source, number, image.image_bgr, ms_since(started), image.time_s, image.share)
        started = perf_counter()
