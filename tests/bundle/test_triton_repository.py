"""What y12-bundle triton writes, by Triton's own description of a configuration, and what it refuses."""

import json
import py_compile
import shlex
from dataclasses import replace

import numpy as np
import pytest
from onnx import load_model, save_model

from tests.runtime.conftest import colour_manifest, constant_model
from y12.bundle.cli import main
from y12.bundle.triton.models import models_of
from y12.bundle.triton.options import TritonOptions
from y12.runtime.artefact.manifest import ONNX_KEY, AxisRange, Manifest
from y12.runtime.artefact.opened import open_artefact

text_format = pytest.importorskip("google.protobuf.text_format", reason="pip install '.[triton]'")
model_config_pb2 = pytest.importorskip("tritonclient.grpc.model_config_pb2", reason="pip install '.[triton]'")


def parsed(path):
    return text_format.Parse(path.read_text(), model_config_pb2.ModelConfig())


def bundled(artefact, folder, *words):
    assert main(["triton", str(artefact), "--output", str(folder), *words]) == 0
    configs = {path.parent.name: parsed(path) for path in folder.glob("*/*/config.pbtxt")}
    assert all(config.name == name for name, config in configs.items())
    return configs


def tensors(entries):
    kinds = model_config_pb2.DataType.DESCRIPTOR.values_by_number
    return [(entry.name, kinds[entry.data_type].name, list(entry.dims)) for entry in entries]


def test_both_repositories_say_what_manifest_and_graph_say(make_colours, tmp_path, capsys):
    folder, artefact = tmp_path / "b", make_colours()
    configs = bundled(artefact, folder)
    network, images = configs["colours"], configs["colours_images"]
    assert tensors(network.input) == [("images", "TYPE_FP32", [3, 64, 64])]
    assert tensors(network.output) == [("output0", "TYPE_FP32", [7, 1])]
    assert tensors(images.input) == [("image", "TYPE_STRING", [1])]
    assert tensors(images.output) == [
        ("count", "TYPE_INT32", [1]),
        ("boxes", "TYPE_FP32", [-1, 4]),
        ("scores", "TYPE_FP32", [-1]),
        ("classes", "TYPE_INT32", [-1]),
    ]
    for config in configs.values():
        assert config.max_batch_size == 8
        assert list(config.dynamic_batching.preferred_batch_size) == [4, 8]
        assert config.dynamic_batching.max_queue_delay_microseconds == 2000
        waits = config.dynamic_batching.default_queue_policy.max_queue_size
        assert (
            waits + 8 * config.instance_group[0].count == 64
        )  # Triton does not count a batch that an instance takes next
        assert [group.kind for group in config.instance_group] == [0]  # KIND_AUTO
    assert [config.instance_group[0].count for config in (network, images)] == [1, 2]
    assert (network.platform, network.default_model_filename) == ("onnxruntime_onnx", "model.onnx")
    assert (images.backend, images.parameters["artefact"].string_value) == ("python", "model.onnx")
    for place in ("onnxruntime/colours/1", "python/colours_images/1"):
        assert (folder / place / "model.onnx").read_bytes() == artefact.read_bytes()
    assert (folder / "python/colours_images/labels.txt").read_text() == "red\ngreen\nblue\n"
    for script in ("client.py", "python/colours_images/1/model.py"):
        py_compile.compile(str(folder / script), cfile=str(tmp_path / "compiled"), doraise=True)
    assert json.loads((folder / "bundle.json").read_text())["model"] == "colours"
    assert capsys.readouterr().out.count("wrote  ") == 3


def test_the_readme_is_three_commands_and_the_recovery(make_colours, tmp_path):
    bundled(make_colours(), tmp_path / "b", "--name", "mine")
    text = (tmp_path / "b" / "README.md").read_text()
    block = text.partition("```sh\n")[2].partition("```")[0].replace("\\\n", " ")
    assert [line.split()[0] for line in block.splitlines()] == ["pip", "tritonserver", "python"]
    assert "--model-control-mode=explicit --load-model='*'" in block
    assert "models/mine_images/unload" in text
    assert "models/mine_images/load" in text
    assert "NAME" not in text


