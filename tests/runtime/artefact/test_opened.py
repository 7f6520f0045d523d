"""Artefacts: where the manifest is found, and which files are refused, each in one line."""

import json
import os
import struct

import pytest

from y12.errors import ArtefactError
from y12.runtime.artefact.manifest import ONNX_KEY, AxisRange
from y12.runtime.artefact.onnx_header import read_onnx_header
from y12.runtime.artefact.opened import open_artefact, sidecar_of
from y12.runtime.artefact.ultralytics_metadata import manifest_from_metadata

FOREIGN = {  # as Ultralytics writes it into an .onnx
    "description": "Ultralytics YOLO11n model trained on coco.yaml",
    "version": "8.3.100",
    "license": "AGPL-3.0 License (https://ultralytics.com/license)",
    "stride": "32",
    "task": "detect",
    "batch": "1",
    "imgsz": "[64, 64]",
    "names": "{0: 'red', 1: \"o'green\", 2: 'blue'}",
    "args": "{'batch': 1, 'half': False, 'dynamic': False}",
}
FOREIGN_JSON = FOREIGN | {
    "stride": 32,
    "batch": 2,
    "imgsz": [64, 96],
    "names": {"0": "red", "2": "blue", "1": "green"},
    "args": {"half": True},
}


def plan_bytes(payload=b"", magic=b"vtrt"):
    """What begins like a TensorRT-RTX plan: magic, version 0, the size at byte 16, 1.7.1.116."""
    size = 64 + len(payload)
    header = magic + bytes(12) + struct.pack("<Q", size) + bytes([1, 7, 1, 116])
    return header.ljust(64, b"\0") + payload


def named_plan(manifest):
    name = manifest.to_network_name().encode()
    return plan_bytes(b"\5weights" + struct.pack("<Q", len(name)) + name + b"AAAA more weights")


def test_onnx_with_our_manifest(make_onnx, make_manifest):
    artefact = open_artefact(make_onnx())
    assert (artefact.kind, artefact.manifest) == ("onnx", make_manifest())
    assert [(t.name, t.dtype, t.shape) for t in artefact.inputs] == [("images", "float32", (1, 3, 64, 64))]
    assert [(t.name, t.dtype, t.shape) for t in artefact.outputs] == [("output0", "float32", (1, 7, 1))]
    assert artefact.read_model() == artefact.path.read_bytes()
    assert len(artefact.sha256()) == 64


def test_header_reads_free_axes(make_onnx):
    header = read_onnx_header(make_onnx(batch="batch", size="side", metadata={"a": "b", "ü": "é"}))
    assert header.inputs[0].shape == (None, 3, None, None)
    assert header.metadata == {"a": "b", "ü": "é"}


def test_onnx_from_ultralytics(make_onnx):
    manifest = open_artefact(make_onnx(metadata=FOREIGN)).manifest
    assert (manifest.task, manifest.names, manifest.strides) == ("detect", ("red", "o'green", "blue"), (32,))
    assert manifest.profile.batch == AxisRange(1, 1, 1)
    assert manifest.profile.opt_hw == (64, 64)
    assert (manifest.producer, manifest.precision) == ("Ultralytics 8.3.100", "fp32")
    assert "AGPL" in manifest.licence


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        (FOREIGN | {"task": "pose", "kpt_shape": "[17, 3]"}, (17, 3)),
        (FOREIGN_JSON | {"task": "pose", "kpt_shape": [4, 2]}, (4, 2)),
        (FOREIGN | {"task": "segment"}, None),
        (FOREIGN | {"task": "classify", "stride": "1"}, None),
    ],
)
def test_tasks_from_ultralytics(metadata, expected):
    manifest = manifest_from_metadata(metadata)
    assert (manifest.task, manifest.kpt_shape, manifest.nms) == (metadata["task"], expected, None)


def test_onnx_from_ultralytics_with_free_axes(make_onnx):
    profile = open_artefact(make_onnx(metadata=FOREIGN, batch="batch", size="side")).manifest.profile
    assert (profile.batch.min, profile.batch.opt) == (1, 1)
    assert profile.batch.max > 100
    assert (profile.height.min, profile.height.opt) == (32, 64)
    assert profile.width.max > 1000


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"names": "{0: 'a', 2: 'b'}"}, "names"),
        ({"names": "{0: __import__('os').getcwd()}"}, "'names' is not readable"),
        ({"names": "[" * 5000}, "'names' is not readable"),
        ({"names": "{" + " " * (1 << 20)}, "at most 1048576 characters"),
        ({"names": "person"}, "names as a list or as a dict"),
        ({"names": "{}"}, "names"),
        ({"stride": "0"}, "stride as a whole number"),
        ({"stride": "32.5"}, "stride"),
        ({"stride": "True"}, "stride"),
        ({"task": "sing"}, "expected a task of detect"),
        ({"imgsz": "[1, 2, 3]"}, "imgsz"),
        ({"imgsz": "[-1, 640]"}, "imgsz"),
        ({"batch": "many"}, "batch"),
        ({"task": "pose"}, "expected kpt_shape for the task pose, found none"),
        ({"task": "pose", "kpt_shape": "[17]"}, "kpt_shape as two numbers"),
        ({"task": "pose", "kpt_shape": "[17, 4]"}, "kpt_shape"),
        ({"task": "pose", "kpt_shape": "[0, 3]"}, "kpt_shape as a whole number"),
        ({"task": "pose", "kpt_shape": "many"}, "kpt_shape"),
        ({"kpt_shape": "[17, 3]"}, r"found \(17, 3\) for detect"),
    ],
)
def test_damaged_metadata_is_refused(changes, message):
    with pytest.raises(ArtefactError, match=message) as caught:
        manifest_from_metadata(FOREIGN | changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({}, r"expected metadata with task, names and stride, found \[\]"),
        ({"author": "me"}, "'author'"),
        ({ONNX_KEY: "{}"}, "schema"),
        ({ONNX_KEY: "not json"}, "not readable"),
        ({ONNX_KEY: '{"schema": 1, "task": "detect"}'}, "expected its fields as a mapping"),
    ],
)
def test_onnx_that_does_not_say_what_it_is(make_onnx, metadata, message):
    path = make_onnx(metadata=metadata)
    with pytest.raises(ArtefactError, match=message) as caught:
        open_artefact(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_onnx_cut_anywhere_is_refused(make_onnx):
    path = make_onnx()
    whole = path.read_bytes()
    for size in range(0, len(whole), 7):
        path.write_bytes(whole[:size])
        with pytest.raises(ArtefactError) as caught:
            open_artefact(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xd8\xff\xe0 a JPEG",
        b"PK\x03\x04 a zip",
        b"just text\n" * 50,
        b"\0" * 4096,
        b"\xff" * 4096,
        b"\x0a",
    ],
)
@pytest.mark.parametrize("name", ["x.onnx", "x.engine"])
def test_foreign_files_are_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ArtefactError) as caught:
        open_artefact(tmp_path / name)
    assert str(caught.value).startswith(str(tmp_path / name))
    assert "\n" not in str(caught.value)


