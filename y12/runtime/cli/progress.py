"""What shows that a command is at work, on standard error: a bar on a terminal, elsewhere a line every few seconds.

Both say how much is done, at which rate, and how long the rest will take, and obey an interrupt that was lost. In the
first second nothing is drawn, and what draws is not even loaded.
"""

import os
import sys
from collections.abc import Callable
from time import perf_counter
from types import TracebackType
from typing import Any, Protocol, Self

from y12.interrupts import check_interrupted
from y12.runtime.cli.common import say

__all__ = ["Advance", "Progress", "stage", "told"]

PATIENCE_S = 1.0  # until something is drawn
LINES_S = 5.0  # from one line to the next
DRAWN_S = 0.1  # from one picture of the bar to the next


class Advance(Protocol):
    """Takes how much is done, and how much there is; None where nobody knows."""

    def __call__(self, done: int, total: int | None, words: str = "", *, share: float | None = None) -> None:
        """Take note; `words` follow the counts, and `share` of 0-1 says more of the rest than these do."""


class Progress:
    """How far a command is.

    Args:
        name: of what it does.
        unit: what is counted, such as "images".
        at_once: draw on a terminal from the beginning on, and while nothing advances too.

    Attributes:
        is_live: a terminal shows it.
    """

    def __init__(self, name: str, unit: str = "", *, at_once: bool = False) -> None:
        check_interrupted()
        self._name, self._unit, self._at_once = name, unit, at_once
        self.is_live = sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._began = self._said = perf_counter()
        self._first: tuple[int, float, float] | None = None  # done, its share, and when
        self._draw: Callable[[float | None, str], None] | None = None
        self._bar: Any = None

    def __enter__(self) -> Self:
        if self._at_once and self.is_live:
            self._open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def __call__(self, done: int, total: int | None, words: str = "", *, share: float | None = None) -> None:
        """Take note of how far it is, and show it where it is time to."""
        check_interrupted()
        now = perf_counter()
        if share is None:
            share = done / total if total else None
        if self._first is None:
            self._first = (done, share or 0.0, now)
        if self.is_live and self._bar is None and now - self._began >= PATIENCE_S:
            self._open()
        if now - self._said < (DRAWN_S if self.is_live else LINES_S) or (self.is_live and self._bar is None):
            return
        self._said = now
        first_done, first_share, first_s = self._first
        rate = (done - first_done) / (now - first_s) if done > first_done else None
        left_s = None
        if share is not None and share > first_share:
            left_s = (1 - share) / (share - first_share) * (now - first_s)
        text = told(done, total, self._unit, rate, left_s) + (f"; {words}" if words else "")
        if self._draw is not None:
            self._draw(share, text)
        else:
            say(f"{self._name}: {text} …")

    def _open(self) -> None:
        """Begin to draw; what is printed meanwhile comes above the bar."""
        from rich.console import Console
        from rich.progress import BarColumn, SpinnerColumn, TextColumn
        from rich.progress import Progress as Drawn

        columns = [SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn()]
        columns.append(TextColumn("{task.fields[told]}", markup=False))
        # Standard output is led above the bar where a terminal shows both, and is nobody's business where it does not.
        shared = sys.stdout is not None and sys.stdout.isatty()
        console = Console(stderr=True, soft_wrap=True)
        self._bar = Drawn(*columns, console=console, transient=True, auto_refresh=self._at_once, redirect_stdout=shared)
        task = self._bar.add_task(self._name, total=None, told="")
        self._bar.start()

        def draw(share: float | None, text: str) -> None:
            self._bar.update(
                task, completed=share or 0.0, total=None if share is None else 1.0, told=text, refresh=True
            )

        self._draw = draw


def stage(name: str) -> Progress:
    """Return what shows a stage of a command, which is named at once."""
    progress = Progress(name, at_once=True)
    if not progress.is_live:
        say(f"{name} …")
    return progress


def told(done: int, total: int | None, unit: str, rate: float | None, left_s: float | None) -> str:
    """Say how far it is: "120 of 5000 images, 24.1 a second, 3 min 22 s left".

    >>> told(3, None, "frames", 0.25, None)
    '3 frames, 4.0 s each'
    """
    counted = f"{done} of {total}" if total else str(done)
    parts = [f"{counted} {unit}".rstrip()]
    if rate:
        parts.append(f"{rate:.1f} a second" if rate >= 1 else f"{1 / rate:.1f} s each")
    if left_s is not None:
        parts.append(f"{_time(left_s)} left")
    return ", ".join(parts)


def _time(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
