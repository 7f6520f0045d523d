"""benchmarks/bit.py: which convolutions each step makes ternary, and what is trained from what."""

import argparse
from pathlib import Path

import pytest

from benchmarks.bit import CONTROL, STEPS, arms, size, with_bit
from y12.exporter.model.build import detector_from_spec
from y12.exporter.model.spec import spec_from_name

SPEC = spec_from_name("bitfalcon-n")
ROWS = {"full precision": (), "head": (18,), "head and neck": range(10, 19), "all": range(19)}


@pytest.mark.parametrize("step", ROWS)
def test_the_rows_of_a_step(step):
    assert [row.index for row in with_bit(SPEC, step).layers if row.bit] == list(ROWS[step])


def test_all_but_the_first_stage_leaves_what_is_finer_than_stride_8():
    plain = [row for row in with_bit(SPEC, "all but the first stage").layers if not row.bit]
    assert [(row.index, row.stride) for row in plain] == [(0, 2), (1, 4), (2, 4)]


def test_each_step_has_more_ternary_weights_and_takes_less_room():
    sizes = [size(detector_from_spec(with_bit(SPEC, step))) for step in STEPS]
    assert [one.ternary for one in sizes] == sorted({one.ternary for one in sizes})
    assert sizes[0].ternary == 0
    assert [one.mebibytes for one in sizes] == sorted((one.mebibytes for one in sizes), reverse=True)
    assert len({one.ternary + one.others for one in sizes}) == 1


def test_each_step_is_trained_from_the_last_and_the_control_as_long():
    asked = argparse.Namespace(scale="n", seeds=2, steps=600, retrain=150, against=None, output=Path())
    trainings = [arm for arm in arms(asked) if arm.seed == 1]
    assert [arm.begins for arm in trainings] == [None, *list(STEPS)[:-1], "full precision"]
    assert [arm.steps for arm in trainings] == [600, 150, 150, 150, 150, 600]
    assert trainings[-1].name == CONTROL
    assert len(list(arms(asked))) == 12
