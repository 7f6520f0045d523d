"""What TensorRT-RTX's own passes rewrite, what they leave alone, and that the results stay the same."""

import numpy as np
import onnx
import pytest
from text_models import copy_of, model_of, noise, ops, run, weights_of

from y12.errors import GraphError
from y12.exporter.graph.passes import run_passes
from y12.exporter.graph.rtx.bound_residuals import bound_residuals
from y12.exporter.graph.rtx.dilate_pointwise import dilate_pointwise
from y12.exporter.graph.rtx.join_last import join_last
from y12.exporter.graph.rtx.write_for_rtx import RTX_PASSES, write_for_rtx
from y12.exporter.precision.cast import cast_to_fp16

WIDE = "(float[1,256,4,4] x) => (float[1,N,H,W] out)"
RESIDUAL = (
    "(float[1,8,6,6] x) => (float[1,4,6,6] out, float[1,8,6,6] more)"
    "{ a = Relu(x) [c] y = Conv(a, w) s = Add(BOTH) z = Concat<axis=1>(PARTS)"
    "  [d] out = Conv(z, v) [e] more = Conv(s, w) }"
)
HEAD = (
    "(float[1,8,6,6] x) => (float[1,N,H,W] out)"
    "{ p = Relu(x) q = Sigmoid(x) [box] a = Conv(p, w1, b1) [cls] b = Conv(q, w2, b2) [all] y = Concat<axis=1>(a, b)"
    "  out = Exp(y) }"
)
HEAD_WEIGHTS = {
    "w1": noise(4, 8, 1, 1),
    "b1": noise(4, seed=1),
    "w2": noise(3, 8, 1, 1, seed=2),
    "b2": noise(3, seed=3),
}


def half(text, **weights):
    return cast_to_fp16(model_of(text, **weights))[0]


def dilations(model):
    convs = [n for n in model.graph.node if n.op_type == "Conv"]
    return [next((list(a.ints) for a in n.attribute if a.name == "dilations"), [1, 1]) for n in convs]


def check_same(before, after):
    onnx.checker.check_model(after, full_check=True)
    for name, values in run(before).items():
        np.testing.assert_allclose(run(after)[name], values, rtol=2e-3, atol=2e-3)  # sums of FP16 in another order


@pytest.mark.parametrize(
    ("body", "w", "changes"),
    [
        ("out = Conv(x, w)", noise(256, 256, 1, 1), 1),
        ("out = Conv<dilations=[1,1], strides=[1,1]>(x, w)", noise(256, 256, 1, 1), 1),
        ("out = Conv(x, w)", noise(248, 256, 1, 1), 0),  # too few channels for a matrix product
        ("out = Conv<group=2>(x, w)", noise(256, 128, 1, 1), 0),
        ("out = Conv(x, w)", noise(256, 256, 2, 2), 0),  # here dilation has a meaning
        ("out = Conv<strides=[2,2]>(x, w)", noise(256, 256, 1, 1), 0),
    ],
)
def test_a_wide_pointwise_convolution_is_dilated(body, w, changes):
    model = half(WIDE + "{ " + body + " }", w=w)
    before = copy_of(model)
    assert dilate_pointwise(model).changes == changes
    assert dilations(model) == [[2, 2] if changes else [1, 1]]
    check_same(before, model)
    assert dilate_pointwise(model).changes == 0


@pytest.mark.parametrize(
    ("both", "parts", "changes"),
    [
        ("a, y", "s, x", 1),  # the sum is a part of a concatenation
        ("y, a", "a, s", 1),
        ("y, a", "a, x", 1),  # what is added to is
        ("y, y", "s, x", 0),  # two readers, if one node
        ("y, a", "x, x", 0),  # neither is
        ("y, a", "y, x", 0),  # a concatenation reads the convolution
    ],
)
def test_a_residual_sum_beside_a_concatenation_is_bounded(both, parts, changes):
    text = RESIDUAL.replace("BOTH", both).replace("PARTS", parts)
    model = half(text, w=noise(8, 8, 1, 1), v=noise(4, 16, 1, 1, seed=1))
    before = copy_of(model)
    assert bound_residuals(model).changes == changes
    assert ops(model).count("Max") == changes
    check_same(before, model)
    assert bound_residuals(model).changes == 0


