"""Text for a message: what it may show of a stranger's value, and another library's words on one line."""

import reprlib

__all__ = ["one_line", "shown"]


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
    return "".join(c if c.isprintable() else "?" for c in _SHORT.repr(value)[:length])


def one_line(text: str, limit: int | None = 300) -> str:
    """Return what another library says on one line of at most `limit` characters; None is for y12's own messages."""
    return " ".join(text.split())[:limit]
