"""A stranger's files, read within bounds."""

import json
from pathlib import Path
from typing import Any

from y12.errors import DatasetError
from y12.files import check_file

__all__ = ["read_bytes", "read_json", "read_text"]

_MAX_JSON_BYTES = 1 << 30  # COCO's largest, instances_train2017.json, has 0.45 GB


def read_bytes(path: Path, what: str, max_bytes: int) -> bytes:
    """Read a regular file of 1 to `max_bytes` bytes.

    Args:
        path: the file.
        what: what to call it in messages.
        max_bytes: how large it may be.

    Raises:
        DatasetError: there is none, it is too large, or it cannot be read.
    """
    check_file(path, what, max_bytes, DatasetError)
    try:
        return path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path}: expected {what}, cannot be read ({error.strerror or error})") from error


def read_text(path: Path, what: str, max_bytes: int) -> str:
    """Read a text as `read_bytes` does; what is no UTF-8 becomes a character that no number and no path has.

    Raises:
        DatasetError: there is none, it is too large, or it cannot be read.
    """
    return read_bytes(path, what, max_bytes).decode("utf-8-sig", errors="replace")


def read_json(path: Path, what: str) -> Any:
    """Read a JSON file.

    Raises:
        DatasetError: there is none, it is too large, or it is no JSON.
    """
    content = read_bytes(path, what, _MAX_JSON_BYTES)
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path}: expected {what}, found no readable JSON ({error!s:.120})") from error
