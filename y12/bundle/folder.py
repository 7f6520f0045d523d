"""A folder of files that is written whole or not at all, and never over what lies there unless that is asked for."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from y12.errors import OutputError

__all__ = ["new_folder"]


@contextmanager
def new_folder(folder: Path, exist_ok: bool = False) -> Iterator[Path]:
    """Give an empty folder to write into; what was written is moved to `folder` at the end, unless there is an error.

    Args:
        folder: where the files shall lie.
        exist_ok: the folder may have files; those of the same names are replaced, the others stay.

    Raises:
        OutputError: it holds something, or cannot be written.
    """
    try:
        if folder.exists() and not folder.is_dir():
            raise OutputError(f"{folder}: expected a folder or nothing, found a file; name another place")
        if not exist_ok and folder.is_dir() and any(folder.iterdir()):
            raise OutputError(
                f"{folder}: expected a folder without files, found some; name another, or replace what it has of the "
                "same names by --exist-ok"
            )
        parent = folder.resolve().parent
        missing = [place for place in (*reversed(parent.parents), parent) if not place.exists()]
        parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".y12-bundle-", dir=parent))
    except OSError as error:
        raise _refused(folder, error) from error
    try:
        yield staging
        os.chmod(staging, 0o777 & ~_umask())  # mkdtemp's 0700 would hide it from everybody else
        _move(staging, folder)
    except BaseException as error:
        shutil.rmtree(staging, ignore_errors=True)
        for place in reversed(missing):
            with suppress(OSError):
                place.rmdir()
        if isinstance(error, OSError):
            raise _refused(folder, error) from error
        raise


def _move(staging: Path, folder: Path) -> None:
    """Move the folder into place; into one that has files, file by file, and all back where one cannot be moved."""
    if not folder.exists() or not any(folder.iterdir()):
        os.replace(staging, folder.resolve())
        return
    names = sorted(path.name for path in staging.iterdir())
    for name in names:
        if (folder / name).is_dir():  # found before the first is moved
            raise OutputError(f"{folder / name}: expected a file or nothing, found a folder; name another --output")
    replaced = Path(tempfile.mkdtemp(prefix=".y12-bundle-", dir=staging))
    try:
        for name in names:
            with suppress(FileNotFoundError):
                os.replace(folder / name, replaced / name)
            os.replace(staging / name, folder / name)
    except BaseException:
        for name in names:
            if not (staging / name).exists():
                (folder / name).unlink(missing_ok=True)
            if (replaced / name).exists():
                os.replace(replaced / name, folder / name)
        raise
    shutil.rmtree(staging, ignore_errors=True)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def _refused(folder: Path, error: OSError) -> OutputError:
    return OutputError(f"{folder}: expected a folder to write to, cannot be written ({error.strerror or error})")
