"""Engines and .onnx files that are far larger than what is in them: told by their first bytes, in no time."""

import json
import struct
from pathlib import Path

import pytest
from cost import refusal, refused

from y12.runtime.artefact.opened import MAX_ENGINE_BYTES, open_artefact
from y12.runtime.artefact.plan import SEARCHED_BYTES

SIZE = MAX_ENGINE_BYTES - 4096


def header(tag: bytes, size: int = SIZE) -> bytes:
    return struct.pack("<4sIQQ4B", tag, 0, 0, size, 10, 16, 1, 11) + bytes(36)


FOREIGN = json.dumps({"task": "detect", "names": {"0": "a"}, "stride": 32, "imgsz": [640, 640], "batch": 1}).encode()
ENGINES = {  # what a sparse file of 8 GB begins with
    "zeros": b"",
    "full TensorRT": header(b"ftrt"),
    "TensorRT-RTX": header(b"vtrt"),
    "TensorRT-RTX of another size": header(b"vtrt", SIZE - 1),
    "another version": struct.pack("<4sI", b"ftrt", 7),
    "text": b"#!/bin/sh\n",
    "a zip": b"PK\x03\x04",
    "JSON and nothing": struct.pack("<I", len(FOREIGN)) + FOREIGN,
    "JSON that claims to be long": struct.pack("<I", 0x7FFFFFFF) + b'{"task":',
    "JSON cut short": struct.pack("<I", 4 << 20) + b'{"task":',
    "JSON of lists": struct.pack("<I", 3_000_002) + b'{"a":[' + b"[]," * 999_998 + b"0]}",
    "a damaged manifest": header(b"vtrt") + b"y12:AAAA",
    "names that are too long": header(b"ftrt") + (b"y12:" + b"A" * 5000 + b"\0") * 500,
    "a name beyond what is searched": header(b"ftrt"),
}


def write_sparse(path: Path, content: bytes, size: int = SIZE) -> Path:
    with path.open("wb") as file:
        file.write(content)
        file.truncate(size)
    return path


@pytest.mark.parametrize("name", ENGINES)
def test_engines_are_told_by_their_first_bytes(tmp_path, name):
    path = write_sparse(tmp_path / "big.engine", ENGINES[name])
    if name == "a name beyond what is searched":
        with path.open("r+b") as file:
            file.seek(SEARCHED_BYTES + 1)
            file.write(b"y12:AAAA")
    refused(name, lambda: open_artefact(path), seconds=2, mib=2 * SEARCHED_BYTES / 2**20)  # a million lists: 1.1 s


def varint(value: int) -> bytes:
    groups = []
    while value > 127:
        groups.append(128 | value & 127)
        value >>= 7
    return bytes([*groups, value])


def message(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + varint(len(content)) + content


def filled(unit: bytes, size: int = 3 << 20) -> bytes:
    return unit * (size // len(unit))


def graph_input(content: bytes) -> bytes:
    return message(7, message(11, content))


MODELS = {  # made of one thing over and over
    "numbers": filled(b"\x08\x01"),
    "empty texts": filled(b"\x12\x00"),
    "fields of eight bytes": filled(b"\x09" + bytes(8)),
    "metadata": filled(message(14, b"\x0a\x00")),
    "metadata of many parts": message(14, filled(b"\x0a\x00")),
    "nodes": message(7, filled(b"\x0a\x00")),
    "inputs": message(7, filled(b"\x5a\x00")),
    "outputs": message(7, filled(b"\x62\x00")),
    "dimensions": graph_input(message(2, message(1, message(2, filled(b"\x0a\x00"))))),
    "parts of a dimension": graph_input(message(2, message(1, message(2, message(1, filled(b"\x08\x00")))))),
    "types": graph_input(filled(message(2, b"\x0a\x00"))),
    "names of an input": graph_input(filled(b"\x0a\x00")),
    "graphs": filled(b"\x3a\x00"),
    "a long number": filled(b"\xff"),
    "a long text": message(14, message(2, bytes(3 << 20))),
}


@pytest.mark.parametrize("name", MODELS)
def test_models_of_many_fields(tmp_path, name):
    path = tmp_path / "many.onnx"
    path.write_bytes(MODELS[name])
    refused(name, lambda: open_artefact(path), seconds=2, mib=100)


def test_a_text_longer_than_any_manifest(tmp_path):
    start = bytes([14 << 3 | 2]) + varint((1 << 30) + 6) + b"\x12" + varint(1 << 30)
    path = write_sparse(tmp_path / "text.onnx", start, len(start) + (1 << 30))
    message = refused("text", lambda: open_artefact(path), seconds=0.5, mib=16)
    assert "bytes of names and metadata" in message


def test_a_sparse_model_is_skipped_not_read(tmp_path):
    start = bytes([7 << 3 | 2]) + varint((1 << 31) - 4096)
    path = write_sparse(tmp_path / "sparse.onnx", start + b"\x2a" + varint((1 << 31) - 4200), 1 << 31)
    refusal("sparse", lambda: open_artefact(path), seconds=0.5, mib=16)
