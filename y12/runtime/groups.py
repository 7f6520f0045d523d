"""A batch whose images need inputs of different sizes: each size is a run of its own, the results keep their order."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Group", "grouped", "run_in_groups"]


@dataclass(frozen=True)
class Group:
    """Images of one size: which of the batch they are, and what they are joined to."""

    rows: tuple[int, ...]
    joined: Any


def grouped(
    fitted: Sequence[Any], size_of: Callable[[Any], Hashable], join: Callable[[list[Any]], Any]
) -> tuple[Group, ...]:
    """Join what has one size, in the order in which the sizes come first.

    Args:
        fitted: the images of a batch, as the network takes them.
        size_of: what those have in common that can be run together.
        join: makes one input of several.
    """
    rows: dict[Hashable, list[int]] = {}
    for row, one in enumerate(fitted):
        rows.setdefault(size_of(one), []).append(row)
    return tuple(Group(tuple(own), join([fitted[row] for row in own])) for own in rows.values())


def run_in_groups(groups: Sequence[Group], run: Callable[[Any], Sequence[Any]]) -> list[Any]:
    """Run each group, and return the results in the order of the batch's images."""
    results = {row: result for group in groups for row, result in zip(group.rows, run(group.joined), strict=True)}
    return [results[row] for row in sorted(results)]
