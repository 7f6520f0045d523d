"""The Open Inference Protocol (KServe V2): what a request asks, what is answered, what the model says of itself."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from y12.errors import InputError
from y12.runtime.artefact.manifest import Manifest
from y12.runtime.preprocess.images import check_pixels
from y12.runtime.results.detections import Detections
from y12.runtime.results.tensors import Output, column_of, stacked
from y12.serve import asked
from y12.serve.refusals import bad
from y12.serve.tensors import Tensor, blobs_of, encoded_blobs, pixels_of, tensors_from
from y12.text import is_text, shown

__all__ = [
    "HEADER",
    "InferRequest",
    "Row",
    "answer_from",
    "metadata_of",
    "request_from",
    "row_of",
    "server_metadata",
]

HEADER = "Inference-Header-Content-Length"
VERSION = "1"
INPUTS = (
    {"name": "image", "datatype": "BYTES", "shape": [-1]},
    {"name": "pixels", "datatype": "UINT8", "shape": [-1, -1, -1, 3]},
)
MAX_JSON_VALUES = 1_500_000  # of 640x480 pixels there are 921,600; more would keep other requests waiting
MAX_ID = 256


@dataclass(frozen=True)
class InferRequest:
    """What a request asks.

    Attributes:
        id: the client's, given back; None where there is none.
        sources: the images, encoded, or (h, w, 3) BGR.
        outputs: which of them, and whether in binary.
        asked: thresholds and classes, by name.
    """

    id: str | None
    sources: "list[bytes | NDArray[np.uint8]]"
    outputs: list[tuple[Output, bool]]
    asked: dict[str, Any]


Row = dict[str, NDArray[Any]]  # of one image, by output


def server_metadata() -> dict[str, Any]:
    """Return what the server says of itself."""
    return {"name": "y12", "version": version("y12"), "extensions": ["binary_tensor_data"]}


def metadata_of(name: str, manifest: Manifest, outputs: Sequence[Output]) -> dict[str, Any]:
    """Return what the model says of itself; `parameters` is y12's own."""
    return {
        "name": name,
        "versions": [VERSION],
        "platform": "y12",
        "inputs": list(INPUTS),
        "outputs": [_described(output) for output in outputs],
        "parameters": {
            "task": manifest.task,
            "class_names": list(manifest.names),
            "image": "a whole file (JPEG, PNG, ...); in JSON as base64",
            "pixels": "RGB, images x height x width x 3",
            "asked": list(asked.NAMES),
        },
    }


def _described(output: Output) -> dict[str, Any]:
    """Return what the metadata says of an output."""
    return {"name": output.name, "datatype": output.datatype, "shape": [-1, *output.shape]}


def request_from(body: "bytes | bytearray", header_length: str | None, outputs: Sequence[Output]) -> InferRequest:
    """Read a request.

    Args:
        body: JSON, and the binary tensors.
        header_length: how many bytes of it are JSON, as the request's header says; None means all.
        outputs: those of the model.

    Raises:
        Refusal: it is not what the protocol says, or is of no use to the model.
    """
    view = memoryview(body)
    length = len(view) if header_length is None else _length(header_length, len(view))
    head = _json(bytes(view[:length]))
    for key in head.keys() - {"id", "inputs", "outputs", "parameters"}:
        raise bad(f"expected id, inputs, outputs and parameters, found {shown(key)}")
    name = head.get("id")
    if name is not None and not (is_text(name) and len(name) <= MAX_ID):
        raise bad(f"id: expected a text of at most {MAX_ID} characters, found another")
    parameters = head.get("parameters", {})
    if not isinstance(parameters, dict):
        raise bad("parameters: expected an object, found something else")
    in_binary = parameters.pop("binary_data_output", False)
    for key in parameters.keys() - set(asked.NAMES):
        raise bad(f"parameters: expected {', '.join(asked.NAMES)} or binary_data_output, found {shown(key)}")
    tensors = tensors_from(head.get("inputs"), view[length:])
    sources = [source for tensor in tensors for source in _sources(tensor)]
    if not sources:
        raise bad("inputs: expected one or more images, found none")
    return InferRequest(name, sources, _wanted(head.get("outputs"), outputs, in_binary), parameters)


def _length(said: str, most: int) -> int:
    if not said.isdecimal() or len(said) > 15 or not 0 < int(said) <= most:
        raise bad(f"{HEADER}: expected 1 to {most}, the bytes of the body, found {shown(said)}")
    return int(said)


