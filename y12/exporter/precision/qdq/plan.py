"""Which convolutions are quantised, which are left and why, and the tensors that get a scale for it."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod

import onnx

from y12.errors import GraphError, OptionsError
from y12.exporter.graph.index import GraphIndex
from y12.exporter.graph.passes import label
from y12.exporter.precision.qdq.channels import ChannelSources
from y12.exporter.precision.qdq.int8_attention import attention_tensors
from y12.exporter.precision.quantization_options import LEAST_OPSET, TARGETS, QuantizeOptions
from y12.exporter.precision.ranges import Range, Ranges

__all__ = [
    "CONVOLUTIONS",
    "TARGETS",
    "Plan",
    "QdqReport",
    "QuantizeOptions",
    "is_last",
    "plan_of",
    "range_of",
]

CONVOLUTIONS = ("Conv", "ConvTranspose")
_QUANTIZED = {"ConvInteger", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QuantizeLinear"}
# ONNX Runtime's integer convolution with a floating-point output is several times slower than its FP32 one: up to this
# share of all convolutions stay FP32 instead.
_FLOAT_SHARE = 0.05
_LAST, _KEPT = "last before the decode", "kept by name"
_IMAGE = "reads the image, whose three channels an integer kernel takes longer for than an FP32 one"
_DEPTHWISE = "depthwise, whose input TensorRT-RTX makes four times larger for an INT8 kernel"
IMAGES_RANGE = Range(0.0, 1.0)  # of the network's input, by contract


@dataclass(frozen=True)
class QdqReport:
    """What quantisation did.

    Attributes:
        target: of the options.
        quantized: convolutions that compute in integers.
        convolutions: of the graph, all of them.
        pairs: Q/DQ pairs on activations, one for each quantised tensor.
        left: names of the convolutions that were left → why.
        half_nodes, float_nodes: of the remainder, by the precision they compute in.
        casts: between the two.
        attentions: that compute in integers.
    """

    target: str
    quantized: int
    convolutions: int
    pairs: int
    left: Mapping[str, str]
    half_nodes: int = 0
    float_nodes: int = 0
    casts: int = 0
    attentions: int = 0


@dataclass(frozen=True)
class Plan:
    """What to do with the convolutions of a graph.

    Attributes:
        index: of the graph.
        quantized: nodes that are to compute in integers.
        left: names of the others → why.
        exact: those of `quantized` whose outputs are not to be quantised; "cpu" only, "trt" quantises none.
        attention: the tensors of attentions that are quantised → the products that read them; "trt" only.
    """

    index: GraphIndex
    quantized: tuple[int, ...]
    left: Mapping[str, str]
    exact: frozenset[int] = frozenset()
    attention: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The tensors that quantised convolutions read, in the order they are made, each once."""
        return tuple(dict.fromkeys(self.index.graph.node[i].input[0] for i in self.quantized))


def plan_of(model: onnx.ModelProto, options: QuantizeOptions) -> Plan:
    """Return which convolutions to quantise, and why the others are not.

    Raises:
        GraphError: the graph is quantised already, or too old for it.
        OptionsError: a convolution to keep is not in the graph, or INT8 attention is not possible in it.
    """
    index = GraphIndex(model.graph)
    _check_graph(model, options)
    convolutions = {i: node for i, node in enumerate(model.graph.node) if node.op_type in CONVOLUTIONS}
    _check_names(options.keep, [label(node) for node in convolutions.values()])
    left = {}
    quantized = []
    for i, node in convolutions.items():
        reason = _reason_to_leave(index, i, options)
        if reason:
            left[label(node)] = reason
        else:
            quantized.append(i)
    if options.target == "trt":
        attention = attention_tensors(model) if options.attention else {}
        return Plan(index, tuple(quantized), left, attention=attention)
    forced = sum(reason != _KEPT for reason in left.values())  # what a budget keeps is not part of the allowance
    ends = _ends(model, index, quantized)
    images = {i: _IMAGE for i in quantized if _reads_image(index, i)}
    reasons = dict.fromkeys(ends[:1], _LAST) | images | dict.fromkeys(ends[1:], _LAST)  # those that gain most first
    spared = list(reasons)[: max(0, int(_FLOAT_SHARE * len(convolutions)) - forced)]
    left |= {label(model.graph.node[i]): reasons[i] for i in spared}
    return Plan(index, tuple(i for i in quantized if i not in spared), left, frozenset(ends) - set(spared))


