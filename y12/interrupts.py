"""Ctrl-C and SIGTERM: both end a command alike, cleanly, and neither is lost where a library drops or overrides it."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator, Sequence

__all__ = ["check_interrupted", "interrupts_held_back", "interrupts_noted"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_came = threading.Event()


@contextlib.contextmanager
def interrupts_noted() -> Iterator[None]:
    """Let SIGTERM end a command as Ctrl-C does: files are whole or not there, and what is half made is removed.

    That one came is noted, as it may be lost: torch and others drop what is raised while C asks Python for something.
    """
    _came.clear()
    heeded: list[int] = [
        number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN
    ]  # as a shell's "&" does
    with _handled(heeded, _interrupt):
        yield


def _interrupt(_number: int, _frame: object) -> None:
    _came.set()
    raise KeyboardInterrupt


def check_interrupted() -> None:
    """Obey Ctrl-C or SIGTERM that came and was lost; whatever takes long calls it from step to step.

    Raises:
        KeyboardInterrupt: one did.
    """
    if _came.is_set() and _is_main():
        raise KeyboardInterrupt


@contextlib.contextmanager
def interrupts_held_back() -> Iterator[Callable[[], None]]:
    """Hold Ctrl-C and SIGTERM back until something is done that must not be cut short, and obey them then.

    Yields:
        What to call from time to time where a library sets handlers of its own meanwhile.
    """
    held: list[int] = []
    try:
        with _handled(_SIGNALS, lambda number, _: held.append(number)) as hold:
            yield hold
    finally:
        if held:
            signal.raise_signal(held[0])


@contextlib.contextmanager
def _handled(numbers: Sequence[int], handler: Callable[[int, object], None]) -> Iterator[Callable[[], None]]:
    """Handle signals so, and afterwards as before; in another thread than the main one nothing can be said of them."""
    before = {number: signal.getsignal(number) for number in numbers} if _is_main() else {}

    def handle() -> None:
        for number in before:
            signal.signal(number, handler)

    handle()
    try:
        yield handle
    finally:
        for number, own in before.items():
            signal.signal(number, own or signal.SIG_DFL)


def _is_main() -> bool:
    return threading.current_thread() is threading.main_thread()
