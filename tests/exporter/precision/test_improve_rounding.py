"""Rounding so that the output is nearest: properties, and the best of all choices where they can be counted."""

import itertools

import numpy as np
import pytest

from exporter.precision.improve import rounding
from exporter.precision.improve.rounding import chosen_steps, forms

SEEDS = range(6)


def case(seed, outputs=5, taps=24, rank=None):
    """Weights in steps, (O, K), and H of inputs that depend on each other, as those of neighbouring pixels do."""
    random = np.random.Generator(np.random.PCG64(seed))
    wanted = np.clip(random.normal(0, 30, (outputs, taps)), -127, 127)
    mixed = random.normal(size=(rank or taps, taps)) + 2 * random.normal(size=(rank or taps, 1))
    return wanted, mixed.T @ mixed / len(mixed)


def nearest(wanted):
    return np.rint(wanted)


def check(wanted, squares, steps):
    """What a choice of integers has to be."""
    assert (np.abs(steps - wanted) < 1).all()
    assert (np.abs(steps) <= 127).all()
    assert (forms(steps - wanted, squares) <= forms(nearest(wanted) - wanted, squares) * (1 + 1e-12)).all()


def test_the_form_is_the_mean_squared_error_of_the_output():
    random = np.random.Generator(np.random.PCG64(3))
    seen, errors = random.normal(size=(500, 7)), random.normal(size=(4, 7))
    expected = ((seen @ errors.T) ** 2).mean(axis=0)
    np.testing.assert_allclose(forms(errors, seen.T @ seen / 500), expected)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("taps", [1, 2, 9, 24, 150])
def test_no_channel_is_worse_than_with_rounding_to_nearest_and_no_weight_off_by_a_step(seed, taps):
    wanted, squares = case(seed, taps=taps)
    check(wanted, squares, chosen_steps(wanted, squares))


@pytest.mark.parametrize("seed", SEEDS)
def test_inputs_that_depend_on_each_other_leave_a_fraction_of_the_error(seed):
    wanted, squares = case(seed, taps=64)
    steps = chosen_steps(wanted, squares)
    assert forms(steps - wanted, squares).sum() < 0.5 * forms(nearest(wanted) - wanted, squares).sum()


@pytest.mark.parametrize("seed", SEEDS)
def test_it_is_near_the_best_of_all_choices(seed):
    wanted, squares = case(seed, outputs=4, taps=8)
    low = np.floor(wanted)
    best = np.full(4, np.inf)
    for up in itertools.product((0, 1), repeat=8):
        best = np.minimum(best, forms(low + up - wanted, squares))
    found, plain = (forms(steps - wanted, squares) for steps in (chosen_steps(wanted, squares), nearest(wanted)))
    assert (found >= best * (1 - 1e-9)).all()
    assert (found - best).mean() < 0.5 * (plain - best).mean()


@pytest.mark.parametrize("seed", SEEDS)
def test_independent_inputs_are_rounded_to_nearest(seed):
    wanted, _ = case(seed)
    np.testing.assert_array_equal(chosen_steps(wanted, np.diag(np.arange(1.0, 25))), nearest(wanted))


def test_whole_steps_stay_as_they_are_so_that_a_second_time_changes_nothing():
    wanted, squares = case(1)
    steps = chosen_steps(wanted, squares)
    np.testing.assert_array_equal(chosen_steps(steps.astype(np.float64), squares), steps)


def test_the_largest_weight_of_a_channel_stays_in_the_grid():
    _, squares = case(1, taps=3)
    wanted = np.array([[127.00001, -127.00001, 126.5]])
    steps = chosen_steps(wanted, squares)
    assert steps[0, :2].tolist() == [127, -127]
    assert steps[0, 2] in (126, 127)


@pytest.mark.parametrize("squares", [np.zeros((24, 24)), np.ones((24, 24)), case(0, rank=3)[1]])
def test_inputs_that_say_too_little_are_no_failure(squares):
    wanted, _ = case(2)
    check(wanted, squares, chosen_steps(wanted, squares))


def test_a_mean_of_the_inputs_is_balanced():
    """With every input the same, what counts is the sum of the errors: it is at most half a step."""
    wanted, _ = case(4)
    steps = chosen_steps(wanted, np.ones((24, 24)))
    assert (np.abs((steps - wanted).sum(axis=1)) <= 0.5 + 1e-9).all()


def test_the_checks_see_a_broken_variant(monkeypatch):
    wanted, squares = case(5)
    with pytest.raises(AssertionError):
        check(wanted, squares, np.ceil(wanted))
    with pytest.raises(AssertionError):
        check(wanted, squares, nearest(wanted) + 1)
    # without either step, nothing is gained
    monkeypatch.setattr(rounding, "_corrected", lambda w, low, high, squares: nearest(w))
    monkeypatch.setattr(rounding, "_turned", lambda steps, *_: steps)
    np.testing.assert_array_equal(chosen_steps(wanted, squares), nearest(wanted))
