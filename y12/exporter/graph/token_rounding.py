"""The rounding of activations in front of Bit convolutions: found by its topology and its constants, and cut out.

    d = max(max|x| / 127, 2^-14),  x^ = d round(x / d)        becomes   x^ = x

Two right implementations of a rounding differ by whole steps wherever a value lies on the border between two, and
behind some layers everywhere a little. What is around it can be compared as exactly as in any network without it.
"""

import numpy as np
import onnx

from y12.exporter.graph.index import GraphIndex

__all__ = ["token_roundings", "without_token_rounding"]

# Of y12.exporter.model.blocks.bit, which reads torch.
_LEVELS, _LEAST_STEP = 127, 2.0**-14
_AXES = (1, -1)  # of a map's channels, of a row's values


def token_roundings(model: onnx.ModelProto) -> dict[str, str]:
    """Return the tensors that are tokens rounded to 8 bits, each with what is rounded."""
    index = GraphIndex(model.graph)
    sources = {node.output[0]: _rounded(index, node) for node in model.graph.node if node.op_type == "Mul"}
    return {rounded: source for rounded, source in sources.items() if source}


def without_token_rounding(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of a graph in which what read a rounded tensor reads what was rounded."""
    sources = token_roundings(model)
    cut = onnx.ModelProto()
    cut.CopyFrom(model)
    nodes = [node for node in cut.graph.node if node.output[0] not in sources]
    for node in nodes:
        node.input[:] = [sources.get(name, name) for name in node.input]
    del cut.graph.node[:]
    cut.graph.node.extend(nodes)
    return cut


def _rounded(index: GraphIndex, product: onnx.NodeProto) -> str:
    """Return what is rounded where a Mul ends a rounding of tokens; empty where it does not."""
    for quotient, step in (tuple(product.input), tuple(product.input)[::-1]):
        rounding = index.maker(quotient, "Round")
        division = None if rounding is None else index.maker(rounding.input[0], "Div")
        if division is not None and division.input[1] == step and _is_step(index, step, division.input[0]):
            return str(division.input[0])
    return ""


def _is_step(index: GraphIndex, step: str, source: str) -> bool:
    """Return whether a tensor holds the steps of another's tokens."""
    clip = index.maker(step, "Clip")
    if clip is None or not _is_number(index, clip.input[1], _LEAST_STEP) or any(clip.input[2:]):
        return False
    share = index.maker(clip.input[0], "Div")
    if share is None or not _is_number(index, share.input[1], _LEVELS):
        return False
    largest = index.maker(share.input[0], "ReduceMax")
    sizes = None if largest is None else index.maker(largest.input[0], "Abs")
    return largest is not None and sizes is not None and _axes(index, largest) in _AXES and sizes.input[0] == source


def _is_number(index: GraphIndex, tensor: str, number: float) -> bool:
    value = index.constant(tensor)
    return value is not None and value.size == 1 and float(np.asarray(value, np.float64).item()) == number


def _axes(index: GraphIndex, node: onnx.NodeProto) -> int | None:
    """Return the one axis that a reduction is over: an input since opset 18, an attribute before; None of several."""
    axes_input = index.constant(node.input[1]) if len(node.input) > 1 else None
    axes = (
        [a.ints for a in node.attribute if a.name == "axes"]
        if axes_input is None
        else [np.asarray(axes_input).reshape(-1)]
    )
    return int(axes[0][0]) if axes and len(axes[0]) == 1 else None
