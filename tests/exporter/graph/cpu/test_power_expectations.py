"""The expectation over bins as powers: the softmax's numbers, whatever the size of what it is of."""

import numpy as np
import onnx
import pytest
from text_models import model_of, noise, ops, run, weights_of

from y12.exporter.graph.cpu.expectation import power_expectations
from y12.exporter.graph.expectation import sum_expectations

BINS = np.arange(8, dtype=np.float32).reshape(1, 8, 1, 1)
TEXT = """(float[N,4,8,5] x) => (float[A,B,C,D] out) { t = Transpose<perm=[0,2,1,3]>(x) p = Softmax<axis=1>(t)
    w = Mul(p, bins) out = ReduceSum<keepdims=1>(w, axes) }"""
PUBLISHED = "(float[2,4,8,5] x) => (float[2,1,4,5] out) { t = Transpose<perm=[0,2,1,3]>(x) p = Softmax<axis=1>(t) [e] "


def head(opset=20):
    model = model_of(TEXT, bins=BINS, axes=np.array([1]))
    model.opset_import[0].version = opset
    return model


@pytest.mark.parametrize("opset", [17, 18, 20])
@pytest.mark.parametrize("largest", [1.0, 88.0, 1e4, 3e38])
def test_the_result_is_that_of_the_softmax(largest, opset):
    x = noise(3, 4, 8, 5) * np.float32(largest)
    x[0, 0], x[0, 1] = largest, -largest  # all bins at one end of the range
    model = head(opset)
    expected = run(model, x)["out"]
    assert power_expectations(model).changes == 1
    onnx.checker.check_model(model, full_check=True)
    assert "Softmax" not in ops(model)
    actual = run(model, x)["out"]
    assert actual.shape == (3, 1, 4, 5)
    np.testing.assert_allclose(actual, expected, rtol=2e-5, atol=1e-6)


def test_a_published_head_is_rewritten_behind_the_pass_for_all_graphs():
    model = model_of(PUBLISHED + "out = Conv(p, w) }", w=BINS)
    assert (power_expectations(model).changes, sum_expectations(model).changes) == (0, 1)
    assert (power_expectations(model).changes, power_expectations(model).changes) == (1, 0)
    assert "Softmax" not in ops(model)
    assert [w.tolist() for w in weights_of(model).values()] == [BINS.tolist()]  # what an audit can find there


def test_other_softmaxes_stay():
    model = model_of(TEXT.replace("axis=1>(t)", "axis=2>(t)"), bins=BINS, axes=np.array([1]))
    before = model.SerializeToString(deterministic=True)
    assert power_expectations(model).changes == 0
    assert model.SerializeToString(deterministic=True) == before
