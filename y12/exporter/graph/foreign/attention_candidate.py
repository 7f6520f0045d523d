"""Find what looks like an attention by its operators alone: two matrix products around a softmax, convolutions behind.

    p = softmax(s (q k^T)),  y = p v   or   y = v^T p^T

q, k and v are followed back through nodes that move elements and products with one number, by whatever names.
"""

from dataclasses import dataclass

import numpy as np
import onnx

from y12.exporter.graph.foreign.moves import MOVES
from y12.exporter.graph.index import GraphIndex
from y12.exporter.graph.passes import label

__all__ = ["Candidate", "NoMatchError", "Operand", "candidate_at", "scaling_of"]


class NoMatchError(Exception):
    """What looked like an attention is none that can be rewritten; says why."""


@dataclass(frozen=True)
class Operand:
    """q, k or v, as a matrix product reads it.

    Attributes:
        conv: the node that makes it.
        chain: the nodes that move its elements after that, in order, each with which of its outputs is meant.
        scale: what all of them are multiplied by on the way.
        is_flipped: it is read as (…, d, L), not (…, L, d).
    """

    conv: int
    chain: tuple[tuple[int, int], ...]
    scale: float
    is_flipped: bool


@dataclass(frozen=True)
class Candidate:
    """An attention by its operators alone: two matrix products around a softmax, convolutions behind them.

    Attributes:
        softmax, scores, product: the nodes; `scores` is the product of q and k, `product` that with v.
        q, k, v: the operands.
        scale: of the scores.
        is_flipped: the product gives (…, d, L), not (…, L, d).
    """

    softmax: int
    scores: int
    product: int
    q: Operand
    k: Operand
    v: Operand
    scale: float
    is_flipped: bool

    @property
    def convs(self) -> tuple[int, int, int]:
        """The convolutions that make q, k and v."""
        return self.q.conv, self.k.conv, self.v.conv

    @property
    def is_in_deploy_form(self) -> bool:
        """Whether one convolution and one transposition make q, k and v, and no scale is left to fold."""
        starts = {operand.chain[:2] for operand in (self.q, self.k, self.v)}
        return (
            len(set(self.convs)) == 1
            and len(starts) == 1
            and len(next(iter(starts))) == 2
            and not self.is_flipped
            and self.scale * self.q.scale * self.k.scale == 1
        )


def candidate_at(index: GraphIndex, softmax: int) -> Candidate | None:
    """Return the attention around a Softmax; None where there is none.

    Raises:
        NoMatchError: its products are there, and something else is not as it should be.
    """
    nodes = index.graph.node
    scores, scale = _unscaled(index, nodes[softmax].input[0])
    readers = index.consumers[nodes[softmax].output[0]]
    reader = readers[0] if len(readers) == 1 else -1
    probabilities, flipped = nodes[softmax].output[0], False
    if reader >= 0 and _swaps_last_axes(nodes[reader]):
        probabilities, flipped = nodes[reader].output[0], True
        readers = index.consumers[probabilities]
        reader = readers[0] if len(readers) == 1 else -1
    if scores is None or nodes[scores].op_type != "MatMul" or reader < 0 or nodes[reader].op_type != "MatMul":
        return None
    axis = next((a.i for a in nodes[softmax].attribute if a.name == "axis"), -1)
    if axis not in (-1, 3):
        raise NoMatchError(f"its softmax is along axis {axis}, expected the last of four")
    side = list(nodes[reader].input).index(probabilities)
    if side != flipped:
        raise NoMatchError("its probabilities are multiplied from the other side than those of rows of q")
    return Candidate(
        softmax,
        scores,
        reader,
        _operand(index, nodes[scores].input[0], is_flipped=False),
        _operand(index, nodes[scores].input[1], is_flipped=True),
        _operand(index, nodes[reader].input[1 - side], is_flipped=flipped),
        scale,
        flipped,
    )


def _unscaled(index: GraphIndex, tensor: str) -> tuple[int | None, float]:
    """Return the node that a tensor comes from, through products with a number, and the number."""
    scale = 1.0
    while tensor in index.producer:
        i = index.producer[tensor]
        step = scaling_of(index, index.graph.node[i])
        if step is None:
            return i, scale
        tensor, scale = step[0], scale * step[1]
    return None, scale


def scaling_of(index: GraphIndex, node: onnx.NodeProto) -> tuple[str, float] | None:
    """Return what a Mul or Div scales by one number, and the number; None where it does not."""
    if node.op_type not in ("Mul", "Div"):
        return None
    for scaled, number in ((node.input[0], node.input[1]), (node.input[1], node.input[0])):
        value = index.constant(number)
        if value is not None and value.size == 1 and value.ndim <= 4:
            factor = float(np.asarray(value, np.float64).item())
            if node.op_type == "Mul":
                return str(scaled), factor
            return (str(scaled), 1 / factor) if number == node.input[1] and factor else None
    return None


def _swaps_last_axes(node: onnx.NodeProto) -> bool:
    perm = next((list(a.ints) for a in node.attribute if a.name == "perm"), [])
    count = len(perm)
    return node.op_type == "Transpose" and count > 1 and perm == [*range(count - 2), count - 1, count - 2]


def _operand(index: GraphIndex, tensor: str, *, is_flipped: bool) -> Operand:
    """Follow q, k or v back to its convolution."""
    chain: list[tuple[int, int]] = []
    scale = 1.0
    while tensor in index.producer:
        i = index.producer[tensor]
        node = index.graph.node[i]
        if node.op_type == "Conv":
            return Operand(i, tuple(reversed(chain)), scale, is_flipped)
        step = scaling_of(index, node)
        if step is not None:
            tensor, scale = step[0], scale * step[1]
        elif node.op_type in MOVES:
            chain.append((i, list(node.output).index(tensor)))
            tensor = node.input[0]
        else:
            raise NoMatchError(f"an operand comes from the {node.op_type} {label(node)}, expected a convolution")
    raise NoMatchError(f"an operand comes from '{tensor}', expected a convolution")
