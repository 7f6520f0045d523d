"""The ordinary path of each command, with the extras that the README names for it and no others."""

import json

import pytest

from tests.wheel.environments import asked_for

PROGRAM = """\
from numpy.typing import NDArray
import numpy as np
from y12 import Runtime

def count(path: str, photo: NDArray[np.uint8]) -> int:
    with Runtime(path) as runtime:
        found = runtime.infer(photo)
        reveal_type(found)
        found.no_such_field
        return len(found)
"""


def ran(environment, *command):
    done = environment.run(*command)
    assert done.returncode == 0, done.stderr
    return done.stdout


def artefact(demo, kind):
    (found,) = demo.glob(f"*.{kind}")
    return found


def test_ort_runs_an_onnx(environments, demo, scenes):
    env, model = environments["ort"], artefact(demo, "onnx")
    images = sorted((scenes / "images").iterdir())
    lines = ran(env, "y12-infer", model, scenes / "images", "--json", "--save", env.home / "drawn").splitlines()
    assert len(lines) == len(images)
    assert sum(len(json.loads(line)["detections"]) for line in lines) > 0
    assert len(list((env.home / "drawn").iterdir())) == len(images)
    assert "p50" in ran(env, "y12-bench", model, "--iterations", "2", "--warmup", "1")
    assert "yolov12n-shapes" in ran(env, "y12-inspect", model)


MADE = {  # what makes a film or a HEIC of a drawn scene, with what the extra brings
    "video": """\
import av, numpy, PIL.Image, sys
image = PIL.Image.open(sys.argv[1])
with av.open(sys.argv[2], "w") as film:
    stream = film.add_stream("mpeg4", 5, width=image.width, height=image.height, pix_fmt="yuv420p")
    for frame in [av.VideoFrame.from_ndarray(numpy.asarray(image.convert("RGB")), format="rgb24")] * 3 + [None]:
        film.mux(stream.encode(frame))
""",
    "heif": """\
import PIL.Image, pillow_heif, sys
pillow_heif.register_heif_opener()
PIL.Image.open(sys.argv[1]).save(sys.argv[2], quality=95)
""",
}


@pytest.mark.parametrize(("extra", "name", "lines"), [("video", "film.mp4", 3), ("heif", "scene.heic", 1)])
def test_films_and_heic_are_read_with_an_extra(environments, demo, scenes, extra, name, lines):
    env, made = environments[f"{extra},ort"], MADE[extra]
    ran(env, "python", "-c", made, next((scenes / "images").iterdir()), name)
    found = ran(env, "y12-infer", artefact(demo, "onnx"), name, "--json").splitlines()
    assert len(found) == lines
    assert all(json.loads(line)["detections"] for line in found)


def test_results_are_handed_to_supervision(environments, demo, scenes):
    code = (
        "import sys; from y12 import Runtime; found = Runtime(sys.argv[1])(sys.argv[2]); found.save(sys.argv[3])\n"
        "print(len(found), len(found.to_supervision()))"
    )
    words = (artefact(demo, "onnx"), next((scenes / "images").iterdir()), "drawn.png")
    one, other = ran(environments["draw,ort"], "python", "-c", code, *words).split()
    assert one == other != "0"


