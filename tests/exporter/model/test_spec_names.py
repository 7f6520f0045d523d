"""Which file and scale a name, a path and --scale mean; what else is in a model YAML's file is refused."""

import subprocess
import sys
import time

import pytest
import yaml
from tiny_networks import rows

from y12.errors import ModelSpecError
from y12.exporter.model.scaling import Ratios
from y12.exporter.model.spec import _names_in, _shipped, models_dir, spec_from_name, specs_at_scale

FIVE = {letter: [1.0, 1.0, 64] for letter in "nsmlx"}


def layout(spec):
    return next(row.args["layout"] for row in spec.layers if row.module == "A2C2f" and row.args["a2"])


def width(spec):
    return spec.layers[0].channels


@pytest.mark.parametrize(
    ("name", "scale", "expected"),
    [
        ("yolov12n", None, ("yolov12n", "turbo", 16)),
        ("yolov12l", None, ("yolov12l", "turbo", 64)),
        ("yolov12x-v1", None, ("yolov12x-v1", "v1", 96)),
        ("yolo12l", None, ("yolo12l", "v1", 64)),
        ("yolov12", "s", ("yolov12s", "turbo", 32)),
        ("yolov12-v1", "s", ("yolov12s-v1", "v1", 32)),
        ("yolo12", "x", ("yolo12x", "v1", 96)),
        ("yolov12s", "s", ("yolov12s", "turbo", 32)),
    ],
)
def test_shipped_names(name, scale, expected):
    spec = spec_from_name(name, scale=scale)
    assert (spec.name, layout(spec), width(spec)) == expected


@pytest.mark.parametrize(
    ("name", "scale", "reason"),
    [
        ("yolov12", None, "which scale"),
        ("yolo12", None, "which scale"),
        ("yolov12n", "l", "names the scale 'n', --scale says 'l'"),
        ("yolov12", "q", "unknown scale 'q'; known: n, s, m, l, x"),
        ("yolov12q", None, "did you mean 'yolov12n'"),
        ("yolov12nn", None, "did you mean 'yolov12n'"),
        ("yolov12x-sgm", None, "did you mean 'yolov12x-seg'"),
        ("bitfalkon", None, "did you mean 'bitfalcon-n'"),
        ("yolov9n", None, "did you mean 'yolov8n'"),
        ("runs/yolov12n", None, "unknown model 'runs/yolov12n'"),  # a folder, and no ending: a mistyped checkpoint
        ("../models/yolov12", "n", "unknown model"),
        ("", "n", "unknown model ''"),
        ("resnet", None, "shipped: bitfalcon, yolo11, yolo26, yolov10, yolov12, yolov12-cls, "),
        ("x" * 300, None, "unknown model"),
        ("x" * 300 + ".yaml", None, "found no file"),
        ("nowhere/yolov12n.yaml", None, "found no file nowhere/yolov12n.yaml"),
    ],
)
def test_names_refused(name, scale, reason):
    with pytest.raises(ModelSpecError) as caught:
        spec_from_name(name, scale=scale)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("there", "asked", "scale", "expected"),
    [
        ("yolov12.yaml", "yolov12s.yaml", None, "yolov12s"),  # the published convention: the file of all scales
        ("yolov12s.yaml", "yolov12s.yaml", None, "yolov12s"),
        ("yolov12.yaml", "yolov12.yaml", "m", "yolov12m"),
        ("yolov12-v1.yaml", "yolov12x-v1.yaml", None, "yolov12x-v1"),
        ("bitfalcon.yaml", "bitfalcon-n.yaml", None, "bitfalcon-n"),
        ("yolo12.yaml", "yolo12s.yaml", None, "yolo12s"),
        ("yolov12.yml", "yolov12n.yml", None, "yolov12n"),
    ],
)
def test_paths(tmp_path, there, asked, scale, expected):
    (tmp_path / there).write_text(yaml.safe_dump(rows(scales=FIVE)))
    assert spec_from_name(str(tmp_path / asked), scale=scale).name == expected


def test_a_file_whose_name_ends_in_a_scale_letter_names_no_scale(tmp_path):
    (tmp_path / "model.yaml").write_text(yaml.safe_dump(rows()))  # one scale: n
    assert spec_from_name(str(tmp_path / "model.yaml")).name == "model"


