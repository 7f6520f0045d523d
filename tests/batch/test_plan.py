"""Who gets which processors: what cannot run is refused, and how many would is told."""

import importlib.metadata
import importlib.util

import pytest
from documents import ROOT

from y12.batch.cli import LEAST_RAY, main
from y12.batch.plan import Machine, Wanted, capacity, plan_for
from y12.errors import OptionsError
from y12.installing import requirements_of

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


def test_a_missing_package_is_one_line_with_the_remedy(monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ray" else object())
    assert main(["model.onnx", "photos", "--output", "found"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: y12-batch needs the package 'ray' of y12's extra [ray], which is not installed: pip")
    assert said.count("\n") == 1


def test_a_release_of_ray_that_is_too_old_is_one_line_with_the_remedy(monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "2.9.3")
    assert main(["model.onnx", "photos", "--output", "found"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: expected Ray 2.60 or later, found 2.9.3: pip install --upgrade 'fsspec")
    assert said.count("\n") == 1


def test_the_least_ray_is_the_extra_s():
    assert f"ray[data]>={'.'.join(map(str, LEAST_RAY))}" in requirements_of("ray")


def test_the_document_shows_what_is_said():
    """Sixteen processors on one machine; two of them for three workers."""
    plan = plan_for([Machine(16)], Wanted())
    with pytest.raises(OptionsError) as raised:
        plan_for([Machine(2)], Wanted(workers=3, cpus=1))
    shown = (ROOT / "docs" / "batch.md").read_text()
    assert f"```text\nplan: {plan.words}\nerror: {raised.value}\n```" in shown
