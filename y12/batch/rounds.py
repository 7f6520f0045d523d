"""The run on Ray: parts are handed to workers by Ray Data until each has its file.

A round is one execution of Ray Data over parts that have no file yet. Ray gives a part of a worker that died to
another. Where it cannot, as a machine is lost that the workers needed, the round is given up and the next one is
planned for what is left: a part whose file is there is not done again, and one that is done twice is the same file.
"""

import json
import queue
import threading
from collections.abc import Callable, Sequence
from time import monotonic, sleep
from typing import Any

from y12.batch.cluster import OWN_THREAD, Cluster, connected
from y12.batch.job import Job
from y12.batch.listing import Listing
from y12.batch.plan import Machine, Plan, as_machine, capacity, plan_for
from y12.batch.storage import Store
from y12.batch.worker import FAILED, Worker
from y12.errors import ExecutorError, OptionsError
from y12.runtime.cli.common import say
from y12.text import one_line

__all__ = ["done_by_ray"]

PARTS_A_ROUND = 4096  # what the driver holds of a part, it holds of so many at a time
_LOOKED_S = 1.0
_FREED_S = 30.0
_IN_VAIN = 3  # rounds without a part done
Tell = Callable[[int, dict[str, Any]], None]


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
    """
    rest, vain = dict.fromkeys(parts), 0
    while rest:
        before = len(rest)
        with connected(cluster):
            plan = _planned(cluster)
            say(f"plan: {plan.words}")
            try:
                while rest:
                    now = list(rest)[:PARTS_A_ROUND]
                    _round(plan, (job, listing, store, plan.threads), now, rest, tell, cluster)
                    _check_progress(len(now), sum(part in rest for part in now))
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
    threading.Thread(target=_execute, args=(plan, work, parts, results), name=OWN_THREAD, daemon=True).start()
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
        if FAILED in tally:
            raise ExecutorError(f"{tally[FAILED]}; what is done is kept, and --resume goes on")
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


def _planned(cluster: Cluster) -> Plan:
    """Return who gets what; on a cluster that others use too, what a run that has ended held is waited for a while.

    Raises:
        OptionsError: it cannot run there.
    """
    import ray

    until = monotonic() + (_FREED_S if cluster.address is not None else 0.0)
    while True:
        free = None if cluster.address is None else as_machine(ray.available_resources())
        try:
            return plan_for(_machines(), cluster.wanted, free)
        except OptionsError:
            if monotonic() > until:
                raise
        sleep(_LOOKED_S)


def _check_progress(asked: int, left: int) -> None:
    """Notice that Ray has ended without having done all that it was asked for.

    Raises:
        _LostError: it has.
    """
    if left:
        raise _LostError(f"Ray has ended with {left} of {asked} parts not done")


def _machines() -> list[Machine]:
    import ray

    return [as_machine(node["Resources"]) for node in ray.nodes() if node["Alive"]]


def _check_machines(plan: Plan) -> None:
    """Notice that a machine is lost without which not all workers have room: Ray would wait for another.

    Raises:
        _LostError: one is.
    """
    try:
        room = capacity(_machines(), plan)
    except Exception as error:  # of many kinds, and without a parent
        raise _LostError(f"Ray does not answer any more ({one_line(str(error), 100)})") from error
    if room < plan.workers:
        raise _LostError(f"machines are lost: of {plan.workers} workers, {room} have room")


def _in_words(error: Exception) -> Exception:
    """Return what a worker raised, or else what Ray did: a loss where it is one of a machine or worker."""
    import ray.exceptions as raised

    cause: BaseException | None = error
    while cause is not None:
        own = getattr(cause, "cause", None)
        for each in (cause, own):
            if isinstance(each, raised.ActorDiedError | raised.NodeDiedError | raised.ObjectLostError):
                return _LostError(one_line(f"Ray lost a worker ({type(each).__name__})"))
        cause = cause.__cause__
    words = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return ExecutorError(
        f"Ray could not go on ({one_line(words[-1], 200)}); what is done is kept, and --resume goes on"
    )
