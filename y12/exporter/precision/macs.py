"""MACs: how many multiply-accumulates each convolution and each matrix product of a network takes."""

from collections.abc import Iterable, Mapping
from math import prod

import numpy as np
import onnx
from onnx import TensorProto, helper

from y12.errors import GraphError, Y12Error
from y12.exporter.graph.attention import attentions_of
from y12.exporter.graph.passes import label
from y12.runtime.artefact.manifest import InputProfile
from y12.runtime.backends.onnx_runtime import OrtExecutor

__all__ = ["layer_macs", "mac_shares", "macs_of"]


def macs_of(model: onnx.ModelProto, profile: InputProfile) -> dict[str, int]:
    """Return the MACs of each convolution and matrix product, by its node's name.

        convolution             elements of the output x elements of the weight / output channels
        transposed convolution  elements of the input  x elements of the weight / input channels
        matrix product          elements of the output x columns of the first factor

    Args:
        model: an FP32 graph whose batch and size may be free; they are taken as `profile` is tuned for.
        profile: of its input.

    Raises:
        GraphError: a size does not follow from that of the input, and the graph cannot be run.
    """
    nodes = [node for node in model.graph.node if node.op_type in ("Conv", "ConvTranspose", "MatMul")]
    shapes = _shapes(model, profile, {name for node in nodes for name in _factors(node)})
    macs = {}
    for node in nodes:
        over, factor = (shapes[name] for name in _factors(node))
        macs[label(node)] = prod(over) * (factor[-1] if node.op_type == "MatMul" else prod(factor[1:]))
    return macs


def layer_macs(model: onnx.ModelProto, profile: InputProfile) -> dict[str, int]:
    """Return the MACs of each layer: of a convolution by its node's name, of an attention by its softmax's.

    An attention has those of both its matrix products; any other product is no layer, and is not counted. Every share
    of MACs that y12 tells of is one of the MACs of all these.

    Args:
        model: an FP32 graph, as for `macs_of`.
        profile: of its input.

    Raises:
        GraphError: the MACs of a layer cannot be counted.
    """
    counts = macs_of(model, profile)
    convolutions = [label(node) for node in model.graph.node if node.op_type in ("Conv", "ConvTranspose")]
    macs = {name: counts[name] for name in convolutions}
    return macs | {one.softmax: counts[one.scores] + counts[one.product] for one in attentions_of(model)}


def mac_shares(macs: Mapping[str, int], names: Iterable[str]) -> dict[str, float]:
    """Return the share that each name has of the MACs of all these names, 0 to 1."""
    chosen = {name: macs[name] for name in names}
    total = sum(chosen.values())
    return {name: count / total for name, count in chosen.items()}


def _factors(node: onnx.NodeProto) -> tuple[str, str]:
    """Return the tensor each of whose elements takes as many MACs, and the one whose shape tells how many."""
    if node.op_type == "MatMul":
        return node.output[0], node.input[0]
    return node.input[0] if node.op_type == "ConvTranspose" else node.output[0], node.input[1]


def _shapes(model: onnx.ModelProto, profile: InputProfile, tensors: set[str]) -> Mapping[str, tuple[int, ...]]:
    """Return the shapes of tensors, once the input's is known.

    A graph that was not simplified computes some of its shapes where inference cannot follow; it is run for them.
    """
    shape = (profile.batch.opt, 3, *profile.opt_hw)
    inferred = _inferred(model, shape)
    shapes = {w.name: tuple(w.dims) for w in model.graph.initializer}
    shapes |= {name: dims for name, dims in inferred.items() if dims and all(size > 0 for size in dims)}
    unknown = sorted(tensors - shapes.keys())
    if unknown:
        shapes |= _measured(model, shape, unknown)
    return shapes


def _inferred(model: onnx.ModelProto, shape: tuple[int, ...]) -> Mapping[str, tuple[int, ...]]:
    """Return what ONNX's own inference tells; a size it cannot tell is 0."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    for dim, size in zip(fixed.graph.input[0].type.tensor_type.shape.dim, shape, strict=True):
        dim.Clear()
        dim.dim_value = size
    del fixed.graph.value_info[:]
    for output in fixed.graph.output:
        output.type.tensor_type.ClearField("shape")
    known = onnx.shape_inference.infer_shapes(fixed, data_prop=True).graph
    infos = (*known.value_info, *known.input, *known.output)
    return {info.name: tuple(dim.dim_value for dim in info.type.tensor_type.shape.dim) for info in infos}


def _measured(model: onnx.ModelProto, shape: tuple[int, ...], tensors: list[str]) -> dict[str, tuple[int, ...]]:
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    del shown.graph.output[:]
    shown.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in tensors)
    try:
        executor = OrtExecutor(shown.SerializeToString(), provider="cpu")
        try:
            values = executor.run(np.zeros(shape, np.float32))
        finally:
            executor.close()
    except Y12Error as error:
        raise GraphError(f"the MACs of the graph cannot be counted: {error}") from error
    return {name: value.shape for name, value in values.items()}
