"""Every command line in the documents is one that the commands take; and, in `make test-all`, one that works."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import cv2
import pytest
from documents import ELSEWHERE, ROOT, Line, command_lines, ours, python_blocks

from y12.errors import Y12Error

LINES = command_lines()
SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
# Runs as long as a document's own would take hours; each is what was written, but for these numbers.
SHORTER = (
    (r"--epochs \d+", "--epochs 1"),
    (r"--max-drop \S+", "--max-drop 40"),  # 64 photographs at 160 pixels lose more
    (r"--calib data\.yaml", "--calib photos"),
    (r"--imgsz (192|320|640)( .*)?$", r"--imgsz 160\2"),
    (r"--images 64", "--images 16"),
    (r"--imgsz 320:640:1280", "--imgsz 96:160:192"),
    (r"--iterations \d+", "--iterations 2"),
    (r"(y12-export qat/.*)", r"\1 --allow-inconclusive"),  # one epoch at 160 pixels leaves few detections
)
NEEDS_GPU = re.compile(r"y12-(infer|bench|val) \S+\.engine")
NOT_RUN = {  # where a document's file is none that can be had here, and what shows it instead
    "y12-tune sixteen.yaml": "two hundred epochs on a data set that is not published",
    "y12-tune shapes": "trains the demo model: tests/exporter/train/test_shapes.py trains on such scenes",
    "y12-export https://": "tests/remote serves such a file, and exports it",
    "y12-tune data.yaml --weights s3://": "tests/remote has a bucket",
    "y12-infer hf://": "tests/remote has a hub",
    "y12-serve": "runs until it is stopped: tests/serve starts it",
    "y12-batch": "starts Ray, which dev has not: tests/batch starts it",
    "y12-infer yolo11n.onnx photos --recursive --shard": "tests/runtime/cli/test_sharing.py does it",
    "make demo": "tests/scripts runs it in a checkout of its own",
    "y12-inspect best_fp16.engine": "tests/exporter/test_rebuild.py makes artefacts again, and tells them apart",
    "y12-inspect deployed/": "needs two releases of TensorRT-RTX: make test-trt has four",
    "make test": "this is it",
}

ELSEWHERE_IN_PYTHON = {  # what a block of Python speaks of that is not here, and what runs it instead
    "tritonclient": "a server: tests/serve asks one with that client",
    "s3://": "a bucket: tests/remote has one",
    "to_fiftyone": "a data set of FiftyOne: tests/bridges has it and Label Studio",
    "found/parquet": "what y12-batch wrote: tests/batch reads such files",
}


def parsed(line: Line) -> object:
    """Return what a command understands of its line."""
    command, *arguments = line.words
    if command == "y12":
        command, *arguments = f"y12-{arguments[0]}", *arguments[1:]
    parser = import_module(SCRIPTS[command].split(":")[0]).COMMAND.parser()
    return parser.main(arguments, command, standalone_mode=False)


def test_every_line_is_ours_or_named_as_somebody_else_s():
    assert len(LINES) > 40
    assert {line.words[0] for line in LINES} - {line.words[0] for line in ours(LINES)} <= set(ELSEWHERE)


@pytest.mark.parametrize("line", [line for line in ours(LINES) if line.words[0].startswith("y12")], ids=str)
def test_the_command_takes_it(line):
    assert hasattr(parsed(line), "run")


@pytest.mark.parametrize("line", [line for line in ours(LINES) if line.words[0] == "python"], ids=str)
def test_the_script_is_there(line):
    script = line.words[2] if line.words[1] == "-m" else line.words[1]
    assert import_module(script) if line.words[1] == "-m" else (ROOT / script).is_file()


@pytest.fixture(scope="module")
def desk(shared, tmp_path_factory):
    """A folder with the files that the documents name."""
    folder = tmp_path_factory.mktemp("desk")
    trained, data = shared / "checkpoints" / "trained", shared / "datasets" / "coco128"
    shutil.copy(trained / "yolo11n.pt", folder / "best.pt")
    shutil.copy(shared / "images" / "bus.jpg", folder / "photo.jpg")
    (folder / "examples").symlink_to(ROOT / "examples")
    photos = sorted((data / "images" / "train2017").glob("*.jpg"))
    for kind, suffix in (("images", ".jpg"), ("labels", ".txt")):
        (folder / kind).mkdir()
        for photo in photos:
            source = data / kind / "train2017" / f"{photo.stem}{suffix}"
            if source.is_file():
                shutil.copy(source, folder / kind)
    (folder / "photos").symlink_to(folder / "images")
    names = (data / "coco128.yaml").read_text().partition("names:")[2]
    (folder / "data.yaml").write_text(f"train: images\nval: images\nnames:{names}")
    run(folder, "y12-export best.pt --imgsz 160 --no-verify")
    shutil.copy(folder / "best.onnx", folder / "yolo11n.onnx")
    shutil.copy(folder / "best.onnx", folder / "best_fp16.onnx")
    run(folder, "y12-export best.pt --target cpu --imgsz 160 --no-verify")
    (folder / "made").mkdir()
    shutil.copy(folder / "best.onnx", folder / "made" / "best.onnx")
    shutil.copy(folder / "photo.jpg", folder / "bus.jpg")
    run(folder, "y12-export best.pt --dynamic --imgsz 160 --no-verify --output dynamic")
    shutil.copy(folder / "dynamic" / "best.onnx", folder / "dynamic.onnx")
    return folder


def run(folder: Path, command: str) -> str:
    """Run a line as a shell in the folder would, and return what it printed."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, shell=True, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done.stdout


