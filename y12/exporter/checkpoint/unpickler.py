"""An unpickler for a stranger's file: plain values, tensors and inert records come out, nothing in it is executed."""

import io
import math
import pickle
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, NoReturn, cast

import torch
from torch import Tensor

from y12.errors import CheckpointError
from y12.exporter.checkpoint.pickle_budget import COST_OF_CLASS, COST_OF_MEMBER, COST_OF_TENSOR, Budget, counted
from y12.exporter.checkpoint.records import Record
from y12.text import shown

__all__ = ["CheckpointUnpickler"]

_DTYPES = {
    "HalfStorage": torch.float16,
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
# Standard library classes that hold data only: they become records, like foreign ones.
_INERT_STDLIB = {
    ("pathlib", "PosixPath"),
    ("pathlib", "PurePosixPath"),
    ("pathlib", "WindowsPath"),
    ("pathlib", "PureWindowsPath"),
    ("argparse", "Namespace"),
    ("types", "SimpleNamespace"),
    ("datetime", "datetime"),
    ("datetime", "timedelta"),
    ("collections", "defaultdict"),
    ("copyreg", "_reconstructor"),
    ("_codecs", "encode"),
    ("builtins", "object"),
    ("builtins", "dict"),
    ("builtins", "list"),
    ("builtins", "tuple"),
}


# Opcodes that no torch.save writes: names by number, and buffers of any claimed size.
_UNNEEDED = {
    pickle.EXT1,
    pickle.EXT2,
    pickle.EXT4,
    pickle.BYTEARRAY8,
    pickle.NEXT_BUFFER,
    pickle.READONLY_BUFFER,
    pickle.INST,
    pickle.OBJ,
    pickle.DUP,
}
_COUNT_END = 1 << 63  # sizes, strides and numbers of elements are below it, as torch's are
_MAX_KEY = 256  # characters of a storage's name; torch counts them
_MAX_AXES = 8


class _Steps(dict[int, Any]):
    """What each opcode does; any other is refused."""

    def __missing__(self, opcode: int) -> NoReturn:
        raise pickle.UnpicklingError(f"opcode {opcode:#04x} is in no checkpoint")


class CheckpointUnpickler(pickle._Unpickler):
    """An unpickler that can build plain values, tensors and records only.

    It extends the one written in Python: its memo is a dict (that of the one in C is as long as the largest index a
    file names) and each opcode can be given another meaning. Those that set attributes or hash a value are, and all
    are counted: what a file makes us build is in proportion to its size.
    """

    stack: list[Any]
    pop_mark: Callable[[], list[Any]]

    def __init__(self, archive: zipfile.ZipFile, root: str, path: Path) -> None:
        super().__init__(io.BytesIO(archive.read(f"{root}data.pkl")), encoding="utf-8")
        self._archive, self._root, self._path = archive, root, path
        self._storages: dict[str, Tensor] = {}
        self._records: dict[str, type[Record]] = {}
        self.budget = Budget(path)

    def load_build(self) -> None:
        """Set the state of a record; an OrderedDict's (torch's `_metadata`) is not needed."""
        state = self.stack.pop()
        if isinstance(self.stack[-1], Record):
            self.stack[-1].__setstate__(state)
        elif not isinstance(self.stack[-1], OrderedDict):
            raise pickle.UnpicklingError(f"a {type(self.stack[-1]).__name__} cannot take a state")

    def load_setitem(self) -> None:
        """Add one entry to a dict or a record."""
        value, key = self.stack.pop(), self.stack.pop()
        self._fill([key, value])

    def load_setitems(self) -> None:
        """Add entries to a dict or a record."""
        self._fill(self.pop_mark())

    def load_dict(self) -> None:
        """Make a dict of the entries."""
        entries = self.pop_mark()
        self.stack.append({})
        self._fill(entries)

    def load_additems(self) -> None:
        """Add values to a set."""
        items = self.pop_mark()
        self.stack[-1].update(self._members(items))

    def load_frozenset(self) -> None:
        """Make a frozenset of the values."""
        self.stack.append(frozenset(self._members(self.pop_mark())))

    def _fill(self, entries: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict | Record):
            raise pickle.UnpicklingError(f"a {type(target).__name__} cannot take entries")
        for key, value in zip(_quickly_hashed(entries[::2]), entries[1::2], strict=True):
            target[key] = value

    def _members(self, values: object) -> Sequence[Any]:
        """Return what is to be hashed and copied into a set or a dict."""
        if not isinstance(values, tuple | list):
            raise pickle.UnpicklingError(f"a {type(values).__name__} in place of keys")
        self.budget.spend(COST_OF_MEMBER * len(values))
        return _quickly_hashed(values)

    def _ordered_dict(self, entries: object = ()) -> OrderedDict[Any, Any]:
        if not isinstance(entries, tuple | list):
            raise pickle.UnpicklingError(f"a {type(entries).__name__} in place of entries")
        self.budget.spend(COST_OF_MEMBER * len(entries))
        if not all(isinstance(entry, tuple | list) and len(entry) == 2 for entry in entries):
            raise pickle.UnpicklingError("an OrderedDict of what are no keys and values")
        return OrderedDict(zip(_quickly_hashed([key for key, _ in entries]), map(itemgetter(1), entries), strict=True))

    dispatch = _Steps(
        {
            code: counted(code, cast(Callable[[Any], None], step))
            for code, step in {
                **{c: s for c, s in pickle._Unpickler.dispatch.items() if bytes([c]) not in _UNNEEDED},
                pickle.BUILD[0]: load_build,
                pickle.SETITEM[0]: load_setitem,
                pickle.SETITEMS[0]: load_setitems,
                pickle.DICT[0]: load_dict,
                pickle.ADDITEMS[0]: load_additems,
                pickle.FROZENSET[0]: load_frozenset,
            }.items()
        }
    )

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for a global; one of the standard library that is not on the list is refused."""
        module = {"__builtin__": "builtins", "copy_reg": "copyreg"}.get(module, module)
        allowed = self._allowed(module, name)
        if allowed is not None:
            return allowed
        qualified = f"{module}.{name}"
        if module.split(".")[0] in sys.stdlib_module_names and (module, name) not in _INERT_STDLIB:
            raise self._refused(qualified)
        return self._record_class(qualified)

    def _record_class(self, qualified: str) -> type[Record]:
        if qualified not in self._records:
            self.budget.spend(COST_OF_CLASS)
            self._records[qualified] = type("Record", (Record,), {"qualified_name": qualified, "__slots__": ()})
        return self._records[qualified]

    def _refused(self, qualified: str) -> CheckpointError:
        return CheckpointError(
            f"{self._path}: refused: its pickle calls {shown(qualified)}, which no checkpoint needs and "
            "which would run code; nothing of it was executed. Do not load this file elsewhere"
        )

    def _method(self, owner: object = None, _name: object = None) -> Record:
        """Return what stands for a bound method, such as a module's `forward` that fuse() replaced."""
        if not isinstance(owner, Record):
            raise self._refused("builtins.getattr")
        return self._record_class("builtins.method")()

    def _allowed(self, module: str, name: str) -> Any:
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        allowed: dict[tuple[str, str], Callable[..., Any]] = {
            ("collections", "OrderedDict"): self._ordered_dict,
            ("builtins", "set"): lambda items=(): set(self._members(items)),
            ("builtins", "frozenset"): lambda items=(): frozenset(self._members(items)),
            ("builtins", "complex"): complex,
            ("builtins", "getattr"): self._method,
            ("torch", "Size"): _size,
            ("torch._utils", "_rebuild_tensor_v2"): self._tensor,
            ("torch._utils", "_rebuild_parameter"): lambda data, *_: data,
            ("torch._utils", "_rebuild_parameter_with_state"): lambda data, *_: data,
        }
        return allowed.get((module, name))

    def persistent_load(self, pid: Any) -> Tensor:
        """Return a storage, as a flat tensor; `pid` is ("storage", dtype, key, location, elements)."""
        if not (isinstance(pid, tuple) and len(pid) == 5 and isinstance(pid[0], str) and pid[0] == "storage"):
            raise CheckpointError(f"{self._path}: expected tensor storages only, found the reference {shown(pid)}")
        _, dtype, key, _, elements = pid
        if not isinstance(dtype, torch.dtype) or not isinstance(key, str) or len(key) > _MAX_KEY:
            raise CheckpointError(f"{self._path}: expected a storage's type and name, found the reference {shown(pid)}")
        if not _is_count(elements):
            raise CheckpointError(
                f"{self._path}: expected a number of elements for the tensor data {shown(key)}, found {shown(elements)}"
            )
        if key not in self._storages:
            self.budget.spend(COST_OF_TENSOR)
            self._storages[key] = self._storage(key, dtype, elements)
        return self._storages[key]

    def _storage(self, key: str, dtype: torch.dtype, elements: int) -> Tensor:
        try:
            raw = self._archive.read(f"{self._root}data/{key}")
        except KeyError as error:
            raise CheckpointError(
                f"{self._path}: the tensor data {shown(key)} is missing: the file is incomplete"
            ) from error
        if elements * dtype.itemsize != len(raw):
            raise CheckpointError(
                f"{self._path}: the tensor data {shown(key)} should hold {elements} elements of {dtype}, "
                f"but has {len(raw)} bytes: the file is damaged"
            )
        # bytearray: torch wants writable memory, and an empty buffer is no buffer to it.
        return torch.frombuffer(bytearray(raw), dtype=dtype) if raw else torch.empty(0, dtype=dtype)

    def _tensor(self, storage: Any, offset: Any, size: Any, stride: Any, *_: object) -> Tensor:
        self.budget.spend(COST_OF_TENSOR)
        shapes = isinstance(size, tuple | list) and isinstance(stride, tuple | list)
        shapes = shapes and len(size) == len(stride) <= _MAX_AXES
        if not shapes or not isinstance(storage, Tensor) or not all(_is_count(n) for n in (offset, *size, *stride)):
            raise CheckpointError(
                f"{self._path}: a tensor of size {shown(size)} and stride {shown(stride)} makes no sense"
            )
        last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
        # The second: a stride of 0 could make terabytes of one number.
        if (0 not in size and last >= storage.numel()) or math.prod(size) > storage.numel():
            raise CheckpointError(
                f"{self._path}: a tensor of size {shown(tuple(size))} reaches beyond its data: the file is damaged"
            )
        return storage.as_strided(tuple(size), tuple(stride), offset)


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < _COUNT_END


def _size(values: object = ()) -> tuple[Any, ...]:
    if not isinstance(values, tuple | list) or len(values) > _MAX_AXES:
        raise pickle.UnpicklingError(f"a torch.Size of {shown(values)}")
    return tuple(values)


def _quickly_hashed(values: Sequence[Any]) -> Sequence[Any]:
    """Return dict keys or set items back, where hashing and comparing them takes no time.

    A tuple of tuples of tuples, each named twice, would hash for years, and pairs of numbers are easily made that all
    have one hash. Texts have a hash that no file can foresee; a record's is its address.
    """
    for value in values:
        if not (
            type(value) is str
            or (isinstance(value, int) and -_COUNT_END <= value < _COUNT_END)
            or isinstance(value, Record)
        ):
            raise pickle.UnpicklingError(f"expected texts and small numbers as keys and in sets, found {shown(value)}")
    return values
