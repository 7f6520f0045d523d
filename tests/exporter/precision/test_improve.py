"""Biases and integers that make up for quantisation's errors, on both targets; and the audit of what was changed."""

import copy
from dataclasses import replace

import numpy as np
import onnx
import pytest
from improve_case import (
    MANIFEST,
    NODES,
    OPTIONS,
    PHOTOS,
    by_name,
    convolved,
    inputs_of,
    layers_for,
    network,
    ranges_for,
)
from onnx import numpy_helper
from text_models import copy_of, run, weights_of

from exporter.errors import CalibrationError, RecipeError, VerificationError
from exporter.precision.improve import moments as moments_file
from exporter.precision.improve.bias import with_shifted_biases
from exporter.precision.improve.improve import Improved, improve
from exporter.precision.improve.layers import Layers, layers_of
from exporter.precision.options import ImproveOptions
from exporter.precision.qdq import quantize
from exporter.verify.weights import check_weights

NOTHING, BIAS, ROUNDING, BOTH = (
    ImproveOptions(correct_bias=corrects, rounding=rounding)
    for corrects, rounding in ((False, "nearest"), (True, "nearest"), (False, "adaptive"), (True, "adaptive"))
)
TARGETS = ("trt", "cpu")


def improved(model, target="trt", options=BOTH, progress=None):
    return improve(model, layers_for(model, target), PHOTOS, MANIFEST, options, progress)


@pytest.fixture(scope="module")
def cases():
    """By target: the network, what was improved of it, and the typed graph of that."""
    model = network()
    made = {}
    for target in TARGETS:
        better = improved(model, target)
        typed = quantize(better.graph, ranges_for(model, target), OPTIONS[target], better.weights)[0]
        made[target] = model, better, typed
    return made


def mean_errors(layer, inputs, weight):
    """Of a convolution's output by channel, over all places: what quantisation adds to its mean."""
    steps = np.clip(np.rint(inputs / layer.grid.scale), *(n - layer.grid.zero_point for n in limits(layer)))
    errors = convolved(layer, steps * layer.grid.scale, weight.dequantized()) - convolved(layer, inputs, layer.values)
    return errors.mean(axis=(0, 2, 3)), np.sqrt((errors**2).mean(axis=(0, 2, 3)))


def limits(layer):
    return layer.grid.least, layer.grid.most


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("options", [BIAS, BOTH])
def test_after_the_shift_the_mean_of_every_channel_is_that_of_fp32(target, options, monkeypatch):
    monkeypatch.setattr(moments_file, "PLACES", 10_000)  # all of them
    model = network()
    layers, found = layers_for(model, target), improved(model, target, options)
    inputs = inputs_of(model, layers, PHOTOS)
    checked = 0
    for layer in layers.found:
        if layer.bias:
            means, spread = mean_errors(layer, inputs[layer.name], found.weights.get(layer.weight, layer.nearest))
            shift = weights_of(model)[layer.bias] - weights_of(found.graph)[layer.bias]
            assert (np.abs(means - shift) < 0.01 * spread + 1e-6).all(), layer.name
            # and a shift of the other sign would not pass
            assert (np.abs(means + shift) > 0.01 * spread + 1e-6).any(), layer.name
            checked += 1
    assert checked == (4 if target == "cpu" else 3)  # TensorRT's last convolution is not quantised


