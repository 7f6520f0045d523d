"""What is wrong with a command line is said before anything is loaded that takes seconds, and before the work."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
WRONG = {  # command, arguments, what is said
    "export": [
        (["yolov12n", "--random-weights", "--opset", "12"], "--opset: expected 17 to 20, found 12"),
        (["yolov12", "--random-weights"], "which scale? Put it into the name (yolov12n)"),
        (["yolov12nn", "--random-weights"], "unknown model 'yolov12nn'; did you mean 'yolov12n'?"),
        (["yolo11n"], "expected weights, found 'yolo11n', a network's name"),
        (["none.pt"], "MODEL: expected a model's file, found nothing at none.pt"),
        (["none.safetensors"], "MODEL: expected a model's file, found nothing at none.safetensors"),
        (["none.h5"], "MODEL: expected a file ending in .pt"),
        (["own.yaml", "--scale", "n"], "expected a model YAML, found no file own.yaml"),
        (["--val", "none"], "--val: expected a data.yaml, a COCO .json or a folder, found nothing at none"),
        (["--images", "none"], "--images: expected photographs, found nothing at none"),
        (["--int8", "--calib", "none"], "--calib: expected a folder of images or a data.yaml, found nothing at none"),
        (
            ["--int8", "--calib", ".", "--max-drop", "1", "--max-drop-data", "none"],
            "--max-drop-data: expected a data.y",
        ),
    ],
    "tune": [
        (["none.yaml", "--model", "yolov12n"], "DATA: expected a data.yaml, a COCO .json, a folder of classes, or the"),
        (["shapes", "--model", "yolov12nn"], "unknown model 'yolov12nn'; did you mean 'yolov12n'?"),
        (["shapes", "--model", "yolov12"], "which scale?"),
        (["shapes", "--weights", "none.pt"], "--weights: expected a weights file, found nothing at none.pt"),
        (["shapes", "--model", "yolov12n", "--val", "none"], "--val: expected a data.yaml, a COCO .json or a folder"),
    ],
    "val": [
        (
            ["none.onnx", "here.json"],
            "ARTEFACT: expected an .onnx, an .engine or COCO results (.json), found nothing at",
        ),
        (
            ["here.json", "none.json"],
            "DATA: expected a data.yaml, a COCO .json or a folder of classes, found nothing at",
        ),
        (
            ["here.json", "here.json", "--images", "none"],
            "--images: expected a folder of images, found nothing at none",
        ),
        (["here.json", "here.json", "--conf", "2"], "conf: expected a number from 0 to 1, found 2.0"),
        (["here.json", "here.json", "--max-det", "0"], "max_det: expected a whole number from 1"),
        (["here.json", "here.json", "--save-json", "/proc/x"], "/proc/x: cannot be written ("),
        (["here.json", "here.json", "--save-json", "here.json"], "--save-json: expected another file than an input"),
    ],
}
CODE = """
import json, sys
from y12.exporter.cli.{command} import main
codes = [main(arguments) for arguments in json.loads(sys.argv[1])]
sys.exit(codes.count(1) * 10 + bool({{"torch", "onnx", "onnxruntime", "cv2"}} & set(sys.modules)))
"""


@pytest.mark.parametrize("command", WRONG)
def test_one_line_before_anything_is_loaded(command, tmp_path):
    (tmp_path / "here.json").write_text("{}")
    arguments = json.dumps([words for words, _ in WRONG[command]])
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(command=command), arguments],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        text=True,
        capture_output=True,
        check=False,
    )
    lines = done.stderr.splitlines()  # and no "load …" among them
    assert len(lines) == len(WRONG[command]), done.stderr
    for line, (_, words) in zip(lines, WRONG[command], strict=True):
        assert line.startswith("error: ")
        assert words in line
    assert done.stdout == ""
    assert done.returncode == 10 * len(lines)
    assert [path.name for path in tmp_path.iterdir()] == ["here.json"]
