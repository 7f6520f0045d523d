"""One convolution whose output is split becomes two; what cannot be rewritten is left alone, with its reason."""

import numpy as np
import onnx
import pytest
from text_models import copy_of, model_of, noise, ops, run, weights_of

from y12.exporter.graph.split_convs import split_convs

IO = "(float[1,2,6,6] x) => (float[1,1,6,6] a, float[1,3,6,6] b)"
SILU = "[gate] s = Sigmoid(y) [act] z = Mul({}) [cut] a, b = Split<axis=1>(z, sizes)"
W, BIAS, SIZES = noise(4, 2, 1, 1), noise(4, seed=3), np.array([1, 3])

REWRITTEN = [
    (IO + "{ [c] y = Conv(x, w, bias) [cut] a, b = Split<axis=1>(y, sizes) }", W, 2),
    (IO + "{ [c] y = Conv(x, w) [cut] a, b = Split<axis=1>(y, sizes) }", W, 2),
    (IO + "{ [c] y = Conv(x, w, bias)" + SILU.format("y, s") + "}", W, 2),
    (IO + "{ [c] y = Conv(x, w, bias)" + SILU.format("s, y") + "}", W, 2),
    # the sizes in a Constant node, as torch writes them
    (
        IO + "{ sz = Constant<value = int64[2] {1, 3}>() [c] y = Conv(x, w, bias) [cut] a, b = Split<axis=1>(y, sz) }",
        W,
        2,
    ),
    # attributes are kept: kernel 3, stride 2, one pixel of padding
    (
        "(float[1,2,6,6] x) => (float[1,1,3,3] a, float[1,3,3,3] b)"
        "{ [c] y = Conv<kernel_shape=[3,3], strides=[2,2], pads=[1,1,1,1]>(x, w, bias)" + SILU.format("y, s") + "}",
        noise(4, 2, 3, 3),
        2,
    ),
    # the halves are read further on, one of them twice
    (
        "(float[1,2,6,6] x) => (float[1,5,6,6] out)"
        "{ [c] y = Conv(x, w, bias) [gate] s = Sigmoid(y) [act] z = Mul(y, s) [cut] a, b = Split<axis=1>(z, sizes)"
        "  r = Relu(a) out = Concat<axis=1>(a, b, r) }",
        W,
        2,
    ),
    # two matches in one graph, the second behind the first
    (
        "(float[1,2,6,6] x) => (float[1,1,6,6] a, float[1,1,6,6] c, float[1,3,6,6] d)"
        "{ [c1] y = Conv(x, w, bias) [cut1] a, b = Split<axis=1>(y, sizes) r = Relu(b) p, q = Split<axis=1>(r, two)"
        "  [c2] v = Conv(q, w, bias) [cut2] c, d = Split<axis=1>(v, sizes) }",
        W,
        4,
    ),
]


