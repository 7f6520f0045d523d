"""Scores are checked and their best found in one look at their bits: the same as by three looks at the numbers."""

import numpy as np
import pytest

from y12.errors import ExecutorError
from y12.runtime.artefact.output_layout import OutputLayout
from y12.runtime.postprocess.predictions import predictions_from

LAYOUT = OutputLayout("detect", 3)


def predictions(scores):
    output = np.concatenate([np.ones((4, scores.shape[1]), np.float32), scores])
    return predictions_from({"output0": output}, LAYOUT, (64, 64))


def test_the_best_are_the_largest(rng):
    scores = rng.random((3, 200), np.float32)
    scores[:, :5] = [[0, 1, 1e-45, 1e-38, 1.0005]] * 3  # also what has no exponent
    best = predictions(scores).best
    assert best.dtype == np.float32
    np.testing.assert_array_equal(best, scores.max(axis=0))


@pytest.mark.parametrize("odd", [-1e-4, -0.0, -1.0, 1.5, 516.0])
def test_others_are_looked_at_as_numbers(rng, odd):
    scores = rng.random((3, 200), np.float32)
    scores[1, 77] = odd
    assert predictions(scores).best is None


@pytest.mark.parametrize("odd", [np.nan, -np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("row", [0, 5])
def test_what_is_no_number_is_refused(rng, odd, row):
    output = np.concatenate([np.ones((4, 200), np.float32), rng.random((3, 200), np.float32)])
    output[row, 77] = odd
    with pytest.raises(ExecutorError, match="NaN or infinity"):
        predictions_from({"output0": output}, LAYOUT, (64, 64))
