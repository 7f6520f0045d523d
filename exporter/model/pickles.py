"""Read a torch .pt file from a stranger: tensors and plain values come out, nothing in it is executed.

A .pt is a zip: `data.pkl` tells the tree of objects, `data/N` hold the tensors' bytes. The pickle names classes and
functions by module. The few that build plain values are on an allow-list; any other of the standard library is
refused by name (that is how a pickle runs `os.system`); all the rest (torch modules, the training framework's classes)
become an inert `Record` that remembers its class name and state.
"""

import io
import pickle
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from exporter.errors import CheckpointError

__all__ = ["Record", "read_pickled_zip", "tensors_of"]

_MAX_PICKLE_BYTES = 256 << 20
_MAX_FILE_BYTES = 16 << 30

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


class Record:
    """What stands for a pickled object whose class is not ours: a name, constructor arguments and a state."""

    qualified_name = "?"  # set on the subclass made for each class the pickle names

    def __init__(self, *args: object, **kwargs: object) -> None:
        self.args = args
        self.kwargs = kwargs
        self.state: dict[str, Any] = {}

    def __new__(cls, *_args: object, **_kwargs: object) -> "Record":
        """Take any arguments: `NEWOBJ` hands them over without calling `__init__`."""
        record = super().__new__(cls)
        record.args, record.kwargs, record.state = (), {}, {}
        return record

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
        """Give an attribute of the pickled object."""
        return self.state.get(name, default)

    @property
    def short_name(self) -> str:
        """The class's name without its module."""
        return self.qualified_name.rsplit(".", 1)[-1]


class _Unpickler(pickle.Unpickler):
    """An unpickler that can build plain values, tensors and records only."""

    def __init__(self, archive: zipfile.ZipFile, root: str, path: Path) -> None:
        super().__init__(io.BytesIO(archive.read(f"{root}data.pkl")), encoding="utf-8")
        self._archive, self._root, self._path = archive, root, path
        self._storages: dict[str, Tensor] = {}
        self._records: dict[str, type[Record]] = {}

    def find_class(self, module: str, name: str) -> Any:
        module = {"__builtin__": "builtins", "copy_reg": "copyreg"}.get(module, module)
        allowed = self._allowed(module, name)
        if allowed is not None:
            return allowed
        if module.split(".")[0] in sys.stdlib_module_names and (module, name) not in _INERT_STDLIB:
            raise CheckpointError(
                f"{self._path}: refused: its pickle calls '{module}.{name}', which no checkpoint needs and which "
                "would run code; nothing of it was executed. Do not load this file elsewhere"
            )
        qualified = f"{module}.{name}"
        if qualified not in self._records:
            self._records[qualified] = type(str(name), (Record,), {"qualified_name": qualified})
        return self._records[qualified]

    def _allowed(self, module: str, name: str) -> Any:
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        allowed: dict[tuple[str, str], Callable[..., Any]] = {
            ("collections", "OrderedDict"): OrderedDict,
            ("builtins", "set"): set,
            ("builtins", "frozenset"): frozenset,
            ("builtins", "complex"): complex,
            ("torch", "Size"): tuple,
            ("torch._utils", "_rebuild_tensor_v2"): self._tensor,
            ("torch._utils", "_rebuild_parameter"): lambda data, *_: data,
            ("torch._utils", "_rebuild_parameter_with_state"): lambda data, *_: data,
        }
        return allowed.get((module, name))

    def persistent_load(self, pid: Any) -> Tensor:
        """Give a storage, as a flat tensor; `pid` is ("storage", dtype, key, location, elements)."""
        if not (isinstance(pid, tuple) and len(pid) == 5 and pid[0] == "storage" and isinstance(pid[1], torch.dtype)):
            raise CheckpointError(f"{self._path}: expected tensor storages only, found the reference {pid!r:.80}")
        _, dtype, key, _, elements = pid
        if str(key) not in self._storages:
            try:
                raw = self._archive.read(f"{self._root}data/{key}")
            except KeyError as error:
                raise CheckpointError(
                    f"{self._path}: the tensor data '{key}' is missing: the file is incomplete"
                ) from error
            if not isinstance(elements, int) or elements * dtype.itemsize != len(raw):
                raise CheckpointError(
                    f"{self._path}: the tensor data '{key}' should hold {elements!r:.30} elements of {dtype}, "
                    f"but has {len(raw)} bytes: the file is damaged"
                )
            # bytearray: torch wants writable memory, and an empty buffer is no buffer to it.
            self._storages[str(key)] = (
                torch.frombuffer(bytearray(raw), dtype=dtype) if raw else torch.empty(0, dtype=dtype)
            )
        return self._storages[str(key)]

    def _tensor(self, storage: Any, offset: Any, size: Any, stride: Any, *_: object) -> Tensor:
        numbers = (offset, *size, *stride)
        sound = isinstance(storage, Tensor) and len(size) == len(stride) <= 8
        if not sound or not all(isinstance(n, int) and n >= 0 for n in numbers):
            raise CheckpointError(
                f"{self._path}: a tensor of size {size!r:.60} and stride {stride!r:.60} makes no sense"
            )
        last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
        if 0 not in size and last >= storage.numel():
            raise CheckpointError(
                f"{self._path}: a tensor of size {tuple(size)} reaches beyond its data: the file is damaged"
            )
        return storage.as_strided(tuple(size), tuple(stride), offset)