@pytest.mark.parametrize(("text", "w", "convs"), REWRITTEN)
def test_a_split_convolution_becomes_two(text, w, convs):
    original = model_of(text, w=w, bias=BIAS, sizes=SIZES, two=np.array([1, 2]))
    model = copy_of(original)
    report = split_convs(model)
    onnx.checker.check_model(model, full_check=True)
    assert (report.changes, report.refused) == (convs // 2, ())
    assert ops(model).count("Conv") == convs
    assert not any(node.name.startswith("cut") for node in model.graph.node)
    expected, actual = run(original), run(model)
    assert list(actual) == list(expected)
    for name in expected:
        np.testing.assert_allclose(actual[name], expected[name], rtol=0, atol=1e-6)


def test_weights_are_cut_and_the_whole_ones_dropped():
    model = model_of(REWRITTEN[0][0], w=W, bias=BIAS, sizes=SIZES)
    split_convs(model)
    weights = weights_of(model)
    assert sorted(weights) == ["bias_0_1", "bias_1_4", "w_0_1", "w_1_4"]
    np.testing.assert_array_equal(weights["w_0_1"], W[:1])
    np.testing.assert_array_equal(weights["w_1_4"], W[1:])
    np.testing.assert_array_equal(np.concatenate([weights["bias_0_1"], weights["bias_1_4"]]), BIAS)


def test_names_say_where_the_halves_come_from():
    model = model_of(REWRITTEN[2][0], w=W, bias=BIAS, sizes=SIZES)
    split_convs(model)
    assert [n.name for n in model.graph.node] == [
        *("c_0", "c_0/Sigmoid", "c_0/Mul"),
        *("c_1", "c_1/Sigmoid", "c_1/Mul"),
    ]


@pytest.mark.parametrize(("text", "w", "convs"), REWRITTEN)
def test_a_second_time_does_nothing(text, w, convs):
    model = model_of(text, w=w, bias=BIAS, sizes=SIZES, two=np.array([1, 2]))
    split_convs(model)
    once = model.SerializeToString(deterministic=True)
    assert split_convs(model).changes == 0
    assert model.SerializeToString(deterministic=True) == once


CUT = "[cut] a, b = Split<axis=1>({}, sizes)"
REFUSED = [
    (
        "{ [c] y = Conv<group=2>(x, wg, bias)" + CUT.format("y") + "}",
        "c: group is 2, expected 1",
    ),
    (
        "{ [c] v = Conv(x, w, bias) [cut] t, u = Split<axis=2>(v, fours) [join] y = Concat<axis=2>(t, u)"
        + "a, b = Split<axis=1>(y, sizes) }",
        "c: it is split along axis 2, expected 1",
    ),
    ("{ w2 = Identity(w) [c] y = Conv(x, w2, bias)" + CUT.format("y") + "}", "c: its weights are not constant"),
    ("{ b2 = Identity(bias) [c] y = Conv(x, w, b2)" + CUT.format("y") + "}", "c: its weights are not constant"),
    (
        "{ n = Identity(sizes) [c] y = Conv(x, w, bias) [cut] a, b = Split<axis=1>(y, n) }",
        "c: the sizes of the split are not constant",
    ),
    (
        "{ [c] y = Conv(x, w, bias)" + CUT.format("y") + "extra = Relu(y) }",
        "c: its output has other readers than the split",
    ),
    (
        "{ [c] y = Conv(x, w, bias)" + SILU.format("y, s") + "extra = Relu(y) }",
        "c: its output has other readers than the split",
    ),
    (
        "{ [c] y = Conv(x, w, bias)" + SILU.format("y, s") + "extra = Relu(z) }",
        "c: its output has other readers than the split",
    ),
    (
        "{ [c] y = Conv(x, w, bias)" + SILU.format("y, s") + "extra = Relu(s) }",
        "c: its output has other readers than the split",
    ),
    # a tensor that leaves the graph is read outside of it
    ("{ [c] extra = Conv(x, w, bias)" + CUT.format("extra") + "}", "c: its output has other readers than the split"),
    (
        "{ [c] extra = Conv(x, w, bias) [gate] s = Sigmoid(extra) [act] z = Mul(extra, s)" + CUT.format("z") + "}",
        "c: its output has other readers than the split",
    ),
    (
        "{ [c] y = Conv(x, w, bias) [gate] s = Sigmoid(y) [act] extra = Mul(y, s)" + CUT.format("extra") + "}",
        "c: its output has other readers than the split",
    ),
    (
        "{ [c] y = Conv(x, w, bias) [gate] extra = Sigmoid(y) [act] z = Mul(y, extra)" + CUT.format("z") + "}",
        "c: its output has other readers than the split",
    ),
]


@pytest.mark.parametrize(("text", "reason"), REFUSED)
def test_a_refusal_names_node_and_reason_and_changes_nothing(text, reason):
    outputs = "(float[1,2,6,6] x) => (float[1,1,6,6] a, float[1,3,6,6] b" + (", extra)" if "extra" in text else ")")
    weights = {"w": W, "bias": BIAS, "sizes": SIZES, "wg": noise(4, 1, 1, 1), "fours": np.array([2, 4])}
    model = onnx.parser.parse_model('<ir_version: 9, opset_import: ["" : 20]> tiny ' + outputs + text)
    model.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in weights.items())
    original = copy_of(model)
    report = split_convs(model)
    assert (report.changes, report.refused) == (0, (reason,))
    assert list(model.graph.node) == list(original.graph.node)


LEFT_ALONE = [
    "{ y = Relu(x) a, b = Split<axis=1>(y, halves) }",  # no convolution
    "{ a, b = Split<axis=1>(x, halves) }",  # the graph's input itself
    "{ s = Sigmoid(x) y = Mul(x, s) p, q = Split<axis=1>(y, halves) a = Conv(p, w1) b = Conv(q, w1) }",
    "{ y = Conv(x, w2) t = Tanh(y) z = Mul(y, t) a, b = Split<axis=1>(z, halves) }",  # not SiLU
]


@pytest.mark.parametrize("text", LEFT_ALONE)
def test_what_is_no_match_is_not_even_refused(text):
    io = "(float[1,2,6,6] x) => (float[1,1,6,6] a, float[1,1,6,6] b)"
    model = model_of(io + text, halves=np.array([1, 1]), w1=noise(1, 1, 1, 1), w2=noise(2, 2, 1, 1))
    report = split_convs(model)
    assert (report.changes, report.refused) == (0, ())


def test_two_convolutions_may_share_a_weight():
    text = (
        "(float[1,2,6,6] x) => (float[1,1,6,6] a, float[1,3,6,6] b, float[1,2,6,6] c, float[1,2,6,6] d)"
        "{ [c1] y = Conv(x, w, bias) a, b = Split<axis=1>(y, sizes)"
        "  [c2] v = Conv(x, w, bias) c, d = Split<axis=1>(v, twos) }"
    )
    original = model_of(text, w=W, bias=BIAS, sizes=SIZES, twos=np.array([2, 2]))
    model = copy_of(original)
    split_convs(model)
    onnx.checker.check_model(model, full_check=True)
    expected, actual = run(original), run(model)
    for name in expected:
        np.testing.assert_allclose(actual[name], expected[name], rtol=0, atol=1e-6)
