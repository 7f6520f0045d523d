"""Compiled kernels on disk: one file a kernel, named by what it was compiled from.

A file is the SHA-256 of the code, then the code; one that does not agree with itself is compiled again. The folder is
`kernels` of the user's cache, for its owner only, as what lies there is run.

A second folder, read first and never written to, is the one that $Y12_KERNELS names: a container's, filled by
`y12.runtime.cli.prebuild`. Its files are of the same form, named without the compiler's version, as where they are
read there need be no compiler. A damaged one is refused.
"""

import contextlib
import hashlib
import logging
import os
from collections.abc import Callable
from pathlib import Path

from y12.disk_cache import check_private, read_sound, user_cache, write_whole
from y12.errors import ExecutorError

__all__ = ["PREBUILT_VARIABLE", "cache_dir", "cached", "keep_prebuilt", "prebuilt", "prebuilt_dir"]

PREBUILT_VARIABLE = "Y12_KERNELS"
LOG = logging.getLogger("y12.kernels")
MAX_CODE_BYTES = 1 << 26


def cache_dir() -> Path:
    """Return the folder, which need not exist."""
    return user_cache("kernels")


def cached(parts: tuple[str, ...], build: Callable[[], bytes], folder: Path) -> bytes:
    """Return the code that was built from `parts`, from disk if it is there and sound, else from `build`.

    A folder that cannot be written, or that others can write to, costs the compilation each time, and is warned of.

    Args:
        parts: everything the code depends on.
        build: makes the code; what it raises is passed on, and nothing is kept.
        folder: to keep it in; made if need be.
    """
    path = _place(parts, folder)
    with contextlib.suppress(OSError):  # said below
        check_private(folder)
        if (kept := _read(path)) is not None:
            return kept
    code = build()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        check_private(folder)
        write_whole(path, code)
    except OSError as error:
        LOG.warning("cannot keep compiled kernels in %s (%s): they are compiled at each start", folder, error)
    return code


def prebuilt_dir() -> Path | None:
    """Return the folder of kernels that were compiled beforehand, or None where $Y12_KERNELS is not set.

    Raises:
        ExecutorError: it names no folder.
    """
    named = os.environ.get(PREBUILT_VARIABLE, "")
    if not named:
        return None
    folder = Path(named)
    if not folder.is_dir():
        raise ExecutorError(
            f"{PREBUILT_VARIABLE}: expected a folder of compiled kernels, found none at {folder}: fill it with "
            f"python -m y12.runtime.cli.prebuild --output {folder}, or unset the variable"
        )
    return folder


def prebuilt(parts: tuple[str, ...]) -> bytes | None:
    """Return the code that was compiled from `parts` beforehand, or None where there is none, which is warned of.

    Args:
        parts: everything the code depends on but the compiler's version.

    Raises:
        ExecutorError: the file is damaged, or $Y12_KERNELS names no folder.
    """
    folder = prebuilt_dir()
    if folder is None:
        return None
    path = _place(parts, folder)
    code = _read(path)
    if code is None and path.exists():
        raise ExecutorError(
            f"{path}: expected a compiled kernel, found a damaged file: fill the folder again with "
            f"python -m y12.runtime.cli.prebuild --output {folder}"
        )
    if code is None:
        LOG.warning("%s has no code of a kernel for this GPU and version of y12: it is compiled here", folder)
    return code


def keep_prebuilt(parts: tuple[str, ...], code: bytes, folder: Path) -> Path:
    """Write code to where `prebuilt` finds it, readable by all, and give the file.

    Raises:
        OSError: the folder cannot be written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = _place(parts, folder)
    write_whole(path, code)
    path.chmod(0o644)  # filled by the image's builder, read by the user it runs as
    return path


def _place(parts: tuple[str, ...], folder: Path) -> Path:
    return folder / f"{hashlib.sha256(repr(parts).encode()).hexdigest()}.cubin"


def _read(path: Path) -> bytes | None:
    try:
        return read_sound(path, MAX_CODE_BYTES) or None
    except OSError:
        return None
