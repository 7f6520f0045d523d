"""What becomes of a sound file: strategies of hypothesis that edit its bytes, its words, or the values in its JSON."""

import copy
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

__all__ = ["bytes_of", "json_of", "text_of"]

_NUMBERS = [n.to_bytes(size, order) for size in (1, 2, 4, 8) for order in ("little", "big")
            for n in (0, 1, (1 << 8 * size - 1) - 1, 1 << 8 * size - 1, (1 << 8 * size) - 1)]  # fmt: skip
_WORDS = [
    *("", "0", "-1", "1", "2", "80", "nan", "-inf", "1e999", "1e-999", "0x7f", "1_0", "1:59:59", "9" * 25, "9" * 5000),
    *("null", "true", "~", "[]", "{}", "[[[[", "}", '"', "'", ":", "- ", "? ", "&a", "*a", "!!python/name:os.system"),
    *("\x1b[2J", "\r", "\n", "\0", "\x9b", "\u202e", "\u2028", "\\ud800", "\ufeff", "é", "\U0001f600", "a" * 3000),
    *("..", "../..", "/", "/dev/zero", "/proc/self/mem", "%s", "{}", "~root", "file:///etc/passwd", "//", "."),
]
_POSITION = st.integers(0, 1 << 20)


@dataclass(frozen=True)
class _Edit:
    kind: str
    place: int
    count: int
    content: bytes

    def of(self, data: bytes) -> bytes:
        """Return data with this edit done; the place counts round and round."""
        at = self.place % (len(data) + 1)
        before, after = data[:at], data[at:]
        match self.kind:
            case "flip":
                return before + bytes([after[0] ^ 1 << self.count % 8]) + after[1:] if after else data
            case "set":
                return before + self.content + after[len(self.content) :]
            case "insert":
                return before + self.content + after
            case "delete":
                return before + after[self.count :]
            case "repeat":
                return before + after[: self.count % 64] * (1 + self.count % 300) + after
            case "move":
                return before + after[self.count :] + after[: self.count]
            case _:
                return before  # cut


def bytes_of(*seeds: bytes) -> st.SearchStrategy[bytes]:
    """Return one of the seeds with some bytes changed, put in, taken out, repeated, or cut off."""
    content = st.one_of(st.sampled_from(_NUMBERS), st.binary(max_size=24))
    kinds = st.sampled_from(["flip", "set", "set", "insert", "delete", "repeat", "move", "cut"])
    edits = st.lists(st.builds(_Edit, kinds, _POSITION, st.integers(0, 400), content), min_size=1, max_size=5)
    return st.builds(_all_done, st.sampled_from(seeds), edits)


def _all_done(seed: bytes, edits: list[_Edit]) -> bytes:
    for edit in edits:
        seed = edit.of(seed)
    return seed


def text_of(*seeds: str) -> st.SearchStrategy[bytes]:
    """Return one of the seeds with words and lines changed; or, now and then, bytes."""
    words = st.lists(st.tuples(_POSITION, st.sampled_from(_WORDS)), min_size=1, max_size=4)
    lines = st.lists(st.tuples(_POSITION, st.sampled_from(["drop", "double", "indent", "end"])), max_size=2)
    return st.one_of(
        st.builds(_reworded, st.sampled_from(seeds), words, lines), bytes_of(*(seed.encode() for seed in seeds))
    )


def _reworded(seed: str, words: list[tuple[int, str]], lines: list[tuple[int, str]]) -> bytes:
    parts = re.split(r"(\w[\w.]*)", seed)
    for place, word in words:
        parts[place % len(parts)] = word
    rows = "".join(parts).split("\n")
    for place, what in lines:
        at = place % len(rows)
        rows[at : at + 1] = {"drop": [], "double": [rows[at]] * 2, "indent": ["  " + rows[at]], "end": [rows[at], ""]}[
            what
        ] or [""]
    return "\n".join(rows).encode("utf-8", "surrogatepass")


_TEXT = st.one_of(st.sampled_from(_WORDS), st.text(st.characters(exclude_categories=()), max_size=12))
_LEAF = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 100),
    st.sampled_from([2**31, 2**53, 2**63, -(2**63), 10**30, 65536, 4096, 0.5, 1e308, -0.0, float("nan"), float("inf")]),
    st.floats(),
    _TEXT,
)
_VALUE = st.recursive(
    _LEAF, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=3), max_leaves=8
)


def json_of(seed: Any, write: Callable[[Any], bytes]) -> st.SearchStrategy[bytes]:
    """Return what `write` makes of the seed, a tree of lists and mappings, with values changed, added or left out."""
    changes = st.tuples(_POSITION, st.sampled_from(["set", "set", "delete", "add", "double"]), _TEXT, _VALUE)
    return st.builds(lambda edits: write(_changed(seed, edits)), st.lists(changes, min_size=1, max_size=3))


def _changed(seed: Any, edits: list[tuple[int, str, str, Any]]) -> Any:
    whole = {"": copy.deepcopy(seed)}
    for place, what, key, value in edits:
        places = list(_places(whole))
        parent, name = places[place % len(places)]
        match what:
            case "set":
                parent[name] = value
            case "delete" if parent is not whole:
                del parent[name]
            case "double" if isinstance(parent, list):
                parent.insert(name, copy.deepcopy(parent[name]))
            case _ if isinstance(parent[name], dict):
                parent[name][key] = value
            case _ if isinstance(parent[name], list):
                parent[name].append(value)
            case _:
                parent[name] = [parent[name]]
    return whole[""]


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    for key, entry in list(tree.items() if isinstance(tree, dict) else enumerate(tree)):
        yield tree, key
        if isinstance(entry, dict | list):
            yield from _places(entry)
