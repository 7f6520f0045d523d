"""From an address to a local path: looked for in the cache, asked for, transferred, held against its hash, kept."""

import shutil
from collections.abc import Callable
from pathlib import Path
from time import sleep

from y12.errors import AddressError
from y12.files import file_sha256
from y12.remote.address import Address
from y12.remote.cache import Kept, Place
from y12.remote.options import FetchOptions
from y12.remote.reply import BrokenOffError, Have, Origin, Reply, StaleError, Validator

__all__ = ["check_hash", "fetched"]

Advance = Callable[[int, int | None], None]
_WAITS_S = (0.0, 1.0, 2.0, 4.0)  # before a transfer that was broken off goes on, as long as nothing more comes
_ADVICE = "--max-download allows more"


def fetched(address: Address, options: FetchOptions, advance: Advance | None = None) -> Path:
    """Return the path of what lies at an address, brought to this machine where it is not here yet.

    Args:
        address: of the file.
        options: how it is fetched.
        advance: told how many bytes there are, and of how many; None where nobody knows.

    Raises:
        AddressError: it cannot be had, or has another hash.
        MissingPackageError: what speaks to that cloud is not installed.
    """
    place = Place(address)
    if (options.offline or options.sha256) and (kept := place.find(options.sha256)):
        return kept.path
    if options.offline:
        wanted = f" with sha256 {options.sha256}" if options.sha256 else ""
        raise AddressError(f"{address}: expected it{wanted} among what was fetched before, found none; drop --offline")
    origin = _origin(address, options)
    with place.locked():
        return _brought(address, place, origin, options, advance or _nobody)


def _nobody(done: int, total: int | None) -> None:
    """Tell nobody."""


def _origin(address: Address, options: FetchOptions) -> Origin:
    if address.scheme in ("s3", "gs"):
        from y12.remote.cloud import cloud_origin

        return cloud_origin(address, options)
    if address.scheme == "hf":
        from y12.remote.hub import hub_origin

        return hub_origin(address, options)
    from y12.remote.http import http_origin

    return http_origin(str(address), address.text, options)


def _brought(address: Address, place: Place, origin: Origin, options: FetchOptions, advance: Advance) -> Path:
    """Return the file, transferred where it is not here yet; what is broken off goes on as long as more comes."""
    kept = place.find(options.sha256)
    if kept is not None and options.sha256:  # another process has fetched it meanwhile
        return kept.path
    furthest, came, in_vain = place.part().size, False, 0
    while True:
        try:
            return _once(address, place, kept, origin, options, advance)
        except BrokenOffError as error:
            if isinstance(error, StaleError):
                place.drop_part()
            there = place.part().size
            came |= there > furthest or isinstance(error, StaleError)
            in_vain = 0 if there > furthest else in_vain + 1
            if not came or in_vain >= len(_WAITS_S):
                raise _given_up(address, there, error) from error
            furthest = max(furthest, there)
        sleep(_WAITS_S[in_vain])


def _once(
    address: Address, place: Place, kept: Kept | None, origin: Origin, options: FetchOptions, advance: Advance
) -> Path:
    """Ask once, and take what comes."""
    part = place.part()
    state = Validator() if kept is None else kept.validator
    with origin(Have(state, part.size, part.validator, trusts_hash=options.sha256 is not None)) as reply:
        if reply is not None:
            _take(address, place, reply, options, advance)
            return _checked(address, place, reply, options)
    assert kept is not None
    return kept.path


def _given_up(address: Address, there: int, error: BrokenOffError) -> AddressError:
    if not there:
        return AddressError(f"{address}: expected a file, found no way to it ({error})")
    return AddressError(f"{address}: broken off after {there} bytes ({error}); the same command goes on from there")


def _take(address: Address, place: Place, reply: Reply, options: FetchOptions, advance: Advance) -> None:
    """Write what comes behind what is there."""
    _check_size(address, place, reply, options)
    most, done = options.max_bytes if reply.total is None else reply.total, reply.start
    if reply.start == 0:
        place.begin_part(reply.validator)
    try:
        with place.part_file.open("ab") as part:
            for chunk in reply.chunks:
                done += len(chunk)
                if done > most:
                    place.drop_part()
                    raise AddressError(f"{address}: expected at most {most} bytes, found more; {_ADVICE}")
                part.write(chunk)
                part.flush()
                advance(done, reply.total)
    except OSError as error:
        raise AddressError(f"{place.part_file}: cannot be written ({error.strerror or error})") from error
    if reply.total is not None and done < reply.total:
        raise BrokenOffError(f"it should have {reply.total}")


def _check_size(address: Address, place: Place, reply: Reply, options: FetchOptions) -> None:
    """Refuse what is too large, or empty, or of which nobody could tell whether it came whole."""
    if reply.total is None:
        if options.sha256 is None:
            raise AddressError(
                f"{address}: expected a server that says how long the file is, found one that does not: whether it "
                "came whole could not be told; add --sha256"
            )
        return
    if reply.total > options.max_bytes:
        raise AddressError(f"{address}: expected at most {options.max_bytes} bytes, found {reply.total}; {_ADVICE}")
    if reply.total == 0:
        raise AddressError(f"{address}: expected a file, found 0 bytes")
    free = shutil.disk_usage(place.part_file.parent).free
    if free < reply.total - reply.start:
        raise AddressError(
            f"{place.part_file.parent}: expected room for {reply.total - reply.start} bytes, found {free}; "
            "XDG_CACHE_HOME names another place"
        )


def _checked(address: Address, place: Place, reply: Reply, options: FetchOptions) -> Path:
    """Keep what has come; where it is not what was asked for, leave nothing of it."""
    found = file_sha256(place.part_file)
    try:
        check_hash(str(address), found, options)
    except AddressError:
        place.drop_part()
        raise
    return place.keep(found, reply.validator)


def check_hash(where: str, found: str, options: FetchOptions) -> None:
    """Refuse a file with another hash than was asked for.

    Raises:
        AddressError: it has another.
    """
    if options.sha256 not in (None, found):
        raise AddressError(
            f"{where}: expected sha256 {options.sha256}, found {found}: another file, which is not opened"
        )
