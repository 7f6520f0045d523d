"""A stranger's JSON, read within bounds."""

import json
from pathlib import Path
from typing import Any

from exporter.accuracy.errors import DatasetError
from runtime.files import check_file

__all__ = ["read_json"]

_MAX_JSON_BYTES = 1 << 30  # COCO's largest, instances_train2017.json, has 0.45 GB


def read_json(path: Path, what: str) -> Any:
    """Read a JSON file.

    Args:
        path: the file.
        what: what to call it in messages.

    Raises:
        DatasetError: there is none, it is too large, or it is no JSON.
    """
    check_file(path, what, _MAX_JSON_BYTES, DatasetError)
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path}: expected {what}, found no readable JSON ({error!s:.120})") from error
