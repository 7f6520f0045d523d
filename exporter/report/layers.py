"""Every layer that computes, with its precision in the graph and in the engine: what "INT8" is made of."""

from collections.abc import Mapping
from dataclasses import dataclass

import onnx

from exporter.engine.inspect import EngineFacts
from exporter.graph.attention import attentions_of
from exporter.graph.passes import label
from exporter.precision.qdq import QdqReport
from exporter.precision.qdq_plan import CONVOLUTIONS
from exporter.precision.work import multiplications_of
from runtime.manifest import Manifest

__all__ = ["LayerRow", "layer_rows"]

_REMAINDER = {"trt": "fp16", "cpu": "fp32"}


@dataclass(frozen=True)
class LayerRow:
    """One convolution or attention.

    Attributes:
        name: of its node; of its softmax for an attention.
        block: of the network, such as "model.6".
        operator: "Conv", "ConvTranspose" or "Attention".
        work: its share of all multiplications of the rows, 0 to 1.
        graph: the precision it has in the graph: "fp32", "fp16" or "int8".
        engine: the precision it is computed in by the engine, "fused" or "not fused" for an attention; empty where
            there is no engine.
        why: for one that is not in the precision asked for, the reason; else empty.
    """

    name: str
    block: str
    operator: str
    work: float
    graph: str
    engine: str = ""
    why: str = ""


def layer_rows(
    simplified: onnx.ModelProto, manifest: Manifest, quantization: QdqReport | None, facts: EngineFacts | None
) -> tuple[LayerRow, ...]:
    """Give a row for each convolution, and then for each attention.

    Args:
        simplified: the FP32 graph; the typed graph's nodes have the same names.
        manifest: of the artefact.
        quantization: what INT8 did; None in other precisions.
        facts: what the engine proves; None without one.

    Raises:
        GraphError: how much work a layer is cannot be told.
    """
    counts = multiplications_of(simplified, manifest.profile)
    rows = [_convolution(node, manifest, quantization, facts) for node in simplified.graph.node if _computes(node)]
    work = {row.name: counts[row.name] for row in rows}
    for attention in attentions_of(simplified):
        rest = manifest.precision
        if quantization is not None and not quantization.attentions:
            rest = _REMAINDER[quantization.target]
        inside = "" if facts is None else "not fused" if attention.softmax in facts.unfused else "fused"
        rows.append(LayerRow(attention.softmax, _block(attention.softmax), "Attention", 0.0, rest, inside))
        work[attention.softmax] = counts[attention.scores] + counts[attention.product]
    return tuple(_with_share(row, work) for row in rows)


def _computes(node: onnx.NodeProto) -> bool:
    return node.op_type in CONVOLUTIONS


def _convolution(
    node: onnx.NodeProto, manifest: Manifest, quantization: QdqReport | None, facts: EngineFacts | None
) -> LayerRow:
    name = label(node)
    precision, why = manifest.precision, ""
    if quantization is not None and name in quantization.left:
        precision, why = _REMAINDER[quantization.target], quantization.left[name]
    inside = "" if facts is None else facts.convolutions.get(name, "unknown")
    return LayerRow(name, _block(name), node.op_type, 0.0, precision, inside, why)


def _block(name: str) -> str:
    return name.strip("/").split("/")[0]


def _with_share(row: LayerRow, work: Mapping[str, int]) -> LayerRow:
    share = work[row.name] / sum(work.values())
    return LayerRow(row.name, row.block, row.operator, share, row.graph, row.engine, row.why)
