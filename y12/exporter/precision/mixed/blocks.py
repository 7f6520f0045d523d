"""The blocks of a network: what is kept in FP16 or not as a whole."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Block", "blocks_of"]

_FEWEST = 4  # with fewer blocks there is nothing to choose between: look one level deeper
_DEEPEST = 4


@dataclass(frozen=True)
class Block:
    """Convolutions that belong together.

    Attributes:
        name: what their names begin with, such as "model.6".
        convolutions: their names.
        macs: their share of the MACs of all layers, convolutions and attentions, 0 to 1.
    """

    name: str
    convolutions: tuple[str, ...]
    macs: float


def blocks_of(convolutions: Sequence[str], macs: Mapping[str, float]) -> tuple[Block, ...]:
    """Group convolutions by the first parts of their names, "/model.6/cv1/Conv": modules nest so.

    Where that gives fewer than four blocks, more parts are taken.

    Args:
        convolutions: names of those that INT8 is possible for, in the graph's order.
        macs: each one's share of the MACs.
    """
    for depth in range(1, _DEEPEST + 1):
        groups: dict[str, list[str]] = {}
        for name in convolutions:
            groups.setdefault("/".join(name.strip("/").split("/")[:depth]), []).append(name)
        if len(groups) >= _FEWEST:
            break
    return tuple(Block(name, tuple(own), sum(macs[n] for n in own)) for name, own in groups.items())
