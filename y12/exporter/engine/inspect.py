"""What an engine is, proved from its layers: fused attentions, precision of every convolution, kernels."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import onnx

from y12.exporter.engine.layers import Layer
from y12.exporter.graph.attention import Attention, attentions_of
from y12.exporter.graph.passes import JOINT

__all__ = ["EngineFacts", "facts_of"]


@dataclass(frozen=True)
class EngineFacts:
    """What the final layers of an engine verify.

    Attributes:
        kernels: launches per inference.
        moving_kernels: those that only move data.
        layers_by_precision: kernels by the precision they compute in.
        convolutions: of the ONNX graph, name → the precision their weights have in the engine.
        convolutions_by_precision: how many of each.
        fp32_convolutions: names of those computed in FP32.
        attentions_expected: attentions of the ONNX graph that reach an output.
        attentions_fused: those of them that became one kernel each.
        unfused: the softmax node of each that did not.
        bytes_moved: what all kernels read and write in an inference, but for weights; 0 where no layer is known.
    """

    kernels: int
    moving_kernels: int
    layers_by_precision: Mapping[str, int]
    convolutions: Mapping[str, str]
    convolutions_by_precision: Mapping[str, int]
    fp32_convolutions: tuple[str, ...]
    attentions_expected: int
    attentions_fused: int
    unfused: tuple[str, ...]
    bytes_moved: int = 0


def facts_of(layers: Iterable[Layer], model: onnx.ModelProto) -> EngineFacts:
    """Return what an engine is.

    Args:
        layers: its final layers.
        model: the typed ONNX graph it was built from; node names tie the two together.
    """
    layers = tuple(layers)
    attentions = attentions_of(model)
    unfused = _unfused(attentions, layers)
    convolutions = _convolution_precisions(model, layers)
    return EngineFacts(
        kernels=len(layers),
        moving_kernels=sum(layer.moves_data_only for layer in layers),
        layers_by_precision=dict(Counter(layer.precision for layer in layers)),
        convolutions=convolutions,
        convolutions_by_precision=dict(Counter(convolutions.values())),
        fp32_convolutions=tuple(name for name, precision in convolutions.items() if precision == "fp32"),
        attentions_expected=len(attentions),
        attentions_fused=len(attentions) - len(unfused),
        unfused=unfused,
        bytes_moved=sum(layer.bytes_moved for layer in layers),
    )


def _unfused(attentions: tuple[Attention, ...], layers: tuple[Layer, ...]) -> tuple[str, ...]:
    """Return the attentions that are not one layer of their own.

    An attention is fused where one layer computes both of its products and the softmax; a layer counts once.
    """
    free = list(layers)
    unfused = []
    for attention in attentions:
        nodes = {attention.scores, attention.softmax, attention.product}
        layer = next((layer for layer in free if nodes <= set(layer.origins)), None)
        if layer is None:
            unfused.append(attention.softmax)
        else:
            free.remove(layer)
    return tuple(unfused)


def _convolution_precisions(model: onnx.ModelProto, layers: tuple[Layer, ...]) -> dict[str, str]:
    """Return the precision in which the engine computes each convolution of the graph.

    Of the layers that name a convolution as their origin it is the one that holds constants of its weights' size;
    others cast, pad or reshape for it. One that was made of several stands for each. What cannot be told is "unknown".
    """
    sizes = {w.name: _size(w) for w in model.graph.initializer}
    # A quantised weight is read through the node that dequantises it.
    stored = {n.output[0]: n.input[0] for n in model.graph.node if n.op_type == "DequantizeLinear"}
    by_origin: dict[str, list[Layer]] = {}
    for layer in layers:
        for origin in set(layer.origins):
            by_origin.setdefault(origin, []).append(layer)
    precisions: dict[str, str] = {}
    for node in model.graph.node:
        if node.op_type in ("Conv", "ConvTranspose"):
            weights = sizes.get(stored.get(node.input[1], node.input[1]), 1)
            precision = _precision_of(by_origin.get(node.name, []), weights)
            precisions |= dict.fromkeys(node.name.split(JOINT), precision)
    return precisions


def _precision_of(layers: list[Layer], weights: int) -> str:
    """Return the precision of a convolution of so many weights, of the layers that name it as their origin.

    Where a log lists no constants, the inputs tell it if they are all of one precision: one that is wider may be added
    after the convolution.
    """
    if all(layer.lists_constants for layer in layers):
        computing = [layer for layer in layers if any(c.elements >= weights for c in layer.constants)]
        chosen = computing or layers
        return chosen[0].precision if chosen else "unknown"
    found = {tensor.precision for layer in layers if not layer.moves_data_only for tensor in layer.inputs}
    return found.pop() if len(found) == 1 else "unknown"


def _size(tensor: onnx.TensorProto) -> int:
    product = 1
    for size in tensor.dims:
        product *= size
    return product
