"""What y12-bundle triton --check finds: what protobuf's text format finds, what Triton finds, and what neither does."""

import pytest

from tests.runtime.artefact.test_opened import plan_bytes
from y12.bundle.cli import main
from y12.runtime.artefact.manifest import AxisRange

pytest.importorskip("tritonclient.grpc", reason="pip install '.[triton]'")

NETWORK, IMAGES = "onnxruntime/colours", "python/colours_images"
MISTAKES = [
    # what only the manifest, or only the graph, knows
    (NETWORK, "max_batch_size: 8", "max_batch_size: 64", "max_batch_size: expected 1 to 8, as the artefact takes"),
    (IMAGES, "max_batch_size: 8", "max_batch_size: 64", "max_batch_size: expected 1 to 8"),
    (NETWORK, "dims: [ 7, 1 ]", "dims: [ 84, 1 ]", "output 'output0': expected dims [7, 1], found [84, 1]"),
    (NETWORK, "dims: [ 3, 64, 64 ]", "dims: [ 3, 64 ]", "input 'images': expected dims [3, 64, 64], found [3, 64]"),
    (NETWORK, "dims: [ 3, 64, 64 ]", "dims: [ 3, -1, -1 ]", "expected dims [3, 64, 64], found [3, -1, -1]"),
    (NETWORK, '"output0"', '"output1"', "output: expected 'output0', found 'output1'"),
    (NETWORK, '"images"', '"image"', "input: expected 'images', found ['image']"),
    (NETWORK, "TYPE_FP32 dims: [ 3", "TYPE_FP16 dims: [ 3", "input 'images': expected TYPE_FP32, found TYPE_FP16"),
    (IMAGES, '"scores" data_type: TYPE_FP32', '"scores" data_type: TYPE_FP64', "expected TYPE_FP32, found TYPE_FP64"),
    (IMAGES, '"boxes"', '"box"', "output: expected 'count', 'boxes', 'scores', 'classes', found 'box'"),
    # what the server finds
    (NETWORK, "max_batch_size: 8", "max_batch_size: -1", "max_batch_size: expected 1 to 8"),
    (NETWORK, "max_batch_size: 8", "max_batch_size: 0", "max_batch_size: expected 1 to 8"),
    (
        NETWORK,
        "preferred_batch_size: [ 4, 8 ]",
        "preferred_batch_size: [ 16 ]",
        "expected 1 to max_batch_size, which is 8",
    ),
    (
        NETWORK,
        "max_batch_size: 8",
        "max_batch_size: 4",
        "preferred_batch_size: expected 1 to max_batch_size, which is 4",
    ),
    (NETWORK, '"onnxruntime_onnx"', '"tensorrt_plam"', "platform and backend: expected one of tensorrt_plan"),
    (NETWORK, 'platform: "onnx', 'backend: "python" platform: "onnx', "platform and backend: expected one of"),
    (NETWORK, 'name: "colours"', 'name: "colour"', "name: expected that of its folder, 'colours', found 'colour'"),
    (NETWORK, "KIND_AUTO", "KIND_MODEL", "instance_group: expected KIND_AUTO, KIND_CPU or KIND_GPU for onnxruntime"),
    # what the text format finds
    (NETWORK, "TYPE_FP32", "TYPE_FP31", "no value named TYPE_FP31"),
    (NETWORK, "max_batch_size", "max_batchsize", 'has no field named "max_batchsize"'),
    (NETWORK, "max_batch_size: 8", 'max_batch_size: "8"', "found at"),
    (NETWORK, "]\n", "", "found at"),
    # files
    (NETWORK, '"model.onnx"', '"other.onnx"', "1/other.onnx: expected a file, found none"),
    (IMAGES, '"model.onnx"', '""', "parameters: expected artefact, the network's file"),
]


@pytest.fixture
def bundle(make_colours, tmp_path):
    assert main(["triton", str(make_colours()), "--output", str(tmp_path / "b")]) == 0
    return tmp_path / "b"


def checked(artefact, folder, capsys):
    capsys.readouterr()
    code = main(["triton", str(artefact), "--check", str(folder)])
    return code, *capsys.readouterr()


def test_what_was_written_fits(bundle, tmp_path, capsys):
    code, out, err = checked(tmp_path / "colours.onnx", bundle, capsys)
    assert (code, err) == (0, "")
    assert out.count("fits the artefact") == 2
    for below in (NETWORK, "python"):  # one model, one repository
        assert checked(tmp_path / "colours.onnx", bundle / below, capsys)[0] == 0


