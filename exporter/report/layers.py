"""Every layer that computes, with its precision in the graph and in the engine: what "INT8" is made of."""

from dataclasses import dataclass

__all__ = ["LayerRow"]


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
