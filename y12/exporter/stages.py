"""The stages of an export as they are shown and timed."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

__all__ = ["Advance", "Clock", "Progress", "silent"]

Advance = Callable[[int, int], None]  # how much is done, and how much there is
Progress = Callable[[str], AbstractContextManager[Advance | None]]


def silent(_stage: str) -> AbstractContextManager[None]:
    """Show nothing of a stage."""
    return nullcontext()


class Clock:
    """Times stages while showing progress."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[Advance | None]:
        """Show a stage, and add up its time."""
        started = time.perf_counter()
        with self._progress(stage) as advance:
            yield advance
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - started
