"""y12-export as a user runs it: files, messages, exit codes, and nothing left behind."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.foreign_graphs import ended
from y12.exporter.cli.export import main

ROOT = Path(__file__).resolve().parents[3]
COMMAND = [sys.executable, "-m", "y12.exporter.cli.export"]
README = ROOT / "README.md"
QUICK = ["--imgsz", "64", "--no-verify"]


def environment():
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def run(*arguments, cwd):
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, text=True, cwd=cwd, env=environment(), check=False
    )


def names(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


def refused(capsys, *arguments, code=1):
    """Run in this process; give the one line that was written."""
    found = main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    assert found == code, err
    assert out == ""
    lines = [line for line in err.splitlines() if not line.endswith(" …")]
    assert len(lines) == 1, err
    assert lines[0].startswith("error: ")
    assert len(lines[0]) < 600
    return lines[0]


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """What the first command of the README does in an empty folder."""
    folder = tmp_path_factory.mktemp("demo")
    return run("--format", "engine", "--half", cwd=folder), folder


def test_the_demo_works_in_an_empty_folder_exactly_so(demo):
    done, folder = demo
    assert done.returncode == 0, done.stderr
    assert names(folder) == [
        f"yolov12n-shapes_fp16{end}"
        for end in (".engine", ".engine.json", ".onnx", ".provenance.json", ".report.html", ".report.json")
    ]
    assert "8 of 8 fused" in done.stdout
    assert "verified: " in done.stdout
    assert "note: no model was named: exporting y12's demo model, which finds the shapes of drawn scenes" in done.stderr
    stages = [line.removesuffix(" …") for line in done.stderr.splitlines() if line.endswith(" …")]
    assert stages == ["start", "load", "trace", "simplify", "precision", "engine", "verify", "write"]


def without_numbers(lines):
    """Lines in which every number, and so every version, is a #."""
    return [re.sub(r"\d[\d.]*(e[+-]\d+)?", "#", line) for line in lines]


def test_what_the_readme_shows_is_what_the_command_prints(demo):
    """Word by word; number by number too what no machine decides, where the versions are those of the README."""
    done, _ = demo
    (shown,) = re.findall(
        r"^\$ y12-export --format engine --half .*\n((?:.*\n)*?)```", README.read_text(), re.MULTILINE
    )
    expected, printed = shown.splitlines(), done.stdout.splitlines()
    if "engine run   executed" in done.stdout:
        pytest.skip("a GPU ran the engine: the README shows what is printed without one")
    times = [re.sub(r"took .*", "took", line).replace("+cpu", "") for line in printed]
    assert without_numbers(times) == without_numbers(
        re.sub(r"took .*", "took", line).replace("+cpu", "") for line in expected
    )
    versions = re.compile(r"TensorRT-RTX [\d.]+|ONNX Runtime [\d.]+|torch [\d.]+")
    if versions.findall(done.stdout) == versions.findall(shown):
        assert [line.split("; same result")[0] for line in printed[:8]] == [
            line.split("; same result")[0] for line in expected[:8]
        ]
        limits = re.compile(r"\d+ images|\d+ of \d+ detections|\(allowed [\d.]+\)")
        assert [limits.findall(line) for line in printed] == [limits.findall(line) for line in expected]


