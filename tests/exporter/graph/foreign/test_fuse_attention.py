"""Attention, however an exporter writes it, becomes the form that TensorRT fuses; what cannot is left with a reason."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from attention_graphs import AREA, FORMS, NARROW, THREE, UNBOUND, model_from
from each import each
from onnx.reference import ReferenceEvaluator
from text_models import copy_of, ops, run, weights_of

from y12.exporter.graph.attention import attentions_of
from y12.exporter.graph.foreign.attention import fuse_attention
from y12.exporter.graph.foreign.softmax import write_softmax


def images_of(model, dtype):
    shape = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    return np.random.Generator(np.random.PCG64(1)).standard_normal(shape).astype(dtype) * 2


def evaluated(model, images, names=None):
    """What a graph computes, in the precision of its own tensors."""
    return ReferenceEvaluator(model).run(names, {"x": images})


def rewritten(model):
    write_softmax(model)
    report = fuse_attention(model)
    onnx.checker.check_model(model, full_check=True)
    return report


def logits_of(model, images):
    shown = copy_of(model)
    shown.graph.output.append(onnx.helper.make_tensor_value_info("l", 11, None))
    return evaluated(shown, images)[-1]


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
@pytest.mark.parametrize(("dtype", "limit"), [(np.float32, 1e-5), (np.float64, 1e-9)])
def test_it_computes_the_same_where_attention_is_far_from_uniform(form, dtype, limit):
    original = model_from(form, dtype)
    images = images_of(original, dtype)
    assert logits_of(model_from(form, np.float64), images.astype(np.float64)).std() >= 1
    model = copy_of(original)
    report = rewritten(model)
    assert (report.changes, report.refused) == (1, ())
    (expected,), (actual,) = evaluated(original, images), evaluated(model, images)
    assert np.abs(actual - expected).max() <= limit * np.ptp(expected)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_it_is_the_deploy_form(form):
    model = model_from(form)
    rewritten(model)
    convs = 1 + (" m = " in form.body)  # that of v's position is another
    assert [ops(model).count(op) for op in ("Conv", "MatMul", "Softmax", "Split")] == [convs, 2, 1, 1]
    # one cut before, one map after; another for the positions
    assert ops(model).count("Transpose") == 3 + (" m = " in form.body)
    assert not set(ops(model)) & {"Mul", "Div", "Slice", "Gather", "Exp"}
    assert len(attentions_of(model)) == 1
    assert "w_qkv" not in weights_of(model)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_a_second_time_does_nothing(form):
    model = model_from(form)
    rewritten(model)
    once = model.SerializeToString(deterministic=True)
    assert rewritten(model).changes == 0
    assert model.SerializeToString(deterministic=True) == once


def test_narrow_heads_are_filled_up_with_zeros():
    model = model_from(NARROW)
    before = weights_of(model)["w_qkv"].reshape(2, 8, 8)  # a head: 2 rows of q, 2 of k, 4 of v
    rewritten(model)
    (weight,) = (w for w in weights_of(model).values() if w.shape[:1] == (24,) and w.ndim == 4)
    q, k, v = weight.reshape(3, 2, 4, 8)
    np.testing.assert_allclose(q[:, :2], before[:, :2] * 0.7, rtol=1e-6)
    np.testing.assert_array_equal(k[:, :2], before[:, 2:4])
    np.testing.assert_array_equal(v, before[:, 4:])
    assert not q[:, 2:].any()
    assert not k[:, 2:].any()


def swapped(form, *pairs, **changes):
    body = form.body
    for old, new in pairs:
        assert old in body
        body = body.replace(old, new)
    return replace(form, body=body, **changes)


REFUSED = {
    "the softmax along another axis": (
        swapped(THREE, ("axis=3", "axis=2")),
        "soft: its softmax is along axis 2, expected the last of four",
    ),
    "probabilities on the other side": (
        swapped(THREE, ("MatMul(p, v)", "MatMul(rv, p)"), ("Transpose<perm=[0,1,3,2]>(y)", "Identity(y)")),
        "soft: its probabilities are multiplied from the other side than those of rows of q",
    ),
    "a bias on q": (
        swapped(THREE, ("qs = Mul(half, q)", "qs = Add(half, q)")),
        "soft: an operand comes from the Add qs, expected a convolution",
    ),
    "scaled values": (
        swapped(THREE, ("MatMul(p, v)", "MatMul(p, vs)"), ("y =", "vs = Mul(v, half) y =")),
        "scaled by 0.6",
    ),
    "tokens in another order": (
        swapped(AREA, ("r = Reshape(c, s1)", "ct = Transpose<perm=[0,1,3,2]>(c) r = Reshape(ct, s1)")),
        "soft: q is no cut of its map into heads and bands of cells",
    ),
    "q's heads are not k's": (
        swapped(
            THREE,
            ("rk = Reshape(ck, s1)", "rk = Reshape(ck, s3)"),
            constants={**THREE.constants, "s3": [1, 1, 4, 24]},
            convs={"q": 8, "k": 4, "v": 8},
        ),
        "soft: q, k and v have",
    ),
    "a map in another order": (
        swapped(THREE, ("o = Reshape(yt, s2)", "o = Reshape(y, s2)")),
        "soft: y does not lead to a map of heads and channels",
    ),
    "different maps": (
        swapped(THREE, ("ck = Conv(x,", "xx = Relu(x) ck = Conv(xx,")),
        "soft: its convolutions read different maps, or differ in more than their weights",
    ),
    "someone else reads k": (
        swapped(THREE, ("o = Reshape(yt, s2)", "h = Sigmoid(rk) g = Reshape(h, s2) j = Reshape(yt, s2) o = Add(j, g)")),
        "reads q, k or v too",
    ),
    "weights that are computed": (
        swapped(UNBOUND, ("[qkv]", "w2 = Identity(w_qkv)"), ("(x, w_qkv,", "(x, w2,")),
        "are not constant",
    ),
}


def test_a_refusal_names_node_and_reason_and_changes_nothing():
    def check(case):
        form, reason = case
        model = model_from(form)
        before = list(copy_of(model).graph.node)
        report = fuse_attention(model)
        assert report.changes == 0
        assert len(report.refused) == 1
        assert reason in report.refused[0]
        assert list(model.graph.node) == before

    each(REFUSED.items(), check)


def test_convolutions_in_groups_are_refused():
    model = model_from(UNBOUND)
    conv = next(node for node in model.graph.node if node.op_type == "Conv")
    conv.attribute.append(onnx.helper.make_attribute("group", 2))
    (weight,) = (w for w in model.graph.initializer if w.name == "w_qkv")
    weight.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weight)[:, :4].copy(), "w_qkv"))
    onnx.checker.check_model(model, full_check=True)
    assert fuse_attention(model).refused == ("soft: its convolution has 2 groups, expected 1",)


def test_what_is_no_attention_is_not_even_refused():
    """A softmax over bins, as boxes are decoded by, has no products around it."""
    text = """<ir_version: 9, opset_import: ["" : 20]> one (float[1,8,4,6] x) => (float[1,8,4,6] out)
    { p = Softmax<axis=1>(x) out = Mul(p, x) }"""
    report = fuse_attention(onnx.parser.parse_model(text))
    assert (report.changes, report.refused) == (0, ())


FREE = """<ir_version: 9, opset_import: ["" : 20]> one (float[B,8,H,W] images) => (float[B,8,h,w] out) {
    x = MaxPool<kernel_shape=[32,32], strides=[32,32]>(images)
    [qkv] c = Conv(x, w_qkv, b_qkv) sh = Shape(x) b = Gather<axis=0>(sh, i0) hh = Gather<axis=0>(sh, i2)
    ww = Gather<axis=0>(sh, i3) n = Mul(hh, ww) axis = Identity(zero) ub = Unsqueeze(b, axis) un = Unsqueeze(n, axis)
    uh = Unsqueeze(hh, axis) uw = Unsqueeze(ww, axis) s1 = Concat<axis=0>(ub, heads, rows, un)
    s3 = Concat<axis=0>(ub, rows, uh, uw) r = Reshape(c, s1) q, k, v = Split<axis=2>(r, s2) qs = Mul(q, scale)
    qt = Transpose<perm=[0,1,3,2]>(qs) l = MatMul(qt, k) [soft] p = Softmax<axis=-1>(l)
    pt = Transpose<perm=[0,1,3,2]>(p) y = MatMul(v, pt) o = Reshape(y, s3) m = Reshape(v, s3)
    [pe] e = Conv<group=8, pads=[1,1,1,1]>(m, wp) out = Add(o, e) }"""


def free_model():
    """q and k narrower than v, free axes, and one constant, 8, that means rows of the convolution and channels of v."""
    model = onnx.parser.parse_model(FREE)
    rng = np.random.Generator(np.random.PCG64(5))
    floats = {"w_qkv": (16, 8, 1, 1), "b_qkv": (16,), "wp": (8, 1, 3, 3)}
    constants = {"i0": 0, "i2": 2, "i3": 3, "zero": [0], "heads": [2], "rows": [8], "s2": [2, 2, 4]}
    arrays = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in floats.items()}
    arrays |= {name: np.array(value, np.int64) for name, value in constants.items()}
    arrays["scale"] = np.array(0.7, np.float32)
    model.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in arrays.items())
    onnx.checker.check_model(model)
    return model


@pytest.mark.parametrize("shape", [(1, 8, 64, 96), (3, 8, 192, 128)])
def test_free_axes_stay_free(shape):
    original = free_model()
    model = copy_of(original)
    report = fuse_attention(model)
    onnx.checker.check_model(model, full_check=True)
    assert (report.changes, report.refused) == (1, ())
    images = np.random.Generator(np.random.PCG64(2)).standard_normal(shape).astype(np.float32) * 2
    expected, actual = run(original, images)["out"], run(model, images)["out"]
    assert np.abs(actual - expected).max() <= 1e-5 * np.ptp(expected)
    assert fuse_attention(model).changes == 0
