"""What a process has of the one it was forked from: its memory, and none of the threads that were at work in it.

A library whose threads are gone waits for them for ever when it is told to free what they worked on. Hence a forked
process frees nothing that it inherited: what can be opened again is, on first use; a lock that a thread may have held
is replaced. `subprocess` and `multiprocessing`'s spawn are no such forks.
"""

import ctypes
import os
import weakref
from typing import Any, Protocol

__all__ = ["Inheritable", "kept_for_ever", "told_of_forks"]


class Inheritable(Protocol):
    """Something that a forked process cannot use as it is.

    It may also have a `before_fork`, to note what the new process will need to know.
    """

    def after_fork(self) -> None:
        """Let go of what was the other process'; in the new one."""


_LIVE: "weakref.WeakSet[Any]" = weakref.WeakSet()


def told_of_forks(thing: Inheritable) -> None:
    """Tell something of each fork, as long as it is used."""
    _LIVE.add(thing)


def kept_for_ever(thing: object) -> None:
    """Never free an object, not even when the process ends."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


def _before() -> None:
    for thing in tuple(_LIVE):
        if hasattr(thing, "before_fork"):
            thing.before_fork()


def _after() -> None:
    for thing in tuple(_LIVE):
        thing.after_fork()


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(before=_before, after_in_child=_after)
