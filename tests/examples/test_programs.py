"""The Python examples: each is run as a user would."""

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.runtime.conftest import colour_manifest, colour_model
from y12.runtime.artefact.manifest import ONNX_KEY, AxisRange

ROOT = Path(__file__).resolve().parents[2]
COLOURS = {"red": (0, 0, 255), "green": (0, 255, 0), "blue": (255, 0, 0)}  # BGR


def run(name, *arguments, path=""):
    command = [sys.executable, str(ROOT / "examples" / name), *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [path, str(ROOT)]))}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def artefact(tmp_path):
    """A network that sees one object: of the colour that the image has most of."""
    batch = AxisRange(1, 2, 4)
    path = tmp_path / "colours.onnx"
    path.write_bytes(colour_model("batch", {ONNX_KEY: colour_manifest(batch=batch).to_json()}))
    return path


@pytest.fixture
def photographs(tmp_path):
    paths = []
    for name, (blue, green, red) in COLOURS.items():
        paths.append(tmp_path / f"{name}.png")
        Image.new("RGB", (80, 48), (red, green, blue)).save(paths[-1])
    return paths


@pytest.mark.parametrize("name", ["video.py", "threads.py"])
def test_help_tells_the_first_line_of_the_file(name):
    done = run(name, "--help")
    assert done.returncode == 0, done.stderr
    first = (ROOT / "examples" / name).read_text().splitlines()[0].strip('"')
    assert first in " ".join(done.stdout.split())


@pytest.mark.parametrize("options", [[], ["--batch", "4"]])
def test_video(artefact, tmp_path, options):
    video = tmp_path / "video.avi"
    names = ["red", "blue", "green", "blue", "blue", "red", "green"]
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"MJPG"), 5, (80, 48))
    for name in names:
        writer.write(np.full((48, 80, 3), COLOURS[name], np.uint8))
    writer.release()
    done = run("video.py", artefact, video, *options)
    assert done.returncode == 0, done.stderr
    *lines, total = done.stdout.splitlines()
    assert lines == [f"{number} 1 {name}" for number, name in enumerate(names)]
    assert total == "in all: {'blue': 3, 'red': 2, 'green': 2}"


@pytest.mark.parametrize("threads", [1, 3])
def test_threads(artefact, photographs, threads):
    paths = photographs * 4
    done = run("threads.py", artefact, *paths, "--threads", threads)
    assert done.returncode == 0, done.stderr
    *lines, total = done.stdout.splitlines()
    assert lines == [f"{path} 1 {path.stem}" for path in paths]
    assert " images/s on ONNX Runtime" in total


@pytest.mark.parametrize("name", ["video.py", "threads.py"])
def test_an_error_is_one_line(name, tmp_path):
    done = run(name, tmp_path / "none.onnx", tmp_path / "none.png")
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {tmp_path / 'none.onnx'}: ")
    assert len(done.stderr.splitlines()) == 1


# pycuda without a GPU: what the example calls, in the host's memory. The array does not tell that it is a numpy array.
STAND_IN = {
    "pycuda/__init__.py": "",
    "pycuda/autoprimaryctx.py": "class device:\n    name = staticmethod(lambda: 'a stand-in')\n",
    "pycuda/driver.py": "class Stream:\n    def synchronize(self):\n        from pycuda import gpuarray\n"
    "        gpuarray.done = True\n",
    "pycuda/gpuarray.py": "from PIL import Image\ndone = False\n\ndef to_gpu_async(array, stream):\n"
    "    assert array.flags.c_contiguous and array.dtype == 'uint8'\n    return Image.fromarray(array[:, :, ::-1])\n",
}


def test_pycuda_without_a_gpu(artefact, photographs, tmp_path):
    for name, text in STAND_IN.items():
        path = tmp_path / "stand_in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    done = run("pycuda_detect.py", artefact, photographs[2], path=str(tmp_path / "stand_in"))
    assert done.returncode == 0, done.stderr
    found, where = done.stdout.splitlines()
    assert found.startswith("blue 0.")
    assert len(found.split()) == 6
    assert where.endswith("beside pycuda on a stand-in")


@pytest.mark.gpu
def test_pycuda_on_a_gpu_finds_what_an_array_on_the_host_gives(gpu, tmp_path):
    pytest.importorskip("pycuda", reason="pycuda is not installed: pip install -e '.[pycuda]'")
    from y12 import Runtime
    from y12.exporter.cli.export import main as export
    from y12.exporter.train.shapes import main as draw

    assert export(["--format", "engine", "--half", "--imgsz", "320", "--output", str(tmp_path)]) == 0, gpu
    assert draw([str(tmp_path / "scenes"), "--images", "1", "--seed", "7"]) == 0
    (engine,), (photo,) = tmp_path.glob("*.engine"), (tmp_path / "scenes" / "images").iterdir()
    done = run("pycuda_detect.py", engine, photo)
    assert done.returncode == 0, done.stderr
    with Runtime(engine) as runtime:
        found = runtime.infer(photo)
    assert len(found) > 0
    lines = [line.split() for line in done.stdout.splitlines()[:-1]]
    assert [line[-5] for line in lines] == [f"{score:.3f}" for score in found.confidence]
