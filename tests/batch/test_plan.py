"""Who gets which processors: what cannot run is refused, and how many would is told."""

import pytest

from y12.batch.plan import Machine, Wanted, capacity, plan_for
from y12.errors import OptionsError

PLANS = [  # machines, what was asked for: workers, and the processors of each
    ([1], Wanted(), (1, 1.0)),
    ([2], Wanted(), (2, 1.0)),
    ([4], Wanted(), (4, 1.0)),
    ([4], Wanted(cpus=3), (1, 3.0)),
    ([2], Wanted(cpus=0.5), (4, 0.5)),
    ([16], Wanted(), (8, 2.0)),
    ([64], Wanted(), (16, 4.0)),
    ([1, 1], Wanted(), (2, 1.0)),
    ([64, 2], Wanted(), (66, 1.0)),
    ([0, 8], Wanted(), (4, 2.0)),  # a head without processors
    ([8], Wanted(workers=3), (3, 2.0)),
]


@pytest.mark.parametrize(("cpus", "wanted", "expected"), PLANS)
def test_workers_and_processors(cpus, wanted, expected):
    machines = [Machine(float(each)) for each in cpus]
    plan = plan_for(machines, wanted)
    assert (plan.workers, plan.cpus) == expected
    assert plan.gpus == 0
    assert plan.workers * plan.cpus <= sum(cpus)
    assert capacity(machines, plan) >= plan.workers
    assert plan.threads == max(1, int(plan.cpus))


def test_a_worker_each_gpu():
    plan = plan_for([Machine(32, 4), Machine(4)], Wanted(on_gpu=True))
    assert (plan.workers, plan.cpus, plan.gpus) == (4, 4.0, 1.0)
    plan = plan_for([Machine(2, 4)], Wanted(on_gpu=True))
    assert (plan.workers, plan.cpus) == (4, 0.5)


REFUSED = [
    (
        [Machine(2)],
        Wanted(workers=3),
        None,
        "expected room for 3 workers of 1 CPU, found room for 2 in 2 CPU: --workers 2",
    ),
    (
        [Machine(1), Machine(1)],
        Wanted(cpus=2),
        None,
        "found room for 0 in 2 CPU on 2 machines: fewer --cpus-per-worker",
    ),
    ([Machine(8)], Wanted(on_gpu=True), None, "expected a GPU for the artefact, Ray finds none: 8 CPU"),
    ([Machine(0)], Wanted(), None, "found room for 0 in 0 CPU"),
    (
        [Machine(4)],
        Wanted(workers=4),
        Machine(1.5),
        "found 1.5 CPU free of 4 CPU: other work has the rest; --workers 1",
    ),
    ([Machine(4)], Wanted(), Machine(0), "found 0 CPU free of 4 CPU: other work has the rest"),
]


@pytest.mark.parametrize(("machines", "wanted", "free", "words"), REFUSED)
def test_what_cannot_run_is_refused(machines, wanted, free, words):
    with pytest.raises(OptionsError) as raised:
        plan_for(machines, wanted, free)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


def test_what_others_hold_is_left_to_them():
    assert plan_for([Machine(8)], Wanted(cpus=1), Machine(3)).workers == 3
