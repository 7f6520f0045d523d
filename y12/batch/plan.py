"""Who gets which processors: computed and printed before anything starts, so that nothing waits for what never comes.

Ray places a worker on one machine, and waits without a word for one that has room. So room is counted machine by
machine.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor

from y12.errors import OptionsError

__all__ = ["Machine", "Plan", "Wanted", "plan_for"]

_TINY = 1e-6
_SHARES = ((32, 4.0), (8, 2.0), (0, 1.0))  # processors of a machine, from so many on: those of a worker
_GPU_SHARE = 4.0  # decoding keeps no more busy


@dataclass(frozen=True)
class Machine:
    """What a machine of the cluster has."""

    cpus: float
    gpus: float = 0.0


@dataclass(frozen=True)
class Wanted:
    """What was asked for; None leaves it to what there is.

    Attributes:
        on_gpu: the network runs on a GPU.
        workers: how many.
        cpus: of each.
    """

    on_gpu: bool = False
    workers: int | None = None
    cpus: float | None = None


@dataclass(frozen=True)
class Plan:
    """What each worker gets.

    Attributes:
        workers: how many there are.
        cpus: of each, as Ray counts them.
        gpus: of each.
        threads: that the network of each uses on the processors.
        words: the sum, for people.
    """

    workers: int
    cpus: float
    gpus: float
    threads: int
    words: str


def plan_for(machines: Sequence[Machine], wanted: Wanted, free: Machine | None = None) -> Plan:
    """Return who gets what.

    Args:
        machines: of the cluster.
        wanted: what was asked for.
        free: what of all of them nobody else holds; None: everything.

    Raises:
        OptionsError: it cannot run, now or ever; how many would is told.
    """
    total = Machine(sum(m.cpus for m in machines), sum(m.gpus for m in machines))
    if wanted.on_gpu and total.gpus < 1:
        raise OptionsError(f"expected a GPU for the artefact, Ray finds none: {_told(machines)}")
    cpus = wanted.cpus if wanted.cpus is not None else _share(machines, wanted.on_gpu)
    gpus = 1.0 if wanted.on_gpu else 0.0
    room = sum(_room(machine, cpus, gpus) for machine in machines)
    most = room
    if free is not None:
        most = min(room, _room(free, cpus, gpus))
    workers = wanted.workers if wanted.workers is not None else max(most, 1)
    each = f"{_number(cpus)} CPU{' and a GPU' if gpus else ''}"
    if workers > room:
        raise OptionsError(
            f"expected room for {workers} {_workers(workers)} of {each}, found room for {room} in {_told(machines)}: "
            f"{_remedy(room, 'nobody would ever begin')}"
        )
    if workers > most and free is not None:
        raise OptionsError(
            f"expected room for {workers} {_workers(workers)} of {each} now, found {_told([free])} free of "
            f"{_told(machines)}: other work has the rest; {_remedy(most, 'wait for it')}"
        )
    left = total.cpus - workers * cpus
    words = f"{workers} {_workers(workers)} of {each}; {_told(machines)}, {_number(left)} CPU left"
    return Plan(workers, cpus, gpus, max(1, floor(cpus + _TINY)), words)


def capacity(machines: Sequence[Machine], plan: Plan) -> int:
    """Return how many of a plan's workers these machines have room for."""
    return sum(_room(machine, plan.cpus, plan.gpus) for machine in machines)


def as_machine(resources: Mapping[str, float]) -> Machine:
    """Return what Ray's words for resources say of a machine."""
    return Machine(resources.get("CPU", 0.0), resources.get("GPU", 0.0))


def _share(machines: Sequence[Machine], on_gpu: bool) -> float:
    """Return the processors of a worker, so that each machine that can have one has room for it."""
    if on_gpu:
        shares = [machine.cpus / floor(machine.gpus) for machine in machines if machine.gpus >= 1 and machine.cpus > 0]
        return min([_GPU_SHARE, *shares])
    least = min((machine.cpus for machine in machines if machine.cpus > 0), default=1.0)
    return min(next(share for floor_, share in _SHARES if least >= floor_), least)


def _room(machine: Machine, cpus: float, gpus: float) -> int:
    by_cpus = floor(machine.cpus / cpus + _TINY)
    return min(by_cpus, floor(machine.gpus / gpus + _TINY)) if gpus else by_cpus


def _told(machines: Sequence[Machine]) -> str:
    cpus, gpus = sum(m.cpus for m in machines), sum(m.gpus for m in machines)
    place = "" if len(machines) == 1 else f" on {len(machines)} machines"
    return f"{_number(cpus)} CPU{f' and {_number(gpus)} GPU' if gpus else ''}{place}"


def _remedy(room: int, otherwise: str) -> str:
    return f"--workers {room}, or fewer --cpus-per-worker" if room else f"fewer --cpus-per-worker, or {otherwise}"


def _workers(count: int) -> str:
    return "worker" if count == 1 else "workers"


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
