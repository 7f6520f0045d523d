"""Every extra by itself: each command explains itself, and says in one line what it lacks and how to get it."""

import shlex

import pytest

from tests.wheel.environments import COMMANDS, MODULES

ALONE = ("", "ort", "ort-gpu", "val", "plots", "video", "draw", "gpu", "rtx", "tensorrt", "export", "train")
ALONE += ("tensorboard", "mlflow", "serve", "triton", "heif", "ray", "remote")
TOGETHER = (
    "val,ort",
    "plots,val,ort",
    "tensorboard,train",
    "mlflow,train",
    "draw,ort",
    "serve,ort",
    "heif,ort",
    "ray,ort",
    "remote,ort",
    "rtx,gpu",
    "tensorrt,gpu",
    "export,rtx",
    "train,export",
)
NEEDS = {  # the command, and what it needs in the order in which it asks: the extra, then the package that is missing
    ("y12-export", "yolov12n", "--no-verify"): ("export", {}, "torch"),
    ("y12-export", "yolov12n", "--val", "x.yaml"): ("export", {}, "torch"),
    ("y12-tune", "shapes"): ("train", {"export": "lightning-fabric"}, "torch"),
    ("y12-val", "found.json", "truth.json"): ("val", {}, "pycocotools"),
    ("python", "-m", "y12.exporter.train.shapes", "drawn"): ("val", {}, "pycocotools"),
    ("y12-val", "found.json", "truth.json", "--plots", "x"): ("plots", {"draw": "jinja2"}, "matplotlib"),
    ("y12-tune", "shapes", "--tensorboard"): ("tensorboard", {}, "tensorboard"),
    ("y12-tune", "shapes", "--mlflow"): ("mlflow", {}, "mlflow-skinny"),
    ("y12-serve", "model.onnx"): ("serve", {"mlflow": "httptools"}, "fastapi"),
    ("y12-bundle", "triton", "model.onnx", "--check", "."): ("triton", {}, "tritonclient"),
    ("y12-batch", "model.onnx", "photos", "--output", "x"): ("ray", {}, "ray"),
    ("y12-inspect", "s3://bucket/model.onnx"): ("remote", {}, "s3fs"),
    ("y12-inspect", "gs://bucket/model.onnx"): ("remote", {}, "gcsfs"),
    ("y12-inspect", "hf://owner/name/model.onnx"): ("remote", {}, "huggingface_hub"),
    ("y12-infer", "model.onnx", "clip.mp4"): ("video", {}, "av"),
    ("python", "-m", "y12.runtime.cli.prebuild", "--sm", "89", "--output", "kernels"): ("gpu", {}, "nvidia-cuda-nvrtc"),
}
# torch itself brings jinja2, the one package of `export` that is not in `train`
HAS = {
    "val": {"val", "export", "train"},
    "plots": {"plots", "train"},  # supervision brings matplotlib
    "tensorboard": {"tensorboard"},
    "mlflow": {"mlflow"},
    "export": {"export", "train"},
    "train": {"train"},
    "gpu": {"gpu"},
    "serve": {"serve"},
    "triton": {"triton"},
    "ray": {"ray"},
    "remote": {"remote"},
    "video": {"video", "draw"},  # supervision brings av
}


def with_extras(*lists):
    return pytest.mark.parametrize("extras", [extras for one in lists for extras in one])


@with_extras(ALONE, TOGETHER)
def test_every_command_explains_itself(environments, extras):
    for command in [(name,) for name in COMMANDS] + [("python", "-m", module) for module in MODULES]:
        done = environments[extras].run(*command, "--help")
        assert (done.returncode, done.stderr) == (0, ""), command
        assert done.stdout.lower().startswith(f"usage: {' '.join(command)}")


@with_extras([one for one in (*ALONE, *TOGETHER) if not {"export", "train"} & set(one.split(","))])
def test_there_is_no_torch(environments, extras):
    assert "No module named 'torch'" in environments[extras].run("python", "-c", "import torch").stderr


@with_extras(ALONE)
@pytest.mark.parametrize("command", NEEDS, ids=" ".join)
def test_what_an_extra_lacks_is_one_line_with_the_remedy(environments, extras, command):
    extra, special, package = NEEDS[command]
    if extras in HAS[extra]:
        pytest.skip("the extra has what the command needs: see test_commands.py")
    line = environments[extras].refusal(*command)
    package = special.get(extras, package)
    assert f"needs the package '{package}' of y12's extra [{extra}], which is not installed: pip install '" in line
    assert "y12[" not in line


@with_extras([one for one in ALONE if not {"ort", "ort-gpu", "export", "train"} & {one}])
@pytest.mark.parametrize("command", ["y12-infer", "y12-bench"])
def test_an_onnx_needs_a_runtime(environments, demo, extras, command):
    (artefact,) = demo.glob("*.onnx")
    words = (artefact, "photo.jpg") if command == "y12-infer" else (artefact,)
    line = environments[extras].refusal(command, *words)
    assert line.endswith(
        "running an .onnx needs the package 'onnxruntime' of y12's extra [ort], which is not installed: "
        "pip install 'onnxruntime>=1.24.4'"
    )


@with_extras([one for one in ALONE if one not in ("rtx", "tensorrt")])
def test_an_engine_needs_tensorrt(environments, demo, extras):
    (artefact,) = demo.glob("*.engine")
    line = environments[extras].refusal("y12-infer", artefact, "photo.jpg")
    assert "TensorRT-RTX needs the package 'tensorrt-rtx-cu13' of y12's extra [rtx]" in line
    assert "runs without a GPU" in line


@pytest.mark.parametrize(("flavour", "package"), [("rtx", "tensorrt-rtx-cu13"), ("full", "tensorrt")])
def test_an_engine_is_refused_before_anything_is_traced(environments, flavour, package):
    env = environments["export"]
    done = env.run("y12-export", "--format", "engine", "--tensorrt", flavour, "--output", "engines")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert f"needs the package '{package}'" in done.stderr


def test_the_command_in_the_message_works(environments, scenes, demo):
    env = environments.new("ort")
    (artefact,) = demo.glob("*.onnx")
    measure = ("y12-val", artefact, scenes / "data.yaml")
    command = env.refusal(*measure).partition("not installed: ")[2]
    assert shlex.split(command)[:2] == ["pip", "install"]
    done = env.run(command, shell=True)
    assert done.returncode == 0, done.stderr
    done = env.run(*measure)
    assert done.returncode == 0, done.stderr
