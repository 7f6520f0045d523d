"""Bytes on disk that can be made again: one file a key, in a folder of the user's own, bounded in size.

A file is the SHA-256 of what follows. It is written beside its place and moved there, so that no other process reads
half of one. What lies here is run on the GPU: a folder that others may write to is not used.
"""

import contextlib
import hashlib
import logging
import os
import stat
import tempfile
from pathlib import Path
from time import time

__all__ = ["DiskCache", "check_private", "read_sound", "user_cache", "write_whole"]

LOG = logging.getLogger("y12.cache")
_DIGEST_BYTES = hashlib.sha256().digest_size
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_HALF_WRITTEN_S = 3600.0  # no file takes so long to be written


def user_cache(name: str) -> Path:
    """Return the folder `y12`/`name` in $XDG_CACHE_HOME or in ~/.cache (XDG Base Directory Specification 0.8)."""
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not base.is_absolute():  # the specification: a relative path is to be ignored
        base = Path.home() / ".cache"
    return base / "y12" / name


def check_private(folder: Path) -> None:
    """Refuse a folder in which somebody else could have put what is run here.

    Raises:
        PermissionError: it is not the user's own, or others can write to it.
        FileNotFoundError: there is none.
    """
    found = folder.stat()
    if found.st_uid != os.getuid() or found.st_mode & _OTHERS_WRITE:
        raise PermissionError(f"others can write to it; chmod 700 {folder} as its owner")


class DiskCache:
    """A folder of files. Whatever is wrong with it costs the time to make them again, and a warning.

    Args:
        folder: made, for its owner only, when something is kept.
        limit_bytes: a larger file is neither kept nor read; beyond it in all, those not used for longest are removed.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._folder, self._limit_bytes = folder, limit_bytes

    def get(self, key: str) -> bytes | None:
        """Return what was kept under `key`, a file name without a suffix; None where there is nothing sound."""
        path = self._place(key)
        try:
            check_private(self._folder)
            content = read_sound(path, self._limit_bytes)
            os.utime(path)  # the oldest are removed first
        except FileNotFoundError:
            return None
        except OSError as error:
            LOG.warning("cannot read %s (%s): it is made again", path, error)
            return None
        if content is None:
            LOG.warning("%s is damaged or too large: it is made again", path)
        return content

    def put(self, key: str, content: bytes) -> None:
        """Keep `content` under `key`, in place of what was there."""
        if len(content) > self._limit_bytes:
            LOG.warning("not kept in %s: %d bytes, expected at most %d", self._folder, len(content), self._limit_bytes)
            return
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            check_private(self._folder)
            write_whole(self._place(key), content)
            self._remove_oldest()
        except OSError as error:
            LOG.warning("cannot keep files in %s (%s): they are made at each start", self._folder, error)

    def _place(self, key: str) -> Path:
        return self._folder / f"{key}.bin"

    def _remove_oldest(self) -> None:
        """Keep within the limit; what processes that were killed had half written is removed too."""
        for path in self._folder.glob("*.tmp"):
            if path.stat().st_mtime < time() - _HALF_WRITTEN_S:
                path.unlink(missing_ok=True)
        found = [(path, path.stat()) for path in self._folder.glob("*.bin")]
        total_bytes = sum(status.st_size - _DIGEST_BYTES for _, status in found)
        for path, status in sorted(found, key=lambda item: item[1].st_mtime_ns):
            if total_bytes <= self._limit_bytes:
                return
            path.unlink(missing_ok=True)
            total_bytes -= status.st_size - _DIGEST_BYTES


def read_sound(path: Path, limit_bytes: int) -> bytes | None:
    """Return what `write_whole` wrote; None where the file does not agree with itself, or is larger than the limit.

    Raises:
        OSError: it is not there, or cannot be read.
    """
    with path.open("rb") as file:
        data = file.read(limit_bytes + _DIGEST_BYTES + 1)
    digest, content = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
    return content if len(content) <= limit_bytes and hashlib.sha256(content).digest() == digest else None


def write_whole(path: Path, content: bytes) -> None:
    """Write the content behind its SHA-256, beside the place, and move it there; only its owner can read it.

    Raises:
        OSError: it cannot be written.
    """
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(hashlib.sha256(content).digest() + content)
        os.replace(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
