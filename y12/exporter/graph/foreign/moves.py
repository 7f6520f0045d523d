"""What operators that only move elements do, seen by moving the elements' numbers.

    y = move(x)   →   y[...] = x.flat[n[...]],   with n = move(0, 1, 2, …)

However an exporter writes it, with whatever chain of reshapes, transpositions and slices: where each element of a
tensor comes from is a fact, and two chains do the same where their numbers are the same.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from y12.errors import Y12Error
from y12.exporter.graph.index import GraphIndex
from y12.runtime.backends.onnx_runtime import OrtExecutor

__all__ = ["MOVES", "Trial", "moved", "trials_of"]

Numbers = NDArray[np.int64]
Parameters = list[Numbers | None]  # a node's inputs behind the first
Attributes = dict[str, Any]  # as ONNX has them, by name

# (B, H, W) at which the free axes of a graph are looked at: sides that differ, multiples of every stride in use.
_TRIALS = ((2, 256, 320), (1, 320, 256))


class Trial:
    """The values that a graph's shape arithmetic has at one input shape.

    Attributes:
        values: of tensors that are not constant, by name.
        shapes: of the tensors that were asked for, by name.
    """

    def __init__(self, index: GraphIndex, values: Mapping[str, Numbers], shapes: Mapping[str, tuple[int, ...]]) -> None:
        self._index, self.values, self.shapes = index, values, shapes

    def value(self, name: str) -> Numbers | None:
        """Return what a tensor of whole numbers holds; None where that is not known."""
        if name in self.values:
            return self.values[name]
        constant = self._index.constant(name)
        return None if constant is None else np.asarray(constant).astype(np.int64)


def moved(node: onnx.NodeProto, numbers: Numbers, trial: Trial) -> list[Numbers] | None:
    """Return what a node that only moves elements makes of its first input; None where it is no such node."""
    move = MOVES.get(node.op_type)
    if move is None:
        return None
    parameters = [trial.value(name) if name else None for name in node.input[1:]]
    if any(name and value is None for name, value in zip(node.input[1:], parameters, strict=True)):
        return None
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    try:
        outputs = move(numbers, parameters, attributes, len(node.output))
    except (IndexError, TypeError, ValueError):  # not what its shape allows
        return None
    return outputs if len(outputs) == len(node.output) else None


def trials_of(index: GraphIndex, model: onnx.ModelProto, tensors: Iterable[str]) -> list[Trial]:
    """Return a trial for each input shape that a graph is looked at: its own, or where axes are free, two.

    Args:
        index: of the graph.
        model: the graph.
        tensors: whose shapes are to be known.

    Raises:
        Y12Error: the graph cannot be run.
    """
    tensors = list(dict.fromkeys(tensors))
    unknown = [
        name
        for node in model.graph.node
        if node.op_type in MOVES
        for name in node.input[1:]
        if name and index.constant(name) is None
    ]
    dims = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    known = _inferred_shapes(model, tensors)
    if all(dims) and not unknown and len(known) == len(tensors):
        return [Trial(index, {}, known)]
    executor = _shown(model, tensors, list(dict.fromkeys(unknown)))
    try:
        return [_measured(index, executor, shape, tensors) for shape in _trial_shapes(dims)]
    finally:
        executor.close()


def _trial_shapes(dims: list[int]) -> list[tuple[int, ...]]:
    """Return the input shapes to look at."""
    if len(dims) != 4:
        raise Y12Error(f"expected an input (B, 3, H, W), found {len(dims)} axes")
    shapes = [tuple(size or free for size, free in zip(dims, (b, 3, h, w), strict=True)) for b, h, w in _TRIALS]
    return list(dict.fromkeys(shapes))


def _inferred_shapes(model: onnx.ModelProto, tensors: list[str]) -> dict[str, tuple[int, ...]]:
    """Return those shapes that ONNX infers without running anything."""
    wanted = set(tensors)
    shapes = {}
    for info in onnx.shape_inference.infer_shapes(model).graph.value_info:
        dims = [dim.dim_value for dim in info.type.tensor_type.shape.dim]
        if info.name in wanted and dims and all(dims):
            shapes[info.name] = tuple(dims)
    return shapes


def _shown(model: onnx.ModelProto, tensors: list[str], values: list[str]) -> OrtExecutor:
    """Open a graph with these tensors' shapes, and these tensors, as its outputs."""
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    del shown.graph.output[:]
    for name in tensors:
        shown.graph.node.append(helper.make_node("Shape", [name], [f"{name}{_SHAPE}"]))
    names = [f"{name}{_SHAPE}" for name in tensors] + values
    shown.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.INT64, None) for name in names)
    return OrtExecutor(shown.SerializeToString(), provider="cpu")


