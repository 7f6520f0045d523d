"""The run on Ray: parts are handed to workers by Ray Data until each has its file.

A round is one execution of Ray Data over parts that have no file yet. Ray gives a part of a worker that died to
another. Where it cannot, as a machine is lost that the workers needed, the round is given up and the next one is
planned for what is left: a part whose file is there is not done again, and one that is done twice is the same file.
"""

import json
import logging
import os
import queue
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from time import monotonic
from typing import Any

from y12.batch.job import Job
from y12.batch.listing import Listing
from y12.batch.plan import Machine, Plan, Wanted, as_machine, capacity, plan_for
from y12.batch.storage import Store
from y12.batch.worker import Worker
from y12.errors import ExecutorError, Y12Error
from y12.runtime.cli.common import say
from y12.text import one_line

__all__ = ["Cluster", "done_by_ray"]

PARTS_A_ROUND = 4096  # what the driver holds of a part, it holds of so many at a time
STARTS = 5
OBJECT_STORE = 128 << 20  # parts are told by number: nothing large goes through it
_LOOKED_S = 1.0
_SHORT = 24
_ENDING_S = 20.0
_IN_VAIN = 3  # rounds without a part done
Tell = Callable[[int, dict[str, Any]], None]


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


class _LostError(Exception):
    """A round cannot go on as it was planned."""


def done_by_ray(cluster: Cluster, job: Job, listing: Listing, store: Store, parts: Sequence[int], tell: Tell) -> None:
    """Do the parts, and tell of each that is done.

    Args:
        cluster: where.
        job: what is to be done with each image.
        listing: which images there are.
        store: where the files go.
        parts: those that have no file.
        tell: takes the number of a part and its tally, once.

    Raises:
        OptionsError: it cannot be run there.
        ExecutorError: it cannot be run to its end; what was done is kept.
        Y12Error: as a worker raised it.
    """
    rest, vain = dict.fromkeys(parts), 0
    while rest:
        before = len(rest)
        with _stderr_kept(), _connected(cluster) as free:
            plan = plan_for(_machines(), cluster.wanted, free)
            say(f"plan: {plan.words}")
            try:
                while rest:
                    _round(plan, (job, listing, store, plan.threads), list(rest)[:PARTS_A_ROUND], rest, tell, cluster)
            except _LostError as lost:
                vain = 0 if len(rest) < before else vain + 1
                if vain >= _IN_VAIN:
                    raise ExecutorError(f"{vain} times in turn no part was done: {lost}; --resume goes on") from lost
                say(f"note: {lost}; going on with what is left")


def _round(
    plan: Plan, work: tuple[Any, ...], parts: Sequence[int], rest: dict[int, None], tell: Tell, cluster: Cluster
) -> None:
    """Do some parts; what is done leaves `rest`."""
    results: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_execute, args=(plan, work, parts, results), name="y12-batch-ray", daemon=True).start()
    last = monotonic()
    while True:
        try:
            result = results.get(timeout=_LOOKED_S)
        except queue.Empty:
            _check_machines(plan)
            if monotonic() - last > cluster.stall_s:
                raise ExecutorError(
                    f"expected a part of images to be done within {cluster.stall_s:g} s (--stall), found none: Ray may "
                    "be waiting for machines or processors that do not come; what is done is kept, and --resume goes on"
                ) from None
            continue
        last = monotonic()
        if result is None:
            return
        if isinstance(result, Exception):
            raise _in_words(result) from result
        part, tally = result
        if part in rest:
            del rest[part]
            tell(part, tally)


def _execute(plan: Plan, work: tuple[Any, ...], parts: Sequence[int], results: "queue.SimpleQueue[Any]") -> None:
    """Run Ray Data, and put each part's number and tally into the queue; then None, or what went wrong."""
    import ray.data

    try:
        numbers = ray.data.from_items([{"part": part} for part in parts], override_num_blocks=len(parts))
        tallies = numbers.map_batches(
            Worker,
            fn_constructor_args=work,
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=min(plan.workers, len(parts)), max_tasks_in_flight_per_actor=2),
            num_cpus=plan.cpus,
            num_gpus=plan.gpus or None,
        )
        for batch in tallies.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            for part, tally in zip(batch["part"].to_pylist(), batch["tally"].to_pylist(), strict=True):
                results.put((part, json.loads(tally)))
        results.put(None)
    except Exception as error:  # it is raised where it is waited for
        results.put(error)


def _machines() -> list[Machine]:
    import ray

    return [as_machine(node["Resources"]) for node in ray.nodes() if node["Alive"]]


def _check_machines(plan: Plan) -> None:
    """Notice that a machine is lost without which not all workers have room: Ray would wait for another.

    Raises:
        _LostError: one is.
    """
    room = capacity(_machines(), plan)
    if room < plan.workers:
        raise _LostError(f"machines are lost: of {plan.workers} workers, {room} have room")


def _in_words(error: Exception) -> Exception:
    """Return what a worker raised, or else what Ray did: a loss where it is one of a machine or worker."""
    import ray.exceptions as raised

    cause: BaseException | None = error
    while cause is not None:
        own = getattr(cause, "cause", None)
        for each in (cause, own):
            if isinstance(each, Y12Error):
                return type(each)(f"{each}; what is done is kept, and --resume goes on")
            if isinstance(each, raised.ActorDiedError | raised.NodeDiedError | raised.ObjectLostError):
                return _LostError(one_line(f"Ray lost a worker ({type(each).__name__})"))
        cause = cause.__cause__
    words = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return ExecutorError(
        f"Ray could not go on ({one_line(words[-1], 200)}); what is done is kept, and --resume goes on"
    )


@contextmanager
def _connected(cluster: Cluster) -> Iterator[Machine | None]:
    """Start Ray, or join what runs, and leave it at the end; give what nobody else holds, None of one that is our own.

    Raises:
        ExecutorError: as `_init`.
    """
    # Of Ray's, before it is imported: how long a slow machine may take to start, and that nobody is told of it.
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "60")
    os.environ.setdefault("RAY_agent_register_timeout_ms", "60000")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"  # what is left of a round that was given up would connect again
    import ray
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    folder = _session_folder()
    with _signals_kept():
        _init(cluster, folder)
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    threads = set(threading.enumerate())
    try:
        yield None if cluster.address is None else as_machine(ray.available_resources())
    finally:
        with _signals_kept(), suppress(Exception):
            ray.shutdown()
        _await_end(set(threading.enumerate()) - threads)
        shutil.rmtree(folder, ignore_errors=True)


def _await_end(threads: set[threading.Thread]) -> None:
    """Wait for what a round that was given up has left: each thread ends when it next speaks to Ray, which is gone."""
    until = monotonic() + _ENDING_S
    for thread in threads:
        thread.join(max(0.0, until - monotonic()))


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
        except Exception as error:  # of many kinds, and without a parent
            with suppress(Exception):
                ray.shutdown()
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
