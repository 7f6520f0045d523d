"""Ray for one run: started on this machine, or joined where it runs; it leaves nothing behind, and says nothing."""

import logging
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

from y12.batch.plan import Wanted
from y12.errors import ExecutorError
from y12.interrupts import interrupts_held_back
from y12.text import one_line

__all__ = ["OWN_THREAD", "Cluster", "connected"]

STARTS = 5
OWN_THREAD = "y12-batch-ray"
EXECUTING = (OWN_THREAD, "StreamingExecutor")  # the threads of an execution: ours, and Ray Data's
OBJECT_STORE = 128 << 20  # parts are told by number: nothing large goes through it
_SHORT = 24
_ENDING_S, _TURN_S = 20.0, 0.005


@dataclass(frozen=True)
class Cluster:
    """Where the work is done.

    Attributes:
        address: of a cluster that runs; None starts one on this machine, for this run alone.
        cpus: of that one; None takes all there are.
        wanted: what a worker is to have.
        stall_s: without a part done for so long, the run ends.
    """

    address: str | None
    cpus: int | None
    wanted: Wanted
    stall_s: float


@contextmanager
def connected(cluster: Cluster) -> Iterator[None]:
    """Start Ray, or join what runs, and leave it at the end.

    Raises:
        ExecutorError: as `_init`.
    """
    # Before Ray is imported.
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "40")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"  # what is left of a round that was given up would connect again
    import ray
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    folder = _session_folder()
    try:
        with _stderr_kept():
            with _signals_kept():
                _init(cluster, folder)
            for name in ("ray", "ray.data"):
                logging.getLogger(name).setLevel(logging.CRITICAL)
            try:
                yield
            finally:
                _shut_down()
                _await_end()
    finally:
        _end_left(folder)  # or it would go on to write there
        shutil.rmtree(folder, ignore_errors=True)


def _shut_down() -> None:
    """Leave Ray, whose library lets SIGTERM end the process outright while it goes."""
    import ray

    def leave() -> None:
        with suppress(Exception):
            ray.shutdown()

    leaving = threading.Thread(target=leave, daemon=True)
    with interrupts_held_back() as hold:
        leaving.start()
        while leaving.is_alive():
            hold()
            leaving.join(_TURN_S)


def _await_end() -> None:
    """Wait for what a round that was given up has left: each thread ends when it next speaks to Ray, which is gone."""
    until = monotonic() + _ENDING_S
    for thread in threading.enumerate():
        if thread.name.startswith(EXECUTING):
            thread.join(max(0.0, until - monotonic()))


def _end_left(folder: str) -> None:
    """End what a start that failed, or was interrupted, has left, which Ray forgets: whatever was told our folder."""
    until = monotonic() + _ENDING_S
    while monotonic() < until and (left := _told(folder)):
        for number in left:
            with suppress(OSError):  # it has ended, or is another's
                os.kill(number, signal.SIGKILL)
        sleep(_TURN_S)


def _told(folder: str) -> list[int]:
    """Return the processes whose command lines have a folder in them."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if folder.encode() in (entry / "cmdline").read_bytes():  # empty of one that has ended
                found.append(int(entry.name))
    return found


def _session_folder() -> str:
    """Make a folder for what Ray writes of its own, and does not remove; its sockets' names must be short."""
    usual = tempfile.gettempdir()
    return tempfile.mkdtemp(prefix="y12-ray-", dir=usual if len(usual) <= _SHORT else "/tmp")


def _init(cluster: Cluster, folder: str) -> None:
    """Start Ray, on a machine that is busy a second time, or join what runs.

    Raises:
        ExecutorError: it does not start, or there is none.
    """
    import ray

    own = {
        "num_cpus": cluster.cpus,
        "include_dashboard": False,
        "object_store_memory": OBJECT_STORE,
        "_temp_dir": folder,
    }
    for attempts_left in range(STARTS - 1 if cluster.address is None else 0, -1, -1):
        try:
            ray.init(
                address=cluster.address or "local",
                log_to_driver=False,
                logging_level=logging.CRITICAL,
                **(own if cluster.address is None else {}),
            )
        except BaseException as error:  # of many kinds, and without a parent
            with suppress(Exception):
                ray.shutdown()
            if isinstance(error, SystemExit):  # Ray makes that of SIGTERM
                raise KeyboardInterrupt from None
            if not isinstance(error, Exception):
                raise
            _end_left(folder)
            if not attempts_left:
                place = "on this machine" if cluster.address is None else f"at {cluster.address}"
                words = one_line(f"{type(error).__name__} {error}", 200)
                raise ExecutorError(f"expected Ray {place}, it does not start or answer ({words})") from error
        else:
            return


@contextmanager
def _stderr_kept() -> Iterator[None]:
    """Keep standard error for y12's own lines: Ray writes there past Python, and much where it is ended."""
    if sys.stderr is None:
        yield
        return
    before, nowhere = sys.stderr, os.open(os.devnull, os.O_WRONLY)
    before.flush()
    kept = os.dup(2)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    try:
        with open(kept, "w", encoding=before.encoding, errors="backslashreplace", closefd=False) as stream:
            sys.stderr = stream
            yield
    finally:
        sys.stderr = before
        os.dup2(kept, 2)
        os.close(kept)


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM mean what they meant before Ray took them."""
    is_main = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)} if is_main else {}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
