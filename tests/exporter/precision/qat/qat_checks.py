"""The exported Q/DQ graph beside the prepared network, code by code."""

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from y12.exporter.precision.cast import HALF_SUFFIX
from y12.runtime.backends.onnx_runtime import import_onnxruntime

onnxruntime = import_onnxruntime()  # what it computes is what is compared with


def with_fp32_remainder(typed, simplified):
    """The exported graph with its remainder in FP32: the same pairs, scales and integers, and FP32's own weights."""
    wide = onnx.ModelProto()
    wide.CopyFrom(typed)
    own = {w.name: numpy_helper.to_array(w) for w in simplified.graph.initializer}
    for weight in wide.graph.initializer:
        if weight.data_type == TensorProto.FLOAT16:
            values = own.get(weight.name.removesuffix(HALF_SUFFIX), numpy_helper.to_array(weight))
            weight.CopyFrom(numpy_helper.from_array(np.asarray(values, np.float32), weight.name))
    for node in wide.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT16:
                attribute.i = TensorProto.FLOAT
    del wide.graph.value_info[:]
    return wide


def codes_of(typed, images):
    """The integers of each quantised tensor, by the tensor's name in the FP32 graph, as ONNX Runtime computes them."""
    shown = onnx.ModelProto()
    shown.CopyFrom(typed)
    names = [node.output[0] for node in typed.graph.node if node.op_type == "QuantizeLinear"]
    shown.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.INT8, None) for name in names)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(shown.SerializeToString(), options, providers=["CPUExecutionProvider"])
    values = session.run(names, {"images": images.numpy()})
    bare = [name.removesuffix("_quantized").removesuffix(HALF_SUFFIX) for name in names]
    return dict(zip(bare, values, strict=True))


@torch.no_grad()
def codes_beside(prepared, images, codes):
    """The integers that the prepared network makes of each tensor, where what it reads was computed from `codes`.

    Left to itself a difference of the last bit in one sum turns one code, and a hundred layers make many of it, with
    two implementations of the same convolution in torch too. So each code is compared, and then the given one is used.
    """
    own_codes = {}

    def replaced(quantizer, _inputs, output, name):
        own_codes[name] = (output / quantizer.step).round().numpy().astype(int)
        exported_codes, filled_up = np.split(codes[name], [output.shape[1]], axis=1)
        assert not filled_up.any()
        return torch.from_numpy(exported_codes).float() * quantizer.step

    for name, quantizer in zip(prepared.tensors, prepared.quantizers, strict=True):
        quantizer.register_forward_hook(lambda m, inputs, out, name=name: replaced(m, inputs, out, name))
    outputs = prepared(images)
    for quantizer in prepared.quantizers:
        quantizer._forward_hooks.clear()
    return own_codes, outputs


@torch.no_grad()
def as_if_trained(prepared, seed=0):
    """Move every parameter and statistic a little."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in prepared.parameters():
        size = 0.02 if parameter.ndim == 0 else 0.05 * parameter.abs().mean()
        parameter += size * torch.randn(parameter.shape, generator=generator)
    return prepared.eval()