def test_json_is_data_on_stdout_and_talk_is_on_stderr(tmp_path, capsys):
    assert main(["--json", *QUICK, "--output", str(tmp_path), "--fp16"]) == 0
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert report["precision"] == "fp16"
    assert sorted(report["files"]) == sorted(str(p) for p in tmp_path.iterdir())
    words = shlex.split(report["made"]["command"])
    assert words == ["y12-export", "--json", *QUICK, "--output", str(tmp_path), "--fp16"]
    assert list(report)[:2] == ["schema", "verdict"]
    assert "note: " in err
    # what was made, cut short, is refused
    whole = (tmp_path / "yolov12n-shapes_fp16.onnx").read_bytes()
    (tmp_path / "cut.onnx").write_bytes(whole[: len(whole) // 2])
    before = names(tmp_path)
    assert "cut.onnx: " in refused(capsys, tmp_path / "cut.onnx", *QUICK, "--output", tmp_path / "out")
    assert names(tmp_path) == before


ALIASES = [
    (["--format", "trt", "--quantize", "16"], "yolov12n-shapes_fp16.engine"),
    (["yolov12n-v1", "--random-weights", "--opset", "17", "--half"], "yolov12n-v1_fp16.onnx"),
    (["yolov12", "--random-weights", "--scale", "n", "--no-simplify"], "yolov12n.onnx"),
    (
        ["--format", "tensorrt", "--sm", "89", "--tensorrt", "rtx", "--workspace", "1", "--no-simplify"],
        "yolov12n-shapes.engine",
    ),
]


@pytest.mark.parametrize(("arguments", "artefact"), ALIASES)
def test_other_spellings(tmp_path, capsys, arguments, artefact):
    assert main([*arguments, *QUICK, "--output", str(tmp_path)]) == 0, capsys.readouterr().err
    assert artefact in names(tmp_path)
    assert "not verified" in capsys.readouterr().out


CONTRADICTIONS = [
    (["--half", "--int8"], 1, "choose one of --half and --int8"),
    (["--half", "--quantize", "8"], 1, "choose one of"),
    (["--int8"], 1, "--int8 is calibrated on images like those the model will see: add --calib"),
    (["--quantize", "8"], 1, "add --calib"),
    (["--calib", "."], 1, "are of --int8, found precision fp32: add --int8"),
    (["--half", "--calib", "."], 1, "found precision fp16"),
    (["--int8", "--int8-attention", "--calib-limit", "9"], 1, "--int8-… and --max-drop need --calib"),
    (["--int8", "--calib", ".", "--target", "cpu", "--format", "engine"], 1, "is for ONNX Runtime"),
    (["--int8", "--int8-target", "cpu"], 2, "did you mean --target?"),
    (["--target", "cpu", "--format", "engine"], 1, "--target cpu is for ONNX Runtime; TensorRT needs trt"),
    (["--target", "cpu", "--half"], 1, "--target cpu is FP32, or INT8"),
    (["--target", "cpu", "--no-simplify"], 1, "--no-simplify leaves out"),
    (["--half", "--int8-attention"], 1, "need --calib"),
    (["--int8", "--calib", ".", "--int8-attention", "--target", "cpu"], 1, "INT8 attention is for TensorRT"),
    (["--half", "--max-drop", "1"], 1, "need --calib"),
    (
        ["--int8", "--calib", ".", "--no-bias-correction"],
        2,
        "expected an option of y12-export, found '--no-bias-correction'",
    ),
    (
        ["--int8", "--calib", ".", "--int8-rounding", "adaptive"],
        2,
        "expected an option of y12-export, found '--int8-rounding'",
    ),
    (["--int8", "--calib", ".", "--max-drop", "-1"], 1, "--max-drop: expected points from 0 to 100, found -1"),
    (["--int8", "--calib", ".", "--max-drop", "nan"], 1, "--max-drop: expected points from 0 to 100, found nan"),
    (["--int8", "--calib", ".", "--max-drop-data", "."], 1, "add --max-drop, or drop it"),
    (["--int8", "--calib", ".", "--calib-limit", "0", *QUICK], 1, "expected a limit of 1 or more, found 0"),
    (["--val", "/nothere", *QUICK], 1, "/nothere"),
    (["--int8", "--calib", "/nothere", *QUICK], 1, "/nothere"),
    (["--int8", "--calib", ".", *QUICK], 1, "found none"),
    (
        ["--int8", "--calib", ".", "--calib-method", "entropy"],
        2,
        "--calib-method: expected auto, mse, l3, percentile, max, found 'entropy'",
    ),
    (["--int8", "--calib", ".", "--calib-cache", "."], 2, "expected an option of y12-export, found '--calib-cache'"),
    (["--conf", "0.3"], 1, "are of --nms: add it"),
    (["--agnostic-nms"], 1, "are of --nms: add it"),
    (["--nms-outputs", "split"], 1, "are of --nms: add it"),
    (["--nms", "--nms-candidates", "3841"], 1, "--nms: expected 1 <= max_det <= candidates <= 3840"),
    (["--nms", "--nms-candidates", "100"], 1, "found max_det 300 and 100 candidates"),
    (["--nms", "--max-det", "4000"], 1, "found max_det 4000"),
    (["--nms", "--conf", "1.5"], 1, "conf: expected a number from 0 to 1, found 1.5"),
    (["--nms", "--classes", "80", *QUICK], 1, "classes: expected ids of 0 to 9, found 80"),
    (["--nms", "yolov12n-cls", "--random-weights", *QUICK], 1, "found yolov12n-cls, a classifier; drop --nms"),
    (["--nms-outputs", "efficient"], 2, "--nms-outputs: expected packed, split, found 'efficient'"),
    (["--task", "depth"], 2, "--task: expected detect, segment, pose, obb, classify, multitask, found 'depth'"),
    (
        ["--task", "pose", *QUICK],
        1,
        "--task: expected a model for pose, found yolov12n-shapes.safetensors, which is for multitask",
    ),
    (["--no-verify", "--allow-inconclusive"], 1, "--no-verify contradicts"),
    (["--no-verify", "--images", "."], 1, "--no-verify contradicts"),
    (["--sm", "89"], 1, "add --format engine"),
    (["--workspace", "4"], 1, "add --format engine"),
    (["--tensorrt", "rtx"], 1, "add --format engine"),
    (["--format", "engine", "--tensorrt", "full", "--sm", "89"], 1, "drop one of them"),
    (["--format", "engine", "--sm", "89,89"], 1, "each target once"),
    (["--format", "engine", "--sm", "90", "--no-simplify", *QUICK], 1, "does not build for SM 90; it knows"),
    (["--format", "engine", "--sm", "sm89"], 2, "--sm: expected something like 80,89"),
    (["--format", "engine", "--workspace", "nan"], 1, "--workspace: expected GiB"),
    (["--format", "engine", "--workspace", "-1"], 1, "--workspace: expected GiB"),
    (["--imgsz", "650"], 1, "multiples of the stride 32 up to 8192, found 650; the nearest are 640 and 672"),
    (["--imgsz", "640,650"], 1, "found 650"),
    (["--imgsz", "0"], 1, "found 0"),
    (["--imgsz", "16384"], 1, "found 16384"),
    (["--imgsz", "-640"], 2, "expected something like"),
    (["--imgsz", "640:320:960"], 1, "min <= opt <= max"),
    (["--imgsz", "320:640"], 1, "expected one value, or least:best:largest; found 2 values"),
    (["--imgsz", "a"], 2, "expected something like"),
    (["--imgsz", "1,2,3"], 2, "expected something like"),
    (["--imgsz", "9" * 5000], 2, "expected something like"),
    (["--batch", "0"], 1, "found 0"),
    (["--batch", "8:4:1"], 1, "min <= opt <= max"),
    (["--batch", "1.5"], 2, "--batch: expected something like"),
    (["--opset", "16", *QUICK], 1, "--opset: expected 17 to 20, found 16"),
    (["--opset", "23", *QUICK], 1, "--opset: expected 17 to 20, found 23"),
    (["--scale", "n", "model.pt"], 1, "--scale is for a model YAML"),
    (["--format", "openvino"], 2, "--format: expected onnx, engine (or tensorrt, trt), found 'openvino'"),
    (["--quantize", "4"], 2, "--quantize: expected 8, 16, found '4'"),
    (["--no-such-option"], 2, "expected an option of y12-export, found '--no-such-option'"),
    (["nothere.pt"], 1, "expected a model's file, found nothing at nothere.pt"),
    (["nothere.onnx"], 1, "nothere.onnx"),
    (["nothere.yaml"], 1, "nothere.yaml"),
    (["yolov13n"], 1, "yolov13n"),
    (["yolov12n"], 1, "expected weights, found 'yolov12n', a network's name: give its checkpoint, such as yolov12n.pt"),
    (["model.pt", "--random-weights"], 1, "--random-weights is for a model's name or YAML"),
    (["model.engine"], 1, "expected a file ending in"),
    (["--images", "/nothere", "--imgsz", "64"], 1, "--images: expected photographs, found nothing at /nothere"),
]


@pytest.mark.parametrize(("arguments", "code", "message"), CONTRADICTIONS)
def test_what_cannot_be_done_is_one_line(tmp_path, monkeypatch, capsys, arguments, code, message):
    monkeypatch.chdir(tmp_path)
    assert message in refused(capsys, *arguments, "--output", tmp_path / "out", code=code)
    assert names(tmp_path) == []


DAMAGED = ["yolo12n.truncated.pt", "yolov5n.foreign.pt"]


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_and_foreign_checkpoints(shared, tmp_path, capsys, name):
    line = refused(capsys, shared / "checkpoints" / "damaged" / name, "--output", tmp_path / "out")
    assert name in line
    assert names(tmp_path) == []


def test_a_malicious_checkpoint_runs_nothing(tmp_path, capsys):
    import pickle
    import zipfile

    class Command:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'ran'}",)

    with zipfile.ZipFile(tmp_path / "evil.pt", "w") as archive:
        archive.writestr("evil/data.pkl", pickle.dumps({"model": Command()}, protocol=2))
        archive.writestr("evil/version", "3\n")
    line = refused(capsys, tmp_path / "evil.pt", "--output", tmp_path / "out")
    assert "evil.pt" in line
    assert "system" in line
    assert names(tmp_path) == ["evil.pt"]


CORRUPT = [b"", b"no protobuf", b"\x08\x08" * 100, b"\xff" * 4096]


@pytest.mark.parametrize("content", CORRUPT)
def test_a_corrupt_graph(tmp_path, capsys, content):
    (tmp_path / "broken.onnx").write_bytes(content)
    assert "broken.onnx" in refused(capsys, tmp_path / "broken.onnx", "--output", tmp_path / "out")
    assert names(tmp_path) == ["broken.onnx"]


def test_a_graph_that_is_no_detector_is_refused_before_torch_is_loaded(tmp_path):
    relu = ended("logits = Relu(images) output0 = Softmax<axis=1>(logits)", "float[1, 3, 64, 64] output0")
    (tmp_path / "other.onnx").write_bytes(relu.SerializeToString())
    run_it = "from y12.exporter.cli.export import main; code = main(['other.onnx'])"
    code = f"import sys; {run_it}; sys.exit(code + 2 * ('torch' in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=environment(), check=False
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "found (1, 3, 64, 64), probabilities of a classifier" in line


@pytest.mark.parametrize("folder", ["/proc/nothere", "/dev/null/below", "/proc"])
def test_a_folder_that_cannot_be_written(capsys, folder):
    assert f"--output: cannot write to '{folder}'" in refused(capsys, *QUICK, "--output", folder)


def test_a_full_disk(tmp_path, capsys):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("cannot mount a small file system here: a full disk was not tried")
    try:
        line = refused(capsys, *QUICK, "--output", disk / "new")
        assert "No space left on device" in line
        assert names(disk) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


INTERRUPTS = [
    ("trace", signal.SIGINT),
    pytest.param("engine", signal.SIGINT, marks=pytest.mark.exhaustive),
    ("verify", signal.SIGTERM),
    pytest.param("simplify", signal.SIGINT, marks=pytest.mark.exhaustive),
    pytest.param("engine", signal.SIGTERM, marks=pytest.mark.exhaustive),
]


def _heed_interrupts():
    """What a shell starts in the background ignores Ctrl-C, and so do its children, unless they are told."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize(("stage", "number"), INTERRUPTS)
def test_an_interrupted_export_leaves_nothing(tmp_path, stage, number):
    output = tmp_path / "out"
    # Not the demo model at its small size: its stages are over before the signal comes.
    command = [
        *COMMAND,
        "yolov12n",
        "--random-weights",
        "--format",
        "engine",
        "--half",
        "--output",
        str(output),
        "--imgsz",
        "320",
    ]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=environment(), preexec_fn=_heed_interrupts
    )
    try:
        for line in process.stderr:
            if line == f"{stage} …\n":
                break
        time.sleep(0.3)  # into the stage, which takes longer
        assert process.poll() is None
        assert any(output.iterdir())  # the hidden folder
        process.send_signal(number)
        _, rest = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130, rest
    assert "Traceback" not in rest
    assert names(tmp_path) == []


def test_help_is_short_and_says_what_every_option_does(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert len(text.splitlines()) < 125
    for option in ("--format", "--half", "--imgsz", "--batch", "--dynamic", "--tensorrt", "--sm", "--images", "--json"):
        assert f"  {option}" in text
