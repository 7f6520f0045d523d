"""How much a pickle may make its reader build: in proportion to the file, and with room for every checkpoint.

What is built costs steps, one for some 40 bytes or 1 µs: each opcode 1, and more where a larger object stays behind. A
published file of 5.5 MB costs 170,000 and may cost 370,000; one that also holds averages and the optimizer's state has
more bytes as well.
"""

import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from y12.errors import CheckpointError

__all__ = ["COST_OF_CLASS", "COST_OF_MEMBER", "COST_OF_TENSOR", "Budget", "counted"]

COST_OF_CLASS, COST_OF_TENSOR, COST_OF_MEMBER = 30, 10, 3
_STEPS, _BYTES_A_STEP = 200_000, 32
_COSTS = {
    **dict.fromkeys((pickle.EMPTY_LIST, pickle.EMPTY_DICT, pickle.LIST, pickle.DICT, pickle.TUPLE), 2),
    **dict.fromkeys((pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3, pickle.LONG1, pickle.FLOAT, pickle.UNICODE), 2),
    **dict.fromkeys((pickle.BINUNICODE, pickle.SHORT_BINUNICODE, pickle.BINUNICODE8), 2),
    **dict.fromkeys((pickle.PUT, pickle.BINPUT, pickle.LONG_BINPUT, pickle.MEMOIZE), 3),
    **dict.fromkeys((pickle.NEWOBJ, pickle.NEWOBJ_EX), 5),
    **dict.fromkeys((pickle.REDUCE, pickle.EMPTY_SET, pickle.FROZENSET), 6),
}


@dataclass
class Budget:
    """The steps that are left to the pickle in the file `path`."""

    path: Path
    size: int = field(init=False)
    left: int = field(init=False)

    def __post_init__(self) -> None:
        self.size = self.path.stat().st_size
        self.left = _STEPS + self.size // _BYTES_A_STEP

    def spend(self, cost: int) -> None:
        """Take steps away.

        Raises:
            CheckpointError: there are not so many left.
        """
        self.left -= cost
        if self.left < 0:
            raise CheckpointError(
                f"{self.path}: refused: expected the objects of a network, found more than a file of {self.size} bytes "
                "may hold"
            )


def counted(opcode: int, step: Callable[[Any], None]) -> Callable[[Any], None]:
    """Return what an opcode does in an unpickler with a `budget`, at its cost."""
    cost = _COSTS.get(bytes([opcode]), 1)

    def paid(unpickler: Any) -> None:
        budget = unpickler.budget
        budget.left -= cost  # as `spend`, whose call would cost as much as most steps do
        if budget.left < 0:
            budget.spend(0)
        step(unpickler)

    return paid
