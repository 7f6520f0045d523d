"""y12-val as a user runs it: tables, JSON, files, exit codes, one line for what is wrong."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from y12.exporter.cli.val import main
from y12.installing import install_command

ROOT = Path(__file__).resolve().parents[3]
GT = {
    "images": [{"id": 7, "file_name": "a.png", "height": 64, "width": 64}],
    "annotations": [{"id": 1, "image_id": 7, "category_id": 3, "bbox": [8, 16, 40, 40]}],
    "categories": [{"id": 1, "name": "cat"}, {"id": 3, "name": "dog"}],
}
RESULTS = [{"image_id": 7, "category_id": 3, "score": 0.9, "bbox": [8, 16, 40, 40]}]


@pytest.fixture
def files(tmp_path):
    """Labels and results that agree."""
    paths = tmp_path / "results.json", tmp_path / "gt.json"
    for path, data in zip(paths, (RESULTS, GT), strict=True):
        path.write_text(json.dumps(data))
    return [str(path) for path in paths]


def refused(capsys, *arguments):
    """Run; give the one line that was written."""
    assert main([str(a) for a in arguments]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    lines = [line for line in err.splitlines() if not line.endswith(" …")]
    assert len(lines) == 1, err
    assert lines[0].startswith("error: ")
    return lines[0]


def test_the_table(files, capsys):
    assert main(files) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.splitlines()[1:] == [
        "1 images, 0 of them without labels; 1 labels",
        "                  AP50-95     AP50     AP75    small   medium    large       AR",
        "boxes              1.0000   1.0000   1.0000        -   1.0000        -   1.0000",
    ]


def test_the_classes(files, capsys):
    assert main([*files, "--per-class"]) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "boxes              labels  AP50-95     AP50",
        "dog                     1   1.0000   1.0000",
    ]


def test_json_is_one_object(files, capsys):
    assert main([*files, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["figures"]["bbox"]["values"]["AP"] == pytest.approx(1)
    assert report["figures"]["bbox"]["values"]["APlarge"] is None
    assert report["figures"]["bbox"]["classes"][1] == {
        "name": "dog",
        "labels": 1,
        "ap": pytest.approx(1),
        "ap50": pytest.approx(1),
    }
    assert (report["images"], report["labels"], report["background"]) == (1, 1, 0)


def test_results_are_saved(files, tmp_path):
    saved = tmp_path / "new" / "saved.json"
    assert main([*files, "--save-json", str(saved)]) == 0
    assert json.loads(saved.read_text()) == RESULTS


@pytest.mark.parametrize("option", [["--conf", "0.1"], ["--imgsz", "64"], ["--images", "."], ["--no-multi-label"]])
def test_results_that_exist_take_no_options(files, capsys, option):
    assert "results were made before" in refused(capsys, *files, *option)


def test_a_wrong_file_is_one_line(files, capsys, tmp_path):
    assert "COCO results (.json), found nothing at" in refused(capsys, tmp_path / "none.json", files[1])
    assert "expected a list of COCO results" in refused(capsys, files[1], files[1])
    assert "expected a COCO JSON with lists of" in refused(capsys, files[0], files[0])
    (tmp_path / "data.yaml").write_text("names: [cat]")
    assert "expected a COCO JSON to evaluate results with" in refused(capsys, files[0], tmp_path / "data.yaml")
    (tmp_path / "model.bin").write_bytes(b"model")
    assert "expected a file named *.onnx" in refused(capsys, tmp_path / "model.bin", files[1])


@pytest.mark.parametrize("line", [[], ["a.onnx"], ["a.onnx", "b.json", "--split", "valid"], ["a", "b", "--conf", "x"]])
def test_a_wrong_command_line_is_refused(line, capsys):
    assert main(line) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"error: .*expected .+, found .+\n", err)


def test_a_missing_package_is_one_line_with_the_remedy(files, capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "pycocotools" else name)
    line = refused(capsys, *files)
    assert "needs the package 'pycocotools' of y12's extra [val]" in line
    assert line.endswith(install_command("val"))


HEAVY = ("torch", "onnx", "onnxruntime", "pycocotools", "yaml", "rich", "cv2")
HELP = f"""
import sys
from y12.exporter.cli.val import main
assert main(["--help"]) == 0
print(sorted(set(sys.modules) & set({HEAVY!r})))
"""
WITHOUT_TORCH = """
import sys
for name in ("torch", "onnx", "onnxruntime", "tensorrt", "tensorrt_rtx", "cuda"):
    sys.modules[name] = None
import importlib, pkgutil, y12.exporter.data
for module in pkgutil.walk_packages(y12.exporter.data.__path__, "y12.exporter.data."):
    importlib.import_module(module.name)
from y12.exporter.cli.val import main
print(main(sys.argv[1:]))
"""


def python(code, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_help_is_quick():
    lines = python(HELP)
    assert lines[0].startswith("Usage: y12-val ")
    assert lines[-1] == "[]"


def test_it_needs_no_torch(files):
    assert python(WITHOUT_TORCH, *files)[-1] == "0"


@pytest.mark.slow
def test_a_trained_model_and_its_published_figures(shared, tmp_path, capsys):
    """The whole way of a user, on a few images: an artefact, a COCO JSON, the table and the results."""
    from y12.exporter.cli.export import main as export

    checkpoint = shared / "checkpoints" / "trained" / "yolov8n-pose.pt"
    assert export([str(checkpoint), "--output", str(tmp_path), "--no-verify"]) == 0
    capsys.readouterr()
    data = shared / "datasets" / "pose_minicoco" / "annotations" / "person_keypoints_val2017.json"
    assert main([str(tmp_path / "yolov8n-pose.onnx"), str(data), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["figures"]["keypoints"]["values"]["AP"] == pytest.approx(0.486, abs=0.001)
    assert set(report["ms_per_image"]) == {"load", "preprocess", "execute", "postprocess"}