def test_class_count_replaces_the_files(tmp_path):
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(rows()))
    spec = spec_from_name(str(tmp_path / "tiny.yaml"), nc=7)
    assert (spec.nc, spec.layers[-1].args["nc"]) == (7, 7)


TEXTS = {  # what the file holds: what the message must hold
    "alias": ("nc: &a 2\nscales: *a\n", "aliases"),
    "billion laughs": (
        "a: &a [x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)),
        "aliases",
    ),
    "object tag": ("nc: !!python/object/apply:os.system ['touch MARKER']\n", "could not determine a constructor"),
    "module tag": ("nc: !!python/name:os.system\n", "could not determine a constructor"),
    "too large": ("#" * (2 << 20), "at most"),
    "nested lists": ("nc: " + "[" * 30_000, "maximum nesting depth"),
    "nested mappings": ("{a: " * 10_000, "within each other"),
    "nested blocks": ("".join(f"{' ' * i}a:\n" for i in range(200)), "within each other"),
    "list": ("- 1\n- 2\n", "expected a mapping"),
    "empty": ("", "expected a mapping"),
    "text": ("hello", "expected a mapping"),
    "not closed": ("nc: [1, 2", "not readable as YAML"),
    "huge number": ("nc: " + "9" * 5000, "not readable as YAML"),
    "no date": ("nc: 2020-99-99", "not readable as YAML"),
    "no boolean": ("nc: !!bool maybe", "not readable as YAML"),
    "no whole number": ("nc: !!int ''", "not readable as YAML"),
    "two documents": ("nc: 1\n---\nnc: 2\n", "not readable as YAML"),
    "bytes": (b"\x89PNG\r\n\x1a\n\xff\xfe\x00", "not readable as YAML"),
    "zeros": (b"\x00" * 64, "not readable as YAML"),
}


@pytest.mark.parametrize(("content", "reason"), TEXTS.values(), ids=TEXTS.keys())
def test_files_refused(tmp_path, monkeypatch, content, reason):
    monkeypatch.chdir(tmp_path)  # where a marker would be made
    file = tmp_path / "tiny.yaml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    began = time.process_time()
    with pytest.raises(ModelSpecError) as caught:
        spec_from_name(str(file))
    message = str(caught.value)
    assert message.startswith(str(file))
    assert reason in message
    assert "\n" not in message
    assert time.process_time() - began < 2
    assert [p.name for p in tmp_path.iterdir()] == ["tiny.yaml"]


def test_the_shipped_files_are_found_from_any_folder(tmp_path):
    code = "from y12.exporter.model.spec import spec_from_name; print(spec_from_name('yolov12n').name)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == "yolov12n\n", done.stderr


def test_reading_a_model_needs_no_torch():
    code = "import sys; sys.modules['torch'] = None; import y12.exporter.model.spec"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=models_dir().parents[1], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("name", "full", "task", "kpt_shape", "strides"),
    [
        ("yolov12s-seg", "yolov12s-seg", "segment", None, (8, 16, 32)),
        ("yolov12s-pose", "yolov12s-pose", "pose", (17, 3), (8, 16, 32)),
        ("yolov12s-obb", "yolov12s-obb", "obb", None, (8, 16, 32)),
        ("yolov12s-cls", "yolov12s-cls", "classify", None, (32,)),
        ("yolo12s-seg", "yolo12s-seg", "segment", None, (8, 16, 32)),
        ("yolo12s-cls", "yolo12s-cls", "classify", None, (32,)),
        ("yolov12s-v1-pose", "yolov12s-v1-pose", "pose", (17, 3), (8, 16, 32)),
        ("yolov12s-multitask", "yolov12s-multitask", "multitask", None, (8, 16, 32)),
        ("yolov12s-p6", "yolov12s-p6", "detect", None, (8, 16, 32, 64)),
        ("yolov12s-p6-obb", "yolov12s-p6-obb", "obb", None, (8, 16, 32, 64)),
        ("yolo11s", "yolo11s", "detect", None, (8, 16, 32)),
        ("yolo11s-pose", "yolo11s-pose", "pose", (17, 3), (8, 16, 32)),
        ("yolov8s-seg", "yolov8s-seg", "segment", None, (8, 16, 32)),
    ],
)
def test_tasks_by_name(name, full, task, kpt_shape, strides):
    spec = spec_from_name(name)
    assert (spec.name, spec.task, spec.kpt_shape, spec.strides) == (full, task, kpt_shape, strides)