def _ends(model: onnx.ModelProto, index: GraphIndex, quantized: list[int]) -> list[int]:
    """Return the convolutions whose outputs bear no 256 levels, the one of most MACs first.

    It is class scores and coordinates, which the decode reads directly; a distribution over distances bears them,
    since its mean is taken.
    """
    last = [i for i in quantized if is_last(index, i)]
    if not last:
        return []
    channels, nodes = ChannelSources(model, index), model.graph.node
    conv_outputs = {name for node in nodes if node.op_type in CONVOLUTIONS for name in node.output}
    bins = {
        name
        for node in nodes
        if node.op_type == "Softmax"
        for name in channels.nearest(node.input[0], conv_outputs.__contains__)
    }

    def macs(i: int) -> int:
        """Count the MACs; 0 where a size is free."""
        weights = index.constant(nodes[i].input[1])
        return prod(channels.shape(nodes[i].output[0])) * prod(weights.shape[1:] if weights is not None else ())

    return sorted((i for i in last if nodes[i].output[0] not in bins), key=macs, reverse=True)


def _check_graph(model: onnx.ModelProto, options: QuantizeOptions) -> None:
    qdq = next((node for node in model.graph.node if node.op_type in _QUANTIZED), None)
    if qdq is not None:
        raise GraphError(
            f"the graph is quantised already ({qdq.op_type} {label(qdq)}); expected the FP32 graph, or export "
            "the checkpoint"
        )
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
    if opset < LEAST_OPSET[options.target]:
        raise GraphError(
            f"INT8 for {options.target} needs opset {LEAST_OPSET[options.target]} or newer, found {opset}; "
            "export with --opset 20"
        )


def _check_names(keep: frozenset[str], known: list[str]) -> None:
    for name in sorted(keep):
        if name not in known:
            nearest = difflib.get_close_matches(name, known, n=1)
            advice = f"; did you mean '{nearest[0]}'?" if nearest else ""
            raise OptionsError(f"to keep in floating point: there is no convolution '{name}'{advice}")


def _reason_to_leave(index: GraphIndex, i: int, options: QuantizeOptions) -> str:
    """Return why a convolution cannot or must not be quantised; empty where it can."""
    node = index.graph.node[i]
    if label(node) in options.keep:
        return _KEPT
    if index.constant(node.input[1]) is None:
        return "its weights are computed"
    if len(node.input) > 2 and node.input[2] and index.constant(node.input[2]) is None:
        return "its bias is computed"
    if index.constant(node.input[0]) is not None:
        return "its input is constant"
    if node.op_type == "ConvTranspose":
        return "there is no integer kernel for transposed convolutions"
    if options.target == "trt":
        if is_last(index, i):
            return _LAST
        if not options.depthwise and _is_depthwise(index, node):
            return _DEPTHWISE
        fine = options.image or not _reads_image(index, i)
        return "" if fine else "reads the image, of whose 256 levels int8 has 128"
    return ""


def is_last(index: GraphIndex, i: int) -> bool:
    """Return whether no convolution can be reached from a node: its output goes to the decode, or is one."""
    waiting, seen = [i], {i}
    while waiting:
        for name in index.graph.node[waiting.pop()].output:
            for j in index.consumers[name]:
                if index.graph.node[j].op_type in CONVOLUTIONS:
                    return False
                if j not in seen:
                    seen.add(j)
                    waiting.append(j)
    return True


def _is_depthwise(index: GraphIndex, node: onnx.NodeProto) -> bool:
    """Return whether each channel has a kernel of its own: weights (C, 1, kH, kW) in C groups."""
    weights = index.constant(node.input[1])
    groups = next((a.i for a in node.attribute if a.name == "group"), 1)
    return weights is not None and groups == weights.shape[0] > 1


def _reads_image(index: GraphIndex, i: int) -> bool:
    return index.graph.node[i].input[0] in {tensor.name for tensor in index.graph.input}


def range_of(ranges: Ranges, tensor: str, index: GraphIndex) -> Range:
    """Return a tensor's range.

    Raises:
        GraphError: it was not calibrated.
    """
    if tensor in ranges.by_tensor:
        return ranges.by_tensor[tensor]
    if tensor in {i.name for i in index.graph.input}:
        return IMAGES_RANGE
    raise GraphError(f"no range was calibrated for '{tensor}'; calibrate what tensors_to_calibrate names")
