"""How much of a network's work each convolution and each matrix product is."""

from collections.abc import Iterable, Mapping
from math import prod

import onnx

from exporter.errors import GraphError
from exporter.graph.index import GraphIndex
from exporter.graph.passes import label
from runtime.manifest import InputProfile

__all__ = ["multiplications_of", "shares_of"]


def multiplications_of(model: onnx.ModelProto, profile: InputProfile) -> dict[str, int]:
    """Count the multiplications of each convolution and matrix product, by its node's name.

        convolution             elements of the output x elements of the weight / output channels
        transposed convolution  elements of the input  x elements of the weight / input channels
        matrix product          elements of the output x columns of the first factor

    Args:
        model: an FP32 graph whose batch and size may be free; they are taken as `profile` is tuned for.
        profile: of its input.

    Raises:
        GraphError: a size does not follow from that of the input.
    """
    index, shapes = GraphIndex(model.graph), _shapes(model, profile)
    counts = {}
    for node in model.graph.node:
        if node.op_type not in ("Conv", "ConvTranspose", "MatMul"):
            continue
        over = shapes.get(node.input[0] if node.op_type == "ConvTranspose" else node.output[0])
        if node.op_type == "MatMul":
            each = shapes.get(node.input[0], (0,))[-1]
        else:
            weight = index.constant(node.input[1])
            each = 0 if weight is None else weight.size // weight.shape[0]
        if over is None or not each:
            raise GraphError(f"'{label(node)}': expected an operator whose weights and size are known")
        counts[label(node)] = prod(over) * each
    return counts


def shares_of(counts: Mapping[str, int], names: Iterable[str]) -> dict[str, float]:
    """Give the share that each name has of what all these names have together, 0 to 1."""
    chosen = {name: counts[name] for name in names}
    total = sum(chosen.values())
    return {name: count / total for name, count in chosen.items()}


def _shapes(model: onnx.ModelProto, profile: InputProfile) -> Mapping[str, tuple[int, ...]]:
    """Give the shape of each tensor for which it is known once the input's is."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    shape = (profile.batch.opt, 3, *profile.opt_hw)
    for dim, size in zip(fixed.graph.input[0].type.tensor_type.shape.dim, shape, strict=True):
        dim.Clear()
        dim.dim_value = size
    del fixed.graph.value_info[:]
    for output in fixed.graph.output:
        output.type.tensor_type.ClearField("shape")
    known = onnx.shape_inference.infer_shapes(fixed, data_prop=True).graph
    shapes = {}
    for info in (*known.value_info, *known.input, *known.output):
        dims = tuple(dim.dim_value for dim in info.type.tensor_type.shape.dim)
        if dims and all(size > 0 for size in dims):
            shapes[info.name] = dims
    return shapes
