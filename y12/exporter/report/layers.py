"""Every layer that computes, with its precision in the graph and in the engine: what "INT8" is made of."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import fsum

import onnx

from y12.exporter.engine.inspect import EngineFacts
from y12.exporter.graph.attention import attentions_of
from y12.exporter.graph.passes import label
from y12.exporter.precision.macs import layer_macs, mac_shares
from y12.exporter.precision.qdq.plan import CONVOLUTIONS
from y12.exporter.precision.qdq.qdq import QdqReport
from y12.runtime.artefact.manifest import InputProfile

__all__ = ["LayerRow", "in_order", "layer_rows", "macs_by_precision", "precision_of"]

_KNOWN = ("int8", "fp16", "fp32")  # in the order of every table and bar
_REMAINDER = {"trt": "fp16", "cpu": "fp32"}
_NO_INT8_ATTENTION = {"trt": "in INT8 with --int8-attention only", "cpu": "there is no INT8 attention for ONNX Runtime"}


@dataclass(frozen=True)
class LayerRow:
    """One convolution or attention.

    Attributes:
        name: of its node; of its softmax for an attention.
        block: of the network, such as "model.6".
        operator: "Conv", "ConvTranspose" or "Attention".
        macs: its share of the MACs of all rows, 0 to 1.
        graph: the precision it has in the graph: "fp32", "fp16" or "int8".
        engine: the precision it is computed in by the engine, "fused" or "not fused" for an attention; empty where
            there is no engine.
        why: for one that is not in the precision asked for, the reason; else empty.
    """

    name: str
    block: str
    operator: str
    macs: float
    graph: str
    engine: str = ""
    why: str = ""


def layer_rows(
    simplified: onnx.ModelProto,
    profile: InputProfile,
    precision: str,
    quantization: QdqReport | None,
    facts: EngineFacts | None,
) -> tuple[LayerRow, ...]:
    """Return a row for each convolution, and then for each attention.

    Args:
        simplified: the FP32 graph; the typed graph's nodes have the same names.
        profile: the input shapes.
        precision: of the artefact.
        quantization: what INT8 did; None in other precisions.
        facts: what the engine proves; None without one.

    Raises:
        GraphError: the MACs of a layer cannot be counted.
    """
    macs = layer_macs(simplified, profile)
    rows = [_convolution(node, precision, quantization, facts) for node in simplified.graph.node if _computes(node)]
    rows += [_attention(one.softmax, precision, quantization, facts) for one in attentions_of(simplified)]
    shares = mac_shares(macs, macs)
    return tuple(replace(row, macs=shares[row.name]) for row in rows)


def precision_of(row: LayerRow) -> str:
    """Return the precision a layer is computed in; of an attention the engine tells only whether it is fused."""
    return row.graph if row.operator == "Attention" else row.engine or row.graph


def macs_by_precision(rows: Iterable[LayerRow]) -> dict[str, float]:
    """Return the share of the MACs by precision, the lowest precision first."""
    parts: dict[str, list[float]] = {}
    for row in rows:
        parts.setdefault(precision_of(row), []).append(row.macs)
    return {precision: fsum(parts[precision]) for precision in in_order(parts)}


def in_order(precisions: Iterable[str]) -> list[str]:
    """Return names of precisions, the lowest first, and then what is none."""
    return sorted(precisions, key=lambda p: (_KNOWN.index(p) if p in _KNOWN else len(_KNOWN), p))


def _computes(node: onnx.NodeProto) -> bool:
    return node.op_type in CONVOLUTIONS


def _convolution(
    node: onnx.NodeProto, precision: str, quantization: QdqReport | None, facts: EngineFacts | None
) -> LayerRow:
    name = label(node)
    why = ""
    if quantization is not None and name in quantization.left:
        precision, why = _REMAINDER[quantization.target], quantization.left[name]
    inside = "" if facts is None else facts.convolutions.get(name, "unknown")
    return LayerRow(name, _block(name), node.op_type, 0.0, precision, inside, why)


def _attention(name: str, precision: str, quantization: QdqReport | None, facts: EngineFacts | None) -> LayerRow:
    why = ""
    if quantization is not None and not quantization.attentions:
        precision, why = _REMAINDER[quantization.target], _NO_INT8_ATTENTION[quantization.target]
    inside = "" if facts is None else "not fused" if name in facts.unfused else "fused"
    return LayerRow(name, _block(name), "Attention", 0.0, precision, inside, why)


def _block(name: str) -> str:
    return name.strip("/").split("/")[0]