@pytest.mark.parametrize(
    ("axes", "most", "dims", "preferred"),
    [
        ((AxisRange(1, 1, 1), AxisRange(64, 64, 64)), 0, [1, 3, 64, 64], []),
        ((AxisRange(4, 4, 4), AxisRange(64, 64, 64)), 0, [4, 3, 64, 64], []),
        ((AxisRange(2, 4, 8), AxisRange(64, 64, 64)), 0, [-1, 3, 64, 64], []),  # one image alone would be refused
        ((AxisRange(1, 1, 16), AxisRange(64, 64, 96)), 16, [3, -1, -1], [16]),
    ],
)
def test_batch_and_dims_are_the_profile_s(axes, most, dims, preferred, make_colours, tmp_path):
    configs = bundled(make_colours(*axes), tmp_path / "b")
    network, images = configs["colours"], configs["colours_images"]
    assert (network.max_batch_size, list(network.input[0].dims)) == (most, dims)
    assert list(network.dynamic_batching.preferred_batch_size) == preferred
    assert images.max_batch_size == axes[0].max  # Runtime fills up what the network needs more of
    assert main(["triton", str(tmp_path / "colours.onnx"), "--check", str(tmp_path / "b")]) == 0


def test_options_are_in_both_configurations(make_colours, tmp_path):
    words = ("--instances", "2", "--queue", "25", "--max-wait-ms", "0.5", "--device", "cpu", "--name", "m-1.x")
    configs = bundled(make_colours(), tmp_path / "b", *words)
    assert set(configs) == {"m-1.x", "m-1.x_images"}
    for config in configs.values():
        assert [(group.kind, group.count) for group in config.instance_group] == [(2, 2)]  # KIND_CPU
        assert config.dynamic_batching.default_queue_policy.max_queue_size == 9
        assert config.dynamic_batching.max_queue_delay_microseconds == 500


EXTRA = {
    "segment": ("masks", "TYPE_STRING", [-1]),
    "pose": ("keypoints", "TYPE_FP32", [-1, 5, 3]),
    "obb": ("oriented_boxes", "TYPE_FP32", [-1, 5]),
}


@pytest.mark.parametrize("task", ["segment", "pose", "obb", "classify"])
def test_each_task_has_its_outputs(task, tmp_path):
    rows = {"segment": 4 + 3 + 32, "pose": 4 + 3 + 10, "obb": 4 + 3 + 1}.get(task)
    outputs = {"output0": np.zeros((1, rows, 84) if rows else (1, 3), np.float32)}
    if task == "segment":
        outputs["protos"] = np.zeros((1, 32, 16, 16), np.float32)
    changes = {"task": task, "kpt_shape": (5, 2) if task == "pose" else None}
    path = tmp_path / "m.onnx"
    path.write_bytes(constant_model(outputs, {ONNX_KEY: colour_manifest(**changes).to_json()}))
    configs = bundled(path, tmp_path / "b")
    assert [name for name, _, _ in tensors(configs["m"].output)] == list(outputs)
    assert configs["m"].output[0].label_filename == ("labels.txt" if task == "classify" else "")
    assert tensors(configs["m_images"].output)[4:] == ([EXTRA[task]] if task in EXTRA else [])


def test_a_name_that_is_quoted_is_read_as_it_was(make_colours):
    name = 'out"\\\n⊕'
    config = models_of(open_artefact(make_colours()), TritonOptions("m", "onnxruntime"))[0].config
    config = replace(config, outputs=(replace(config.outputs[0], name=name),))
    assert text_format.Parse(config.text(), model_config_pb2.ModelConfig()).output[0].name == name


def test_a_plan_goes_to_tensorrt_with_the_graph_of_the_onnx_beside_it(make_colours, make_plan, tmp_path):
    make_colours()
    plan = make_plan()
    configs = bundled(plan, tmp_path / "b")
    assert configs["colours"].platform == "tensorrt_plan"
    assert [group.kind for group in configs["colours"].instance_group] == [1]  # KIND_GPU
    assert [group.kind for group in configs["colours_images"].instance_group] == [1]
    assert (tmp_path / "b/tensorrt/colours/1/model.plan").read_bytes() == plan.read_bytes()
    images = tmp_path / "b/python/colours_images/1"
    assert (images / "model.engine").read_bytes() == plan.read_bytes()
    assert Manifest.from_json((images / "model.engine.json").read_text()) == open_artefact(plan).manifest


def test_an_onnx_for_tensorrt_is_to_be_built_by_trtexec(make_colours, tmp_path):
    folder = tmp_path / "b"
    configs = bundled(make_colours(), folder, "--backend", "tensorrt")
    assert list(configs) == ["colours"]
    assert configs["colours"].platform == "tensorrt_plan"
    command = (folder / "README.md").read_text().partition("```sh\n")[2].splitlines()[0].split()
    assert command[0] == "trtexec"
    assert "--optShapes=images:4x3x64x64" in command
    (onnx,) = [word.removeprefix("--onnx=") for word in command if word.startswith("--onnx=")]
    assert (folder / onnx).read_bytes() == (tmp_path / "colours.onnx").read_bytes()
    (plan,) = [word.removeprefix("--saveEngine=") for word in command if word.startswith("--saveEngine=")]
    assert (folder / plan).parent.is_dir()


