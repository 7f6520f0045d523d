"""Calibrated ranges on disk, found again by what they were made from.

A file's name is the SHA-256 over everything the ranges depend on, so that a stale one is not found. Its content
carries a checksum, so that a damaged one is not believed.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path

import onnx

from exporter.errors import CalibrationError
from exporter.precision.ranges import Ranges
from runtime.errors import InputError
from runtime.files import check_file, write_atomically
from runtime.images import MAX_FILE_BYTES

__all__ = ["content_key", "key_with", "load_ranges", "prepare_folder", "store_ranges"]

_FORMAT = 1  # goes up when the same input gives other ranges: histograms, methods, the decoding or fitting of images
_MAX_BYTES = 64 << 20


def content_key(
    graph: onnx.ModelProto, tensors: Iterable[str], images: Sequence[Path], settings: Sequence[object]
) -> str:
    """Give the SHA-256 of what ranges depend on, as hexadecimal digits.

    The images count by their bytes: neither their names nor their order changes a histogram.

    Args:
        graph: the network.
        tensors: whose ranges are wanted.
        images: the files.
        settings: how images are prepared; each by its repr.

    Raises:
        CalibrationError: an image cannot be read.
    """
    whole = hashlib.sha256()
    parts = [repr((_FORMAT, metadata.version("y12"), *settings)).encode(), graph.SerializeToString(deterministic=True)]
    for part in (*parts, *(name.encode() for name in tensors), *sorted(_digest(path) for path in images)):
        whole.update(len(part).to_bytes(8, "little"))  # or "ab", "c" would be "a", "bc"
        whole.update(part)
    return whole.hexdigest()


def key_with(key: str, settings: Sequence[object]) -> str:
    """Give the key of ranges that depend on more settings, each by its repr."""
    return hashlib.sha256(f"{key}\n{settings!r}".encode()).hexdigest()


def prepare_folder(folder: Path) -> None:
    """Make the folder, so that one that cannot be used is told of before minutes of work.

    Raises:
        InputError: it cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: expected a folder for the cache ({error.strerror or error})") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"{folder}: expected a folder for the cache that can be written to; name another")


def load_ranges(folder: Path, key: str) -> Ranges | None:
    """Read the ranges stored under a key; None where there are none.

    Raises:
        CalibrationError: the file is damaged.
    """
    path = folder / f"{key}.json"
    if not path.exists():
        return None
    check_file(path, "calibrated ranges", _MAX_BYTES, CalibrationError)
    try:
        text = path.read_text(encoding="utf-8")
        data = json.loads(text)
        checksum, payload = data["sha256"], data["payload"]
        intact = checksum == _checksum(key, payload)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise CalibrationError(f"{path}: damaged ({type(error).__name__}: {error!s:.80})") from error
    if not intact:
        raise CalibrationError(f"{path}: damaged (its checksum is another)")
    return Ranges.from_json(payload)


def store_ranges(folder: Path, key: str, ranges: Ranges) -> None:
    """Write ranges under a key, all or nothing.

    Raises:
        InputError: the folder cannot be written to.
    """
    payload = ranges.to_json()
    content = json.dumps({"sha256": _checksum(key, payload), "payload": payload}, ensure_ascii=False)
    write_atomically(folder / f"{key}.json", content.encode())


def _checksum(key: str, payload: str) -> str:
    """Give the checksum of a file's content; with its key, so that a renamed file is damaged too."""
    return hashlib.sha256(f"{key}\n{payload}".encode()).hexdigest()


def _digest(path: Path) -> bytes:
    check_file(path, "an image file", MAX_FILE_BYTES, CalibrationError)
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").digest()
    except OSError as error:
        raise CalibrationError(f"{path}: expected an image file, cannot be read ({error.strerror or error})") from error
