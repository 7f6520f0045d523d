"""From what a user names to a path: the one function that everything above this room calls.

What fetches is not even loaded where a path is named.
"""

from collections.abc import Callable
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING

from y12.remote.address import address_from, is_address

if TYPE_CHECKING:
    from y12.remote.options import FetchOptions

__all__ = ["local_path"]

_MOST_LOCAL = 1 << 40


def local_path(
    source: str | PathLike[str],
    options: "FetchOptions | None" = None,
    advance: Callable[[int, int | None], None] | None = None,
) -> Path:
    """Return a file's path; one that is named by its address is brought to this machine first.

    Args:
        source: a path, or an address such as https://host/best.pt, s3://bucket/best.pt or hf://owner/name/best.pt.
        options: how it is fetched; None takes the defaults.
        advance: told how many bytes there are, and of how many; None where nobody knows.

    Raises:
        AddressError: the address cannot be used, what it leads to cannot be had, or a file has another hash.
        MissingPackageError: what speaks to that cloud is not installed.
    """
    if is_address(source):
        from y12.remote.fetch import fetched
        from y12.remote.options import FetchOptions

        return fetched(address_from(fspath(source)), options or FetchOptions(), advance)
    path = Path(source)
    if options is not None and options.sha256 is not None:
        _check_local(path, options)
    return path


def _check_local(path: Path, options: "FetchOptions") -> None:
    from y12.errors import AddressError
    from y12.files import check_file, file_sha256
    from y12.remote.fetch import check_hash

    check_file(path, "a file", _MOST_LOCAL, AddressError)
    check_hash(str(path), file_sha256(path), options)