def test_the_bound_is_the_lowest_half_and_no_weight():
    model = half(RESIDUAL.replace("BOTH", "a, y").replace("PARTS", "s, x"), w=noise(8, 8, 1, 1), v=noise(4, 16, 1, 1))
    weights = list(weights_of(model))
    bound_residuals(model)
    assert list(weights_of(model)) == weights
    (bound,) = [n for n in model.graph.node if n.op_type == "Constant"]
    value = onnx.numpy_helper.to_array(bound.attribute[0].t)
    assert (value.dtype, float(value)) == (np.float16, -65504.0)


def test_the_last_convolutions_of_a_level_become_one():
    model = half(HEAD, **HEAD_WEIGHTS)
    before = copy_of(model)
    assert (join_last(model).changes, join_last(model).changes) == (1, 0)
    (conv,) = [n for n in model.graph.node if n.op_type == "Conv"]
    assert conv.name == "box & cls"
    weight, bias = (weights_of(model)[name] for name in conv.input[1:])
    half_weights = {name: values.astype(np.float16) for name, values in HEAD_WEIGHTS.items()}
    np.testing.assert_array_equal(weight[:4, :8], half_weights["w1"])
    np.testing.assert_array_equal(weight[4:, 8:], half_weights["w2"])
    assert not weight[:4, 8:].any()
    assert not weight[4:, :8].any()
    np.testing.assert_array_equal(bias, np.concatenate([half_weights["b1"], half_weights["b2"]]))
    check_same(before, model)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("y = Concat<axis=1>", "y = Concat<axis=2>", "it is along axis 2, expected 1"),
        ("Conv(q, w2, b2)", "Conv(q, w2)", "some have a bias and some have none"),
        ("Conv(q, w2, b2)", "Conv(p, w2, b2)", "several read one map"),
        ("Conv(q, w2, b2)", "Conv<pads=[1,1,1,1]>(q, wide, b2)", "cls is no plain 1x1 convolution of constant weights"),
        ("out = Exp(y)", "out = Concat<axis=1>(y, b)", "cls has other readers"),
    ],
)
def test_last_convolutions_that_stay_have_a_reason(old, new, reason):
    weights = {**HEAD_WEIGHTS, "wide": noise(3, 8, 3, 3)}
    if "axis=2" in new:
        weights |= {"w2": noise(4, 8, 1, 1), "b2": noise(4)}
    assert old in HEAD
    model = half(HEAD.replace(old, new), **weights)
    before = model.SerializeToString(deterministic=True)
    report = join_last(model)
    assert (report.changes, report.refused) == (0, (f"all: {reason}",))
    assert model.SerializeToString(deterministic=True) == before


def test_convolutions_before_others_and_other_concatenations_are_left():
    text = HEAD.replace("out = Exp(y)", "out = Conv(y, last)")
    model = half(text, **HEAD_WEIGHTS, last=noise(2, 7, 1, 1))
    assert join_last(model).changes == 0
    assert join_last(half(HEAD.replace("(a, b)", "(a, q)"), **HEAD_WEIGHTS)).refused == ()


def test_biases_shared_between_levels_are_stored_once():
    levels = (
        "(float[1,8,6,6] x) => (float[1,N,6,6] out)"
        "{ p = Relu(x) q = Sigmoid(x) r = Exp(x) t = Abs(x)"
        "  [a1] a = Conv(p, w1, b1) [a2] b = Conv(q, w2, b2) y = Concat<axis=1>(a, b)"
        "  [c1] c = Conv(r, w1, b1) [c2] d = Conv(t, w3, b2) z = Concat<axis=1>(c, d) out = Concat<axis=1>(y, z) }"
    )
    model = half(levels, **HEAD_WEIGHTS, w3=noise(3, 8, 1, 1, seed=9))
    before = copy_of(model)
    assert join_last(model).changes == 2
    assert len(model.graph.initializer) == 3
    check_same(before, model)


def test_an_fp32_graph_stays_as_it_is_but_for_its_last_convolutions():
    model = model_of(
        RESIDUAL.replace("BOTH", "a, y").replace("PARTS", "s, x"), w=noise(8, 8, 1, 1), v=noise(4, 16, 1, 1)
    )
    before = model.SerializeToString()
    assert [report.changes for report in write_for_rtx(model)] == [0] * len(RTX_PASSES)
    assert model.SerializeToString() == before


def test_a_pass_that_fails_is_named_with_those_before_it():
    def broken(_model):
        raise ValueError("no such node")

    with pytest.raises(GraphError, match=r"the pass broken failed after dilate_pointwise \(no such node\); --no-simpl"):
        run_passes(half(HEAD, **HEAD_WEIGHTS), (dilate_pointwise, broken))