@pytest.mark.parametrize("target", TARGETS)
def test_integers_are_a_step_from_the_weight_and_the_output_errs_less(target):
    model = network()
    layers, found = by_name(layers_for(model, target)), improved(model, target, ROUNDING)
    inputs = inputs_of(model, Layers(tuple(layers.values())), PHOTOS)
    assert set(found.weights) == {layer.weight for layer in layers.values()}
    before = after = 0.0
    for layer in layers.values():
        weight = found.weights[layer.weight]
        np.testing.assert_array_equal(weight.scales, layer.nearest.scales)
        step = weight.scales.reshape(-1, 1, 1, 1)
        assert (np.abs(weight.dequantized() - layer.values) < step * 1.0001).all()
        for integers, add in ((layer.nearest, 0), (weight, 1)):
            error = convolved(layer, inputs[layer.name], integers.dequantized() - layer.values)
            before, after = before + (1 - add) * (error**2).mean(), after + add * (error**2).mean()
    assert after < 0.9 * before
    assert found.report.turned > 0
    assert found.report.weights == sum(layer.values.size for layer in layers.values())
    assert 0 < found.report.weight_error_share < 0.9
    assert found.report.corrected == 0


@pytest.mark.parametrize("target", TARGETS)
def test_the_quantised_network_is_nearer_to_fp32(target):
    model = network()
    ranges, images = ranges_for(model, target), inputs_of(model, layers_for(model, target), PHOTOS)["stem"]
    expected = np.concatenate([run(model, image[None])["out"] for image in images])
    errors = {}
    for options in (NOTHING, BIAS, BOTH):
        found = improved(model, target, options)
        typed = quantize(found.graph, ranges, OPTIONS[target], found.weights)[0]
        outputs = np.concatenate([run(typed, image[None])["out"] for image in images])
        errors[options] = float(((outputs - expected) ** 2).mean())
    assert errors[BIAS] < errors[NOTHING]
    assert errors[BOTH] < errors[NOTHING]


def test_nothing_asked_for_is_nothing_done():
    found = improve(network(), layers_for(network()), [], MANIFEST, NOTHING)  # looks at no image
    assert found.graph == network()
    assert (dict(found.weights), dict(found.shifts), found.report.convolutions) == ({}, {}, 0)


def test_it_repeats_and_leaves_the_given_graph_as_it_was():
    model = network()
    before = copy_of(model)
    first, second = improved(model), improved(model)
    assert model == before
    assert first.graph == second.graph != model
    assert first.report == second.report
    assert all((first.weights[name].integers == second.weights[name].integers).all() for name in first.weights)


def test_weights_that_were_chosen_stay_as_they_are_a_second_time():
    model = network()
    first = improved(model, options=ROUNDING)
    for weight in model.graph.initializer:
        if weight.name in first.weights:
            weight.CopyFrom(numpy_helper.from_array(first.weights[weight.name].dequantized(), weight.name))
    again = layers_of(model, ranges_for(network()), OPTIONS["trt"])
    second = improve(model, again, PHOTOS, MANIFEST, ROUNDING)
    assert second.report.turned == 0
    assert second.report.weight_error_share == 1
    for name, weight in second.weights.items():
        np.testing.assert_allclose(weight.dequantized(), first.weights[name].dequantized(), rtol=1e-6)


def test_portions_change_nothing_but_the_memory(monkeypatch):
    whole = improved(network())
    monkeypatch.setattr(moments_file, "_MOST_BYTES", 1)
    told = []
    parts = improved(network(), progress=lambda done, total: told.append((done, total)))
    assert parts.graph == whole.graph
    assert parts.report == whole.report
    portions = 4
    assert told == [(i + 1, portions * len(PHOTOS)) for i in range(portions * len(PHOTOS))]


SHARED = NODES.replace("(p, w3)", "(p, w3, b2)")


@pytest.mark.parametrize(
    ("nodes", "left"),
    [
        (SHARED, {name: "its bias has other readers, or is no initializer" for name in ("mid", "grouped")}),
        (NODES.replace("(d, w2, b2)", "(d, w2, b1)"), dict.fromkeys(("depth", "mid"), "its bias has other readers")),
        (NODES.replace("pads=[0,1,2,0],dilations=[2,1]", 'auto_pad="SAME_UPPER"'), {"mid": "its padding is automatic"}),
        (
            NODES.replace("group=2>(p, w3)", "group=8,pads=[1,1,1,1]>(p, w1)"),
            dict.fromkeys(("depth", "grouped"), "its weights have other readers"),
        ),
    ],
)
def test_what_cannot_be_improved_is_left_and_says_why(nodes, left):
    found = improved(network(nodes))
    assert set(found.report.left) == set(left)
    assert all(reason.startswith(left[name]) for name, reason in found.report.left.items())
    untouched = {n.input[1] for n in found.graph.graph.node if n.name in left}
    assert not untouched & set(found.weights)