def first_command(folder):
    return shlex.split((folder / "README.md").read_text().partition("```sh\n")[2].splitlines()[0], comments=True)


def test_each_readme_begins_with_what_makes_sure_of_the_network(make_colours, make_plan, tmp_path, monkeypatch):
    onnx = make_colours()
    bundled(onnx, tmp_path / "o", "--backend", "onnxruntime")
    program, *words = first_command(tmp_path / "o")
    monkeypatch.chdir(tmp_path / "o")
    assert program == "y12-bundle"
    assert main(words) == 0
    bundled(make_plan(), tmp_path / "t", "--backend", "tensorrt")
    assert first_command(tmp_path / "t") == ["trtexec", "--loadEngine=tensorrt/colours/1/model.plan"]


def test_an_input_s_name_is_no_command(make_colours, tmp_path):
    """It is a stranger's, and somebody will copy the line."""
    onnx, name = make_colours(), "x; touch $(made)"
    model = load_model(onnx)
    for node in model.graph.node:
        node.input[:] = [name if value == "images" else value for value in node.input]
    model.graph.input[0].name = name
    save_model(model, onnx)
    bundled(onnx, tmp_path / "b", "--backend", "tensorrt")
    assert f"--optShapes={name}:4x3x64x64" in first_command(tmp_path / "b")


def test_an_onnx_whose_weights_lie_elsewhere_is_refused(make_colours, tmp_path, capsys):
    onnx = make_colours()
    save_model(load_model(onnx), onnx, save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert (tmp_path / "weights.bin").is_file()
    assert main(["triton", str(onnx), "--output", str(tmp_path / "b")]) == 1
    assert "expected a network in one file, found weights in others" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


def test_a_plan_of_tensorrt_rtx_is_for_python_alone(make_colours, make_plan, tmp_path, capsys):
    make_colours()
    plan = str(make_plan(b"vtrt"))
    for words in ((), ("--backend", "tensorrt")):
        assert main(["triton", plan, "--output", str(tmp_path / "b"), *words]) == 1
        line = capsys.readouterr().err
        assert "expected a plan of full TensorRT, found one of TensorRT-RTX 1.7.1.116" in line
        assert "--backend python" in line
        assert line.count("\n") == 1
    assert not (tmp_path / "b").exists()
    assert set(bundled(plan, tmp_path / "b", "--backend", "python")) == {"colours_images"}
    assert "rtx,gpu" in (tmp_path / "b" / "README.md").read_text()


REFUSED = [
    (("--name", "a/b"), "--name: expected up to 200 letters, digits"),
    (("--name", ".."), "--name: expected up to 200 letters, digits"),
    (("--queue", "200000"), "queue: expected 1 to 100000, found 200000"),
    (("--instances", "100"), "instances: expected 1 to 64, found 100"),
    (("--max-wait-ms", "inf"), "max_wait_us: expected 0 to 10000000, found -1"),
    (("--backend", "tensorrt", "--device", "cpu"), "which runs on GPUs only"),
    (("--check", "x"), "expected either --output DIR to write, or --check DIR, found both"),
]


@pytest.mark.parametrize(("words", "message"), REFUSED)
def test_options_that_cannot_be_are_refused(words, message, make_colours, tmp_path, capsys):
    assert main(["triton", str(make_colours()), "--output", str(tmp_path / "b"), *words]) == 1
    line = capsys.readouterr().err
    assert message in line
    assert line.count("\n") == 1
    assert not (tmp_path / "b").exists()


def test_artefacts_that_cannot_be_are_refused(make_colours, make_plan, tmp_path, capsys):
    def refusal(path, *words):
        assert main(["triton", str(path), "--output", str(tmp_path / "b"), *words]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert not (tmp_path / "b").exists()
        return line

    assert "expected colours.onnx beside it" in refusal(make_plan())
    other = make_colours(names=("a", "b", "c"))
    assert "colours.onnx has another manifest" in refusal(make_plan())
    assert "expected an .onnx, found" in refusal(make_plan(), "--backend", "onnxruntime")
    assert "--device cpu: expected gpu or auto for an engine" in refusal(make_plan(), "--device", "cpu")
    other.write_bytes(constant_model({"output0": np.zeros((1, 7, 1), np.float32)}, {}))
    assert "expected metadata with task, names and stride" in refusal(other)
    wrong = colour_manifest(batch=AxisRange(1, 4, 8)).to_json()
    other.write_bytes(constant_model({"output0": np.zeros((1, 7, 1), np.float32)}, {ONNX_KEY: wrong}))
    assert "expected a graph whose batch is 1 to 8, as its manifest says, found 1" in refusal(other)
    assert "expected a file named *.onnx" in refusal(tmp_path)
    assert main(["triton", str(other)]) == 1
    assert "found neither" in capsys.readouterr().err
