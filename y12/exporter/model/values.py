"""Values of a YAML: their kinds, and words near to those that are known. No torch here."""

import difflib
import math
from collections.abc import Iterable
from typing import Any

__all__ = ["fixed", "is_value", "nearest"]

_MAX_NESTING = 3  # of an argument: levels of anchors of width and height


def is_value(value: object, types: type | tuple[type, ...]) -> bool:
    """Return whether a YAML value has a type; a bool is no number here."""
    allowed = types if isinstance(types, tuple) else (types,)
    if isinstance(value, bool):
        return bool in allowed
    return isinstance(value, allowed) and not (isinstance(value, float) and not math.isfinite(value))


def nearest(word: object, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the known name nearest to a word, of equals the first; "" where none is."""
    names = list(known)
    close = difflib.get_close_matches(word[:80], names, n=8, cutoff=0.5) if isinstance(word, str) else []
    if not close:
        return ""
    matcher = difflib.SequenceMatcher(b=str(word)[:80])

    def nearness(name: str) -> tuple[float, int]:
        matcher.set_seq1(name)
        return matcher.ratio(), -names.index(name)

    return f"; did you mean '{max(close, key=nearness)}'?"


def fixed(value: Any, depth: int = _MAX_NESTING) -> Any:
    """Return a list, and the lists in it, as tuples; what is nested deeper is no argument of ours, and left alone."""
    nested = isinstance(value, list | tuple) and depth
    return tuple(fixed(entry, depth - 1) for entry in value) if nested else value