def test_a_users_yaml_may_have_a_row_for_each_task(tmp_path):
    text = (models_dir() / "yolo11.yaml").read_text().replace("nc: 80", "nc: 3").replace("[17, 3]", "[5, 2]")
    (tmp_path / "mine.yaml").write_text(text)
    assert spec_from_name(str(tmp_path / "mine-pose.yaml"), scale="n").kpt_shape == (5, 2)
    assert spec_from_name(str(tmp_path / "mine.yaml"), scale="n").task == "detect"
    (tmp_path / "single.yaml").write_text((models_dir() / "yolov12-seg.yaml").read_text())
    with pytest.raises(ModelSpecError, match=r"single.yaml: it is a network of one task; asked for 'pose'"):
        spec_from_name(str(tmp_path / "single-pose.yaml"), scale="n")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("yolov12n-multitask-seg", "it is a network of one task; asked for 'segment'"),
        ("yolo11n-cls", "it has no row for the task 'classify'; known: ['detect', 'segment', 'pose', 'obb']"),
        ("yolov12n-depth", "did you mean"),
    ],
)
def test_tasks_that_are_not_there(name, reason):
    with pytest.raises(ModelSpecError) as caught:
        spec_from_name(name)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("name", "scale", "full"),
    [
        ("bitfalcon-n", None, "bitfalcon-n"),
        ("bitfalcon", "l", "bitfalcon-l"),
        ("yolov12n-lite", None, "yolov12n-lite"),
        ("yolov12-lite-anchors", "s", "yolov12s-lite-anchors"),
        ("yolov12m-hybrid-seg", None, "yolov12m-hybrid-seg"),
        ("yolov12n-hybrid-heatmap", None, "yolov12n-hybrid-heatmap"),
    ],
)
def test_names_of_our_own_networks(name, scale, full):
    assert spec_from_name(name, scale=scale).name == full


@pytest.mark.parametrize("name", ["part-bit-l.yaml", "part-bitl.yaml"])
def test_a_parent_and_a_scale_are_what_the_name_with_the_scale_is(tmp_path, name):
    path = tmp_path / "part-bit.yaml"
    path.write_bytes((models_dir() / "bitfalcon.yaml").read_bytes())
    spec = spec_from_name(str(path), scale="l")
    assert (spec, spec.name) == (spec_from_name(str(tmp_path / name)), "part-bit-l")


def test_ratios_make_any_other_size_of_a_network():
    spec = spec_from_name("yolov12-lite", ratios=Ratios(0.33, 0.5))
    assert spec.layers == spec_from_name("yolov12s-lite").layers
    assert spec.name == "yolov12-lite-d33w50"
    assert spec_from_name("yolov12n-lite", ratios=Ratios(width=0.5)).layers == spec.layers
    assert spec_from_name("bitfalcon-l", ratios=Ratios(max_channels=64)).layers[8].channels == 64


def test_a_ratio_alone_names_no_size():
    with pytest.raises(ModelSpecError, match=r"which scale\? .* or --depth and --width; known: n, s, m, l, x"):
        spec_from_name("yolov12-lite", ratios=Ratios(0.33))


def test_networks_are_known_again_by_the_names_that_files_carry():
    names = {spec.name for spec in specs_at_scale("s", None)}
    assert {
        "bitfalcon-s",
        "yolov12s-lite",
        "yolov12s-lite-anchors",
        "yolov12s-hybrid-heatmap",
        "yolov12s-pose",
    } <= names
    assert all(spec_from_name(name).name == name for name in names)


def test_every_name_that_can_be_offered_exists():
    for file, data in _shipped():
        for scale, _, name in _names_in(file.stem, data):
            assert spec_from_name(name).name == name
            assert scale in name
