"""Channels between two convolutions are padded to a multiple of eight; the result stays the same."""

import numpy as np
import onnx
import pytest
from text_models import copy_of, model_of, noise, run, weights_of

from y12.exporter.graph.align_channels import align_channels

IO = "(float[1,3,6,6] x) => (float[1,4,6,6] out)"
SILU = "[gate] s = Sigmoid(y) [act] z = Mul(y, s)"
WEIGHTS = {
    "w": noise(5, 3, 1, 1),
    "b": noise(5, seed=1),
    "v": noise(4, 5, 1, 1, seed=2),
    "c": noise(4, seed=3),
    "v2": noise(4, 5, 1, 1, seed=4),
    "u": noise(11, 5, 3, 3, seed=5),
    "t": noise(4, 11, 1, 1, seed=6),
    "wg": noise(6, 1, 1, 1, seed=7),
    "vg": noise(5, 1, 1, 1, seed=8),
    "v6": noise(4, 6, 1, 1, seed=9),
    "e": noise(16, 3, 1, 1, seed=10),
    "f": noise(4, 16, 1, 1, seed=11),
}
TWO = "(float[1,3,6,6] x) => (float[1,4,6,6] out, float[1,4,6,6] more)"

REWRITTEN = [
    (IO + "{ [k] y = Conv(x, w, b) [n] out = Conv(y, v, c) }", 1),
    (IO + "{ [k] y = Conv(x, w) [n] out = Conv(y, v) }", 1),
    (IO + "{ [k] y = Conv(x, w, b)" + SILU + "[n] out = Conv(z, v, c) }", 1),
    # read by two convolutions, directly and through SiLU
    (TWO + "{ [k] y = Conv(x, w, b) [n] out = Conv(y, v, c) [m] more = Conv(y, v2) }", 1),
    (TWO + "{ [k] y = Conv(x, w, b)" + SILU + "[n] out = Conv(z, v, c) [m] more = Conv(z, v2) }", 1),
    # a chain: the middle one is padded on both sides
    (IO + "{ [k] y = Conv(x, w, b) [n] p = Conv<pads=[1,1,1,1]>(y, u) [m] out = Conv(p, t, c) }", 2),
]


@pytest.mark.parametrize(("text", "changes"), REWRITTEN)
def test_channels_become_a_multiple_of_eight(text, changes):
    original = model_of(text, **WEIGHTS)
    model = copy_of(original)
    report = align_channels(model)
    onnx.checker.check_model(model, full_check=True)
    assert report.changes == changes
    inner = [n for n in model.graph.node if n.op_type == "Conv" and n.output[0] not in ("out", "more")]
    assert [weights_of(model)[n.input[1]].shape[0] % 8 for n in inner] == [0] * changes
    expected, actual = run(original), run(model)
    for name in expected:
        np.testing.assert_allclose(actual[name], expected[name], rtol=0, atol=1e-5)


@pytest.mark.parametrize(("text", "changes"), REWRITTEN)
def test_a_second_time_does_nothing(text, changes):
    model = model_of(text, **WEIGHTS)
    align_channels(model)
    once = model.SerializeToString(deterministic=True)
    assert align_channels(model).changes == 0
    assert model.SerializeToString(deterministic=True) == once


READERS = "k: its output has other readers than convolutions"
REFUSED = [
    ("[k] y = Conv(x, w) r = Relu(y) [n] out = Conv(r, v)", READERS),
    ("[k] y = Conv(x, w) [n] out = Conv(y, v) extra = Relu(y)", READERS),
    ("[k] y = Conv(x, w)" + SILU + "[n] out = Conv(z, v) extra = Relu(y)", READERS),
    ("[k] y = Conv(x, w)" + SILU + "[n] out = Conv(z, v) extra = Relu(s)", READERS),
    ("[k] y = Conv(x, w)" + SILU + "[n] out = Conv(z, v) extra = Relu(z)", READERS),
    # a tensor that leaves the graph keeps its channels
    ("[k] extra = Conv(x, w) [n] out = Conv(extra, v)", READERS),
    ("[k] extra = Conv(x, w) s = Sigmoid(extra) z = Mul(extra, s) [n] out = Conv(z, v)", READERS),
    ("[k] y = Conv(x, w) extra = Sigmoid(y) z = Mul(y, extra) [n] out = Conv(z, v)", READERS),
    ("[k] y = Conv(x, w) s = Sigmoid(y) extra = Mul(y, s) [n] out = Conv(extra, v)", READERS),
    ("[k] y = Conv<group=3>(x, wg) [n] out = Conv(y, v6)", "k: k has 3 groups, expected 1"),
    ("[k] y = Conv(x, w) [n] p = Conv<group=5>(y, vg) [m] out = Conv(p, v)", "k: n has 5 groups, expected 1"),
    (
        "[k] y = Conv(x, w) v3 = Identity(v) [n] out = Conv(y, v3)",
        "k: the weights of n are not constant, or shared",
    ),
    (
        "[k] y = Conv(x, w) [n] out = Conv(y, v) [m] extra = Conv(y, v)",
        "k: the weights of n are not constant, or shared",
    ),
]


@pytest.mark.parametrize(("body", "reason"), REFUSED)
def test_a_refusal_names_node_and_reason_and_changes_nothing(body, reason):
    io = "(float[1,3,6,6] x) => (float[1,4,6,6] out" + (", float[B,C,H,W] extra)" if "extra" in body else ")")
    model = model_of(io + "{" + body + "}", **WEIGHTS)
    original = copy_of(model)
    report = align_channels(model)
    assert reason in report.refused
    assert report.changes == 0
    assert list(model.graph.node) == list(original.graph.node)


def test_channels_that_are_a_multiple_already_are_not_even_refused():
    model = model_of(IO + "{ [k] y = Conv(x, e) [n] r = Relu(y) [m] out = Conv(r, f) }", **WEIGHTS)
    assert align_channels(model).refused == ("m: its output has other readers than convolutions",)
