"""A prepared detector: what is shared, what is trained, what stays, and what is refused."""

import copy
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from safetensors.torch import load, save

from y12.errors import CalibrationError, GraphError, OptionsError
from y12.exporter.precision.qat.mapping import quantized_convs
from y12.exporter.precision.qat.modules import QuantConv
from y12.exporter.precision.qat.prepare import QatOptions, prepare
from y12.exporter.precision.qdq.plan import plan_of
from y12.exporter.precision.qdq.qdq import QuantizeOptions, quantize
from y12.exporter.train.optimizer import Ema


def quant_convs(network):
    return {path: module for path, module in network.named_modules() if isinstance(module, QuantConv)}


def test_what_the_exporter_quantises_is_replaced_and_nothing_else(tiny, prepared):
    detector, graph, ranges = tiny
    report = quantize(graph, ranges, QuantizeOptions())[1]
    plan = plan_of(graph, QuantizeOptions())
    assert len(prepared.quantizers) == report.pairs == len(plan.inputs)
    assert set(prepared.tensors) == set(plan.inputs)
    paths = quant_convs(prepared)
    assert {"model.3.m.0.0.attn.qk", "model.3.m.0.0.attn.v", "model.1.cv1", "model.7.cv3.0.0.0"} <= paths.keys()
    # In the graph q, k and v of both attentions in row 3 are one convolution, and rows 1 and 6 begin with one in two.
    assert len(paths) - 2 + 2 == report.quantized == 52
    own = {key: value for key, value in prepared.state_dict().items() if not key.startswith("quantizers.")}
    assert list(own) == list(detector.state_dict())
    assert all(torch.equal(own[key], value) for key, value in detector.state_dict().items())


def test_convolutions_that_read_one_tensor_share_its_step_in_a_copy_too(prepared):
    for network in (prepared, copy.deepcopy(prepared)):
        steps = {path: module._quantizers[0] for path, module in quant_convs(network).items()}
        assert steps["model.3.m.0.0.attn.qk"] is steps["model.3.m.0.0.attn.v"]
        assert steps["model.7.cv2.0.0"] is steps["model.7.cv3.0.0.0"]
        assert set(steps.values()) == set(network.quantizers)
    assert set(prepared.quantizers).isdisjoint(steps.values())


def test_its_state_is_kept_and_averaged_like_any_networks(prepared, prepared_once):
    """Where a step were in the state twice, an average would take it in twice, and .safetensors would refuse it."""
    state = prepared.state_dict()
    assert len({value.data_ptr() for value in state.values()}) == len(state)
    average = Ema(prepared_once, 0.5)
    with torch.no_grad():
        prepared.quantizers[1].shift += 1
    average.update(prepared, step=10_000)
    assert float(average.network.quantizers[1].shift) == pytest.approx(0.5)
    grown = average.network.quantizers[1].step / prepared_once.quantizers[1].step
    assert float(grown.detach()) == pytest.approx(2**5)
    other = copy.deepcopy(prepared_once)
    other.load_state_dict(load(save(state)))
    assert torch.equal(other.quantizers[1].step, prepared.quantizers[1].step)


