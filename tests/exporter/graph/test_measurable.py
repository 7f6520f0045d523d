"""A graph for TensorRT, made so that it is measured in less time on a CPU: what it computes stays."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from y12.exporter.graph.measurable import measurable
from y12.runtime.backends.onnx_runtime import OrtExecutor

SCALE = np.float16(0.0371)


def rounded_to_8_bits(halves=True):
    """An image, in FP16 or FP32, rounded to 8 bits and convolved with weights of 8 bits."""
    dtype, kind = (np.float16, TensorProto.FLOAT16) if halves else (np.float32, TensorProto.FLOAT)
    generator = np.random.default_rng(3)
    weights = {
        "scale": np.array(SCALE).astype(dtype),
        "zero": np.int8(0),
        "weight": generator.integers(-127, 128, (4, 3, 3, 3)).astype(np.int8),
        "weight_scale": generator.uniform(0.001, 0.01, 4).astype(dtype),
        "weight_zero": np.zeros(4, np.int8),
    }
    nodes = [
        helper.make_node("Cast", ["images"], ["x"], "cast", to=kind),
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"], "q"),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"], "dq"),
        helper.make_node("DequantizeLinear", ["weight", "weight_scale", "weight_zero"], ["w"], "dqw", axis=0),
        helper.make_node("Conv", ["y", "w"], ["z"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("Cast", ["z"], ["output0"], "back", to=TensorProto.FLOAT),
    ]
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 32, 32])
    output = helper.make_tensor_value_info("output0", TensorProto.FLOAT, [1, 4, 32, 32])
    initializers = [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "g", [images], [output], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def outputs_of(graph, *, integers=True):
    images = np.random.default_rng(5).random((1, 3, 32, 32), np.float32)
    return OrtExecutor(graph.SerializeToString(), "cpu", integers=integers).run(images)["output0"]


def test_values_of_fp16_are_rounded_from_fp32():
    graph = rounded_to_8_bits()
    before = graph.SerializeToString()
    made = measurable(graph)
    onnx.checker.check_model(made, full_check=True)
    assert graph.SerializeToString() == before
    weights = {weight.name: weight for weight in made.graph.initializer}
    (quantizer,) = (node for node in made.graph.node if node.op_type == "QuantizeLinear")
    assert numpy_helper.to_array(weights[quantizer.input[1]]) == np.float32(SCALE)
    assert weights["scale"].data_type == TensorProto.FLOAT16  # what is read after it stays FP16
    step = float(SCALE) * 0.01 * 127  # the rounding to 11 bits decides the one to 8 of some pixel
    np.testing.assert_allclose(outputs_of(made), outputs_of(graph), atol=3 * step)
    assert np.abs(outputs_of(made) - outputs_of(graph)).mean() < 0.01 * np.abs(outputs_of(graph)).mean()


def test_without_fp16_it_is_the_graph_itself():
    graph = rounded_to_8_bits(halves=False)
    assert measurable(graph) is graph


def test_with_weights_made_floats_once_it_computes_the_same():
    for graph in (rounded_to_8_bits(), rounded_to_8_bits(halves=False)):
        np.testing.assert_allclose(outputs_of(graph, integers=False), outputs_of(graph), rtol=1e-3, atol=1e-4)
