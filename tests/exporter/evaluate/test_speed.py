"""Executors are timed in turns, as often as there is time, after warming up."""

import numpy as np
import pytest

from y12.exporter.evaluate.speed import speeds_of
from y12.runtime.artefact.manifest import AxisRange, InputProfile

PROFILE = InputProfile(AxisRange(1, 2, 4), AxisRange(32, 64, 96), AxisRange(32, 96, 128))


class Counting:
    """Notes who ran, and on what."""

    def __init__(self, name, log):
        self.description, self.log = f"{name} of the test", log

    def run(self, images):
        self.log.append((self.description[0], images.shape, images.dtype))
        return {}

    def close(self):
        pass


def test_in_turns_on_the_shape_that_the_artefact_is_tuned_for():
    log = []
    first, second = speeds_of({"FP32 ONNX": Counting("a", log), "INT8 ONNX": Counting("b", log)}, PROFILE)
    assert [entry[0] for entry in log] == ["a", "b"] * 52  # two of them to warm up
    assert {entry[1:] for entry in log} == {((2, 3, 64, 96), np.dtype(np.float32))}
    assert (first.what, second.what) == ("FP32 ONNX in a of the test", "INT8 ONNX in b of the test")
    assert first.runs == second.runs == 50
    assert 0 <= first.median_ms <= first.p90_ms


def test_five_runs_at_least():
    log = []
    (one,) = speeds_of({"slow": Counting("a", log)}, PROFILE, seconds=0)
    assert (one.runs, len(log)) == (5, 7)


def test_an_error_goes_through():
    class Failing(Counting):
        def run(self, images):
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        speeds_of({"broken": Failing("a", [])}, PROFILE)
