"""The 1x1 convolution over a softmax's bins becomes a weighted sum."""

import numpy as np
import onnx
import pytest
from text_models import copy_of, model_of, noise, ops, run, weights_of

from y12.exporter.graph.expectation import sum_expectations

IO = "(float[2,8,4,5] x) => (float[2,1,4,5] y)"
BINS = np.arange(8, dtype=np.float32).reshape(1, 8, 1, 1)
TALL = "(float[2,32,4,5] x) => (float[2,1,4,20] y)"  # as a head has it: four sides' bins, one behind the other
TALL_BODY = "p = Reshape(x, grouped) t = Transpose<perm=[0,2,1,3]>(p) s = Softmax<axis=1>(t) [e] y = Conv(s, w)"

REWRITTEN = [
    (IO + "{ s = Softmax<axis=1>(x) [e] y = Conv(s, w) }", {"w": BINS}, 1),
    (IO + "{ s = Softmax<axis=1>(x) [e] y = Conv<kernel_shape=[1,1]>(s, w) }", {"w": noise(1, 8, 1, 1)}, 1),
    (TALL + "{" + TALL_BODY + "}", {"w": BINS, "grouped": np.array([2, 4, 8, 20])}, 1),
    # data is moved between the softmax and the convolution, in both ways
    (
        "(float[2,4,8,5] x) => (float[2,1,4,5] y) { s = Softmax<axis=2>(x) t = Transpose<perm=[0,2,1,3]>(s)"
        "r = Reshape(t, same) [e] y = Conv(r, w) }",
        {"w": BINS, "same": np.array([2, 8, 4, 5])},
        1,
    ),
    (
        IO + "{ w = Constant<value = float[1,8,1,1] {0,1,2,3,4,5,6,7}>() s = Softmax<axis=1>(x) [e] y = Conv(s, w) }",
        {},
        1,
    ),
    # two that share their weight
    (
        "(float[2,8,4,5] x) => (float[2,1,4,5] y, float[2,1,4,5] z)"
        "{ s = Softmax<axis=1>(x) [e] y = Conv(s, w) n = Neg(x) u = Softmax<axis=1>(n) [f] z = Conv(u, w) }",
        {"w": BINS},
        2,
    ),
    # two without names
    (
        "(float[2,8,4,5] x) => (float[2,1,4,5] y, float[2,1,4,5] z)"
        "{ s = Softmax<axis=1>(x) y = Conv(s, w) n = Neg(x) u = Softmax<axis=1>(n) z = Conv(u, v) }",
        {"w": BINS, "v": noise(1, 8, 1, 1)},
        2,
    ),
]


@pytest.mark.parametrize(("text", "weights", "changes"), REWRITTEN)
def test_an_expectation_becomes_a_weighted_sum(text, weights, changes):
    original = model_of(text, **weights)
    model = copy_of(original)
    report = sum_expectations(model)
    onnx.checker.check_model(model, full_check=True)
    assert (report.changes, report.refused) == (changes, ())
    assert "Conv" not in ops(model)
    assert (ops(model).count("Mul"), ops(model).count("ReduceSum")) == (changes, changes)
    expected, actual = run(original), run(model)
    for name in expected:
        assert actual[name].shape == expected[name].shape
        np.testing.assert_allclose(actual[name], expected[name], rtol=0, atol=1e-5)


@pytest.mark.parametrize(("text", "weights", "changes"), REWRITTEN)
def test_a_second_time_does_nothing(text, weights, changes):
    model = model_of(text, **weights)
    sum_expectations(model)
    once = model.SerializeToString(deterministic=True)
    assert sum_expectations(model).changes == 0
    assert model.SerializeToString(deterministic=True) == once


def test_the_bins_keep_their_values_and_the_old_weight_goes():
    model = model_of(REWRITTEN[1][0], **REWRITTEN[1][1])
    (bins,) = weights_of(model).values()
    sum_expectations(model)
    assert "w" not in weights_of(model)
    assert any(np.array_equal(bins, w) for w in weights_of(model).values())


REFUSED = [
    ("s = Softmax<axis=1>(x) [e] y = Conv(s, w, bias)", "e: it has a bias"),
    ("s = Softmax<axis=1>(x) [e] y = Conv<strides=[2,1]>(s, w)", "e: it has a stride or padding"),
    ("s = Softmax<axis=1>(x) [e] y = Conv<pads=[0,1,0,1]>(s, w)", "e: it has a stride or padding"),
    ("s = Sigmoid(x) [e] y = Conv(s, w)", "e: its input is no softmax"),
    ("[e] y = Conv(x, w)", "e: its input is no softmax"),
    ("s = Softmax<axis=1>(x) t = Relu(s) [e] y = Conv(t, w)", "e: its input is no softmax"),
]


@pytest.mark.parametrize(("body", "reason"), REFUSED)
def test_a_refusal_names_node_and_reason_and_changes_nothing(body, reason):
    model = model_of("(float[2,8,4,5] x) => (float[B,C,H,W] y) {" + body + "}", w=BINS, bias=np.ones(1, np.float32))
    original = copy_of(model)
    report = sum_expectations(model)
    assert (report.changes, report.refused) == (0, (reason,))
    assert list(model.graph.node) == list(original.graph.node)


LEFT_ALONE = [
    ("w2", noise(2, 8, 1, 1)),  # two output channels
    ("w3", noise(1, 8, 3, 3)),  # not 1x1
]


@pytest.mark.parametrize(("name", "weight"), LEFT_ALONE)
def test_other_convolutions_are_not_even_refused(name, weight):
    text = "(float[2,8,4,5] x) => (float[B,C,H,W] y) { s = Softmax<axis=1>(x) [e] y = Conv(s, " + name + ") }"
    assert sum_expectations(model_of(text, **{name: weight})).refused == ()


def test_a_computed_weight_is_left_alone():
    model = model_of(IO + "{ v = Neg(w) s = Softmax<axis=1>(x) [e] y = Conv(s, v) }", w=BINS)
    assert sum_expectations(model).changes == 0
    assert "Conv" in ops(model)
