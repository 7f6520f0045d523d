"""What shows that a command is at work, on standard error: a bar on a terminal, lines elsewhere."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from y12.runtime.cli.common import say

__all__ = ["bar", "stage"]

Advance = Callable[[int, int], None]  # how much is done, and how much there is


@contextmanager
def stage(name: str) -> Iterator[Advance | None]:
    """Show a stage while it runs; gives what takes counts, where they can be shown."""
    with bar(name) as advance:
        if advance is None:
            say(f"{name} …")
            yield None
        else:
            yield lambda done, total: advance(done, total, name)


@contextmanager
def bar(name: str, *, remaining: bool = False) -> Iterator[Callable[[int, int, str], None] | None]:
    """Show a bar under a name that may change, with the time it will take where that is asked for; None elsewhere."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal or console.is_dumb_terminal:
        yield None
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = [SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()]
    columns += [TimeElapsedColumn(), *[TimeRemainingColumn()] * remaining]
    with Progress(*columns, console=console, transient=True) as shown:
        task = shown.add_task(name, total=None)
        yield lambda done, total, words: shown.update(task, completed=done, total=total, description=words)
