"""The health check of the image that serves, against a real server."""

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.runtime.conftest import colour_manifest, colour_model
from tests.serve.conftest import started
from y12.runtime.artefact.manifest import ONNX_KEY

CHECK = Path(__file__).resolve().parents[2] / "docker" / "scripts" / "check_serve.py"


def check(*words):
    done = subprocess.run([sys.executable, CHECK, *map(str, words)], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    path = tmp_path_factory.mktemp("served") / "colours.onnx"
    path.write_bytes(colour_model(1, {ONNX_KEY: colour_manifest().to_json()}))
    server = started("-m", "y12.serve.cli", path, "--port", "0")
    yield server
    server.end()


def picture(path, colour):
    Image.new("RGB", (64, 48), colour).save(path)
    return path


def test_a_service_that_runs_is_told(server, tmp_path):
    assert check(server.port) == (0, "ready\n", "")
    red = picture(tmp_path / "red.png", "red")
    assert check(server.port, red) == (0, f"ready; 1 objects in {red}\n", "")


def test_a_service_that_finds_nothing_is_told(server, tmp_path):
    code, said, error = check(server.port, picture(tmp_path / "black.png", "black"))
    assert (code, said) == (1, "")
    assert error.startswith(f"error: expected objects in {tmp_path}/black.png, found status 200 b'")
    assert error.count("\n") == 1


def test_nobody_is_told():
    code, said, error = check(9)
    assert (code, said) == (1, "")
    assert error == "error: expected y12-serve on port 9, found nobody ([Errno 111] Connection refused)\n"