def test_gradients_reach_weights_normalisation_and_steps_and_statistics_stay(prepared, noise):
    prepared.train()
    statistics = {
        key: value.clone() for key, value in prepared.state_dict().items() if "running" in key or "num_b" in key
    }
    sum(m.square().mean() for m in prepared.head.logits(prepared.maps(noise))).backward()
    missing = [n for n, p in prepared.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    assert missing == []
    shifts = [q.shift for q in prepared.quantizers]
    assert sum(shift is None for shift in shifts) == 1  # that of the image, 0 to 1
    assert len(statistics) == 3 * len(quant_convs(prepared))
    assert all(torch.equal(prepared.state_dict()[key], value) for key, value in statistics.items())


def test_calibrated_ranges_are_kept_on_request(tiny):
    detector, _, ranges = tiny
    fixed = prepare(detector, ranges, QatOptions(learn_ranges=False))
    assert list(fixed.quantizers.parameters()) == []
    assert {float(q.step) for q in fixed.quantizers} == {float(np.float16(4 / 127)), float(np.float16(1 / 127))}


@pytest.mark.parametrize(("trained", "lr"), [("all", 0.003), ("steps", 0.05)])
def test_training_brings_the_outputs_nearer_to_those_of_the_float_network(tiny, prepared, noise, trained, lr):
    detector, images = tiny[0], noise[:1]
    learned = [q for q in prepared.quantizers if q.shift is not None]
    for quantizer in learned:
        quantizer.initial /= 4  # so that much is clipped
    with torch.no_grad():
        float_logits = detector.head.logits(detector.maps(images))
    parameters = prepared.parameters() if trained == "all" else prepared.quantizers.parameters()
    optimizer = torch.optim.AdamW([p for p in parameters if p.requires_grad], lr=lr, weight_decay=0.0)
    losses = []
    for _ in range(8):
        logits = prepared.head.logits(prepared.maps(images))
        loss = sum((a - b).square().mean() for a, b in zip(logits, float_logits, strict=True))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.75 * losses[0], losses
    if trained == "steps":
        assert np.median([float(q.step.detach() / q.initial) for q in learned]) > 1.05


def test_autocast_rounds_in_fp32(prepared, noise):
    """BF16 has 8 bits: its quotients would be off by whole steps."""
    quantizer = prepared.quantizers[1]
    values = (noise * 8 - 4).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        rounded = quantizer(values)
    assert torch.equal(rounded, quantizer(values.float()))
    assert rounded.dtype == torch.float32


def test_a_tensor_without_a_range_is_refused(tiny):
    detector, _, ranges = tiny
    name = "/model.1/Concat_output_0"
    fewer = {tensor: span for tensor, span in ranges.by_tensor.items() if tensor != name}
    with pytest.raises(CalibrationError, match=f"expected a range of '{name}', found none"):
        prepare(detector, replace(ranges, by_tensor=fewer), QatOptions())


@pytest.mark.parametrize(
    ("options", "named"), [(QuantizeOptions("cpu"), "the target cpu"), (QuantizeOptions(attention=True), "attention")]
)
def test_what_cannot_be_trained_is_refused(options, named):
    with pytest.raises(OptionsError, match=f"for the target trt, found .*{named}.*: drop it, or drop --qat"):
        QatOptions(options)


def with_weight(graph, name, change):
    """A copy of a graph with another weight."""
    changed = onnx.ModelProto()
    changed.CopyFrom(graph)
    weight = next(w for w in changed.graph.initializer if w.name == name)
    weight.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(weight)), name))
    return changed


def renamed(graph, old, new):
    changed = onnx.ModelProto()
    changed.CopyFrom(graph)
    for part in (*changed.graph.initializer, *changed.graph.node):
        if isinstance(part, onnx.NodeProto):
            part.input[:] = [new if name == old else name for name in part.input]
        elif part.name == old:
            part.name = new
    return changed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda g: with_weight(g, "model.0.0.weight", lambda w: w + np.float32(1e-6)), "its weight is not that of"),
        (lambda g: with_weight(g, "model.0.0.weight", lambda w: w[:, :, :1]), "its weight is not that of"),
        (lambda g: renamed(g, "model.0.0.weight", "onnx::Conv_7"), "its weight 'onnx::Conv_7' is no parameter"),
        (lambda g: renamed(g, "model.0.0.weight", "model.9.weight"), "its weight 'model.9.weight' is no parameter"),
    ],
)
def test_a_graph_that_is_not_the_networks_is_refused(tiny, change, message):
    detector, graph, _ = tiny
    with pytest.raises(GraphError, match=f"/model.0/model.0.0/Conv' is no module's: .*{message}"):
        quantized_convs(detector, change(graph), QuantizeOptions())


def test_half_of_a_split_convolution_is_refused(tiny):
    detector, graph, _ = tiny
    name = next(n.name for n in graph.graph.node if n.op_type == "Conv" and n.input[1] == "model.1.cv1.0.weight_0_8")
    with pytest.raises(GraphError, match=r"of 'model.1.cv1.0' the rows \[\(8, 16\)\] of 16 are quantised"):
        quantized_convs(detector, graph, QuantizeOptions(keep=frozenset([name])))


def test_what_is_kept_stays_a_plain_convolution(tiny):
    detector, graph, ranges = tiny
    name = next(n.name for n in graph.graph.node if n.op_type == "Conv" and n.input[1] == "model.2.0.weight")
    prepared = prepare(detector, ranges, QatOptions(QuantizeOptions(keep=frozenset([name]), image=False)))
    assert not {"model.0", "model.2"} & quant_convs(prepared).keys()
    assert prepared.keep == {name, "/model.0/model.0.0/Conv"}
