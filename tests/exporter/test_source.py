"""Whatever an export starts from comes in one form; what is no start is refused by name."""

import hashlib

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from safetensors.torch import save_file

from y12.errors import ArtefactError, CheckpointError, GraphError, ModelSpecError, OptionsError
from y12.exporter.export_config import ExportConfig
from y12.exporter.model.build import detector_from_spec
from y12.exporter.model.spec import spec_from_name
from y12.exporter.source import demo_weights, source_from_config
from y12.exporter.verify.verify_images import scenes_dir
from y12.runtime.artefact.manifest import ONNX_KEY, TASKS, AxisRange, InputProfile, Manifest
from y12.runtime.artefact.nms_settings import NmsSettings
from y12.runtime.options import DetectOptions

PROFILE = InputProfile(AxisRange(1, 1, 1), AxisRange(64, 64, 64), AxisRange(96, 96, 96))


def write_graph(path, nodes=None, **changes):
    """A graph that hands its input through, with a manifest."""
    facts = {"task": "detect", "names": ("cat", "dog"), "strides": (8, 16, 32), "profile": PROFILE} | changes
    info = [helper.make_tensor_value_info(n, TensorProto.FLOAT, (1, 3, 64, 96)) for n in ("images", "output0")]
    nodes = nodes or [helper.make_node("Identity", ["images"], ["output0"])]
    model = helper.make_model(
        helper.make_graph(nodes, "g", info[:1], info[1:]), opset_imports=[helper.make_opsetid("", 20)]
    )
    helper.set_model_props(model, {ONNX_KEY: Manifest(**facts).to_json()})
    onnx.save(model, path)
    return path


def test_left_out_it_is_the_demo_model():
    source = source_from_config(ExportConfig())
    assert (source.stem, source.model, source.task) == ("yolov12n-shapes", "yolov12n-multitask", "multitask")
    assert source.names[:2] == ("circle", "ring")
    assert (source.side, source.photos) == (320, scenes_dir())
    assert source.licence.startswith("MIT")
    assert "no model was named: exporting y12's demo model" in source.notes[0]
    assert demo_weights().stat().st_size <= 6e6


@pytest.mark.parametrize(
    ("config", "stem"),
    [
        (ExportConfig("yolov12n-v1", random_weights=True), "yolov12n-v1"),
        (ExportConfig("yolov12", random_weights=True, scale="n"), "yolov12n"),
    ],
)
def test_a_name_has_seeded_weights_and_says_so(config, stem):
    source = source_from_config(config)
    assert (source.stem, source.model) == (stem, stem)
    assert "network without weights" in source.notes[0]
    assert source.detector is not None
    assert source.graph is None


def test_checkpoint(tmp_path):
    detector = detector_from_spec(spec_from_name("yolov12n", nc=2))
    path = tmp_path / "best.safetensors"
    save_file(detector.state_dict(), path, {"names": '["cat", "dog"]'})
    source = source_from_config(ExportConfig(str(path)))
    assert (source.stem, source.model, source.file) == ("best", "yolov12n", "best.safetensors")
    assert (source.names, source.strides, source.notes) == (("cat", "dog"), (8, 16, 32), ())
    assert source.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert "AGPL" in source.licence
    assert torch.equal(
        source.detector.state_dict()["model.0.conv.weight"], detector.state_dict()["model.0.conv.weight"]
    )


def test_published_checkpoint(shared):
    source = source_from_config(ExportConfig(str(shared / "checkpoints/trained/rmArmor-yolov12n.pt")))
    assert (source.stem, source.model, len(source.names)) == ("rmArmor-yolov12n", "yolov12n", 12)


def test_graph(tmp_path):
    path = write_graph(tmp_path / "net.onnx", model="yolov12n", licence="MIT")
    source = source_from_config(ExportConfig(str(path)))
    assert (source.stem, source.model, source.names) == ("net", "yolov12n", ("cat", "dog"))
    assert (source.profile, source.licence, source.file) == (PROFILE, "MIT", "net.onnx")
    assert source.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert source.detector is None
    assert source.graph.graph.node[0].op_type == "Identity"


def test_graph_without_a_model_name_or_licence(tmp_path):
    source = source_from_config(ExportConfig(str(write_graph(tmp_path / "net.onnx"))))
    assert source.model == "net"
    assert "AGPL" in source.licence


