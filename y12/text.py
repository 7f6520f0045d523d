"""Text for a message: what it may show of a stranger's value, and another library's words on one line."""

import reprlib
from collections.abc import Iterable
from typing import TypeGuard

__all__ = ["LINE", "MESSAGE", "NAME", "is_text", "one_line", "percent", "printable_json", "shown", "visible"]

LINE = 500  # characters of any line that tells people something
MESSAGE = 490  # of an error's: it stands behind "error: "
NAME = 60  # of a class, or of a part of a graph, among others on a line
_GAP = "…"


def visible(text: object, limit: int = LINE) -> str:
    r"""Return any text as one printable line of at most `limit` characters: all that is shown of a stranger's text.

    What a terminal, a browser or a reader's eye would obey rather than show (control characters, escape sequences, line
    ends, marks of direction) and what no encoding can write (lone surrogates, of file names that are not UTF-8) is
    written as Python writes it. Of a longer text the middle is left out, as what is wrong with it stands at its end.

    >>> visible("a\x1b[2J\nerror: forged\udce9")
    'a\\x1b[2J\\nerror: forged\\udce9'
    """
    whole = text if isinstance(text, str) else str(text)
    if len(whole) <= limit and whole.isprintable():
        return whole
    half = whole if len(whole) <= 2 * limit else whole[:limit] + whole[-limit:]  # a text of megabytes costs nothing
    pieces = [c if c.isprintable() else c.encode("unicode_escape").decode() for c in half]
    if len(whole) == len(half) and sum(map(len, pieces)) <= limit:
        return "".join(pieces)
    tail = _fitting(reversed(pieces), limit // 2)[::-1]
    head = _fitting(pieces, limit - len(_GAP) - sum(map(len, tail)))
    return "".join([*head, _GAP, *tail])


def _fitting(pieces: Iterable[str], limit: int) -> list[str]:
    """Return the first pieces that have no more characters than the limit."""
    taken = []
    for piece in pieces:
        limit -= len(piece)
        if limit < 0:
            break
        taken.append(piece)
    return taken


class _Short(reprlib.Repr):
    """A repr that looks at a few entries only: nesting, self-reference and sheer size cost nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring = 3, 80

    def repr_int(self, value: int, _level: int) -> str:
        """Return a number; Python refuses to write out one of thousands of digits."""
        return repr(value) if value.bit_length() < 128 else f"a number of {value.bit_length()} bits"


_SHORT = _Short()


def shown(value: object, length: int = 60) -> str:
    """Return a value, a string in quotes, as one printable line of at most `length` characters.

    >>> shown(["Conv", 10**9])
    "['Conv', 1000000000]"
    """
    return visible(_SHORT.repr(value), length)


def is_text(value: object) -> TypeGuard[str]:
    """Return whether a value is a text that can be written: JSON, pickles and Python's literals hold others too.

    A lone surrogate, half of a character of UTF-16, is no character, and no encoding of a file has one.
    """
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def one_line(text: str, limit: int = 300) -> str:
    """Return what another library says on one line of at most `limit` characters."""
    return visible(" ".join(text.split()), limit)


def percent(share: float) -> str:
    """Return a share, 0 to 1, in percent; "100.0 %" is the whole, and nothing that is less.

    >>> percent(0.9996), percent(1.0)
    ('99.9 %', '100.0 %')
    """
    whole = share >= 1 - 1e-9  # a sum of parts is not to the bit what they are parts of
    return f"{100 * share if whole else min(100 * share, 99.9):.1f} %"


def printable_json(text: str) -> str:
    """Return JSON that says the same, with every character that a terminal would obey or no encoding can write escaped.

    In JSON such characters stand in strings only, where any may be written as its number; line ends are the writer's.
    """
    if text.replace("\n", "").isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else _json_escape(c) for c in text)


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))
