"""What is asked of whoever has a file, and what is answered: the same for HTTP and for the clouds."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

__all__ = ["CHUNK", "BrokenOffError", "Have", "Origin", "Reply", "StaleError", "Validator"]

CHUNK = 1 << 20


class BrokenOffError(Exception):
    """A transfer did not come to its end; asked again, it may go on from there."""


class StaleError(BrokenOffError):
    """What is here of a transfer is of no use any more; asked again from the beginning, the file may come."""


@dataclass(frozen=True)
class Validator:
    """By what a server tells one state of a file from another; of no use but to be handed back to it.

    Attributes:
        etag: its mark.
        modified: its time.
    """

    etag: str = ""
    modified: str = ""

    @property
    def is_exact(self) -> bool:
        """Whether equal validators mean equal bytes, so that the rest of a file fits its beginning."""
        return bool((self.etag and not self.etag.startswith("W/")) or self.modified)

    def __bool__(self) -> bool:
        return bool(self.etag or self.modified)


@dataclass(frozen=True)
class Have:
    """What is here already.

    Attributes:
        kept: which state of the file is here whole; empty where none is.
        start: how many bytes of another transfer are here.
        part: of which state those are.
        trusts_hash: the whole will be held against a hash, so that a rest may be asked for without a validator.
    """

    kept: Validator = field(default_factory=Validator)
    start: int = 0
    part: Validator = field(default_factory=Validator)
    trusts_hash: bool = False

    @property
    def may_resume(self) -> bool:
        """Whether the rest alone is worth asking for."""
        return self.start > 0 and (self.part.is_exact or self.trusts_hash)


@dataclass(frozen=True)
class Reply:
    """What comes.

    Attributes:
        start: how many bytes of the file come before.
        total: how long the file is, as is claimed; None where nothing is.
        validator: of the state that comes.
        chunks: the bytes, as they come; raises `BrokenOffError`.
    """

    start: int
    total: int | None
    validator: Validator
    chunks: Iterator[bytes]


Origin = Callable[[Have], AbstractContextManager[Reply | None]]
"""Asks for a file; None means that it is what `Have.kept` is of."""
