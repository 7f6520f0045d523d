"""Attention for CPUs: the same numbers from three convolutions, and nothing moved but rows of bands."""

import numpy as np
import onnx
import pytest
from attention_graphs import FORMS, NARROW, model_from
from onnx.reference import ReferenceEvaluator
from text_models import copy_of, ops, weights_of

from y12.exporter.graph.attention import attentions_of
from y12.exporter.graph.cpu.attention import map_attention
from y12.exporter.graph.foreign.attention import fuse_attention
from y12.exporter.graph.foreign.softmax import write_softmax


def images_of(model):
    shape = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    return np.random.Generator(np.random.PCG64(1)).standard_normal(shape).astype(np.float32) * 2


def evaluated(model, images):
    return ReferenceEvaluator(model).run(None, {"x": images})[0]


def rewritten(model, *before):
    write_softmax(model)
    for earlier in before:
        earlier(model)
    report = map_attention(model)
    onnx.checker.check_model(model, full_check=True)
    return report


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
@pytest.mark.parametrize("before", [(), (fuse_attention,)], ids=["as given", "in TensorRT's form"])
def test_it_computes_the_same(form, before):
    original = model_from(form)
    images = images_of(original)
    model = copy_of(original)
    report = rewritten(model, *before)
    assert (report.changes, report.refused) == (1, ())
    expected = evaluated(original, images)
    assert np.abs(evaluated(model, images) - expected).max() <= 1e-5 * np.ptp(expected)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_q_k_and_v_stay_maps(form):
    model = model_from(form)
    rewritten(model)
    has_positions = " m = " in form.body
    assert [ops(model).count(op) for op in ("Conv", "MatMul", "Softmax")] == [3 + has_positions, 2, 1]
    assert not set(ops(model)) & {"Split", "Slice", "Gather", "Squeeze", "Mul", "Shape"}
    orders = [tuple(a.ints) for node in model.graph.node for a in node.attribute if a.name == "perm"]
    assert orders.count((0, 1, 3, 2)) == 3  # of matrices: q and v, which the products read so, and the result
    assert set(orders) <= {(0, 1, 3, 2), (0, 2, 1, 3)}
    assert len(attentions_of(model)) == 1
    if has_positions:  # they read v's map as its convolution leaves it
        (positions,) = [node for node in model.graph.node if node.name == "pe"]
        assert next(node.op_type for node in model.graph.node if positions.input[0] in node.output) == "Conv"


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_a_second_time_does_nothing(form):
    model = model_from(form)
    rewritten(model)
    once = model.SerializeToString(deterministic=True)
    assert map_attention(model).changes == 0
    assert model.SerializeToString(deterministic=True) == once


def test_channels_that_tensorrt_needs_are_left_out_again():
    model = model_from(NARROW)
    widths = {}
    for name, before in (("trt", [fuse_attention]), ("cpu", [fuse_attention, map_attention])):
        copy = copy_of(model)
        for one in before:
            one(copy)
        widths[name] = sorted(len(w) for name, w in weights_of(copy).items() if w.ndim == 4 and w.shape[1] != 1)
    assert widths == {"trt": [24], "cpu": [4, 4, 8]}  # q and k of two heads have 2 channels each, v has 4


def test_what_is_no_cut_of_a_map_is_left_with_a_reason():
    model = model_from(NARROW)
    index = next(i for i, node in enumerate(model.graph.node) if node.op_type == "Conv")
    model.graph.node[index].attribute.append(onnx.helper.make_attribute("group", 2))
    weight = next(w for w in model.graph.initializer if w.name == model.graph.node[index].input[1])
    weight.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weight)[:, :4].copy(), weight.name))
    before = list(copy_of(model).graph.node)
    assert map_attention(model).refused == ("soft: its convolution has 2 groups, expected 1",)
    assert list(model.graph.node) == before


def test_a_channel_that_is_zero_in_one_head_only_stays():
    model = model_from(NARROW)
    for weight in model.graph.initializer:
        if weight.name in ("w_qkv", "b_qkv"):
            values = onnx.numpy_helper.to_array(weight).copy()
            values[0] = 0  # the first channel of q, in the first head
            weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    images = images_of(model)
    expected = evaluated(model, images)
    rewritten(model)
    assert np.abs(evaluated(model, images) - expected).max() <= 1e-5 * np.ptp(expected)
