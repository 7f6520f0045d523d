"""Others' own loaders take what y12 hands on; each of these packages is large and has an environment of its own.

$Y12_BRIDGES_PYTHON names an interpreter that has them all, and onnxruntime.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.runtime.conftest import colour_manifest, colour_model
from y12.runtime.artefact.manifest import ONNX_KEY

ROOT = Path(__file__).resolve().parents[2]
UV = Path(sys.executable).parent / "uv"
PACKAGES = {
    "mlflow": ("mlflow-skinny>=3", "pandas"),
    "fiftyone": ("fiftyone",),
    "label_studio": ("label-studio-sdk",),
}

pytestmark = [pytest.mark.exhaustive, pytest.mark.slow]


@pytest.fixture(scope="module")
def interpreter(tmp_path_factory):
    """Give an interpreter with some packages and what y12's runtime needs."""

    def made(*packages):
        if given := os.environ.get("Y12_BRIDGES_PYTHON"):
            return given
        folder = tmp_path_factory.mktemp("environment") / "venv"
        python = folder / "bin/python"
        install = [UV, "pip", "install", "--quiet", "--python", python, *packages, "-e", f"{ROOT}[ort]"]
        for command in ([UV, "venv", "--quiet", "--python", sys.executable, folder], install):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"{', '.join(packages)} cannot be installed here: {done.stderr.strip()[-300:]}")
        return str(python)

    return made


def checked(python, name, *arguments):
    script = ROOT / f"tests/bridges/{name}_check.py"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "MLFLOW_ALLOW_FILE_STORE": "true"}
    done = subprocess.run(
        [python, str(script), *map(str, arguments)], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_mlflow_loads_an_artefact_and_finds_what_the_runtime_finds(interpreter, tmp_path):
    (tmp_path / "colours.onnx").write_bytes(colour_model(1, {ONNX_KEY: colour_manifest().to_json()}))
    Image.new("RGB", (64, 64), (230, 10, 10)).save(tmp_path / "red.png")
    checked(interpreter(*PACKAGES["mlflow"]), "mlflow", tmp_path / "colours.onnx", tmp_path / "red.png", tmp_path)


def test_fiftyone_has_the_labels_and_writes_them(interpreter, tmp_path):
    Image.new("RGB", (400, 200)).save(tmp_path / "wide.png")
    told = checked(interpreter(*PACKAGES["fiftyone"]), "fiftyone", tmp_path / "wide.png", tmp_path)
    if told.startswith("without a database"):
        pytest.skip(f"all but the database has been checked: {told.strip()}")


def test_label_studio_s_sdk_takes_the_predictions_and_converts_them(interpreter, tmp_path):
    checked(interpreter(*PACKAGES["label_studio"]), "label_studio", tmp_path)
