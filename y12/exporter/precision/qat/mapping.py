"""Which modules of a detector the exporter quantises, and which tensor each of them reads in the exported graph.

Nothing is decided here: the graph is traced and simplified as an export does it, the exporter's plan says which
convolutions are quantised, and each of them is traced back to its module by the name of its weight, which is the path
of a parameter of the traced copy. That it is this one is checked by comparing the numbers.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from y12.errors import GraphError
from y12.exporter.graph.passes import label
from y12.exporter.graph.simplify import simplify
from y12.exporter.model.blocks.attention import MapAttention
from y12.exporter.model.blocks.conv import Conv
from y12.exporter.model.detector import Detector
from y12.exporter.precision.qdq.plan import Plan, plan_of
from y12.exporter.precision.quantization_options import QuantizeOptions
from y12.exporter.trace.deploy import deploy_from_detector
from y12.exporter.trace.to_onnx import TraceOptions, onnx_from_deploy
from y12.runtime.artefact.manifest import AxisRange, InputProfile

__all__ = ["QuantizedConv", "quantized_convs", "simplified_graph"]

# split_convs cuts a weight along its outputs and says where; align_channels fills up with zeros.
_WEIGHT = re.compile(r"(?P<path>.+)\.weight(_(?P<start>\d+)_(?P<end>\d+))?(_padded[01])*")


@dataclass(frozen=True)
class QuantizedConv:
    """A `Conv` that the exporter quantises.

    Attributes:
        path: of the module in the detector.
        tensor: that it reads, by its name in the simplified graph.
        rows: (O,), what the export multiplies its rows with; None for 1.
    """

    path: str
    tensor: str
    rows: Tensor | None = None


def simplified_graph(detector: Detector, input_hw: tuple[int, int]) -> onnx.ModelProto:
    """Trace and simplify a detector as an export does, for one image of this height and width in pixels."""
    height, width = (AxisRange(side, side, side) for side in input_hw)
    profile = InputProfile(AxisRange(1, 1, 1), height, width)
    return simplify(onnx_from_deploy(deploy_from_detector(detector), TraceOptions(profile)), profile)[0]


def quantized_convs(detector: Detector, graph: onnx.ModelProto, options: QuantizeOptions) -> tuple[QuantizedConv, ...]:
    """Return the modules that the exporter quantises, in the graph's order.

    Args:
        detector: of plain modules.
        graph: `simplified_graph` of it.
        options: what to quantise.

    Raises:
        GraphError: a quantised convolution of the graph is not one of the detector's, or only in part.
        OptionsError: a convolution to keep is not in the graph.
    """
    plan = plan_of(graph, options)
    weights = dict(deploy_from_detector(detector).named_parameters())
    modules = dict(_modules(detector))
    tensors: dict[str, str] = {}
    spans_by_path: dict[str, list[tuple[int, int]]] = {}
    for i in plan.quantized:
        node = graph.graph.node[i]
        path, span = _traced_back(plan, node, weights)
        if path not in modules:
            raise _refused(node, f"'{path}' is none of the network's Convs")
        if tensors.setdefault(path, node.input[0]) != node.input[0]:
            raise _refused(node, f"its parts read '{tensors[path]}' and '{node.input[0]}'")
        spans_by_path.setdefault(path, []).append(span)
    for path, spans in spans_by_path.items():
        rows = len(weights[f"{path}.weight"])
        if [end for _, end in sorted(spans)] != [start for start, _ in sorted(spans)[1:]] + [rows] or min(spans)[0]:
            raise GraphError(f"to be trained in INT8: of '{path}' the rows {sorted(spans)} of {rows} are quantised")
    return tuple(QuantizedConv(own, tensors[path], rows) for path in spans_by_path for own, rows in modules[path])


def _traced_back(plan: Plan, node: onnx.NodeProto, weights: dict[str, nn.Parameter]) -> tuple[str, tuple[int, int]]:
    """Return the path of a convolution's module in the traced copy, and which of its rows (start, end) it has."""
    match = _WEIGHT.fullmatch(node.input[1])
    own = weights.get(f"{match['path']}.weight") if match else None
    if match is None or own is None:
        raise _refused(node, f"its weight '{node.input[1]}' is no parameter")
    start, end = (int(match["start"]), int(match["end"])) if match["start"] else (0, len(own))
    stored = np.asarray(plan.index.constant(node.input[1]))
    expected = own.detach().numpy()[start:end]
    padding = [(0, stored_size - size) for stored_size, size in zip(stored.shape, expected.shape, strict=True)]
    if min(p for _, p in padding) < 0 or not np.array_equal(np.pad(expected, padding), stored):
        raise _refused(node, f"its weight is not that of '{match['path']}'")
    return match["path"], (start, end)


def _modules(detector: Detector) -> Iterator[tuple[str, list[tuple[str, Tensor | None]]]]:
    """Yield each path in the traced copy, and which `Conv`s, by their paths, it was made of, with factors of rows."""
    paths = {module: path for path, module in detector.named_modules() if isinstance(module, Conv)}
    for path, module in detector.named_modules():
        if isinstance(module, MapAttention):
            yield f"{path}.qkv", [(paths.pop(conv), rows) for conv, rows in _projections(module)]
    for module, path in paths.items():
        yield (path if isinstance(module.act, nn.Identity) else f"{path}.0"), [(path, None)]


def _projections(attention: MapAttention) -> Iterator[tuple[Conv, Tensor]]:
    """Yield the convolutions of q, k and v with factors (O,): the softmax scale is in the rows of q."""
    convs, (q, *_) = attention.qkv_weights()
    sizes = [conv.conv.out_channels for conv in convs]
    factors = torch.ones(sum(sizes))
    factors[q] = attention.key_dim**-0.5
    yield from zip(convs, factors.split(sizes), strict=True)


def _refused(node: onnx.NodeProto, problem: str) -> GraphError:
    return GraphError(f"to be trained in INT8: the convolution '{label(node)}' is no module's: {problem}")
