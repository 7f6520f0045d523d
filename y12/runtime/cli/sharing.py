"""y12-infer as one of many, or once more: a share of the sources, and a file of JSON lines that is gone on with."""

import json
import os
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NewType

from y12.errors import InputError, OutputError
from y12.files import is_device
from y12.text import printable_json, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from y12.runtime.cli.sources import Source

__all__ = ["JsonLines", "Share", "read_share", "resumed_lines", "share_of"]

Share = NewType("Share", tuple[int, int])  # which one, from 1, and of how many


def read_share(text: str) -> Share:
    """Read a share such as "2/8".

    Raises:
        ValueError: it is none.
    """
    which, _, count = text.partition("/")
    if not 1 <= int(which) <= int(count):
        raise ValueError
    return Share((int(which), int(count)))


def share_of(sources: "Sequence[Source]", share: Share) -> "list[Source]":
    """Return every n-th source, so that all shares together have each once.

    Raises:
        InputError: there are fewer sources than shares.
    """
    which, count = share
    if which > len(sources):
        raise InputError(f"--shard: expected no more shares than the {len(sources)} sources, found {which}/{count}")
    return list(sources[which - 1 :: count])


class JsonLines:
    """A file of JSON lines, one a source, to which further ones are added."""

    def __init__(self, stream: BinaryIO, place: Path, done: set[str]) -> None:
        self._stream, self._place, self._done = stream, place, done

    def rest(self, sources: "Sequence[Source]") -> "list[Source]":
        """Return those that have no line yet.

        Raises:
            InputError: one of them is a video, a stream or standard input, which has more lines than one, or no name.
        """
        from y12.runtime.cli.sources import is_moving

        for source in sources:
            if not isinstance(source, Path) or is_moving(source):
                raise InputError(f"--resume: expected images, found {source}: leave --resume out for it")
        return [source for source in sources if str(source) not in self._done]

    def put(self, text: str) -> None:
        """Add a line, whole at once.

        Raises:
            OutputError: it cannot be written.
        """
        try:
            self._stream.write(printable_json(text).encode() + b"\n")
            self._stream.flush()
        except OSError as error:
            raise OutputError(f"{self._place}: cannot be written ({error.strerror or error})") from error


@contextmanager
def resumed_lines(path: Path) -> "Iterator[JsonLines]":
    """Open a file of JSON lines, or begin one; a last line that an end of the process cut off is removed.

    Raises:
        InputError: it holds something else.
        OutputError: it cannot be written.
    """
    try:
        if is_device(path):
            raise InputError(f"--resume: expected a file, found {path}, which keeps nothing")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        stream = path.open("r+b", buffering=0)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from error
    with stream:
        done, end = set(), 0
        for number, line in enumerate(iter_lines(path), 1):
            if not line.endswith(b"\n"):
                break
            end += len(line)
            done.add(_source_in(path, number, line))
        stream.truncate(end)
        stream.seek(0, os.SEEK_END)
        yield JsonLines(stream, path, done)


def iter_lines(path: Path) -> "Iterator[bytes]":
    """Yield a file's lines with their ends."""
    with path.open("rb") as lines:
        yield from lines


def _source_in(path: Path, number: int, line: bytes) -> str:
    try:
        found = json.loads(line)["source"]
    except (ValueError, TypeError, KeyError):
        found = None
    if not isinstance(found, str):
        raise InputError(
            f"--resume: expected lines of y12-infer --json in {path}, found another in line {number} "
            f"({shown(line[:60].decode(errors='replace'))}): name another file"
        )
    return found