def shortened(line: Line) -> str:
    """Return a line that takes seconds."""
    command = " ".join(line.words)
    for pattern, short in SHORTER:
        command = re.sub(pattern, short, command)
    if command.startswith(("y12-export best.pt", "y12-tune")) and "--imgsz" not in command:
        command += " --imgsz 160"
    return command.replace("NAME", "yolo11n")


def documents() -> list[str]:
    return sorted({line.document for line in ours(LINES)})


@pytest.mark.exhaustive  # minutes; the others show that each line is understood
@pytest.mark.parametrize("document", documents())
def test_a_document_s_lines_work_one_after_the_other(document, desk, gpu_or_not):
    ran = 0
    for line in (line for line in ours(LINES) if line.document == document):
        command = shortened(line)
        if any(command.startswith(name) for name in NOT_RUN) or (NEEDS_GPU.match(command) and not gpu_or_not):
            continue
        run(desk, command)
        ran += 1
    if not ran:
        pytest.skip(f"none of the lines of {document} can be run here: a GPU, or {', '.join(NOT_RUN.values())}")


@pytest.mark.exhaustive  # the desk's exports take half a minute
@pytest.mark.parametrize("document", sorted(python_blocks()))
def test_a_document_s_python_works(document, desk, gpu_or_not, monkeypatch):
    monkeypatch.chdir(desk)
    monkeypatch.setenv("MODEL", "yolo11n.onnx")
    image = cv2.imread("photo.jpg")
    names: dict[str, object] = {"image": image, "camera": lambda: iter([image, image])}
    missing = []
    for block in python_blocks()[document]:
        if "s3://" in block:
            continue  # tests/remote has a bucket
        if any(name in block for name in ELSEWHERE_IN_PYTHON) or ("GpuOptions" in block and not gpu_or_not):
            continue
        if not gpu_or_not:
            block = block.replace(".engine", ".onnx")
        for statement in ast.parse(block).body:
            try:
                exec(compile(ast.Module([statement], []), document, "exec"), names)
            except Y12Error as error:
                if "pip install" not in str(error):
                    raise
                missing.append(str(error))
    if missing:
        pytest.skip(f"all of {document} was run but for what needs another package: {'; '.join(missing)}")


@pytest.fixture(scope="module")
def gpu_or_not() -> bool:
    """Whether there is a GPU."""
    from y12.runtime.gpu.cuda import Gpu

    try:
        Gpu().close()
    except Y12Error:
        return False
    return True
