"""Compiled kernels on disk: one file a kernel, named by what it was compiled from.

A file is the SHA-256 of the code, then the code; one that does not agree with itself is compiled again. The folder is
`y12/kernels` in $XDG_CACHE_HOME or in ~/.cache (XDG Base Directory Specification 0.8), for its owner only, as what
lies there is run.
"""

import contextlib
import hashlib
import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

__all__ = ["cache_dir", "cached"]

LOG = logging.getLogger("y12.kernels")
_DIGEST_BYTES = hashlib.sha256().digest_size


def cache_dir() -> Path:
    """Give the folder, which need not exist."""
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not base.is_absolute():  # the specification: a relative path is to be ignored
        base = Path.home() / ".cache"
    return base / "y12" / "kernels"


def cached(parts: tuple[str, ...], build: Callable[[], bytes], folder: Path) -> bytes:
    """Give the code that was built from `parts`, from disk if it is there and sound, else from `build`.

    A folder that cannot be written costs the compilation each time, and is warned of.

    Args:
        parts: everything the code depends on.
        build: makes the code; what it raises is passed on, and nothing is kept.
        folder: to keep it in; made if need be.
    """
    key = hashlib.sha256(repr(parts).encode()).hexdigest()
    path = folder / f"{key}.cubin"
    code = _read(path)
    if code is None:
        code = build()
        try:
            _write(path, code)
        except OSError as error:
            LOG.warning("cannot keep compiled kernels in %s (%s): they are compiled at each start", folder, error)
    return code


def _read(path: Path) -> bytes | None:
    try:
        data = path.read_bytes()
    except OSError:
        return None
    digest, code = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
    return code if code and hashlib.sha256(code).digest() == digest else None


def _write(path: Path, code: bytes) -> None:
    """Write beside the place and move there, so that no other process ever reads half a file."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(hashlib.sha256(code).digest() + code)
        os.replace(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
