"""Files at the border: refuse what is no plain file before opening it, and never leave half a file behind."""

import hashlib
import os
import stat
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path

from y12.errors import InputError, Y12Error
from y12.installing import install_command
from y12.text import NAME, visible

HEIF_SUFFIXES = (".heic", ".heif", ".hif")
_HAS_HEIF = find_spec("pillow_heif") is not None
# What `runtime.preprocess.images.FORMATS` are called on disk; kept here, as those who only list files need no numpy.
IMAGE_SUFFIXES = frozenset(
    (
        *(".avif", ".bmp", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".mpo"),
        *(".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"),
        *(HEIF_SUFFIXES if _HAS_HEIF else ()),
    )
)
# Pictures that are not read: they are told where they lie among images, or nobody would know that they were left out.
_OTHER_IMAGES = frozenset(
    (
        *(".arw", ".cr2", ".cr3", ".dng", ".ico", ".jxl", ".jxr"),
        *(".nef", ".orf", ".psd", ".raf", ".raw", ".rw2", ".svg", ".tga"),
        *(() if _HAS_HEIF else HEIF_SUFFIXES),
    )
)
_SHOWN = 3  # names in a note
_LITTER = frozenset((".ds_store", "desktop.ini", "thumbs.db", "__macosx"))


def is_litter(name: str) -> bool:
    """Return whether a file or folder of this name is what archives and file managers leave behind."""
    return name.startswith("._") or name.lower() in _LITTER


def is_image_name(name: str) -> bool:
    """Return whether a file of this name is taken for an image."""
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES and not is_litter(name)


def looks_like_image(name: str) -> bool:
    """Return whether a file of this name is a picture in a format that is not read."""
    return os.path.splitext(name)[1].lower() in _OTHER_IMAGES and not is_litter(name)


def unread_images(names: Iterable[str]) -> tuple[str, ...]:
    """Return a note of the pictures among these names whose format is not read; none where there are none."""
    found = [name for name in names if looks_like_image(name)]
    if not found:
        return ()
    kinds = sorted({os.path.splitext(name)[1] for name in found})
    by_extra = [kind for kind in kinds if kind.lower() in HEIF_SUFFIXES]
    more = f"; {', '.join(by_extra)} is with {install_command('heif')}" if by_extra else ""
    said = f"{', '.join(kinds)} is not read ({first_of(found)}): convert to JPEG or PNG{more}"
    return (f"{counted(found, 'picture')} passed over: {said}",)


def counted(names: Sequence[str], what: str) -> str:
    """Return how many there are of what, in words."""
    return f"{len(names)} {what}{'s' * (len(names) > 1)}"


def first_of(names: Sequence[str]) -> str:
    """Return the first names, and how many more there are."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(visible(name, NAME) for name in names[:_SHOWN]) + more


def file_sha256(path: Path) -> str:
    """Return the hash of a file's bytes, in hex.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def check_file(path: Path, what: str, max_bytes: int, error_type: type[Y12Error] = InputError) -> None:
    """Refuse, before it is opened, what is no regular file of 1 to `max_bytes` bytes.

    Raises:
        Y12Error: as `error_type`; the path is missing, is no regular file, is empty or is too large.
    """
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise error_type(f"{path}: expected {what}, found none ({reason})") from error
    if not stat.S_ISREG(status.st_mode):
        kind = "a directory" if stat.S_ISDIR(status.st_mode) else "a pipe or device"
        raise error_type(f"{path}: expected {what}, found {kind}")
    if not 0 < status.st_size <= max_bytes:
        raise error_type(f"{path}: expected {what} of 1 to {max_bytes} bytes, found {status.st_size}")


def write_atomically(path: Path, content: bytes, error_type: type[Y12Error] = InputError) -> None:
    """Write a file under a temporary name, then rename it: whoever looks finds all of it or nothing.

    A device or a pipe is written to; a file would take its place.

    Raises:
        Y12Error: as `error_type`; the folder cannot be written to.
    """
    import tempfile  # most programs only read, and it takes the random numbers along

    try:
        if is_device(path):
            path.write_bytes(content)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:64]}.")
    except OSError as error:
        raise error_type(f"{path}: cannot be written ({error.strerror or error})") from error
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp's 0600 would hide the result from everybody else
        os.replace(temporary, path)
    except BaseException as error:
        Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise error_type(f"{path}: cannot be written ({error.strerror or error})") from error
        raise


def is_device(path: Path) -> bool:
    """Return whether a path is something that is written to as it is: a device, a pipe, a name of an open file."""
    return path.parent in (Path("/dev"), Path("/dev/fd")) or (path.exists() and not (path.is_file() or path.is_dir()))


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