@pytest.mark.parametrize(
    ("model", "error", "reason"),
    [
        ("best.tflite", OptionsError, "MODEL: expected a file ending in .pt, .pth, .safetensors, .onnx, .yaml"),
        ("best.engine", OptionsError, "found 'best.engine'"),
        ("best.pt", CheckpointError, "found no file best.pt"),
        ("best.safetensors", CheckpointError, "found no file best.safetensors"),
        ("best.yaml", ModelSpecError, "found no file best.yaml"),
        ("best.onnx", ArtefactError, "best.onnx"),
        ("best", ModelSpecError, "unknown model 'best'"),
        ("", ModelSpecError, "unknown model ''"),
        ("yolov12", ModelSpecError, "pass --scale"),
    ],
)
def test_refused(tmp_path, monkeypatch, model, error, reason):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error) as caught:
        source_from_config(ExportConfig(model))
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_name_and_scale_that_contradict_each_other():
    with pytest.raises(ModelSpecError, match="'yolov12n' names the scale 'n', --scale says 'l'"):
        source_from_config(ExportConfig("yolov12n", random_weights=True, scale="l"))


@pytest.mark.parametrize("task", TASKS)
def test_a_graph_of_every_task_is_a_starting_point(tmp_path, task):
    kpt_shape = (17, 3) if task == "pose" else None
    source = source_from_config(ExportConfig(str(write_graph(tmp_path / "net.onnx", task=task, kpt_shape=kpt_shape))))
    assert (source.task, source.kpt_shape) == (task, kpt_shape)


@pytest.mark.parametrize("model", ["yolov12n-seg", "net.onnx"])
def test_a_model_of_another_task_than_asked_is_refused(tmp_path, model):
    if model.endswith(".onnx"):
        model = str(write_graph(tmp_path / model, task="segment"))
    assert (
        source_from_config(ExportConfig(model, random_weights=model == "yolov12n-seg", task="segment")).task
        == "segment"
    )
    with pytest.raises(OptionsError, match=r"--task: expected a model for pose, found .*, which is for segment"):
        source_from_config(ExportConfig(model, random_weights=model == "yolov12n-seg", task="pose"))


@pytest.mark.parametrize(
    ("changes", "error", "reason"),
    [
        ({"precision": "fp16"}, OptionsError, "expected an FP32 graph to start from, found one in fp16"),
        ({"precision": "int8"}, OptionsError, "found one in int8"),
        ({"nms": NmsSettings("packed", 100, DetectOptions(max_det=100))}, OptionsError, "found NMS in the graph"),
        ({"nodes": [helper.make_node("Identity", ["nothing"], ["output0"])]}, GraphError, "not a sound ONNX file"),
        ({"nodes": [helper.make_node("NoSuchOperator", ["images"], ["output0"])]}, GraphError, "NoSuchOperator"),
    ],
)
def test_graphs_refused(tmp_path, changes, error, reason):
    path = write_graph(tmp_path / "net.onnx", **changes)
    with pytest.raises(error) as caught:
        source_from_config(ExportConfig(str(path)))
    assert str(caught.value).startswith(f"{path}: ")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("args", ["{'half': True}", "{'quantize': 16}"])
def test_a_half_graph_of_another_exporter_is_widened_and_told(tmp_path, args):
    path = write_graph(
        tmp_path / "net.onnx",
        [
            helper.make_node("Mul", ["images", "two"], ["boxes"]),
            helper.make_node("Sigmoid", ["images"], ["scores"]),
            helper.make_node("Concat", ["boxes", "scores"], ["output0"], axis=1),
        ],
    )
    model = onnx.load(path)
    model.graph.initializer.append(helper.make_tensor("two", TensorProto.FLOAT16, [1], [2.0]))
    facts = {"names": "{0: 'cat'}", "stride": "32", "task": "detect", "args": args}
    helper.set_model_props(model, facts)
    onnx.save(model, path)
    source = source_from_config(ExportConfig(str(path)))
    assert source.graph.graph.initializer[0].data_type == TensorProto.FLOAT
    assert source.notes[0].startswith("its weights are FP16")


@pytest.mark.parametrize("content", [b"", b"hello", bytes(200)])
def test_no_graph(tmp_path, content):
    (tmp_path / "net.onnx").write_bytes(content)
    with pytest.raises(ArtefactError, match=r"net\.onnx"):
        source_from_config(ExportConfig(str(tmp_path / "net.onnx")))
