"""Folders and files on this machine or in a store (`s3://`, `gs://`, whatever fsspec knows), by one set of words.

pyarrow speaks to S3 and Google's store; other addresses go by fsspec. An address is cut by hand, not read as a URI:
keys in a bucket hold any character.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

from y12.errors import InputError, OutputError
from y12.files import write_atomically
from y12.text import one_line, shown

__all__ = ["Entry", "Store", "fetched", "file_system", "is_remote", "listed"]

_WITHOUT_FOLDERS = ("s3", "gcs")


class Entry(NamedTuple):
    """What a folder holds, by its name."""

    name: str
    is_folder: bool


def is_remote(address: str) -> bool:
    """Return whether an address is in a store, and not a path on this machine."""
    return "://" in address


def file_system(address: str) -> tuple[Any, str]:
    """Return pyarrow's file system of an address, and the path that the address is in it.

    Raises:
        InputError: there is no store of this kind, or what speaks to it is not installed.
    """
    if not is_remote(address):
        from pyarrow import fs

        return fs.LocalFileSystem(), os.path.abspath(address)
    scheme, _, path = address.partition("://")
    return _opened(scheme.lower(), path.partition("/")[0]), path


@cache
def _opened(scheme: str, bucket: str) -> Any:
    from pyarrow import fs

    try:
        if scheme == "s3":
            return fs.S3FileSystem(**_reached(bucket))
        if scheme in ("gs", "gcs"):
            return fs.GcsFileSystem()
        import fsspec

        return fs.PyFileSystem(fs.FSSpecHandler(fsspec.filesystem(scheme)))
    except (ImportError, ValueError, OSError) as error:
        raise InputError(
            f"{scheme}://{bucket}: expected a store that pyarrow or fsspec opens, found none ({one_line(str(error))})"
        ) from error


def _reached(bucket: str) -> dict[str, str]:
    """Return how a bucket is reached: as the environment says, or else where Amazon says that it is."""
    from pyarrow import fs

    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if endpoint:  # of another's store; pyarrow does not look there itself
        scheme, _, host = endpoint.rpartition("://")
        return {"endpoint_override": host.rstrip("/"), "scheme": scheme or "https"}
    if os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"):
        return {}
    return {"region": fs.resolve_s3_region(bucket)}


def listed(address: str) -> list[Entry]:
    """Return what a folder holds, by name; of a folder that does not exist, nothing.

    Raises:
        InputError: it cannot be listed.
    """
    from pyarrow import fs

    system, path = file_system(address)
    try:
        found = system.get_file_info(fs.FileSelector(path.rstrip("/"), allow_not_found=True))
    except OSError as error:
        raise InputError(f"{address}: cannot be listed ({_reason(error)})") from error
    return sorted(Entry(info.base_name, info.type == fs.FileType.Directory) for info in found if info.base_name)


def fetched(address: str, max_bytes: int) -> bytes:
    """Return what a file of a store holds.

    Raises:
        InputError: it is larger than `max_bytes`, is missing or cannot be read; its cause says which.
    """
    system, path = file_system(address)
    try:
        with system.open_input_file(path) as stream:
            if stream.size() > max_bytes:
                raise InputError(f"{address}: expected at most {max_bytes} bytes, found {stream.size()}")
            return bytes(stream.read())
    except OSError as error:
        raise InputError(f"{address}: cannot be read ({_reason(error)})") from error


@dataclass(frozen=True)
class Store:
    """A folder that is written to, here or in a store; files in it are whole or not there.

    Attributes:
        address: a path or an address such as s3://bucket/run.
    """

    address: str

    def path(self, name: str) -> str:
        """Return the address of a file or folder in it."""
        return f"{self.address.rstrip('/')}/{name}"

    def names(self, folder: str = "") -> set[str]:
        """Return the names of what is in it, or in a folder of it.

        Raises:
            InputError: it cannot be listed.
        """
        entries = listed(self.path(folder) if folder else self.address)
        return {entry.name for entry in entries if not entry.name.startswith(".")}  # those are half made

    def read(self, name: str) -> bytes:
        """Return what a file of it holds.

        Raises:
            InputError: it cannot be read.
        """
        return fetched(self.path(name), 1 << 40)

    def write(self, name: str, content: bytes) -> None:
        """Write a file.

        Raises:
            OutputError: it cannot be written.
        """
        if not is_remote(self.address):
            write_atomically(Path(self.path(name)), content, OutputError)
            return
        with self.written(name) as stream:
            stream.write(content)

    def remove(self, name: str) -> None:
        """Remove a file; where it is gone already, or cannot be removed, nothing is said."""
        system, path = file_system(self.path(name))
        with suppress(OSError):
            system.delete_file(path)

    @contextmanager
    def written(self, name: str) -> Iterator[Any]:
        """Yield a stream of pyarrow's for a file's bytes; the file is there once the block has ended well.

        Raises:
            OutputError: it cannot be written.
        """
        system, path = file_system(self.path(name))
        folder, _, base = path.rpartition("/")
        # In a store too: what is left of a stream that was given up is closed some day, and is a file then.
        temporary = f"{folder}/.{base}.{uuid4().hex[:8]}"
        try:
            if system.type_name not in _WITHOUT_FOLDERS:
                system.create_dir(folder, recursive=True)
            with system.open_output_stream(temporary) as stream:
                yield stream
            system.move(temporary, path)
        except OSError as error:
            raise OutputError(f"{self.path(name)}: cannot be written ({_reason(error)})") from error
        finally:
            with suppress(OSError):
                system.delete_file(temporary)


def _reason(error: OSError) -> str:
    return error.strerror if error.strerror and error.errno else one_line(str(error), 200) or shown(error)