def test_random_bytes_never_raise_anything_else(tmp_path, rng):
    path = tmp_path / "noise.onnx"
    for _ in range(300):
        path.write_bytes(rng.bytes(int(rng.integers(1, 200))))
        with pytest.raises(ArtefactError):
            open_artefact(path)


@pytest.mark.parametrize("name", ["x.onnx", "x.engine"])
def test_paths_that_are_no_files(tmp_path, name):
    path = tmp_path / name
    for make, reason in [
        (lambda: None, "No such file"),
        (lambda: path.write_bytes(b""), "found 0"),
        (lambda: (path.unlink(), os.mkfifo(path)), "a pipe"),
        (lambda: (path.unlink(), path.mkdir()), "a directory"),
    ]:
        make()
        with pytest.raises(ArtefactError, match=reason):
            open_artefact(path)


@pytest.mark.parametrize(("name", "advice"), [("m.pt", "y12-export"), ("m.tflite", r"\*\.onnx"), ("m", r"\*\.engine")])
def test_other_names_are_refused(tmp_path, name, advice):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ArtefactError, match=advice):
        open_artefact(tmp_path / name)


def test_engine_with_its_manifest_in_the_name(tmp_path, make_manifest):
    manifest = make_manifest(engine={"gpus": "SM 75 to 121"})
    path = tmp_path / "m.engine"
    path.write_bytes(named_plan(manifest))
    sidecar_of(path).write_text(make_manifest(names=("another",)).to_json())  # a copy that belongs elsewhere
    artefact = open_artefact(path)
    assert (artefact.kind, artefact.manifest) == ("engine", manifest)
    assert artefact.manifest_from == "the network's name"
    assert artefact.read_model() == path.read_bytes()
    assert artefact.plan_header.product == "TensorRT-RTX 1.7.1.116"


def test_engine_with_a_sidecar(tmp_path, make_manifest):
    path = tmp_path / "m.engine"
    path.write_bytes(plan_bytes(b"weights"))
    with pytest.raises(ArtefactError, match=r"in m\.engine\.json beside it, found none"):
        open_artefact(path)
    sidecar_of(path).write_text(make_manifest().to_json())
    assert open_artefact(path).manifest == make_manifest()
    for content in (b"{", b"\xff\xfe", b"", b"[]"):
        sidecar_of(path).write_bytes(content)
        with pytest.raises(ArtefactError, match=r"m\.engine"):
            open_artefact(path)


def test_engine_from_ultralytics(tmp_path):
    prefix, plan = json.dumps(FOREIGN_JSON).encode(), plan_bytes(b"weights", b"ftrt")
    path = tmp_path / "yolo.engine"
    path.write_bytes(struct.pack("<I", len(prefix)) + prefix + plan)
    artefact = open_artefact(path)
    assert artefact.read_model() == plan  # the prefix is stripped
    assert artefact.manifest.names == ("red", "green", "blue")
    assert artefact.manifest.profile.opt_hw == (64, 96)
    assert (artefact.manifest.profile.batch.max, artefact.manifest.precision) == (2, "fp16")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (struct.pack("<I", 100) + b'{"names"', "100 bytes of JSON"),
        (struct.pack("<I", 0xFFFFFFF0) + b'{"names": 1}' + plan_bytes(), "of JSON and an engine after"),
        (struct.pack("<I", 12) + b'{"names": 1}' + plan_bytes(), "expected task, names and stride"),
        (struct.pack("<I", 5) + b"{{{{{" + plan_bytes(), "damaged"),
        (struct.pack("<I", 12) + b'{"names": 1}', "an engine after"),
        (plan_bytes(b"weights")[:-1], "truncated"),
        (plan_bytes(b"weights") + b"\0", "appended"),
        (plan_bytes()[:40], "in 40 bytes"),
    ],
)
def test_damaged_engines_are_refused(tmp_path, content, message):
    path = tmp_path / "m.engine"
    path.write_bytes(content)
    with pytest.raises(ArtefactError, match=message) as caught:
        open_artefact(path)
    assert "\n" not in str(caught.value)