def _json(text: bytes) -> dict[str, Any]:
    if text.count(b",") > MAX_JSON_VALUES:
        raise bad(f"expected at most {MAX_JSON_VALUES} values in JSON, found more: send pixels in binary, or a file")
    try:
        head = json.loads(text)
    except (ValueError, RecursionError) as error:
        found = type(error).__name__ if isinstance(error, RecursionError | UnicodeDecodeError) else str(error)
        raise bad(f"expected JSON, found something else ({found})") from None
    if not isinstance(head, dict):
        raise bad("expected a JSON object, found another value")
    return head


def _sources(tensor: Tensor) -> "Iterator[bytes | NDArray[np.uint8]]":
    """Yield the images of an input."""
    if (tensor.name, tensor.datatype) == ("image", "BYTES"):
        if len(tensor.shape) > 2 or (len(tensor.shape) == 2 and tensor.shape[1] != 1):
            raise bad(f"image: expected the shape [images] or [images, 1], found {list(tensor.shape)}")
        yield from blobs_of(tensor)
    elif (tensor.name, tensor.datatype) == ("pixels", "UINT8"):
        shape = tensor.shape
        if len(shape) not in (3, 4) or shape[-1] != 3:
            raise bad(f"pixels: expected the shape [images, height, width, 3], RGB, found {list(shape)}")
        try:
            check_pixels(*shape[-3:-1])
        except InputError as error:
            raise bad(f"pixels: {error}") from None
        yield from pixels_of(tensor).reshape(-1, *shape[-3:])[..., ::-1]
    else:
        found = f"{shown(tensor.name)} of {shown(tensor.datatype)}"
        raise bad(f"inputs: expected image of BYTES or pixels of UINT8, found {found}")


def _wanted(entries: Any, outputs: Sequence[Output], in_binary: Any) -> list[tuple[Output, bool]]:
    """Return which outputs are asked for, all where none is named."""
    if entries is None or entries == []:
        return [(output, _flag("binary_data_output", in_binary)) for output in outputs]
    by_name = {output.name: output for output in outputs}
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise bad("outputs: expected a list of objects, found something else")
    wanted: list[tuple[Output, bool]] = []
    for entry in entries:
        name, parameters = entry.get("name"), entry.get("parameters", {})
        if not isinstance(name, str) or name not in by_name:
            raise bad(f"outputs: expected some of {', '.join(by_name)}, found {shown(name)}")
        if not isinstance(parameters, dict) or parameters.keys() - {"binary_data"}:
            raise bad(f"parameters of {name}: expected binary_data, found {shown(parameters)}")
        wanted.append((by_name[name], _flag("binary_data", parameters.get("binary_data", in_binary))))
    if len({output.name for output, _ in wanted}) != len(wanted):
        raise bad("outputs: expected each once, found one twice")
    return wanted


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise bad(f"{name}: expected true or false, found {shown(value)}")
    return value


def row_of(found: Detections, outputs: Sequence[tuple[Output, bool]]) -> Row:
    """Return what is answered of one image, before the images of a request are put together."""
    return {output.name: column_of(found, output) for output, _ in outputs}


def answer_from(name: str, request: InferRequest, rows: Sequence[Row]) -> tuple[bytes, int | None]:
    """Return the answer's body, and how many bytes of it are JSON where binary tensors follow.

    Images with fewer objects than others are filled up: `count` tells.
    """
    entries: list[Mapping[str, Any]] = []
    tail: list[bytes] = []
    for output, in_binary in request.outputs:
        shape, content, values = _joined(stacked(output, [row[output.name] for row in rows]), in_binary)
        entry: dict[str, Any] = {"name": output.name, "datatype": output.datatype, "shape": shape}
        if in_binary:
            entry["parameters"] = {"binary_data_size": len(content)}
            tail.append(content)
        else:
            entry["data"] = values
        entries.append(entry)
    head: dict[str, Any] = {"model_name": name, "model_version": VERSION, "outputs": entries}
    if request.id is not None:
        head["id"] = request.id
    text = json.dumps(head).encode()
    return b"".join([text, *tail]), len(text) if tail else None


def _joined(value: NDArray[Any], in_binary: bool) -> tuple[list[int], bytes, Any]:
    """Return an output's shape, and its content in binary or as a list."""
    if value.dtype == np.object_:  # of BYTES
        blobs = value.ravel().tolist()
        texts = [] if in_binary else [blob.decode() for blob in blobs]
        return list(value.shape), encoded_blobs(blobs) if in_binary else b"", texts
    return list(value.shape), value.tobytes() if in_binary else b"", None if in_binary else value.ravel().tolist()
