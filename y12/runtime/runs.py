"""Runs of a network that are waited for: for so long and no longer, and so that Ctrl-C is heard meanwhile.

Python hears Ctrl-C in the main thread only, and not while that thread is in a library's code: such a run goes to a
thread of its own. What cannot be stopped is left to itself; the runtime is of no use then.
"""

import threading
from collections.abc import Callable
from queue import SimpleQueue
from time import monotonic
from typing import Any, Generic, TypeVar

from y12.errors import ExecutorError

__all__ = ["Runs", "lost_runs"]

Result = TypeVar("Result")

GRACE_S = 5.0  # for a run that was told to stop: the node under way is still computed
_TOLD_AGAIN_S = 0.02  # a run that had not begun when it was told to stop does not know of it

_LOST: list[threading.Thread] = []


def lost_runs() -> frozenset[threading.Thread]:
    """Return the threads of the runs that go on, as they could not be stopped: no process can end as others do."""
    return frozenset(thread for thread in _LOST if thread.is_alive())


class _Task(Generic[Result]):
    """One piece of work, and what became of it."""

    def __init__(self, work: Callable[[], Result]) -> None:
        self._work = work
        self.done = threading.Event()
        self.result: Result | None = None
        self.error: BaseException | None = None

    def do(self) -> None:
        """Do it, and keep its result or its error."""
        try:
            self.result = self._work()
        except BaseException as error:
            self.error = error
        self.done.set()


class _Worker:
    """A thread that does one task at a time; it does not keep the process from ending."""

    def __init__(self) -> None:
        self._tasks: SimpleQueue[_Task[Any] | None] = SimpleQueue()
        self.thread = threading.Thread(target=_work_off, args=(self._tasks,), name="y12-run", daemon=True)
        self.thread.start()

    def start(self, task: _Task[Any] | None) -> None:
        """Hand in a task; None ends the thread."""
        self._tasks.put(task)


def _work_off(tasks: "SimpleQueue[_Task[Any] | None]") -> None:
    while task := tasks.get():
        task.do()
        del task  # what it holds is not kept until the next one


class Runs:
    """The runs of one network.

    Args:
        timeout_s: how long each may take; None sets no limit.
        stop: tells the run in a thread, by its number, to end; None where there is no way to.
    """

    def __init__(self, timeout_s: float | None, stop: Callable[[int], None] | None) -> None:
        self._timeout_s, self._stop = timeout_s, stop
        self._lock = threading.Lock()
        self._idle: list[_Worker] = []
        self._places: dict[int, int] = {}  # of a caller's thread: where its run is
        self.is_lost = False

    def run(self, work: Callable[[], Result]) -> Result:
        """Return what `work` returns.

        Raises:
            ExecutorError: it took too long, or an earlier one did that could not be stopped.
            BaseException: what `work` raises.
        """
        if self.is_lost:
            raise ExecutorError("expected a runtime whose runs end, found one that is closed after a run that did not")
        is_heard = self._stop is None or threading.current_thread() is not threading.main_thread()
        if self._timeout_s is None and is_heard:
            return work()
        worker, task, caller = self._taken(), _Task(work), threading.get_ident()
        self._places[caller] = worker.thread.ident or 0
        try:
            worker.start(task)
            ended = task.done.wait(self._timeout_s)
        except BaseException:  # Ctrl-C
            self._stopped(worker, task)
            raise
        finally:
            self._places.pop(caller, None)
        if not ended:
            self._stopped(worker, task)
            raise self._too_long()
        self._give_back(worker)
        if task.error is not None:
            raise task.error
        return task.result  # type: ignore[return-value]  # what `work` gave, be it None

    def interrupt(self, thread: int) -> None:
        """Tell the run that a thread waits for, or does itself, to end."""
        if self._stop is not None:
            self._stop(self._places.get(thread, thread))

    def close(self) -> None:
        """End the threads that wait for work."""
        with self._lock:
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.start(None)

    __del__ = close

    def after_fork(self) -> None:
        """Forget the threads of the process that this one was forked from, and the lock that one may have held."""
        self._lock, self._idle, self._places, self.is_lost = threading.Lock(), [], {}, False

    def _stopped(self, worker: _Worker, task: _Task[Any]) -> None:
        """Stop a run, and wait for its end; without one it is lost."""
        until = monotonic() + GRACE_S
        while self._stop is not None and monotonic() < until:
            self._stop(worker.thread.ident or 0)
            if task.done.wait(_TOLD_AGAIN_S):
                self._give_back(worker)
                return
        self.is_lost = True
        _LOST.append(worker.thread)

    def _too_long(self) -> ExecutorError:
        rest = "; it could not be stopped, and the runtime is closed" if self.is_lost else ", and was stopped"
        return ExecutorError(
            f"expected the network to run within the timeout of {self._timeout_s:g} s, found one that took longer{rest}"
        )

    def _taken(self) -> _Worker:
        with self._lock:
            return self._idle.pop() if self._idle else _Worker()

    def _give_back(self, worker: _Worker) -> None:
        with self._lock:
            self._idle.append(worker)
