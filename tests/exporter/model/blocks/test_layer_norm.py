"""LayerNorm of a map against its equation, and its FP16 form where values are large."""

import io
import warnings

import numpy as np
import onnx
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from plain_layers import double, randomised, unreached
from torch import nn

from y12.exporter.model.blocks.layer_norm import LayerNorm
from y12.exporter.precision.cast import cast_to_fp16
from y12.runtime.backends.onnx_runtime import OrtExecutor

CHANNELS = 24


@torch.no_grad()
def test_each_cell_has_its_own_mean_and_variance():
    torch.manual_seed(0)
    norm = randomised(LayerNorm(CHANNELS))
    x = 3 * torch.randn(2, CHANNELS, 3, 4) + 5
    x[0, :, 1, 1] *= 1e-3  # where eps matters
    expected = torch.zeros(x.shape, dtype=torch.float64)
    for b in range(2):
        for i in range(3):
            for j in range(4):
                cell = double(x[b, :, i, j])
                mean = cell.sum() / CHANNELS
                variance = ((cell - mean) ** 2).sum() / CHANNELS
                scaled = (cell - mean) / (variance + 1e-5) ** 0.5
                expected[b, :, i, j] = scaled * double(norm.weight) + double(norm.bias)
    torch.testing.assert_close(norm(x).double(), expected, rtol=1e-4, atol=1e-5)


def test_it_begins_without_weights_of_its_own():
    norm = LayerNorm(CHANNELS)
    assert norm.weight.tolist() == [1.0] * CHANNELS
    assert norm.bias.tolist() == [0.0] * CHANNELS
    assert unreached(norm, torch.randn(1, CHANNELS, 2, 2)) == []


@pytest.fixture(scope="module")
def graphs():
    """LayerNorm between two convolutions, as FP32 and as FP16 graph."""
    torch.manual_seed(0)
    first, last = nn.Conv2d(3, CHANNELS, 1, bias=False), nn.Conv2d(CHANNELS, CHANNELS, 1, bias=False)
    nn.init.dirac_(last.weight)
    net = nn.Sequential(first, randomised(LayerNorm(CHANNELS)), last).eval()
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net, (torch.zeros(1, 3, 4, 4),), buffer, dynamo=False, opset_version=17)
    graph = onnx.load_from_string(buffer.getvalue())
    half, _ = cast_to_fp16(graph)
    return graph, half


def run(graph, images):
    (out,) = OrtExecutor(graph.SerializeToString(), "cpu", 1).run(images).values()
    return out


def test_it_is_traced_as_one_operator_with_fp32_statistics(graphs):
    _, half = graphs
    (node,) = [node for node in half.graph.node if node.op_type == "LayerNormalization"]
    attributes = {a.name: a for a in node.attribute}
    assert attributes["axis"].i == -1
    assert attributes["epsilon"].f == pytest.approx(1e-5)
    assert "stash_type" not in attributes or attributes["stash_type"].i == onnx.TensorProto.FLOAT
    types = {w.name: w.data_type for w in half.graph.initializer}
    assert {types[name] for name in node.input[1:]} == {onnx.TensorProto.FLOAT16}
    assert not any(node.op_type.startswith("Reduce") for node in half.graph.node)


@pytest.mark.parametrize("magnitude", [0.1, 1.0, 300.0, 15000.0])
def test_half_does_not_overflow(graphs, magnitude):
    images = np.random.default_rng(0).standard_normal((1, 3, 4, 4)).astype(np.float32)
    expected, found = (run(graph, magnitude * images) for graph in graphs)
    assert np.abs(expected).max() > 1.5
    np.testing.assert_allclose(found, expected, atol=0.01)


def test_a_written_out_mean_of_squares_would_overflow():
    """Why it is that operator: the same equation, node by node in FP16."""
    text = """<ir_version: 10, opset_import: ["" : 20]> agraph (float16[1,8,1,1] x) => (float16[1,8,1,1] y) {
        square = Mul(x, x)
        y = ReduceMean <keepdims=1> (square)
    }"""
    square = ReferenceEvaluator(onnx.parser.parse_model(text))
    with np.errstate(over="ignore"):
        assert np.isinf(square.run(None, {"x": np.full((1, 8, 1, 1), 300, np.float16)})[0]).all()
