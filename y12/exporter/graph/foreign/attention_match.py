"""Find the attentions of a graph whose q, k and v are convolutions of one map, however their elements are moved about.

    q = move(conv(x)),  k = move(conv(x)),  v = move(conv(x)),  y = move(softmax(s q k^T) v)

A match says which row of which convolution each channel of q, k and v is, head by head. That is not read off the
operators: the elements' numbers are sent through them (`moves.py`), and compared with where the deploy form has them.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import helper

from y12.exporter.graph.foreign.attention_candidate import Candidate, NoMatchError, scaling_of
from y12.exporter.graph.foreign.moves import MOVES, Trial, moved
from y12.exporter.graph.index import GraphIndex
from y12.exporter.graph.passes import label

__all__ = ["ConvAttention", "match_of"]

Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class ConvAttention:
    """An attention that can be rewritten.

    Attributes:
        candidate: its operators.
        rows: of q, k and v: (heads, width) rows of the convolution that makes it.
        areas: how many bands of consecutive cells attend each within itself.
        output: the node that makes the map (B, heads * d, H, W) out of the product.
        map_readers: nodes that read v as such a map, each with which of its inputs it is.
    """

    candidate: Candidate
    rows: tuple[Numbers, Numbers, Numbers]
    areas: int
    output: int
    map_readers: tuple[tuple[int, int], ...]

    @property
    def heads(self) -> int:
        """Number of heads."""
        return int(self.rows[2].shape[0])

    @property
    def head_dim(self) -> int:
        """Channels of v a head."""
        return int(self.rows[2].shape[1])


def match_of(index: GraphIndex, candidate: Candidate, trials: list[Trial]) -> ConvAttention:
    """Return how a candidate can be rewritten.

    Raises:
        NoMatchError: it cannot be; says why.
    """
    _check_convs(index, candidate)
    matches = [_at_trial(index, candidate, trial) for trial in trials]
    first = matches[0]
    for other in matches[1:]:
        same = all(np.array_equal(a, b) for a, b in zip(first.rows, other.rows, strict=True))
        if not same or (first.areas, first.output) != (other.areas, other.output):
            raise NoMatchError("it is another attention at another input shape")
        if first.map_readers != other.map_readers:
            raise NoMatchError("its values are read otherwise at another input shape")
    return first


def _check_convs(index: GraphIndex, candidate: Candidate) -> None:
    """Refuse convolutions that cannot be made one."""
    convs = [index.graph.node[i] for i in dict.fromkeys(candidate.convs)]
    attributes = [{a.name: helper.get_attribute_value(a) for a in conv.attribute} for conv in convs]
    if any(conv.input[0] != convs[0].input[0] for conv in convs) or any(a != attributes[0] for a in attributes):
        raise NoMatchError("its convolutions read different maps, or differ in more than their weights")
    if attributes[0].get("group", 1) != 1:
        raise NoMatchError(f"its convolution has {attributes[0]['group']} groups, expected 1")
    for conv in convs:
        if any(name not in index.weights for name in conv.input[1:] if name):
            raise NoMatchError(f"the weights of {label(conv)} are not constant")
        if conv.output[0] in index.outputs:
            raise NoMatchError(f"{label(conv)} is an output of the graph")
    if len({tuple(index.weights[conv.input[1]].dims[1:]) for conv in convs}) != 1:
        raise NoMatchError("its convolutions have kernels of different sizes")
    if candidate.v.scale != 1:
        raise NoMatchError(f"its values are scaled by {candidate.v.scale:g}")


def _at_trial(index: GraphIndex, candidate: Candidate, trial: Trial) -> ConvAttention:
    """Match at one input shape."""
    shapes = [trial.shapes[index.graph.node[i].output[0]] for i in candidate.convs]
    if any(len(shape) != 4 for shape in shapes):
        raise NoMatchError(f"its convolutions make {shapes[0]}, expected maps (B, C, H, W)")
    batch, _, height, width = shapes[0]
    cells = height * width
    rows, areas = [], 0
    for name, operand, shape in zip("qkv", (candidate.q, candidate.k, candidate.v), shapes, strict=True):
        numbers = _sent(index, _numbers(shape), operand.chain, trial)
        if numbers.ndim != 4 or numbers.shape[0] % batch:
            raise NoMatchError(
                f"{name} has the shape {numbers.shape}, expected (areas, heads, cells, channels) in some order"
            )
        if operand.is_flipped:
            numbers = numbers.swapaxes(2, 3)
        areas, here = numbers.shape[0] // batch, numbers[0, :, 0, :] // cells
        fits = numbers.shape[2] * areas == cells and here.max(initial=0) < shape[1]
        if not fits or not np.array_equal(numbers, _tokens(here, shape, areas)):
            raise NoMatchError(f"{name} is no cut of its map into heads and bands of cells")
        rows.append(here)
    if rows[0].shape != rows[1].shape or rows[0].shape[0] != rows[2].shape[0]:
        raise NoMatchError(f"q, k and v have {[r.shape for r in rows]} heads and channels")
    if rows[0].shape[1] > rows[2].shape[1]:
        raise NoMatchError(
            f"q and k have {rows[0].shape[1]} channels a head, more than v, which has {rows[2].shape[1]}"
        )
    channels = rows[2].size
    output = _output(index, candidate, (batch, rows[2].shape, areas, height, width), trial)
    cells_of_map = _numbers(shapes[2])[:, rows[2].reshape(-1)].reshape(batch, channels, height, width)
    readers = tuple(sorted(_map_readers(index, candidate, cells_of_map, trial)))
    return ConvAttention(candidate, (rows[0], rows[1], rows[2]), areas, output, readers)


def _numbers(shape: tuple[int, ...]) -> Numbers:
    return np.arange(int(np.prod(shape)), dtype=np.int64).reshape(shape)


def _tokens(rows: Numbers, shape: tuple[int, ...], areas: int) -> Numbers:
    """Return the numbers of a map's elements cut into (B * areas, heads, L, width), channels as `rows` has them."""
    batch, _, height, width = shape
    cut = _numbers(shape).reshape(batch, shape[1], areas, height * width // areas)[:, rows]
    # (B, heads, width, areas, L) -> (B, areas, heads, L, width)
    return cut.transpose(0, 3, 1, 4, 2).reshape(batch * areas, rows.shape[0], -1, rows.shape[1])


def _sent(index: GraphIndex, numbers: Numbers, chain: tuple[tuple[int, int], ...], trial: Trial) -> Numbers:
    """Send numbers through a chain of nodes that move elements."""
    for i, slot in chain:
        outputs = moved(index.graph.node[i], numbers, trial)
        if outputs is None:
            raise NoMatchError(f"what {label(index.graph.node[i])} does depends on values that are not known")
        numbers = outputs[slot]
    return numbers


def _output(
    index: GraphIndex, candidate: Candidate, form: tuple[int, tuple[int, ...], int, int, int], trial: Trial
) -> int:
    """Return the node behind which the product is a map (B, heads * d, H, W)."""
    batch, (heads, head_dim), areas, height, width = form
    wanted = _numbers((batch, heads * head_dim, height, width))
    rows = np.arange(heads * head_dim, dtype=np.int64).reshape(heads, head_dim)
    numbers = _tokens(rows, wanted.shape, areas)
    numbers = numbers.swapaxes(2, 3) if candidate.is_flipped else numbers
    i = candidate.product
    while True:
        tensor = index.graph.node[i].output[0]
        if numbers.shape == wanted.shape and np.array_equal(numbers, wanted):
            return i
        readers = [j for j in index.consumers[tensor] if index.graph.node[j].op_type != "Shape"]
        if len(readers) != 1 or tensor in index.outputs or index.graph.node[readers[0]].op_type not in MOVES:
            raise NoMatchError(f"{label(index.graph.node[i])} does not lead to a map of heads and channels")
        (i,) = readers
        numbers = _sent(index, numbers, ((i, 0),), trial)


def _map_readers(index: GraphIndex, candidate: Candidate, expected: Numbers, trial: Trial) -> Iterator[tuple[int, int]]:
    """Yield who else reads what the convolutions make, as a map of v; nothing else of it may be read."""
    nodes = index.graph.node
    inside = {candidate.scores, candidate.product}
    values = candidate.v.conv
    waiting = [(nodes[i].output[0], i, _numbers(trial.shapes[nodes[i].output[0]])) for i in set(candidate.convs)]
    while waiting:
        tensor, conv, numbers = waiting.pop()
        if tensor in index.outputs:
            raise NoMatchError(f"'{tensor}' is an output of the graph")
        for i in dict.fromkeys(index.consumers[tensor]):
            node = nodes[i]
            outputs = moved(node, numbers, trial) if node.input[0] == tensor else None
            if (
                i in inside
                or node.op_type == "Shape"
                or (scaling_of(index, node) and _only_scores(index, candidate, i))
            ):
                continue
            if conv == values and numbers.shape == expected.shape and np.array_equal(numbers, expected):
                yield from ((i, slot) for slot, name in enumerate(node.input) if name == tensor)
            elif outputs is not None:
                waiting += [(name, conv, moving) for name, moving in zip(node.output, outputs, strict=True)]
            else:
                raise NoMatchError(f"{label(node)} reads q, k or v too")


def _only_scores(index: GraphIndex, candidate: Candidate, i: int) -> bool:
    """Return whether a node's output goes, however moved or scaled, to the product of q and k alone."""
    readers = index.consumers[index.graph.node[i].output[0]]
    return bool(readers) and all(
        j == candidate.scores
        or (
            (index.graph.node[j].op_type in MOVES or scaling_of(index, index.graph.node[j]))
            and _only_scores(index, candidate, j)
        )
        for j in readers
    )