def read_pickled_zip(path: Path) -> Any:
    """Read a .pt file without executing anything in it.

    Raises:
        CheckpointError: the file is truncated, no torch zip, damaged, or its pickle would run code.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _unpickled(archive, path)
    except zipfile.BadZipFile as error:
        with path.open("rb") as file:
            start = file.read(4)
        if start.startswith(b"PK"):
            raise CheckpointError(
                f"{path}: truncated: it starts as a .pt file but ends before its table of contents; copy it again"
            ) from error
        raise CheckpointError(
            f"{path}: expected a .pt file (a zip written by torch.save), found something else ({error})"
        ) from error
    except CheckpointError:
        raise
    # What a damaged or hostile pickle can raise is open-ended; none of it is a fault of ours to show as a traceback.
    except Exception as error:
        raise CheckpointError(f"{path}: its pickle is damaged ({type(error).__name__}: {error!s:.120})") from error


def _unpickled(archive: zipfile.ZipFile, path: Path) -> Any:
    entries = archive.infolist()
    pickles = [e.filename for e in entries if e.filename == "data.pkl" or e.filename.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise CheckpointError(
            f"{path}: expected a torch checkpoint (a zip with one data.pkl), found {len(pickles)} of them"
        )
    # torch stores without compression; a compressed entry could inflate to any size.
    if any(e.compress_type != zipfile.ZIP_STORED for e in entries):
        raise CheckpointError(
            f"{path}: expected uncompressed entries, as torch.save writes them, found compressed ones"
        )
    if sum(e.file_size for e in entries) > min(path.stat().st_size, _MAX_FILE_BYTES):
        raise CheckpointError(f"{path}: its entries claim more bytes than the file has: the file is damaged")
    if archive.getinfo(pickles[0]).file_size > _MAX_PICKLE_BYTES:
        raise CheckpointError(f"{path}: expected a data.pkl of at most {_MAX_PICKLE_BYTES} bytes")
    root = pickles[0].removesuffix("data.pkl")
    if f"{root}byteorder" in archive.namelist() and archive.read(f"{root}byteorder") != b"little":
        raise CheckpointError(
            f"{path}: expected little-endian tensors, found big-endian ones; save it again on another machine"
        )
    return _Unpickler(archive, root, path).load()


def tensors_of(module: Record, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Walk a pickled module tree and give its state dict's entries, in the order torch would."""
    for group in ("_parameters", "_buffers"):
        for name, value in (module.get(group) or {}).items():
            if isinstance(value, Tensor):
                yield f"{prefix}{name}", value
    for name, child in (module.get("_modules") or {}).items():
        if isinstance(child, Record):
            yield from tensors_of(child, f"{prefix}{name}.")


def modules_of(module: Record) -> Iterator[Record]:
    """Walk a pickled module tree."""
    yield module
    for child in (module.get("_modules") or {}).values():
        if isinstance(child, Record):
            yield from modules_of(child)
