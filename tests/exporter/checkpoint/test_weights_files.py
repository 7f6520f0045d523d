"""The kinds of weights files: state dicts and .safetensors, which tell their network by shapes or by a name; others."""

import json
import struct

import pytest
import torch
from checkpoint_checks import assert_equal_states, loaded, refusal
from safetensors.torch import save_file
from tiny_networks import tiny_detector

from y12.exporter.model.build import detector_from_spec
from y12.exporter.model.spec import spec_from_name


@pytest.fixture(scope="module")
def full_size():
    return detector_from_spec(spec_from_name("yolov12n-v1", nc=3))


@pytest.mark.parametrize(
    ("prefix", "key"),
    [("", None), ("module.", "state_dict"), ("_orig_mod.", "model"), ("module._orig_mod.", None)],
)
def test_plain_state_dict(tmp_path, full_size, prefix, key):
    state = {prefix + k: v for k, v in full_size.state_dict().items()}
    torch.save({key: state} if key else state, tmp_path / "plain.pt")
    copy = loaded(tmp_path / "plain.pt")
    assert (copy.spec.name, copy.spec.nc, copy.names) == ("yolov12n-v1", 3, ("class0", "class1", "class2"))
    assert_equal_states(copy.state_dict(), full_size.state_dict())


TASKS = {
    "yolov12n-seg": 80,
    "yolov12n-v1-seg": 3,
    "yolov12s-pose": 1,
    "yolov12n-v1-obb": 15,
    "yolov12n-cls": 10,
    "yolov12n-multitask": 2,
    "yolov12n-p6": 80,
    "yolo11n-pose": 80,
    "yolov8n": 80,
    "yolov12n-lite": 3,
    "bitfalcon-n": 2,
    "yolov12n-hybrid-seg": 3,
    "yolov12n-hybrid-heatmap": 3,
}


_OFTEN = ("yolov12n-multitask", "yolov8n", "yolov12n-hybrid-heatmap")


@pytest.mark.parametrize(
    ("name", "nc"),
    [pytest.param(*row, marks=() if row[0] in _OFTEN else pytest.mark.exhaustive) for row in TASKS.items()],
)
def test_a_plain_state_dict_of_every_task_tells_its_network(tmp_path, name, nc):
    state = detector_from_spec(spec_from_name(name, nc=nc)).state_dict()
    torch.save(state, tmp_path / "plain.pt")
    copy = loaded(tmp_path / "plain.pt")
    assert (copy.spec.name, copy.spec.nc) == (name, nc)
    assert copy.spec.layers == spec_from_name(name, nc=nc).layers
    del state[next(iter(state))]  # a part of a network is none
    torch.save(state, tmp_path / "part.pt")
    assert "fit none of the shipped models" in refusal(tmp_path / "part.pt")


def test_anchors_are_not_in_the_weights(tmp_path):
    """Nothing tells which anchors a plain state dict was trained with: a file of y12's says so, others are refused."""
    torch.save(detector_from_spec(spec_from_name("yolov12n-lite-anchors", nc=3)).state_dict(), tmp_path / "plain.pt")
    assert "fit none of the shipped models" in refusal(tmp_path / "plain.pt")


def test_ordered_dict_with_metadata(tmp_path, full_size):
    assert full_size.state_dict()._metadata  # torch pickles it as the OrderedDict's state
    torch.save(full_size.state_dict(), tmp_path / "plain.pt")
    assert loaded(tmp_path / "plain.pt").spec.name == "yolov12n-v1"


@pytest.mark.parametrize(
    "metadata", [{"model": "yolov12n-v1", "names": '["a", "b", "c"]'}, {"names": '["a", "b", "c"]'}, None]
)
def test_safetensors(tmp_path, full_size, metadata):
    save_file(full_size.state_dict(), tmp_path / "weights.safetensors", metadata)
    copy = loaded(tmp_path / "weights.safetensors")
    assert copy.spec.name == "yolov12n-v1"
    assert copy.names == (("a", "b", "c") if metadata else ("class0", "class1", "class2"))
    assert_equal_states(copy.state_dict(), full_size.state_dict())


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({"model": "yolov12n"}, "contradict its network (yolov12n)"),
        ({"model": "yolov9n"}, "unknown model 'yolov9n'"),
        ({"model": "../../secret.yaml"}, "expected the name of a shipped model in it, found '../../secret.yaml'"),
        ({"names": '["a", "b"]'}, "2 class names, but its network 3 classes"),
        ({"names": "[1, 2, 3]"}, "expected class names as strings, found [1, 2, 3]"),
        ({"names": "[" * 100_000}, "not a sound .safetensors file"),
        ({"names": "person"}, "not a sound .safetensors file"),
    ],
)
def test_safetensors_metadata_refused(tmp_path, full_size, metadata, reason):
    save_file(full_size.state_dict(), tmp_path / "weights.safetensors", metadata)
    assert reason in refusal(tmp_path / "weights.safetensors")


def header_of(fields):
    text = json.dumps(fields).encode()
    return struct.pack("<Q", len(text)) + text


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        struct.pack("<Q", 1 << 62) + b"{}",
        struct.pack("<Q", 40) + b"{",
        header_of({"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}),
        header_of({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 4]}}) + bytes(4),
        header_of({"a": {"dtype": "F99", "shape": [1], "data_offsets": [0, 4]}}) + bytes(4),
        header_of({"a": 1}),
    ],
)
def test_safetensors_damaged(tmp_path, content):
    (tmp_path / "bad.safetensors").write_bytes(content)
    assert "not a sound .safetensors file" in refusal(tmp_path / "bad.safetensors")


def test_weights_of_no_shipped_model(tmp_path):
    torch.save(tiny_detector().state_dict(), tmp_path / "tiny.pt")
    assert "fit none of the shipped models; first: 'model.0.conv.weight'" in refusal(tmp_path / "tiny.pt")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("none.pt", None, "found no file"),
        ("weights.bin", b"", "expected a .pt or .safetensors file, found '.bin'"),
        ("weights.pt", b"", "expected a .pt file (a zip written by torch.save), found something else"),
        ("weights.pt", b"hello\n" * 100, "found something else"),
        ("weights.pt", b"PK\x03\x04" + bytes(200), "truncated"),
        ("x" * 300 + ".pt", None, "found no file"),
    ],
)
def test_no_weights_file(tmp_path, name, content, reason):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert reason in refusal(tmp_path / name)


def test_folder_is_no_weights_file(tmp_path):
    (tmp_path / "weights.pt").mkdir()
    assert "found no file" in refusal(tmp_path / "weights.pt")


def test_format_before_zips_is_refused(tmp_path):
    torch.save(tiny_detector().state_dict(), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert "found something else" in refusal(tmp_path / "old.pt")


@pytest.mark.parametrize("content", [[1, 2], 7, None, "model", {"model": 3}, {"epoch": 1}, {}])
def test_no_network_in_it(tmp_path, content):
    torch.save(content, tmp_path / "weights.pt")
    assert "expected a network under 'ema' or 'model', or a state dict" in refusal(tmp_path / "weights.pt")
