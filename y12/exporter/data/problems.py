"""What is wrong with labelled data, all of it at once: who repairs a data set wants the list, not the first line."""

from dataclasses import dataclass, field

from y12.errors import DatasetError
from y12.text import visible

__all__ = ["MAX_SHOWN", "LeftOut", "Problems"]

MAX_SHOWN = 10


@dataclass
class LeftOut:
    """Labels of nothing, without width, height or area: no mistake that would spoil a figure, but one to be told."""

    count: int = 0
    first: str = ""

    def add(self, where: str) -> None:
        """Note one, by its file and line, or its entry."""
        self.count += 1
        self.first = self.first or where

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader has to know; nothing where there are none."""
        if not self.count:
            return ()
        plural = "s" * (self.count > 1)
        return (
            f"{self.count} label{plural} without width, height or area left out, the first in {visible(self.first)}",
        )


@dataclass
class Problems:
    """What was found wrong so far; only the first `MAX_SHOWN` are kept, the others are counted."""

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, problem: str) -> None:
        """Note one problem; it names its file and line, or its entry."""
        self.count += 1
        if self.count <= MAX_SHOWN:
            self.first.append(problem)

    def raise_if_any(self, where: str) -> None:
        """Refuse the data set if anything was noted.

        Raises:
            DatasetError: with the first problems and how many there are.
        """
        if not self.count:
            return
        more = f"; and {self.count - MAX_SHOWN} more" if self.count > MAX_SHOWN else ""
        plural = "s" if self.count > 1 else ""
        raise DatasetError(f"{where}: {self.count} problem{plural}: {'; '.join(self.first)}{more}")
