"""Tensors of the Open Inference Protocol, in JSON and in its binary extension; whatever they say is checked.

Binary tensors follow the JSON in the order in which it lists them. An element of BYTES is its length in four bytes,
little endian, and so many bytes. In JSON, an element of BYTES is text: base64, which is y12's own convention, as the
protocol has none for bytes.
"""

import base64
import binascii
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from y12.serve.refusals import bad
from y12.text import shown

__all__ = ["Tensor", "blobs_of", "encoded_blobs", "pixels_of", "tensors_from"]

MAX_AXES = 8
MAX_SIDE = 1 << 31


@dataclass(frozen=True)
class Tensor:
    """One input.

    Attributes:
        name: as the request calls it.
        datatype: of the protocol, such as "BYTES".
        shape: its sides.
        data: what the JSON has; None where `raw` is it.
        raw: its bytes behind the JSON; None where they are in the JSON.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: Any
    raw: memoryview | None

    @property
    def count(self) -> int:
        """How many elements it has by its shape."""
        return prod(self.shape)


def tensors_from(entries: Any, tail: memoryview) -> list[Tensor]:
    """Return the inputs of a request.

    Args:
        entries: what its JSON says is `inputs`.
        tail: what follows the JSON.

    Raises:
        Refusal: it is not what the protocol says, or there is more or less behind the JSON than it tells.
    """
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise bad("inputs: expected a list of objects, found something else")
    tensors: list[Tensor] = []
    for entry in entries:
        size = _size(entry, len(tail))
        raw = None if size is None else tail[:size]
        tail = tail if size is None else tail[size:]
        tensors.append(_tensor(entry, raw))
    if len(tail):
        raise bad(f"expected the body to end with the inputs' data, found {len(tail)} bytes more")
    return tensors


def _tensor(entry: dict[str, Any], raw: memoryview | None) -> Tensor:
    name, datatype, shape = (entry.get(key) for key in ("name", "datatype", "shape"))
    if not isinstance(name, str) or not isinstance(datatype, str):
        raise bad(f"inputs: expected name and datatype as text, found {shown(name)} and {shown(datatype)}")
    sides = isinstance(shape, list) and all(isinstance(s, int) and not isinstance(s, bool) for s in shape)
    if not sides or not 1 <= len(shape) <= MAX_AXES or not all(0 < side < MAX_SIDE for side in shape):  # type: ignore[arg-type,union-attr]
        raise bad(f"{shown(name)}: expected a shape of whole numbers of 1 or more, found {shown(shape)}")
    if (raw is None) == (entry.get("data") is None):
        found = "neither" if raw is None else "both"
        raise bad(f"{shown(name)}: expected either data or parameters.binary_data_size, found {found}")
    return Tensor(name, datatype, tuple(shape), entry.get("data"), raw)  # type: ignore[arg-type]


def _size(entry: dict[str, Any], left: int) -> int | None:
    """Return how many bytes behind the JSON are this tensor's; None where it is in the JSON."""
    parameters = entry.get("parameters", {})
    if not isinstance(parameters, dict):
        raise bad(f"parameters: expected an object, found {shown(parameters)}")
    if unknown := set(parameters) - {"binary_data_size"}:
        raise bad(f"parameters of an input: expected binary_data_size, found {shown(sorted(unknown))}")
    size = parameters.get("binary_data_size")
    if size is None:
        return None
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= left:
        raise bad(f"binary_data_size: expected 0 to {left}, which is what follows the JSON, found {shown(size)}")
    return size


def blobs_of(tensor: Tensor) -> list[bytes]:
    """Return the elements of a tensor of BYTES.

    Raises:
        Refusal: their lengths, or their number, are not what the tensor says; or the text in JSON is no base64.
    """
    blobs = _decoded(tensor) if tensor.raw is None else _split(tensor, tensor.raw)
    if len(blobs) != tensor.count:
        raise bad(f"{shown(tensor.name)}: expected {tensor.count} elements by its shape, found {len(blobs)}")
    return blobs


def _split(tensor: Tensor, raw: memoryview) -> list[bytes]:
    blobs: list[bytes] = []
    place = 0
    while place < len(raw):
        if len(raw) - place < 4:
            raise bad(f"{shown(tensor.name)}: expected an element's length in 4 bytes, found {len(raw) - place}")
        (size,) = struct.unpack_from("<I", raw, place)
        place += 4
        if size > len(raw) - place:
            raise bad(f"{shown(tensor.name)}: expected an element of {size} bytes, found {len(raw) - place}")
        if len(blobs) == tensor.count:
            raise bad(f"{shown(tensor.name)}: expected {tensor.count} elements by its shape, found more")
        blobs.append(bytes(raw[place : place + size]))
        place += size
    return blobs


def _decoded(tensor: Tensor) -> list[bytes]:
    texts = _flat(tensor)
    if not all(isinstance(text, str) for text in texts):
        raise bad(f"{shown(tensor.name)}: expected base64 as text, found something else")
    try:
        return [base64.b64decode(text, validate=True) for text in texts]
    except (binascii.Error, ValueError):
        raise bad(f"{shown(tensor.name)}: expected base64 (or send it in binary), found another text") from None


def pixels_of(tensor: Tensor) -> NDArray[np.uint8]:
    """Return a tensor of UINT8.

    Raises:
        Refusal: it has another size than its shape says, or a value that is no whole number of 0 to 255.
    """
    if tensor.raw is None:
        try:
            values = bytes(_flat(tensor))
        except (TypeError, ValueError):
            raise bad(f"{shown(tensor.name)}: expected whole numbers of 0 to 255, found another") from None
        flat = np.frombuffer(values, np.uint8)
    else:
        flat = np.frombuffer(tensor.raw, np.uint8)
    if flat.size != tensor.count:
        raise bad(f"{shown(tensor.name)}: expected {tensor.count} values by its shape, found {flat.size}")
    return flat.reshape(tensor.shape)


def _flat(tensor: Tensor) -> list[Any]:
    """Return what a tensor's JSON has as one list, be it flat or nested as its shape is."""
    data = tensor.data
    for _ in range(len(tensor.shape)):
        if not isinstance(data, list):
            break
        if not data or not isinstance(data[0], list):
            return data
        if not all(isinstance(part, list) for part in data):
            break
        data = list(chain.from_iterable(data))
    raise bad(f"{shown(tensor.name)}: expected data as a list, flat or nested as the shape is, found another")


def encoded_blobs(blobs: Sequence[bytes]) -> bytes:
    """Return elements of BYTES as the binary extension writes them."""
    return b"".join(struct.pack("<I", len(blob)) + blob for blob in blobs)
