"""What is wrong with labelled data, all of it at once: who repairs a data set wants the list, not the first line."""

from dataclasses import dataclass, field

from y12.errors import DatasetError

__all__ = ["MAX_SHOWN", "Problems"]

MAX_SHOWN = 10


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