def test_no_images_are_refused():
    with pytest.raises(CalibrationError, match="expected images to calibrate on, found none"):
        improve(network(), layers_for(network()), [], MANIFEST, BIAS)


def test_options_are_refused_at_construction():
    with pytest.raises(RecipeError, match="expected one of nearest, adaptive, found 'up'"):
        ImproveOptions(rounding="up")
    with pytest.raises(RecipeError, match="expected True or False, found 'no'"):
        ImproveOptions(correct_bias="no")


@pytest.mark.parametrize("target", TARGETS)
def test_the_audit_passes_what_was_improved_and_only_with_its_record(cases, target):
    model, better, typed = cases[target]
    assert check_weights(model, typed, better) == len(typed.graph.initializer)
    for less in (None, replace(better, weights={}), replace(better, shifts={})):
        with pytest.raises(VerificationError, match=r"the weight '.*' of the typed graph"):
            check_weights(model, typed, less)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", ["w0_int8", "w1_int8", "w3_int8"])
def test_one_changed_integer_is_named(cases, target, name):
    model, better, typed = cases[target]
    wrong = changed(typed, name, lambda values: values.reshape(-1).__setitem__(3, values.reshape(-1)[3] ^ 1))
    with pytest.raises(VerificationError, match=f"'{name}' of the typed graph has other integers than were chosen"):
        check_weights(model, wrong, better)


@pytest.mark.parametrize("target", TARGETS)
def test_integers_that_were_chosen_too_far_off_are_named(cases, target):
    model, better, typed = cases[target]
    wrong = changed(typed, "w0_int8", lambda values: values.reshape(-1).__setitem__(3, 0 * values.reshape(-1)[3] + 90))
    far = copy.copy(better.weights["w0"].integers)
    far.reshape(-1)[3] = 90
    record = replace(better, weights={**better.weights, "w0": replace(better.weights["w0"], integers=far)})
    with pytest.raises(VerificationError, match="'w0_int8' of the typed graph is not the model's in INT8"):
        check_weights(model, wrong, record)


def test_a_changed_bias_is_named(cases):
    model, better, typed = cases["trt"]
    wrong = changed(typed, "b1_fp16", lambda values: values.__setitem__(0, values[0] * 1.01))
    with pytest.raises(VerificationError, match="'b1_fp16' of the typed graph is not the model's"):
        check_weights(model, wrong, better)
    model, better, typed = cases["cpu"]
    wrong = changed(typed, "w1_bias_int32", lambda values: values.__setitem__(0, values[0] * 1.01 + 1e4))
    with pytest.raises(VerificationError, match="'w1_bias_int32' of the typed graph is not the model's"):
        check_weights(model, wrong, better)


@pytest.mark.parametrize("name", ["w0", "nobody"])
def test_only_a_convolutions_bias_may_be_shifted(name):
    graph = with_shifted_biases(network(), {})
    record = Improved(graph, {}, {name: np.zeros(8, np.float32)}, improved(network(), options=NOTHING).report)
    with pytest.raises(VerificationError, match=f"'{name}' was shifted, which is not the bias of one convolution"):
        check_weights(network(), graph, record)


def changed(model: onnx.ModelProto, name: str, change) -> onnx.ModelProto:
    """The model with one weight's values changed in place."""
    wrong = copy_of(model)
    weight = next(w for w in wrong.graph.initializer if w.name == name)
    values = numpy_helper.to_array(weight).copy()
    change(values)
    weight.CopyFrom(numpy_helper.from_array(values, name))
    return wrong