def test_serve_with_ort_serves(environments, demo, scenes):
    env, model = environments["serve,ort"], artefact(demo, "onnx")
    image = next((scenes / "images").iterdir())
    script = f"""\
        y12-serve {model} --port 18080 --name demo 2> said & trap 'kill $!' EXIT
        for i in $(seq 100); do grep -q listening said && break; sleep 0.2; done
        python -c "import urllib.request as u; image = open('{image}', 'rb').read(); \
        print(u.urlopen('http://127.0.0.1:18080/detect', image).read().decode())"
    """
    done = env.run(script, shell=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["detections"]


def test_triton_checks_a_repository_that_was_written_without_it(environments, demo):
    env, model = environments["triton"], artefact(demo, "onnx")
    ran(environments["ort"], "y12-bundle", "triton", model, "--output", env.home / "repository")
    ran(env, "y12-bundle", "triton", model, "--check", env.home / "repository")


def test_ray_with_ort_does_a_batch(environments, demo, scenes):
    env = environments["ray,ort"]
    words = (artefact(demo, "onnx"), scenes / "images", "--output", env.home / "found", "--num-cpus", "1")
    assert "errors       0" in ran(env, "y12-batch", *words)
    code = "import pyarrow.dataset as ds; print(ds.dataset('found/parquet').count_rows())"
    assert ran(env, "python", "-c", code).split() == [str(len(list((scenes / "images").iterdir())))]


@pytest.mark.parametrize("kind", ["onnx", "engine"])
def test_an_artefact_is_inspected_with_no_extra(environments, demo, kind):
    assert "yolov12n-shapes" in ran(environments[""], "y12-inspect", artefact(demo, kind))


@pytest.mark.parametrize("extras", ["", "remote,ort"])
def test_an_artefact_at_an_address_needs_no_extra_and_buckets_one(environments, demo, extras):
    env, model = environments[extras], artefact(demo, "onnx")
    script = f"""\
        python -m http.server --directory {model.parent} --bind 127.0.0.1 18081 > /dev/null 2>&1 & trap 'kill $!' EXIT
        for i in $(seq 100); do
            y12-inspect http://127.0.0.1:18081/{model.name} && break; sleep 0.2
        done
    """
    done = env.run(script, shell=True)
    assert "yolov12n-shapes" in done.stdout, done.stderr
    if extras:  # each package is there, and finds that the address leads nowhere
        closed = ("AWS_ENDPOINT_URL", "STORAGE_EMULATOR_HOST", "HF_ENDPOINT")
        nowhere = [f"{name}=http://127.0.0.1:9" for name in closed]
        keys = ("AWS_ACCESS_KEY_ID=a", "AWS_SECRET_ACCESS_KEY=b", "FSSPEC_GS_TOKEN=anon", "AWS_DEFAULT_REGION=x")
        for address in ("s3://bucket/m.onnx", "gs://bucket/m.onnx", "hf://owner/name/m.onnx"):
            line = env.refusal("env", *nowhere, *keys, "timeout", "120", "y12-inspect", address)
            assert f"{address}: expected a file" in line


@pytest.mark.parametrize("extras", ["val,ort", "export"])
def test_accuracy_is_measured(environments, demo, scenes, extras):
    table = ran(environments[extras], "y12-val", artefact(demo, "onnx"), scenes / "instances.json")
    assert "AP50-95" in table
    assert "masks" in table


def test_accuracy_is_drawn(environments, demo, scenes):
    env = environments["plots,val,ort"]
    ran(env, "y12-val", artefact(demo, "onnx"), scenes / "instances.json", "--plots", env.home / "plots")
    names = {path.name for path in (env.home / "plots").iterdir()}
    assert {"report.html", "report.json", "confusion.png", "bbox_pr.png", "segm_f1.png", "worst.png"} <= names


@pytest.mark.parametrize("tracker", ["tensorboard", "mlflow"])
def test_a_training_run_is_told_to_others(environments, scenes, tracker):
    env = environments[f"{tracker},train"]
    steps = ("--imgsz", "64", "--epochs", "1", "--batch", "4", "--device", "cpu", "--no-augment", "--plots")
    words = (scenes / "data.yaml", "--model", "yolov12n", *steps, f"--{tracker}", "--output", env.home / "run")
    # MLflow's own database needs more packages than mlflow-skinny has.
    ran(env, "env", "MLFLOW_TRACKING_URI=mlruns", "MLFLOW_ALLOW_FILE_STORE=true", "y12-tune", *words)
    left = {"tensorboard": "tensorboard/events*", "mlflow": "mlflow-run-id.txt"}[tracker]
    assert list((env.home / "run").glob(left))
    assert (env.home / "run" / "plots" / "report.html").is_file()


def test_export_does_int8_within_a_budget_and_measures(environments, scenes):
    env = environments["export"]
    data = scenes / "data.yaml"
    words = ("--int8", "--calib", scenes / "images", "--max-drop", "20", "--max-drop-data", data, "--val", data)
    ran(env, "y12-export", *words, "--imgsz", "128", "--no-verify", "--output", env.home / "int8")
    assert list((env.home / "int8").glob("*_int8.onnx"))
    assert list((env.home / "int8").glob("*_int8.curve.svg"))


@pytest.mark.parametrize(
    ("name", "side", "image"), [("rmArmor-yolov12n", 320, "armor_blue5.png"), ("yolo11n-seg", 160, "bus.jpg")]
)
def test_a_published_checkpoint_is_exported_verified_and_run(environments, shared, name, side, image):
    env = environments["export"]
    words = (shared / "checkpoints" / "trained" / f"{name}.pt", "--imgsz", side, "--half", "--allow-inconclusive")
    said = ran(env, "y12-export", *words, "--images", shared / "images", "--output", env.home / name)
    assert "verdict      verified" in said
    (line,) = ran(env, "y12-infer", *(env.home / name).glob("*.onnx"), shared / "images" / image, "--json").splitlines()
    assert json.loads(line)["detections"]


def test_an_engine_was_built_without_a_gpu_or_cuda_s_torch(environments, demo):
    assert artefact(demo, "engine").stat().st_size > 1 << 20
    assert "tensorrt" in ran(environments["export,rtx"], "y12-inspect", artefact(demo, "engine")).lower()


def test_train_trains_also_for_int8(environments, scenes):
    env = environments["train"]
    steps = ("--imgsz", "64", "--epochs", "1", "--batch", "4", "--device", "cpu", "--no-augment")
    ran(env, "y12-tune", scenes / "data.yaml", "--model", "yolov12n", *steps, "--output", env.home / "tuned")
    weights = env.home / "tuned" / "yolov12n.safetensors"
    ran(env, "y12-tune", scenes / "data.yaml", "--weights", weights, "--qat", *steps, "--output", env.home / "qat")
    weights = env.home / "qat" / "yolov12n.safetensors"
    both = environments["train,export"]
    ran(both, "y12-export", weights, "--int8", "--imgsz", "64", "--no-verify", "--output", both.home / "qat")


def test_rtx_with_gpu_says_what_an_engine_lacks_here(environments, demo):
    """With a GPU it runs; without, the line names the driver: nothing else is missing."""
    env = environments["rtx,gpu"]
    done = env.run("y12-bench", artefact(demo, "engine"), "--iterations", "2")
    if done.returncode:
        assert "expected an NVIDIA driver (libcuda.so.1), found none" in done.stderr
    ran(env, "python", "-m", "y12.runtime.cli.prebuild", "--sm", "89", "--output", env.home / "kernels")


def test_ort_gpu_does_not_fall_back(environments, demo):
    done = environments["ort-gpu"].run("y12-bench", artefact(demo, "onnx"), "--iterations", "2")
    said = "(CUDA)" if done.returncode == 0 else "has CUDAExecutionProvider, but it did not load"
    assert said in done.stderr
    ran(environments["ort-gpu"], "y12-bench", artefact(demo, "onnx"), "--provider", "cpu", "--iterations", "2")


def test_a_user_s_type_checker_sees_the_types(environments):
    env = environments.new("", *(one for one in asked_for("dev") if one.startswith("mypy==")))
    (env.home / "program.py").write_text(PROGRAM)
    done = env.run("mypy", "--strict", "program.py")
    assert 'Revealed type is "y12.runtime.results.detections.Detections"' in done.stdout, done.stdout + done.stderr
    assert '"Detections" has no attribute "no_such_field"' in done.stdout
    assert "Found 1 error in 1 file" in done.stdout


def test_a_project_with_folders_of_the_old_names_can_use_it(environments):
    env = environments["ort"]
    for name in ("runtime", "exporter"):
        (env.home / name).mkdir()
        (env.home / name / "__init__.py").write_text("mine = True\n")
    code = "import exporter, runtime; from y12 import Runtime; print(exporter.mine, runtime.mine, Runtime.__module__)"
    assert ran(env, "python", "-c", code).split() == ["True", "True", "y12.runtime.session"]
