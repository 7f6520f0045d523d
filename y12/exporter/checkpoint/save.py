"""From a detector to a .safetensors file that `y12.exporter.checkpoint.load` reads."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save

from y12.errors import CheckpointError
from y12.exporter.checkpoint.metadata import RANGES_KEY, metadata_of
from y12.exporter.model.detector import Detector
from y12.files import write_atomically

__all__ = ["write_checkpoint"]


def write_checkpoint(
    path: Path, detector: Detector, *, half: bool = False, extra: Mapping[str, str] | None = None
) -> None:
    """Write weights, statistics and what is needed to build the network again; all of the file or none.

    The same detector gives the same bytes.

    Args:
        path: of the file; ends in .safetensors.
        detector: of plain modules, in any state; it stays as it is.
        half: store FP16 instead of FP32. Not for weights with learned ranges: it would move them to other integers.
        extra: further metadata, such as {`RANGES_KEY`: ranges.to_json()}; none of the keys of `metadata_of`.

    Raises:
        CheckpointError: the name or the options are wrong, or a weight is not finite, or not in FP16.
        InputError: the file cannot be written.
    """
    entries, own = dict(extra or {}), metadata_of(detector)
    if path.suffix != ".safetensors":
        raise CheckpointError(f"{path}: expected a name that ends in .safetensors")
    if half and RANGES_KEY in entries:
        raise CheckpointError(f"{path}: weights with learned ranges must be stored in FP32, asked for FP16")
    if own.keys() & entries.keys():
        raise CheckpointError(f"{path}: {sorted(own.keys() & entries.keys())} are written from the detector")
    dtype = torch.float16 if half else torch.float32
    state = {
        key: value.detach().to("cpu", dtype if value.is_floating_point() else None).contiguous()
        for key, value in detector.state_dict().items()
    }
    for key, value in state.items():
        if not value.isfinite().all():
            kind = "FP16 numbers" if half else "finite numbers"
            raise CheckpointError(f"{path}: expected {kind} in '{key}', found others; train on, or with a lower rate")
    write_atomically(path, _sorted_header(save(state, {**own, **entries})))


def _sorted_header(content: bytes) -> bytes:
    """Sort the header's entries: the library writes those of the metadata in another order each time.

    A file is the header's length (8 bytes, little-endian), the header (JSON, filled up with spaces to a multiple of 8)
    and the tensors' data, whose offsets count from the header's end.
    """
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8:end]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + content[end:]