@pytest.mark.parametrize(("model", "right", "wrong", "message"), MISTAKES)
def test_a_mistake_is_found(model, right, wrong, message, bundle, tmp_path, capsys):
    config = bundle / model / "config.pbtxt"
    text = config.read_text()
    assert right in text
    config.write_text(text.replace(right, wrong))
    code, out, err = checked(tmp_path / "colours.onnx", bundle, capsys)
    assert code == 1
    assert message in out
    assert out.count("fits the artefact") == 1  # the other model
    assert err.startswith(f"error: {bundle}: expected models that fit {tmp_path / 'colours.onnx'}, found ")
    assert err.count("\n") == 1


def test_what_may_be_changed_is_no_mistake(bundle, tmp_path, capsys):
    config = bundle / NETWORK / "config.pbtxt"
    text = config.read_text().replace("max_batch_size: 8", "max_batch_size: 4").replace("[ 4, 8 ]", "[ 2, 4 ]")
    config.write_text(text.replace("KIND_AUTO count: 1", "KIND_CPU count: 3"))
    assert checked(tmp_path / "colours.onnx", bundle, capsys)[0] == 0


def test_a_gpu_that_this_machine_does_not_have_is_told(bundle, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("y12.runtime.gpu.cuda.gpu_names", lambda: ())
    config = bundle / NETWORK / "config.pbtxt"
    config.write_text(config.read_text().replace("KIND_AUTO", "KIND_GPU"))
    code, out, _ = checked(tmp_path / "colours.onnx", bundle, capsys)
    assert code == 0
    assert "note: instance_group: Triton refuses KIND_GPU where there is no GPU, as on this machine" in out


@pytest.mark.parametrize("batch", [AxisRange(1, 1, 1), AxisRange(4, 4, 4)])
def test_a_graph_with_a_fixed_batch_takes_no_max_batch_size(batch, make_colours, tmp_path, capsys):
    artefact = make_colours(batch)
    assert main(["triton", str(artefact), "--output", str(tmp_path / "b"), "--backend", "onnxruntime"]) == 0
    config = tmp_path / "b" / NETWORK / "config.pbtxt"
    config.write_text(
        config.read_text().replace("max_batch_size: 0", "max_batch_size: 8").replace(f"[ {batch.max}, ", "[ ")
    )
    code, out, _ = checked(artefact, tmp_path / "b", capsys)
    assert code == 1
    assert "max_batch_size: expected 0, with the batch as the first of dims, as the artefact takes" in out


def test_sizes_that_are_free_may_be_fixed(make_colours, tmp_path, capsys):
    artefact = make_colours(size=AxisRange(64, 64, 96))
    assert main(["triton", str(artefact), "--output", str(tmp_path / "b")]) == 0
    config = tmp_path / "b" / NETWORK / "config.pbtxt"
    config.write_text(config.read_text().replace("[ 3, -1, -1 ]", "[ 3, 64, 96 ]"))
    assert checked(artefact, tmp_path / "b", capsys)[0] == 0


def test_another_network_is_found(bundle, make_colours, tmp_path, capsys):
    other = make_colours(names=("a", "b", "c"), name="other.onnx")
    code, out, _ = checked(other, bundle, capsys)
    assert code == 1
    assert out.count("1/model.onnx: expected the bytes of other.onnx, found another network") == 2
    (bundle / NETWORK / "1" / "model.onnx").unlink()
    assert "1/model.onnx: expected a file, found none" in checked(tmp_path / "colours.onnx", bundle, capsys)[1]


def test_a_plan_that_is_to_be_built(make_colours, tmp_path, capsys):
    artefact, folder = make_colours(), tmp_path / "b"
    assert main(["triton", str(artefact), "--output", str(folder), "--backend", "tensorrt"]) == 0
    assert (
        "1/model.plan: expected a file, found none; README.md has the command" in checked(artefact, folder, capsys)[1]
    )
    plan = folder / "tensorrt/colours/1/model.plan"
    for content, message in (
        (artefact.read_bytes(), "model.plan: expected a TensorRT plan, which begins with ftrt or vtrt"),
        (plan_bytes(b"weights"), "model.plan: expected a plan of full TensorRT, found one of TensorRT-RTX 1.7.1.116"),
    ):
        plan.write_bytes(content)
        code, out, _ = checked(artefact, folder, capsys)
        assert code == 1
        assert message in out
    plan.write_bytes(plan_bytes(b"weights", b"ftrt"))
    assert checked(artefact, folder, capsys)[0] == 0


def test_where_there_is_nothing_to_check(make_colours, tmp_path, capsys):
    artefact = make_colours()
    for folder, message in (
        (tmp_path / "none", "expected a folder with a model repository, found none"),
        (artefact, "expected a folder with a model repository, found none"),
        (tmp_path, "expected config.pbtxt in "),
    ):
        code, out, err = checked(artefact, folder, capsys)
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert message in err
