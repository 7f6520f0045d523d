"""FP16 as a property of the graph: half inside, FP32 for the decode and at the graph's inputs and outputs.

Every node from which a convolution can still be reached computes in FP16. What comes after the last convolutions is
the decode (distances, cell centres, times stride, sigmoid), and stays FP32: between 512 and 1024 FP16 has a spacing of
0.5, so that a box could not be placed better than half a pixel.

    y = f(x)  becomes  y16 = f(cast16(x)),  and a cast to FP32 where an FP32 node or the graph's output reads y
"""

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from y12.errors import GraphError
from y12.exporter.graph.index import GraphIndex, lift_constant_nodes

__all__ = ["HALF_SUFFIX", "CastReport", "cast_to_fp16"]

HALF_SUFFIX = "_fp16"  # of the name of a weight or tensor that was cast
_HALF_MAX = float(np.finfo(np.float16).max)
# Inputs that the ONNX specification wants in FP32 whatever the data's type: {operator: positions}.
_FP32_SLOTS = {"Resize": {1, 2}, "QuantizeLinear": {1}, "DequantizeLinear": {1}}
# Operators that have no FP16 form, or make FP32 values whatever their inputs are.
_FP32_ONLY = {"ConstantOfShape", "EyeLike", "NonMaxSuppression", "RandomNormal", "RandomUniform", "Range"}
# Operators that only move or copy elements.
_MOVES_DATA = {
    "Concat",
    "Flatten",
    "Identity",
    "Reshape",
    "Slice",
    "Split",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
}


@dataclass(frozen=True)
class CastReport:
    """What the pass did: nodes by the precision they compute in, and casts inserted."""

    half_nodes: int
    float_nodes: int
    casts: int


def cast_to_fp16(model: onnx.ModelProto) -> tuple[onnx.ModelProto, CastReport]:
    """Return the graph with everything but its decode in FP16, and a report.

    Raises:
        GraphError: a weight does not fit into FP16.
    """
    typed = onnx.ModelProto()
    typed.CopyFrom(model)
    lift_constant_nodes(typed.graph)
    return typed, _HalfWriter(typed).rewrite()


class _HalfWriter:
    """Rewrites one graph; holds which tensor exists in which precision so that no cast is made twice."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._graph = model.graph
        self._index = GraphIndex(model.graph)
        self._is_float = _float_tensors(model)
        self._half: set[str] = set()  # tensors whose type is now FP16
        self._cast: dict[tuple[str, int], str] = {}
        self._nodes: list[onnx.NodeProto] = []

    def rewrite(self) -> CastReport:
        reaches = self._index.reaching("Conv")
        node_count = len(self._graph.node)
        half_nodes = float_nodes = 0
        for i, node in enumerate(self._graph.node):
            half = self._moves_halves(node) if i not in reaches else self._computes(node)
            half_nodes += half
            float_nodes += not half and self._computes(node)
            for slot, name in enumerate(node.input):
                if name in self._is_float:
                    wants_half = half and slot not in _FP32_SLOTS.get(node.op_type, ())
                    node.input[slot] = self._as(name, TensorProto.FLOAT16 if wants_half else TensorProto.FLOAT)
            if half:
                self._half.update(name for name in node.output if name in self._is_float)
                _retarget_cast(node)
            self._nodes.append(node)
        self._restore_outputs()
        casts = len(self._nodes) - node_count
        del self._graph.node[:]
        self._graph.node.extend(self._nodes)
        self._drop_unused_weights()
        del self._graph.value_info[:]  # their types are no longer true
        return CastReport(half_nodes, float_nodes, casts)

    def _computes(self, node: onnx.NodeProto) -> bool:
        floats = any(name in self._is_float for name in (*node.input, *node.output))
        return floats and node.op_type not in _FP32_ONLY

    def _moves_halves(self, node: onnx.NodeProto) -> bool:
        """Return whether a node only moves FP16 data, which loses nothing, so that the cast can wait until after it."""
        data = [name for name in node.input if name in self._is_float]
        return node.op_type in _MOVES_DATA and bool(data) and all(name in self._half for name in data)

    def _as(self, name: str, dtype: int) -> str:
        """Return the name of `name`'s value in the wanted type, made now if it does not exist yet."""
        if (name in self._half) == (dtype == TensorProto.FLOAT16):
            return name
        if (name, dtype) not in self._cast:
            suffix = HALF_SUFFIX if dtype == TensorProto.FLOAT16 else "_fp32"
            converted = f"{name}{suffix}"
            self._cast[name, dtype] = converted
            if name in self._index.weights:
                self._graph.initializer.append(_half_weight(self._index.weights[name], converted))
            else:
                self._nodes.append(helper.make_node("Cast", [name], [converted], name=f"cast/{converted}", to=dtype))
        return self._cast[name, dtype]

    def _restore_outputs(self) -> None:
        """Cast each graph output made in FP16 to FP32, under its old name."""
        for output in self._graph.output:
            if output.name in self._half:
                inner = f"{output.name}_half"
                for node in self._nodes:
                    node.input[:] = [inner if name == output.name else name for name in node.input]
                    node.output[:] = [inner if name == output.name else name for name in node.output]
                self._nodes.append(
                    helper.make_node("Cast", [inner], [output.name], name=f"cast/{output.name}", to=TensorProto.FLOAT)
                )

    def _drop_unused_weights(self) -> None:
        used = {name for node in self._nodes for name in node.input} | {o.name for o in self._graph.output}
        used_weights = [w for w in self._graph.initializer if w.name in used]
        del self._graph.initializer[:]
        self._graph.initializer.extend(used_weights)


def _float_tensors(model: onnx.ModelProto) -> set[str]:
    """Return the tensors whose type is FP32, by ONNX's own inference, which does not need the shapes to be known.

    The weights stand in as inputs: inference would copy their data otherwise.
    """
    graph = model.graph
    input_names = {i.name for i in graph.input}
    weights = [helper.make_tensor_value_info(w.name, w.data_type, None) for w in graph.initializer]
    inputs = [*graph.input, *(w for w in weights if w.name not in input_names)]
    skeleton = helper.make_graph(list(graph.node), "types", inputs, list(graph.output))
    known = onnx.shape_inference.infer_shapes(helper.make_model(skeleton, opset_imports=model.opset_import))
    infos = (*known.graph.value_info, *known.graph.input, *known.graph.output)
    return {info.name for info in infos if info.type.tensor_type.elem_type == TensorProto.FLOAT}


def _retarget_cast(node: onnx.NodeProto) -> None:
    """Make a Cast to FP32 inside the FP16 part a Cast to FP16."""
    if node.op_type == "Cast":
        for attribute in node.attribute:
            if attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.FLOAT16


def _half_weight(weight: onnx.TensorProto, name: str) -> onnx.TensorProto:
    values = numpy_helper.to_array(weight)
    largest = float(np.abs(values).max(initial=0.0))
    if not largest <= _HALF_MAX:
        raise GraphError(
            f"'{weight.name}' holds {largest:.6g}, which FP16 (at most {_HALF_MAX:.0f}) cannot; export in FP32"
        )
    return numpy_helper.from_array(values.astype(np.float16), name)
