"""A file in a cloud's bucket, by fsspec: `s3://` (s3fs) and `gs://` (gcsfs), with the user's own credentials.

Credentials, endpoints and regions are found where those packages look for them: environment, profiles, the machine.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.util import find_spec
from typing import Any

from y12.errors import AddressError, MissingPackageError
from y12.remote.address import Address
from y12.remote.http import check_private_way
from y12.remote.options import FetchOptions
from y12.remote.reply import CHUNK, BrokenOffError, Have, Origin, Reply, StaleError, Validator
from y12.text import one_line, shown

__all__ = ["cloud_origin"]

_PACKAGES = {"s3": "s3fs", "gs": "gcsfs"}
_BLOCK = 8 << 20  # bytes a request
_ANONYMOUS = {"s3": "FSSPEC_S3_ANON=true for a public bucket", "gs": "FSSPEC_GS_TOKEN=anon for a public bucket"}


def cloud_origin(address: Address, options: FetchOptions) -> Origin:
    """Return what asks for a file in a bucket.

    Raises:
        MissingPackageError: the package that speaks to this cloud is not installed.
    """
    package = _PACKAGES[address.scheme]
    if find_spec(package) is None:
        raise MissingPackageError(package, "remote", f"{address.scheme}://")

    @contextmanager
    def asked(have: Have) -> Iterator[Reply | None]:
        files = _file_system(address, options)
        info = _info(files, address)
        validator = Validator(str(info.get("ETag") or info.get("etag") or ""), str(info.get("LastModified") or ""))
        if have.kept and have.kept == validator:
            yield None
            return
        start = have.start if have.may_resume and have.part == validator else 0
        try:
            stream = files.open(address.rest, "rb", block_size=_BLOCK, cache_type="readahead")
        except Exception as error:  # of as many kinds as there are packages below
            raise BrokenOffError(one_line(f"{type(error).__name__} {error}", 200)) from error
        with closing(stream):
            yield Reply(start, int(info["size"]), validator, _chunks(stream, start))

    return asked


def _file_system(address: Address, options: FetchOptions) -> Any:
    """Return what speaks to the cloud; where that is plain HTTP to another machine, it is refused."""
    import fsspec

    for package in (_PACKAGES[address.scheme], "fsspec"):  # their tracebacks go to who listens, and not to the terminal
        if not logging.getLogger(package).handlers:
            logging.getLogger(package).addHandler(logging.NullHandler())
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # gcsfs's gRPC writes to the terminal itself
    try:
        files = fsspec.filesystem(address.scheme, skip_instance_cache=True, use_listings_cache=False)
        endpoint = files.s3.meta.endpoint_url if address.scheme == "s3" else files.base
    except Exception as error:
        raise AddressError(f"{address}: {one_line(f'{type(error).__name__} {error}')}") from error
    check_private_way(str(address), str(endpoint), plain_http=options.plain_http)
    return files


def _info(files: Any, address: Address) -> dict[str, Any]:
    try:
        info: dict[str, Any] = files.info(address.rest)
    except FileNotFoundError as error:
        raise AddressError(f"{address}: expected a file, found none") from error
    except Exception as error:
        told = one_line(f"{type(error).__name__} {error}", 200)
        raise AddressError(
            f"{address}: expected a file that may be read, found: {told}; check the credentials, or set "
            f"{_ANONYMOUS[address.scheme]}"
        ) from error
    if info.get("type") != "file" or not isinstance(info.get("size"), int):
        raise AddressError(f"{address}: expected a file, found {shown(info.get('type'))}")
    return info


def _chunks(stream: Any, start: int) -> Iterator[bytes]:
    try:
        stream.seek(start)
        while chunk := stream.read(CHUNK):
            yield chunk
    except Exception as error:
        if "PreconditionFailed" in f"{type(error).__name__} {error} {error.__cause__!r}":
            raise StaleError("the file was changed meanwhile") from error
        raise BrokenOffError(one_line(f"{type(error).__name__} {error}", 200)) from error
