"""Several arrays in one piece of memory, so that they travel in one copy."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from y12.runtime.gpu.device import Device, StagedArray

__all__ = ["ALIGNMENT", "PackedBuffer", "Part", "Scratch", "aligned"]

ALIGNMENT = 256  # bytes: what CUDA's own allocations have, and more than any vector load needs

Part = tuple[tuple[int, ...], Any]  # shape and dtype


def aligned(size_bytes: int) -> int:
    """Round a size up to `ALIGNMENT`."""
    return -(-size_bytes // ALIGNMENT) * ALIGNMENT


def _offsets_of(parts: Mapping[str, Part]) -> tuple[dict[str, int], int]:
    """Return where each part begins, and the bytes of all, each rounded up to `ALIGNMENT`."""
    offsets: dict[str, int] = {}
    end = 0
    for name, part in parts.items():
        offsets[name] = end
        end += aligned(_size_bytes(part))
    return offsets, end


class PackedBuffer:
    """Named arrays side by side on the device, with a page-locked twin of each on the host.

    Args:
        device: whose stream copies.
        parts: shape and dtype of each, by name.
    """

    def __init__(self, device: Device, parts: Mapping[str, Part]) -> None:
        self._offsets, size_bytes = _offsets_of(parts)
        self._staged = StagedArray(device, (size_bytes,), np.uint8)
        self._hosts = {name: self._host(name, part) for name, part in parts.items()}
        self.upload, self.download, self.close = self._staged.upload, self._staged.download, self._staged.close

    def host(self, name: str) -> NDArray[Any]:
        """Return a part's twin on the host: to be written before `upload`, or read after `download`."""
        return self._hosts[name]

    def _host(self, name: str, part: Part) -> NDArray[Any]:
        begin = self._offsets[name]
        return self._staged.host[begin : begin + _size_bytes(part)].view(part[1]).reshape(part[0])

    def address(self, name: str) -> int:
        """Return a part's device address."""
        return self._staged.address + self._offsets[name]


class Scratch:
    """Named arrays side by side on the device, which the host never sees; not initialised."""

    def __init__(self, device: Device, parts: Mapping[str, Part]) -> None:
        self._offsets, size_bytes = _offsets_of(parts)
        self._memory = device.memory(size_bytes)
        self.close = self._memory.close

    def address(self, name: str) -> int:
        """Return a part's device address."""
        return self._memory.address + self._offsets[name]


def _size_bytes(part: Part) -> int:
    shape, dtype = part
    return math.prod(shape) * np.dtype(dtype).itemsize
