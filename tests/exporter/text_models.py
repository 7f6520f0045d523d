"""Tiny ONNX graphs written as text, and what is asked of them again and again."""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from y12.runtime.backends.onnx_runtime import OrtExecutor

HEADER = '<ir_version: 9, opset_import: ["" : 20]>\ntiny '


def model_of(text: str, **weights: NDArray[np.generic]) -> onnx.ModelProto:
    """Read a graph, `(inputs) => (outputs) { nodes }`; a node's name stands before it, as `[name]`."""
    model = onnx.parser.parse_model(HEADER + text)
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in weights.items())
    onnx.checker.check_model(model, full_check=True)
    return model


def noise(*shape: int, seed: int = 12) -> NDArray[np.float32]:
    """Numbers from -1 to 1."""
    return np.random.Generator(np.random.PCG64(seed)).random(shape, dtype=np.float32) * 2 - 1


def run(model: onnx.ModelProto, images: NDArray[np.float32] | None = None) -> dict[str, NDArray[np.float32]]:
    """Run a graph on ONNX Runtime; on noise of its input's shape unless told otherwise."""
    executor = OrtExecutor(model.SerializeToString(), provider="cpu", threads=2)
    if images is None:
        images = noise(*(size or 1 for size in executor.input_shape))
    outputs = executor.run(images)
    executor.close()
    return outputs


def ops(model: onnx.ModelProto) -> list[str]:
    """The node types in order."""
    return [node.op_type for node in model.graph.node]


def weights_of(model: onnx.ModelProto) -> dict[str, NDArray[np.generic]]:
    """The initializers by name."""
    return {w.name: numpy_helper.to_array(w) for w in model.graph.initializer}


def types_of(model: onnx.ModelProto) -> dict[str, str]:
    """Each tensor's type by name, as ONNX infers it: "FLOAT", "FLOAT16" and so on."""
    graph = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True).graph
    infos = (*graph.value_info, *graph.input, *graph.output)
    types = {info.name: TensorProto.DataType.Name(info.type.tensor_type.elem_type) for info in infos}
    return types | {w.name: TensorProto.DataType.Name(w.data_type) for w in graph.initializer}


def copy_of(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy that may be changed."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy
