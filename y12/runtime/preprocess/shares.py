"""How many pixels of large images are decoded at a time, in all threads together."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Shares"]


class Shares:
    """So many pixels at a time, of all threads together; one image always gets its turn."""

    def __init__(self, total: int) -> None:
        self._total, self._taken = total, 0
        self._changed = threading.Condition()

    @contextmanager
    def share(self, pixels: int) -> Iterator[None]:
        """Wait until there is room for so many pixels, and hold it for a while."""
        with self._changed:
            self._changed.wait_for(lambda: not self._taken or self._taken + pixels <= self._total)
            self._taken += pixels
        try:
            yield
        finally:
            with self._changed:
                self._taken -= pixels
                self._changed.notify_all()
