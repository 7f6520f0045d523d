"""The values that options read from text, and what is said of a text that is none."""

import math
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

import typer

from y12.text import shown

__all__ = ["at_least", "gpu_numbers", "image_size", "member_of", "reader", "whole_numbers"]


def reader(read: Callable[[str], Any], expected: str) -> Callable[[Any], Any]:
    """Return what reads a value by a function that raises ValueError, and says what was expected instead.

    typer hands a default through it too, which is text no longer.
    """

    def parse(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return read(value)
        except ValueError as error:
            raise typer.BadParameter(f"expected {expected}, found {shown(value)}") from error

    return parse


def member_of(kind: type[StrEnum], aliases: Mapping[str, StrEnum]) -> Callable[[str], StrEnum]:
    """Return what reads one of the values of an enum, or another name for one of them."""
    taken: dict[str, StrEnum] = {**{member.value: member for member in kind}, **aliases}

    def parse(text: str) -> StrEnum:
        if text not in taken:
            from difflib import get_close_matches  # takes a while to load: only where there is something to say

            also = f" (or {', '.join(aliases)})" if aliases else ""
            near = get_close_matches(text.lower(), taken, n=1)
            remedy = f"; did you mean {near[0]}?" if near else ""
            raise typer.BadParameter(f"expected {', '.join(kind)}{also}, found {shown(text)}{remedy}")
        return taken[text]

    return parse


def at_least(low: float, kind: type[int] | type[float], below: float = math.inf) -> Callable[[str], float]:
    """Return what reads a number from `low` on that is less than `below`, for `reader`."""

    def read(text: str) -> float:
        number = kind(text)
        if not low <= number < below:
            raise ValueError
        return number

    return read


def whole_numbers(text: str) -> tuple[int, ...]:
    """Read "0,2,5", for `reader`."""
    return tuple(int(part) for part in text.split(","))


def image_size(text: str) -> tuple[int, ...]:
    """Read "640", "480,640" or "480x640", for `reader`."""
    sides = whole_numbers(text.replace("x", ","))
    if len(sides) > 2 or min(sides) < 1:
        raise ValueError
    return sides


def gpu_numbers(text: str) -> tuple[int, ...]:
    """Read numbers that are all different, for `reader`."""
    numbers = whole_numbers(text)
    if min(numbers) < 0 or len(set(numbers)) < len(numbers):
        raise ValueError
    return numbers
