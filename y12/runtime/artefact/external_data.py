"""Tensors whose data lie in other files: those must be the model's own, or any file of this machine could be read."""

import stat
from collections.abc import Mapping
from pathlib import Path

__all__ = ["external_data_problem"]


def external_data_problem(folder: Path, place: Mapping[str, str]) -> str | None:
    """Return what is wrong with where a tensor's data lie; None where they are in a file of the model's folder.

    Args:
        folder: of the .onnx file.
        place: the tensor's `external_data`: `location`, `offset`, `length`.
    """
    location = place.get("location", "")
    home = folder.resolve()
    try:
        file = (home / location).resolve()
        inside = bool(location) and not Path(location).is_absolute() and file.is_relative_to(home)
        status = file.stat() if inside and file.exists() else None
        start, length = int(place.get("offset", 0)), int(place.get("length", 0))
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: links in a circle
        return f"where its data lie cannot be read ({error!s:.80})"
    if not inside:
        return (
            f"expected its data in the model's folder, found the location '{location:.80}'; put the file beside the "
            ".onnx and save the model anew"
        )
    if status is None or not stat.S_ISREG(status.st_mode):
        return f"expected its data in '{location:.80}' beside the .onnx, found no file"
    if status.st_nlink > 1:
        return (
            f"expected its data in a file of the model's own, found '{location:.80}' under other names too, as a hard "
            "link; copy it"
        )
    if start < 0 or length < 0 or start + length > status.st_size:
        return f"expected {length} bytes at {start} of '{location:.80}', which has {status.st_size}; copy it again"
    return None
