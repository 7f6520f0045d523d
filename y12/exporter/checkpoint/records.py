"""What a stranger's pickled network becomes: inert records, and the walk through them."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from y12.errors import CheckpointError
from y12.text import shown

__all__ = ["Record", "check_total", "modules_of", "tensors_of"]

# The published networks have at most some 2,000 modules, eight deep; a tree beyond these bounds holds itself.
_MAX_MODULES, _MAX_DEPTH, _MAX_TENSORS, _MAX_NAME = 20_000, 32, 100_000, 256
# Tensors that share their data are counted for each name, as a network takes memory for each.
_MAX_TOTAL_OF_SIZE, _MAX_TOTAL_BESIDE = 1.25, 1 << 20


class Record:
    """What stands for a pickled object whose class is not ours: a name and a state."""

    state: dict[str, Any]
    __slots__ = ("state",)  # a file can ask for very many
    qualified_name = "?"  # set on the subclass made for each class the pickle names

    def __init__(self, *_args: object, **_kwargs: object) -> None:
        """Take any arguments; nothing needs them."""

    def __new__(cls, *_args: object, **_kwargs: object) -> "Record":
        """Make a record of any arguments: `NEWOBJ` hands them over without calling `__init__`."""
        record = super().__new__(cls)
        record.state = {}
        return record

    def __repr__(self) -> str:
        return f"<{self.qualified_name[:80]}>"

    def __setstate__(self, state: object) -> None:
        self.state = state if isinstance(state, dict) else {"state": state}

    # A pickle may fill a dict or list subclass through these.
    def __setitem__(self, key: object, value: object) -> None:
        self.state[str(key)] = value

    def append(self, value: object) -> None:
        """Keep what a pickled list subclass holds."""
        self.state.setdefault("items", []).append(value)

    def extend(self, values: list[object]) -> None:
        """Keep what a pickled list subclass holds."""
        self.state.setdefault("items", []).extend(values)

    def get(self, name: str, default: Any = None) -> Any:
        """Return an attribute of the pickled object."""
        return self.state.get(name, default)

    def members(self, group: str) -> Mapping[Any, Any]:
        """Return what a pickled module holds under `_parameters`, `_buffers` or `_modules`."""
        members = self.get(group)
        return members if isinstance(members, dict) else {}

    @property
    def short_name(self) -> str:
        """The class's name without its module."""
        return self.qualified_name.rsplit(".", 1)[-1]


def modules_of(root: Record, path: Path) -> Iterator[tuple[str, Record]]:
    """Yield a pickled module tree, parents first: the prefix of its members' names, and the module.

    Raises:
        CheckpointError: the tree is larger or deeper than any network: it holds itself.
    """
    pending = [("", root, 0)]
    for _ in range(_MAX_MODULES):
        if not pending:
            return
        prefix, module, depth = pending.pop()
        yield prefix, module
        children = [(name, child) for name, child in module.members("_modules").items() if isinstance(child, Record)]
        if (depth >= _MAX_DEPTH and children) or len(pending) + len(children) > _MAX_MODULES:
            break
        pending.extend((f"{prefix}{_checked(name, path)}.", child, depth + 1) for name, child in reversed(children))
    raise CheckpointError(
        f"{path}: {shown(root.qualified_name)} holds itself, or more than {_MAX_MODULES} modules, or more "
        f"than {_MAX_DEPTH} within each other: no network y12 knows does"
    )


def tensors_of(root: Record, path: Path) -> Iterator[tuple[str, Tensor]]:
    """Yield the entries of a pickled module tree's state dict, in the order torch would."""
    count = 0
    for prefix, module in modules_of(root, path):
        for group in ("_parameters", "_buffers"):
            for name, value in module.members(group).items():
                if isinstance(value, Tensor):
                    count += 1
                    if count > _MAX_TENSORS:
                        raise CheckpointError(
                            f"{path}: {shown(root.qualified_name)} has more than {_MAX_TENSORS} tensors"
                        )
                    yield f"{prefix}{_checked(name, path)}", value


def check_total(state: Mapping[Any, Tensor], path: Path) -> None:
    """Refuse tensors that come to more than the file has, because many names stand for the same data.

    Raises:
        CheckpointError: they do.
    """
    total, size = sum(value.nbytes for value in state.values()), path.stat().st_size
    if total > _MAX_TOTAL_OF_SIZE * size + _MAX_TOTAL_BESIDE:
        raise CheckpointError(
            f"{path}: expected tensors of no more bytes than the file's {size}, found {total}: {len(state)} names "
            "stand for the same data"
        )


def _checked(name: object, path: Path) -> str:
    if not isinstance(name, str) or len(name) > _MAX_NAME:
        raise CheckpointError(
            f"{path}: expected names of at most {_MAX_NAME} characters in its network, found {shown(name)}"
        )
    return name
