"""Faults put into a graph on purpose. Each is a function that changes the given copy in place."""

from collections.abc import Callable

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper


def convolutions(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    return [node for node in model.graph.node if node.op_type == "Conv"]


def change_weight(model: onnx.ModelProto, name: str, change: Callable[[NDArray], NDArray]) -> None:
    weight = next(w for w in model.graph.initializer if w.name == name)
    values = numpy_helper.to_array(weight)
    weight.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(change(values.copy())).astype(values.dtype), name))


def flip_largest(layer: int) -> Callable[[onnx.ModelProto], None]:
    """The largest weight of one convolution changes its sign."""

    def flip(values: NDArray) -> NDArray:
        values.flat[np.abs(values).argmax()] *= -1
        return values

    return lambda model: change_weight(model, convolutions(model)[layer].input[1], flip)


def two_ulps(layer: int) -> Callable[[onnx.ModelProto], None]:
    """One element of one convolution's weights moves by two FP16 steps."""

    def nudge(values: NDArray) -> NDArray:
        first = values.flat[0]
        values.flat[0] = np.nextafter(np.nextafter(first, np.inf, dtype=values.dtype), np.inf, dtype=values.dtype)
        return values

    return lambda model: change_weight(model, convolutions(model)[layer].input[1], nudge)


def bias_of_first(model: onnx.ModelProto) -> None:
    change_weight(model, convolutions(model)[0].input[2], lambda b: b + np.eye(1, len(b), 2)[0])


def swap_same_shape_weights(model: onnx.ModelProto) -> None:
    """Two convolutions of the same shape read each other's weights: no number changes."""
    shapes = {w.name: tuple(w.dims) for w in model.graph.initializer}
    convs = [c for c in convolutions(model) if shapes[c.input[1]][1] > 1]
    a, b = next((a, b) for i, a in enumerate(convs) for b in convs[i + 1 :] if shapes[a.input[1]] == shapes[b.input[1]])
    a.input[1], b.input[1] = b.input[1], a.input[1]


def swap_q_and_k(model: onnx.ModelProto) -> None:
    """In the first attention, softmax(k q^T) v."""
    made_by = {name: node for node in model.graph.node for name in node.output}
    softmax = next(n for n in model.graph.node if n.op_type == "Softmax" and made_by[n.input[0]].op_type == "MatMul")
    product = made_by[softmax.input[0]]
    transpose = made_by[product.input[1]]
    assert transpose.op_type == "Transpose"
    product.input[0], transpose.input[0] = transpose.input[0], product.input[0]
    _sort(model)


def rgb_for_bgr(model: onnx.ModelProto) -> None:
    change_weight(model, convolutions(model)[0].input[1], lambda w: w[:, ::-1])


def swap_two_classes(model: onnx.ModelProto) -> None:
    """In every level's last class convolution, so that all scores of the two classes change places."""
    for conv in (c for c in convolutions(model) if "/cv3." in c.name and c.name.count("cv3.") == 2):
        shape = next(tuple(w.dims) for w in model.graph.initializer if w.name == conv.input[1])
        order = [1, 0, *range(2, shape[0])]
        for name in conv.input[1:]:
            change_weight(model, name, lambda w, order=order: w[order])


def on_output(*nodes: tuple[str, list[str]], **constants: NDArray) -> Callable[[onnx.ModelProto], None]:
    """Put nodes behind the output; they read `raw`, and the last one writes the output."""

    def mutate(model: onnx.ModelProto) -> None:
        last = next(n for n in model.graph.node if n.output[0] == "output0")
        last.output[0] = "raw"
        for i, (op_type, inputs) in enumerate(nodes):
            output = "output0" if i == len(nodes) - 1 else f"t{i}"
            model.graph.node.append(helper.make_node(op_type, inputs, [output], name=f"fault{i}"))
        model.graph.initializer.extend(
            numpy_helper.from_array(np.asarray(array, np.float32), name) for name, array in constants.items()
        )

    return mutate


def _sort(model: onnx.ModelProto) -> None:
    """Put the nodes into topological order again."""
    known = {i.name for i in model.graph.input} | {w.name for w in model.graph.initializer} | {""}
    waiting, done = list(model.graph.node), []
    while waiting:
        ready = [n for n in waiting if set(n.input) <= known]
        done += ready
        known |= {name for n in ready for name in n.output}
        waiting = [n for n in waiting if not any(n is r for r in ready)]
    copies = [onnx.NodeProto() for _ in done]
    for copy, node in zip(copies, done, strict=True):
        copy.CopyFrom(node)
    del model.graph.node[:]
    model.graph.node.extend(copies)


# for an output (1, 84, 525): 80 classes at 160x160
PX3 = np.array([3, 0, 0, 0] + [0] * 80).reshape(1, 84, 1)
ON_OUTPUT = {
    "boxes 3 px to the right": on_output(("Add", ["raw", "shift"]), shift=PX3),
    "boxes and scores constant": on_output(("Mul", ["raw", "zero"]), ("Add", ["t0", "same"]), zero=0.0, same=0.5),
    "all scores zero": on_output(("Mul", ["raw", "keep"]), keep=np.array([1] * 4 + [0] * 80).reshape(1, 84, 1)),
    "NaN": on_output(("Sub", ["raw", "half"]), ("Sqrt", ["t0"]), half=0.5),
    "one box of ten 3 px to the right": on_output(("Add", ["raw", "shift"]), shift=PX3 * (np.arange(525) % 10 == 0)),
}
