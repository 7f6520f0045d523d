"""What the arguments name: images of folders, patterns and lists, here or in a store, one after the other.

Names are not kept, so that there may be more of them than a process holds; but of several arguments, or of a list,
those that were given are, as an image that is named twice is one image.
"""

import glob
import io
import os
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import BinaryIO

from y12.batch.storage import Entry, file_system, is_remote, listed
from y12.errors import InputError
from y12.files import counted, first_of, is_image_name, is_litter, looks_like_image
from y12.runtime.cli.sources import VIDEO_SUFFIXES

__all__ = ["names_from"]

STORES = ("s3", "gs", "gcs")  # what a line of a list may name: whoever wrote it is not who runs it
Tell = Callable[[str], None]


def names_from(arguments: Sequence[str], recursive: bool, tell: Tell) -> Iterator[str]:
    """Yield the path or address of each image once, in the order of the arguments; in a folder by name.

    A file that an argument names is yielded, be it there or not: what it is shows when its turn comes.

    Args:
        arguments: as on the command line.
        recursive: search folders to the bottom.
        tell: takes what there is to say of pictures that are passed over.

    Raises:
        InputError: a folder, pattern or list holds no image, or cannot be listed.
    """
    once = len(arguments) == 1 and not _is_list(arguments[0])
    seen: set[str] = set()
    for argument in arguments:
        found = False
        for name in _meant(argument, recursive, tell):
            found = True
            if once:
                yield name
            elif name not in seen:
                seen.add(name)
                yield name
        if not found:
            deeper = "" if recursive or not _is_folder(argument) else " (--recursive searches deeper)"
            raise InputError(f"{argument}: expected images there, found none{deeper}")


def _is_list(argument: str) -> bool:
    return argument.lower().endswith(".txt") and not _is_folder(argument)


def _meant(argument: str, recursive: bool, tell: Tell) -> Iterator[str]:
    if not _is_list(argument):
        yield from _files(argument, recursive, tell)
        return
    with io.TextIOWrapper(_opened(argument), "utf-8", errors="surrogateescape") as lines:
        for raw in lines:
            line = raw.strip()
            if line and not line.startswith("#"):
                yield from _files(_of_list(argument, line), recursive, tell)


def _opened(argument: str) -> BinaryIO:
    try:
        if is_remote(argument):
            system, path = file_system(argument)
            return io.BufferedReader(system.open_input_stream(path))
        return open(argument, "rb")
    except OSError as error:
        raise InputError(
            f"{argument}: expected a list of images, cannot be read ({error.strerror or error})"
        ) from error


def _of_list(place: str, line: str) -> str:
    """Return what a line of a list names: what lies beside the list where it is there, else as it stands."""
    scheme, remote, _ = line.partition("://")
    if (remote and scheme not in STORES) or line == "-" or line.lower().endswith(".txt"):
        raise InputError(f"{place}: expected images, folders and patterns, found {line}: name it yourself")
    if remote or is_remote(place):
        return line if remote else f"{place.rpartition('/')[0]}/{line}"
    beside = os.path.join(os.path.dirname(place), line)
    is_there = os.path.exists(beside) or (glob.has_magic(line) and glob.glob(beside, recursive=True))
    return beside if is_there else line


def _files(argument: str, recursive: bool, tell: Tell) -> Iterator[str]:
    if is_remote(argument):
        yield from _in_store(argument, recursive, tell)
    elif os.path.isdir(argument):
        yield from _in_folder(argument, recursive, tell)
    elif glob.has_magic(argument) and not os.path.exists(argument):
        yield from (name for name in sorted(glob.glob(argument, recursive=True)) if os.path.isfile(name))
    else:
        yield argument


def _in_store(address: str, recursive: bool, tell: Tell) -> Iterator[str]:
    file_system(address)  # refused now, not image by image
    fixed, rest = _parted(address)
    if rest:
        yield from _matching(fixed, rest)
    elif _is_folder(address):
        yield from _in_folder(address, recursive, tell)
    else:
        yield address


def _is_folder(argument: str) -> bool:
    if not is_remote(argument):
        return os.path.isdir(argument)
    if argument.endswith("/") or (is_remote(argument) and "/" not in argument.partition("://")[2]):
        return True
    if is_image_name(argument):  # asked of each line of a list, it would take a request of each
        return False
    system, path = file_system(argument)
    try:
        return bool(system.get_file_info(path).type.name != "File")  # in a bucket, a folder is what is in it
    except OSError as error:
        raise InputError(f"{argument}: cannot be looked at ({' '.join(str(error).split()):.200})") from error


def _in_folder(folder: str, recursive: bool, tell: Tell) -> Iterator[str]:
    """Yield the images of a folder, then, if so asked, those of the folders in it."""
    entries = [entry for entry in _entries(folder) if not is_litter(entry.name)]
    for note in _passed_over([entry.name for entry in entries if not entry.is_folder]):
        tell(f"note: {folder}: {note}")
    base = folder.rstrip("/") or folder
    for name, is_folder in entries:
        if not is_folder and is_image_name(name):
            yield f"{base}/{name}"
    if recursive:
        for name, is_folder in entries:
            if is_folder:
                yield from _in_folder(f"{base}/{name}", recursive, tell)


def _entries(folder: str) -> list[Entry]:
    if is_remote(folder):
        return listed(folder)
    try:
        with os.scandir(folder) as found:
            # A link to a folder may lead back up: it is not followed.
            return sorted(Entry(entry.name, entry.is_dir(follow_symlinks=False)) for entry in found)
    except OSError as error:
        raise InputError(f"{folder}: cannot be listed ({error.strerror or error})") from error


def _passed_over(names: Sequence[str]) -> Iterator[str]:
    pictures = [name for name in names if looks_like_image(name)]
    videos = [name for name in names if PurePosixPath(name).suffix.lower() in VIDEO_SUFFIXES]
    if pictures:
        yield f"{counted(pictures, 'picture')} passed over ({first_of(pictures)}): convert to JPEG or PNG"
    if videos:
        yield f"{counted(videos, 'video')} passed over ({first_of(videos)}): y12-infer looks at videos"


def _parted(address: str) -> tuple[str, list[str]]:
    """Return the folder above the first part of an address that is a pattern, and the parts from there on."""
    scheme, _, path = address.partition("://")
    parts = path.split("/")
    first = next((i for i, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    return f"{scheme}://{'/'.join(parts[:first])}", parts[first:]


def _matching(folder: str, parts: Sequence[str]) -> Iterator[str]:
    """Yield the files below a folder of a store whose path from there matches, part by part; ** is any depth."""
    wanted, *deeper = parts
    if wanted == "**" and deeper:
        yield from _matching(folder, deeper)
    for name, is_folder in listed(folder):
        if wanted == "**" and is_folder:
            yield from _matching(f"{folder}/{name}", parts)
        elif wanted != "**" and fnmatchcase(name, wanted) and bool(deeper) == is_folder:
            yield from _matching(f"{folder}/{name}", deeper) if deeper else [f"{folder}/{name}"]
