"""Read a torch .pt file from a stranger: tensors and plain values come out, nothing in it is executed.

A .pt is a zip: `data.pkl` tells the tree of objects, `data/N` hold the tensors' bytes. The pickle names classes and
functions by module. The few that build plain values are on an allow-list; any other of the standard library is
refused by name (that is how a pickle runs `os.system`); all the rest (torch modules, the training framework's classes)
become an inert `Record` that remembers its class name and state.
"""

import zipfile
from pathlib import Path
from typing import Any

from y12.errors import CheckpointError
from y12.exporter.checkpoint.unpickler import CheckpointUnpickler
from y12.text import shown

__all__ = ["read_pickled_zip"]

_MAX_PICKLE_BYTES = 8 << 20  # of the published ones: some 200,000 bytes
_MAX_FILE_BYTES = 16 << 30
# Its table of contents: some 75 bytes a tensor, which become 800. Of the published files of 5 MB: 55,000 bytes.
_TABLE_SIZE = 5  # where zipfile's reading of a zip's end has it
_MAX_TABLE_BYTES, _BYTES_A_TABLE_BYTE = 1 << 20, 64


def read_pickled_zip(path: Path) -> Any:
    """Read a .pt file without executing anything in it.

    Raises:
        CheckpointError: the file is truncated, no torch zip, damaged, or its pickle would run code.
    """
    try:
        with _opened(path) as archive:
            return _unpickled(archive, path)
    except CheckpointError:
        raise
    except zipfile.BadZipFile as error:
        raise CheckpointError(f"{path}: damaged ({error}); copy it again") from error
    # What a damaged or hostile pickle can raise is open-ended; none of it is a fault of ours to show as a traceback.
    except Exception as error:
        problem = f"{type(error).__name__}: {shown(str(error), 120)}"
        raise CheckpointError(f"{path}: its pickle is damaged ({problem})") from error


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        _check_table(path)
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        with path.open("rb") as file:
            start = file.read(4)
        if start.startswith(b"PK"):
            raise CheckpointError(
                f"{path}: truncated: it starts as a .pt file but ends before its table of contents; copy it again"
            ) from error
        raise CheckpointError(
            f"{path}: expected a .pt file (a zip written by torch.save), found something else ({error})"
        ) from error


def _check_table(path: Path) -> None:
    """Refuse a table of contents that no checkpoint has, before zipfile makes an object of each entry."""
    with path.open("rb") as file:
        end: Any = zipfile._EndRecData(file)  # type: ignore[attr-defined]  # private, but for both forms of a zip's end
    size = path.stat().st_size
    if end and end[_TABLE_SIZE] > _MAX_TABLE_BYTES + size // _BYTES_A_TABLE_BYTE:
        raise CheckpointError(
            f"{path}: expected a table of contents of at most {_MAX_TABLE_BYTES + size // _BYTES_A_TABLE_BYTE} bytes, "
            f"found {end[_TABLE_SIZE]}"
        )


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
    return CheckpointUnpickler(archive, root, path).load()
