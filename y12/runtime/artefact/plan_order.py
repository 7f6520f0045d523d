"""Whether two plans are one but for what TensorRT-RTX chooses anew: the numbers of sizes, the order of outputs.

NVIDIA does not document a plan's bytes. This was measured on plans of TensorRT-RTX 1.7.1; where another release writes
something else, plans differ, and are not called the same. A value stands behind a tag and its version, both uint16:

    09 80 01 00   an int64; with 01 80 before it and a count as uint64 behind it, that many of them
    07 80 01 00   the same with int32
    13 80 01 00   a text, such as an output's name

A size that is free, and each size computed from it, is a negative number below -1 there, and "__mye" with a decimal
number in the program, which is text.
"""

import re
from collections import Counter
from collections.abc import Iterator

import numpy as np

__all__ = ["are_one_renamed", "are_one_reordered"]

_NAME = re.compile(rb"(?<=__mye)\d+")
_INTEGERS = re.compile(rb"(\x01\x80)?([\x07\x09])\x80\x01\x00")
_BYTES = {b"\x09": 8, b"\x07": 4}
_MOST_INTEGERS = 64  # in one list; a shape has no more, and what looks like a longer list is none
_LEAST = -(1 << 20)
_END = re.compile(rb"\xbc\x7f|\xd2\x7f")  # of an output's record in one of two tables: its first tag, inverted
_AFTER = re.compile(rb"(?<=\xbc\x7f)|(?<=\xd2\x7f)")
_TEXT = b"\x13\x80\x01\x00"
_TABLE_GAP = 1024  # bytes that are alike; differing bytes further apart are of two tables

Symbol = tuple[int, bytes | int]  # where it ends, and its digits or its number


def are_one_renamed(one: bytes, other: bytes) -> bool:
    """Return whether two plans are the same once the numbers of sizes are exchanged, one to one.

    Each number and each name is replaced by the place of its first occurrence among all of them: two plans that are the
    same then have a one-to-one mapping between their numbers, and no other byte differs. A number that stands in one
    place only has nothing that it could be checked against, and has to be the same; a name that does is a label.
    """
    return _numbered(one) == _numbered(other)


def _numbered(plan: bytes) -> tuple[bytes, list[int], list[Symbol]]:
    """Return a plan without its symbols, these by order of first occurrence, and the numbers that occur once."""
    blotted = bytearray(plan)
    values: list[Symbol] = []
    for start, end, value in _symbols(plan):
        blotted[start:end] = bytes(end - start)
        values.append((end, value))
    order: dict[bytes | int, int] = {}
    numbers = [order.setdefault(value, len(order)) for _, value in values]
    counts = Counter(value for _, value in values)
    return (
        bytes(blotted),
        numbers,
        [symbol for symbol in values if isinstance(symbol[1], int) and counts[symbol[1]] == 1],
    )


def _symbols(plan: bytes) -> Iterator[tuple[int, int, bytes | int]]:
    for name in _NAME.finditer(plan):
        yield *name.span(), name.group()
    for tag in _INTEGERS.finditer(plan):
        start, width = tag.end(), _BYTES[tag.group(2)]
        count = 1
        if tag.group(1):
            count, start = int.from_bytes(plan[start : start + 8], "little"), start + 8
        for place in range(start, start + width * count, width) if count <= _MOST_INTEGERS else ():
            value = int.from_bytes(plan[place : place + width], "little", signed=True)
            if _LEAST < value < -1:
                yield place, place + width, value


def are_one_reordered(one: bytes, other: bytes) -> bool:
    """Return whether two plans of one length are the same once the tables that list outputs are sorted.

    A table is where bytes differ. It consists of whole records, each of which has an output's name and an end, so that
    no weights are taken for one.
    """
    places = np.flatnonzero(np.frombuffer(one, np.uint8) != np.frombuffer(other, np.uint8))
    tables = np.split(places, np.flatnonzero(np.diff(places) > _TABLE_GAP) + 1)
    return all(_is_same_table(one, other, int(table[0]), int(table[-1])) for table in tables)


def _is_same_table(one: bytes, other: bytes, first: int, last: int) -> bool:
    """Return whether the records from one differing byte to another are the same ones."""
    begin = one.rfind(_TEXT, 0, first)
    end = _END.search(one, last)
    if begin < 0 or end is None or other[begin : begin + len(_TEXT)] != _TEXT or other[: end.end()][-2:] != end[0]:
        return False
    # What stands before a name is the same of all records, and of the first is outside.
    parted = [[piece.partition(_TEXT) for piece in _AFTER.split(plan[begin : end.end()])[:-1]] for plan in (one, other)]
    befores, records = zip(
        *([[p[0] for p in pieces[1:]], sorted(p[2] for p in pieces)] for pieces in parted), strict=True
    )
    return len(records[0]) > 1 and records[0] == records[1] and befores[0] == befores[1] and all(records[0])
