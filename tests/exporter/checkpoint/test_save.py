"""Weights files that y12 writes itself: read back as they were, whatever network they are of."""

import pytest
import torch
from checkpoint_checks import assert_equal_states, halved, loaded, refusal
from safetensors.torch import save_file
from tiny_networks import tiny_detector
from torch import nn

from y12.errors import CheckpointError, InputError
from y12.exporter.checkpoint.load import read_checkpoint
from y12.exporter.checkpoint.metadata import metadata_of, yaml_of_spec
from y12.exporter.checkpoint.save import write_checkpoint
from y12.exporter.model.build import detector_from_spec
from y12.exporter.model.spec import spec_from_name, specs_at_scale


@pytest.mark.parametrize("kind", ["shipped", "the user's own"])
def test_a_file_is_read_back_as_it_was(tmp_path, kind):
    shipped = kind == "shipped"
    detector = detector_from_spec(spec_from_name("yolov12n-pose", nc=2)) if shipped else tiny_detector()
    detector.names = ("Käse", "a 'b'\n")
    for module in detector.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 2e-5
    write_checkpoint(tmp_path / "a.safetensors", detector.train())
    copy = loaded(tmp_path / "a.safetensors")
    assert (copy.spec, copy.names) == (detector.spec, detector.names)
    assert {m.eps for m in copy.modules() if isinstance(m, nn.BatchNorm2d)} == {2e-5}
    assert_equal_states(copy.state_dict(), detector.state_dict())
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


def test_a_file_tells_size_and_licence(tmp_path):
    write_checkpoint(tmp_path / "a.safetensors", tiny_detector(), extra={"imgsz": "320", "licence": "MIT"})
    checkpoint = read_checkpoint(tmp_path / "a.safetensors")
    assert (checkpoint.side, checkpoint.licence) == (320, "MIT")
    write_checkpoint(tmp_path / "b.safetensors", tiny_detector())
    bare = read_checkpoint(tmp_path / "b.safetensors")
    assert (bare.side, bare.licence) == (None, "")


def test_every_shipped_network_is_told_by_its_rows(tmp_path):
    for spec in specs_at_scale("n", 7):
        (tmp_path / "net.yaml").write_text(yaml_of_spec(spec))
        read = spec_from_name(str(tmp_path / "net.yaml"))
        assert (read.layers, read.task, read.strides) == (spec.layers, spec.task, spec.strides)


def test_half_takes_half_the_room(tmp_path):
    detector = tiny_detector()
    for half in (False, True):
        write_checkpoint(tmp_path / f"{half}.safetensors", detector, half=half)
    assert (tmp_path / "True.safetensors").stat().st_size < 0.6 * (tmp_path / "False.safetensors").stat().st_size
    assert_equal_states(loaded(tmp_path / "True.safetensors").state_dict(), halved(detector))


def test_the_same_detector_gives_the_same_bytes(tmp_path):
    detector = tiny_detector()
    for name in "abcdef":
        write_checkpoint(tmp_path / f"{name}.safetensors", detector, extra={"ranges": "{}", "x": "1"})
    assert len({(tmp_path / f"{name}.safetensors").read_bytes() for name in "abcdef"}) == 1
    assert read_checkpoint(tmp_path / "a.safetensors").ranges == "{}"


def spoilt(value):
    detector = tiny_detector()
    detector.model[0].conv.weight.data[0, 0, 0, 0] = value
    return detector


@pytest.mark.parametrize(
    ("detector", "name", "options", "reason"),
    [
        (tiny_detector(), "a.pt", {}, "expected a name that ends in .safetensors"),
        (tiny_detector(), "a.safetensors", {"extra": {"names": "[]"}}, "['names'] are written from the detector"),
        (tiny_detector(), "a.safetensors", {"half": True, "extra": {"ranges": "{}"}}, "must be stored in FP32"),
        (spoilt(torch.nan), "a.safetensors", {}, "expected finite numbers in 'model.0.conv.weight'"),
        (spoilt(1e5), "a.safetensors", {"half": True}, "expected FP16 numbers in 'model.0.conv.weight'"),
    ],
)
def test_what_cannot_be_written_leaves_nothing(tmp_path, detector, name, options, reason):
    with pytest.raises(CheckpointError) as caught:
        write_checkpoint(tmp_path / name, detector, **options)
    assert reason in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        write_checkpoint(tmp_path / "file" / "a.safetensors", tiny_detector())


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"yaml": "nc: ["}, "not readable as YAML"),
        ({"yaml": "3"}, "expected a mapping with nc, scales, backbone, head, found int"),
        ({"yaml": "a: &a [1]\nb: *a"}, "YAML aliases are not allowed here"),
        ({"yaml": "nc: " + "[" * 40}, "expected at most 16 lists within each other"),
        ({"yaml": "#" * (1 << 19)}, "expected a model YAML of at most 262144 characters, found 524288"),
        ({"yaml": "nc: 2"}, "expected the keys nc, scales, backbone, head; 'scales' is missing"),
        ({"yaml": "!!python/object/apply:os.system [ls]"}, "not readable as YAML"),
        ({"imgsz": "wide"}, "expected an imgsz in pixels, found 'wide'"),
        ({"imgsz": "100000"}, "expected an imgsz in pixels, found '100000'"),
        ({"licence": "MIT\x1b[2J"}, "expected a licence of at most 500 characters, found"),
        ({"licence": "x" * 501}, "expected a licence of at most 500 characters, found"),
        ({"model": ""}, "expected a name for the model YAML in it, found ''"),
        ({"model": "a\nb"}, "expected a name for the model YAML in it, found 'a\\nb'"),
        ({"model": "a" * 300}, "expected a name for the model YAML in it"),
        ({"names": "[" * 100_000}, "not a sound .safetensors file ('class names: "),
        ({"names": '["one"]'}, "1 class names, but its network 2 classes"),
        ({"names": "[" + " " * (1 << 22) + "]"}, "expected at most 4194304 characters under 'names'"),
        ({"ranges": " " * (1 << 23)}, "expected at most 4194304 characters under 'ranges'"),
        ({"batch_norm_eps": "0"}, "expected a BatchNorm eps from 0 to 1, found '0'"),
        ({"batch_norm_eps": "nan"}, "expected a BatchNorm eps from 0 to 1, found 'nan'"),
        ({"batch_norm_eps": "tiny"}, "expected a BatchNorm eps from 0 to 1, found 'tiny'"),
    ],
)
def test_what_a_stranger_writes_is_refused(tmp_path, changes, reason):
    detector = tiny_detector()
    save_file(detector.state_dict(), tmp_path / "a.safetensors", metadata_of(detector) | changes)
    assert reason in refusal(tmp_path / "a.safetensors")


def test_another_networks_yaml_is_refused(tmp_path):
    metadata = metadata_of(tiny_detector()) | {"yaml": yaml_of_spec(spec_from_name("yolov12n", nc=2))}
    save_file(tiny_detector().state_dict(), tmp_path / "a.safetensors", metadata)
    assert "its weights contradict its network (tiny)" in refusal(tmp_path / "a.safetensors")
