"""An unpickler for a stranger's file: plain values, tensors and inert records come out, nothing in it is executed."""

import io
import math
import pickle
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor

from y12.errors import CheckpointError
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
_SCALARS = (str, bytes, int, float, complex, type(None))


class _Steps(dict[int, Any]):
    """What each opcode does; any other is refused."""

    def __missing__(self, opcode: int) -> NoReturn:
        raise pickle.UnpicklingError(f"opcode {opcode:#04x} is in no checkpoint")


class CheckpointUnpickler(pickle._Unpickler):
    """An unpickler that can build plain values, tensors and records only.

    It extends the one written in Python: its memo is a dict (that of the one in C is as long as the largest index a
    file names) and each opcode can be given another meaning. Those that set attributes or hash a value are.
    """

    stack: list[Any]
    pop_mark: Callable[[], list[Any]]

    def __init__(self, archive: zipfile.ZipFile, root: str, path: Path) -> None:
        super().__init__(io.BytesIO(archive.read(f"{root}data.pkl")), encoding="utf-8")
        self._archive, self._root, self._path = archive, root, path
        self._storages: dict[str, Tensor] = {}
        self._records: dict[str, type[Record]] = {}

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
        self.stack[-1].update(_quickly_hashed(items))

    def load_frozenset(self) -> None:
        """Make a frozenset of the values."""
        self.stack.append(frozenset(_quickly_hashed(self.pop_mark())))

    def _fill(self, entries: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict | Record):
            raise pickle.UnpicklingError(f"a {type(target).__name__} cannot take entries")
        for key, value in zip(_quickly_hashed(entries[::2]), entries[1::2], strict=True):
            target[key] = value

    dispatch = _Steps(
        {code: step for code, step in pickle._Unpickler.dispatch.items() if bytes([code]) not in _UNNEEDED}
        | {
            pickle.BUILD[0]: load_build,
            pickle.SETITEM[0]: load_setitem,
            pickle.SETITEMS[0]: load_setitems,
            pickle.DICT[0]: load_dict,
            pickle.ADDITEMS[0]: load_additems,
            pickle.FROZENSET[0]: load_frozenset,
        }
    )

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for a global; one of the standard library that is not on the list is refused."""
        module = {"__builtin__": "builtins", "copy_reg": "copyreg"}.get(module, module)
        allowed = self._allowed(module, name)
        if allowed is not None:
            return allowed
        if module.split(".")[0] in sys.stdlib_module_names and (module, name) not in _INERT_STDLIB:
            raise CheckpointError(
                f"{self._path}: refused: its pickle calls {shown(f'{module}.{name}')}, which no checkpoint needs and "
                "which would run code; nothing of it was executed. Do not load this file elsewhere"
            )
        qualified = f"{module}.{name}"
        if qualified not in self._records:
            self._records[qualified] = type("Record", (Record,), {"qualified_name": qualified})
        return self._records[qualified]

    def _allowed(self, module: str, name: str) -> Any:
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        allowed: dict[tuple[str, str], Callable[..., Any]] = {
            ("collections", "OrderedDict"): OrderedDict,
            ("builtins", "set"): lambda items=(): set(_quickly_hashed(items)),
            ("builtins", "frozenset"): lambda items=(): frozenset(_quickly_hashed(items)),
            ("builtins", "complex"): complex,
            ("torch", "Size"): _size,
            ("torch._utils", "_rebuild_tensor_v2"): self._tensor,
            ("torch._utils", "_rebuild_parameter"): lambda data, *_: data,
            ("torch._utils", "_rebuild_parameter_with_state"): lambda data, *_: data,
        }
        return allowed.get((module, name))

    def persistent_load(self, pid: Any) -> Tensor:
        """Return a storage, as a flat tensor; `pid` is ("storage", dtype, key, location, elements)."""
        if not (isinstance(pid, tuple) and len(pid) == 5 and pid[0] == "storage" and isinstance(pid[1], torch.dtype)):
            raise CheckpointError(f"{self._path}: expected tensor storages only, found the reference {shown(pid)}")
        _, dtype, key, _, elements = pid
        if str(key) not in self._storages:
            try:
                raw = self._archive.read(f"{self._root}data/{key}")
            except KeyError as error:
                raise CheckpointError(
                    f"{self._path}: the tensor data {shown(key)} is missing: the file is incomplete"
                ) from error
            if not isinstance(elements, int) or elements * dtype.itemsize != len(raw):
                raise CheckpointError(
                    f"{self._path}: the tensor data {shown(key)} should hold {shown(elements)} elements of {dtype}, "
                    f"but has {len(raw)} bytes: the file is damaged"
                )
            # bytearray: torch wants writable memory, and an empty buffer is no buffer to it.
            self._storages[str(key)] = (
                torch.frombuffer(bytearray(raw), dtype=dtype) if raw else torch.empty(0, dtype=dtype)
            )
        return self._storages[str(key)]

    def _tensor(self, storage: Any, offset: Any, size: Any, stride: Any, *_: object) -> Tensor:
        shapes = isinstance(size, tuple | list) and isinstance(stride, tuple | list) and len(size) == len(stride) <= 8
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
    return type(value) is int and value >= 0


def _size(values: object = ()) -> tuple[Any, ...]:
    if not isinstance(values, tuple | list):
        raise pickle.UnpicklingError(f"a {type(values).__name__} is no torch.Size")
    return tuple(values)


def _quickly_hashed(values: object) -> Sequence[Any]:
    """Return dict keys or set items back; a tuple of tuples of tuples, each named twice, would hash for years."""
    if not isinstance(values, tuple | list):
        raise pickle.UnpicklingError(f"a {type(values).__name__} in place of keys")
    for value in values:
        if isinstance(value, (*_SCALARS, Record)) or (
            isinstance(value, tuple) and all(isinstance(part, _SCALARS) for part in value)
        ):
            continue
        raise pickle.UnpicklingError(f"a {type(value).__name__} as a key or in a set")
    return values
