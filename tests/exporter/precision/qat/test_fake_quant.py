"""Fake quantisation beside ONNX Runtime, the exporter's own rule, and the equations of LSQ."""

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper

from y12.exporter.precision.qat.fake_quant import (
    ACTIVATION_BOUNDS,
    fake_quantize,
    half_step,
    quantize_weight,
    weight_steps,
)
from y12.exporter.precision.qdq.weights import quantize_weight as exported_weight
from y12.exporter.precision.ranges import Range
from y12.runtime.backends.onnx_runtime import import_onnxruntime

onnxruntime = import_onnxruntime()  # what it computes is what is compared with


def pair(x, step):
    """What QuantizeLinear and DequantizeLinear make of values."""
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "step", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "step", "zero"], ["y"]),
    ]
    constants = [
        helper.make_tensor("step", TensorProto.FLOAT, [], [step]),
        helper.make_tensor("zero", TensorProto.INT8, [], [0]),
    ]
    x_info, y_info = (helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "xy")
    graph = helper.make_graph(nodes, "pair", [x_info], [y_info], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


@pytest.mark.parametrize("step", [2.0**-14, 0.0078125, 0.1, 0.3003, 7.0])
def test_values_are_those_of_onnx_runtime_to_the_bit(step):
    step = float(np.float32(step))
    ties = (np.arange(-150, 150) + 0.5) * step
    values = np.random.default_rng(1).normal(0, 50 * step, 5000)
    x = np.concatenate((ties, values, [0, -0.0, 1e9, -1e9])).astype(np.float32)
    rounded = fake_quantize(torch.from_numpy(x)[None], torch.tensor(step))[0].numpy()
    np.testing.assert_array_equal(rounded, pair(x, step))
    assert rounded.min() == np.float32(-128 * np.float32(step))


def test_gradients_are_those_of_lsq():
    generator = np.random.default_rng(2)
    x, step = generator.normal(0, 60, (2, 500)), 0.7
    x[0, :3] = -128 * step - 1, 127 * step + 1, 0.0
    upstream = generator.normal(0, 1, x.shape)
    values = torch.tensor(x, requires_grad=True)
    steps = torch.tensor(step, dtype=torch.float64, requires_grad=True)
    fake_quantize(values, steps).backward(torch.tensor(upstream))
    of_x, of_step = np.zeros_like(x), 0.0
    for at in np.ndindex(x.shape):  # element by element, as equations 3 and 5 are written
        quotient = x[at] / step
        if -128 < quotient < 127:
            of_x[at] = upstream[at]
            of_step += upstream[at] * (-quotient + np.rint(quotient))
        else:
            of_step += upstream[at] * (-128 if quotient <= -128 else 127)
    np.testing.assert_allclose(values.grad.numpy(), of_x, rtol=1e-12)
    assert 0 < (of_x == 0).sum() < x.size
    assert float(steps.grad) == pytest.approx(of_step / np.sqrt(500 * 127), rel=1e-10)


def test_gradients_are_the_slopes_of_what_rounding_leaves():
    """With the rounding error held, x^ = s clip(x/s + e) is smooth; its central differences are the gradients."""
    x = torch.randn(400, dtype=torch.float64, generator=torch.Generator().manual_seed(3)) * 100
    step = torch.tensor(0.9, dtype=torch.float64)
    lower, upper = ACTIVATION_BOUNDS
    error = (x / step).round() - x / step

    def smooth(values, s):
        inside = (x / step > lower) & (x / step < upper)
        return torch.where(inside, s * (values / s + error), s * (x / step).clamp(lower, upper))

    inputs, own = x.clone()[None].requires_grad_(), step.clone().requires_grad_()
    fake_quantize(inputs, own).sum().backward()
    h = 1e-6
    by_step = (smooth(x, step + h) - smooth(x, step - h)).sum() / (2 * h)
    by_x = (smooth(x + h, step) - smooth(x - h, step)) / (2 * h)
    assert float(own.grad) * np.sqrt(400 * 127) == pytest.approx(float(by_step), rel=1e-6)
    torch.testing.assert_close(inputs.grad[0], by_x, rtol=1e-6, atol=1e-6)


def some_weights(kind):
    generator = np.random.default_rng(4)
    weights = generator.normal(0, 0.2, (24, 5, 3, 3)).astype(np.float32) * np.logspace(-6, 3, 24)[:, None, None, None]
    if kind == "powers of two":
        weights = np.exp2(generator.integers(-20, 4, weights.shape)) * 127
    if kind == "zeros":
        weights[::2] = 0
    return weights.astype(np.float32)


@pytest.mark.parametrize("kind", ["random", "powers of two", "zeros"])
def test_weights_have_the_exporters_integers_and_scales(kind):
    weights = some_weights(kind)
    exported = exported_weight(weights, 0)
    np.testing.assert_array_equal(weight_steps(torch.from_numpy(weights)).numpy(), exported.scales)
    rounded = quantize_weight(torch.from_numpy(weights)).numpy()
    np.testing.assert_array_equal(rounded, exported.integers * exported.scales[:, None, None, None])


def test_rows_that_the_export_scales_are_rounded_as_it_does():
    weights, rows = some_weights("random"), np.float32(np.where(np.arange(24) < 8, 32**-0.5, 1.0))
    exported = exported_weight(weights * rows[:, None, None, None], 0)
    rounded = quantize_weight(torch.from_numpy(weights), torch.from_numpy(rows)).numpy()
    np.testing.assert_array_equal(
        rounded, exported.integers * exported.scales[:, None, None, None] / rows[:, None, None, None]
    )
    assert (quantize_weight(torch.from_numpy(weights)).numpy()[:8] != rounded[:8]).any()  # it is not the same


def test_a_weights_gradient_passes_to_the_largest_one_too():
    weights = torch.from_numpy(some_weights("powers of two")).requires_grad_()
    quantize_weight(weights).sum().backward()
    assert (weights.grad == 1).all()


@pytest.mark.parametrize("high", [0.0, 1e-4, 0.5, 1.0, 6.02, 127.0, 5000.0])
def test_steps_are_those_of_the_exported_graph(high):
    step = torch.tensor(Range(-high, high).symmetric_scale(), requires_grad=True)
    rounded = half_step(step)
    assert float(rounded.detach()) == float(np.float16(Range(-high, high).symmetric_scale()))
    rounded.backward()
    assert float(step.grad) == 1