_SHAPE = "/y12_shape"


def _measured(index: GraphIndex, executor: OrtExecutor, shape: tuple[int, ...], tensors: list[str]) -> Trial:
    outputs = executor.run(np.zeros(shape, np.float32))
    values = {name: np.rint(array).astype(np.int64) for name, array in outputs.items()}
    shapes = {name: tuple(int(size) for size in values.pop(f"{name}{_SHAPE}")) for name in tensors}
    return Trial(index, values, shapes)


def _reshape(x: Numbers, given: Parameters, attributes: Attributes, _outputs: int) -> list[Numbers]:
    assert given[0] is not None
    sizes = [int(size) for size in given[0].reshape(-1)]
    if not attributes.get("allowzero"):
        sizes = [x.shape[i] if size == 0 else size for i, size in enumerate(sizes)]
    return [x.reshape(sizes)]


def _transpose(x: Numbers, _given: Parameters, attributes: Attributes, _outputs: int) -> list[Numbers]:
    return [x.transpose(attributes.get("perm"))]


def _split(x: Numbers, given: Parameters, attributes: Attributes, outputs: int) -> list[Numbers]:
    axis = int(attributes.get("axis", 0))
    if given and given[0] is not None:
        return list(np.split(x, np.cumsum(given[0])[:-1], axis))
    size = -(-x.shape[axis] // outputs)
    return list(np.split(x, [size * (i + 1) for i in range(outputs - 1)], axis))


def _slice(x: Numbers, given: Parameters, _attributes: Attributes, _outputs: int) -> list[Numbers]:
    starts, ends = given[0], given[1]
    assert starts is not None
    assert ends is not None
    axes = given[2] if len(given) > 2 and given[2] is not None else np.arange(len(starts))
    steps = given[3] if len(given) > 3 and given[3] is not None else np.ones_like(starts)
    cut = [slice(None)] * x.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        if step < 1:
            raise ValueError("a slice that runs backwards")
        cut[int(axis)] = slice(int(start), int(end), int(step))
    return [x[tuple(cut)]]


def _squeeze(x: Numbers, given: Parameters, _attributes: Attributes, _outputs: int) -> list[Numbers]:
    axes = None if not given or given[0] is None else tuple(int(axis) for axis in given[0].reshape(-1))
    return [np.squeeze(x, axes)]


def _unsqueeze(x: Numbers, given: Parameters, _attributes: Attributes, _outputs: int) -> list[Numbers]:
    assert given[0] is not None
    return [np.expand_dims(x, tuple(int(axis) for axis in given[0].reshape(-1)))]


def _gather(x: Numbers, given: Parameters, attributes: Attributes, _outputs: int) -> list[Numbers]:
    assert given[0] is not None
    return [np.take(x, given[0], int(attributes.get("axis", 0)))]


def _flatten(x: Numbers, _given: Parameters, attributes: Attributes, _outputs: int) -> list[Numbers]:
    axis = int(attributes.get("axis", 1)) % (x.ndim + 1)
    return [x.reshape(int(np.prod(x.shape[:axis])), -1)]


def _identity(x: Numbers, _given: Parameters, _attributes: Attributes, _outputs: int) -> list[Numbers]:
    return [x]


MOVES: dict[str, Callable[[Numbers, Parameters, Attributes, int], list[Numbers]]] = {
    "Flatten": _flatten,
    "Gather": _gather,
    "Identity": _identity,
    "Reshape": _reshape,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
