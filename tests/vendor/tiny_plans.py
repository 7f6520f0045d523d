"""Build plans of one convolution with the installed TensorRT-RTX."""

import pytest

NAME = "y12:QUJDRA=="
GRAPH = """<ir_version: 8, opset_import: ["" : 17]>
tiny (float[1,3,8,8] images) => (float[1,{channels},8,8] output0)
{{
    w = ConstantOfShape <value = float[1] {{0.5}}> (shape)
    output0 = Conv (images, w)
}}"""


def build_rtx_plan(name: str, channels: int) -> bytes:
    """Name the network `name`; skips the test where TensorRT-RTX is not installed."""
    pytest.importorskip("tensorrt_rtx")
    onnx = pytest.importorskip("onnx")
    from y12.runtime.backends.tensorrt.executor import capture, load_bindings, process_logger

    model = onnx.parser.parse_model(GRAPH.format(channels=channels))
    shape = onnx.helper.make_tensor("shape", onnx.TensorProto.INT64, [4], [channels, 3, 1, 1])
    model.graph.initializer.append(shape)
    bindings = load_bindings("rtx")
    with capture(bindings) as messages:
        builder = bindings.trt.Builder(process_logger(bindings))
        network = builder.create_network(0)
        assert bindings.trt.OnnxParser(network, process_logger(bindings)).parse(model.SerializeToString())
        network.name = name
        plan = builder.build_serialized_network(network, builder.create_builder_config())
    assert plan is not None, messages[-3:]
    return bytes(plan)
