"""Where fetched models lie: `y12/models` in the user's cache, by address and by the hash of their bytes.

    KEY/                  of an address; KEY is the beginning of its SHA-256
      SHA256/NAME         a file that was fetched whole
      newest.json         which of them came last, and by what the server told its state
      part, part.json     what there is of a transfer that was broken off
      lock                one process at a time fetches

What is read back is held against its hash each time: a damaged file counts as none.
"""

import fcntl
import hashlib
import json
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import time
from typing import Any

from y12.disk_cache import check_private, user_cache
from y12.errors import AddressError
from y12.files import file_sha256, write_atomically
from y12.remote.address import Address
from y12.remote.reply import Validator
from y12.text import is_text

__all__ = ["Kept", "Part", "Place"]

LOG = logging.getLogger("y12.cache")
MAX_CACHE_BYTES = 16 << 30
_FORGOTTEN_S = 30 * 86400.0  # a transfer that nobody went on with for so long is given up
_LONGEST_RECORD = 4096
_LONGEST_VALIDATOR = 256
_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Kept:
    """A file that was fetched whole.

    Attributes:
        path: where it lies.
        sha256: of its bytes, as they are now.
        validator: of its state, as the server told it; empty where it is not the newest.
    """

    path: Path
    sha256: str
    validator: Validator = field(default_factory=Validator)


@dataclass(frozen=True)
class Part:
    """What there is of a transfer that was broken off.

    Attributes:
        size: how many bytes are there.
        validator: of the state that they are of.
    """

    size: int = 0
    validator: Validator = field(default_factory=Validator)


class Place:
    """The files of one address."""

    def __init__(self, address: Address) -> None:
        self.root = user_cache("models")
        self._address = address
        self._folder = self.root / hashlib.sha256(address.text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
        self.part_file = self._folder / "part"
        self._part_record, self._newest = self._folder / "part.json", self._folder / "newest.json"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Be the one that fetches; another process that does is waited for.

        Raises:
            AddressError: there is no place to keep files, or one that others can write to.
        """
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)  # of parents, mkdir sets no mode
            self._folder.mkdir(mode=0o700, exist_ok=True)
            self._check_own()
            lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise self._unusable(error) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def find(self, sha256: str | None) -> Kept | None:
        """Return the file of this hash, the newest where None; None where there is none, or one that is damaged.

        Raises:
            AddressError: others could have put it there.
        """
        record = _record(self._newest)
        wanted = sha256 or record.get("sha256", "")
        if not _HASH.fullmatch(wanted):
            return None
        path = self._folder / wanted / self._address.name
        try:
            self._check_own()
            found = file_sha256(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unusable(error) from error
        if found != wanted:
            LOG.warning("%s is damaged: it is fetched again", path)
            return None
        with suppress(OSError):
            os.utime(path)  # those not used for longest are removed first
        return Kept(path, wanted, _validator(record) if wanted == record.get("sha256") else Validator())

    def part(self) -> Part:
        """Return what there is of a transfer that was broken off."""
        try:
            return Part(self.part_file.stat().st_size, _validator(_record(self._part_record)))
        except OSError:
            return Part()

    def begin_part(self, validator: Validator) -> None:
        """Begin a transfer anew, of a file in this state."""
        self.drop_part()
        self._write(self._part_record, {"etag": validator.etag, "modified": validator.modified})

    def drop_part(self) -> None:
        """Leave nothing of a transfer."""
        self.part_file.unlink(missing_ok=True)
        self._part_record.unlink(missing_ok=True)

    def keep(self, sha256: str, validator: Validator) -> Path:
        """Take what was transferred, whose hash this is, for the newest file; return where it lies now."""
        path = self._folder / sha256 / self._address.name
        path.parent.mkdir(mode=0o700, exist_ok=True)
        os.replace(self.part_file, path)
        record = {"address": str(self._address), "sha256": sha256}
        self._write(self._newest, record | {"etag": validator.etag, "modified": validator.modified})
        self.drop_part()
        with suppress(OSError):
            _remove_oldest(self.root, path)
        return path

    def _check_own(self) -> None:
        check_private(self.root)
        check_private(self._folder)

    def _write(self, path: Path, record: dict[str, str]) -> None:
        write_atomically(path, json.dumps(record).encode(), AddressError)

    def _unusable(self, error: OSError) -> AddressError:
        return AddressError(
            f"{self._folder}: expected a folder of one's own to keep models in ({error.strerror or error}); "
            "XDG_CACHE_HOME names another"
        )


def _record(path: Path) -> dict[str, str]:
    """Return a record's texts; of one that is damaged, none."""
    try:
        if path.stat().st_size > _LONGEST_RECORD:
            return {}
        read: Any = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return {key: value for key, value in read.items() if is_text(value)} if isinstance(read, dict) else {}


def _validator(record: dict[str, str]) -> Validator:
    return Validator(record.get("etag", "")[:_LONGEST_VALIDATOR], record.get("modified", "")[:_LONGEST_VALIDATOR])


def _remove_oldest(root: Path, spared: Path) -> None:
    """Keep within `MAX_CACHE_BYTES`, and give up transfers that are forgotten."""
    for part in root.glob("*/part"):
        if part.stat().st_mtime < time() - _FORGOTTEN_S:
            part.unlink(missing_ok=True)
    found = [(path, path.stat()) for path in root.glob("*/*/*")]
    total = sum(status.st_size for _, status in found)
    for path, status in sorted(found, key=lambda item: item[1].st_mtime_ns):
        if total <= MAX_CACHE_BYTES:
            return
        if path != spared:
            path.unlink(missing_ok=True)
            total -= status.st_size
