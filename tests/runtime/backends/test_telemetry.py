"""ONNX Runtime's telemetry: a device id and a database of events, which it writes while it is imported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from y12.runtime.backends.onnx_runtime import import_onnxruntime

ROOT = Path(__file__).resolve().parents[3]
VARIABLE = "ORT_DISABLE_TELEMETRY"
PLACES = ("HOME", "XDG_CACHE_HOME", "TMPDIR")
BARE = "import onnxruntime"
LOAD = "from y12.runtime.backends.onnx_runtime import import_onnxruntime; import_onnxruntime()"
SIMPLIFY = """
import onnx
from y12.exporter.graph.simplify import simplify
from y12.runtime.artefact.manifest import AxisRange, InputProfile
model = onnx.parser.parse_model(
    '<ir_version: 8, opset_import: ["" : 20]> g (float[1,3,4,4] images) => (float[1,3,4,4] y) { y = Abs(images) }'
)
simplify(model, InputProfile(AxisRange(1, 1, 1), AxisRange(4, 4, 4), AxisRange(4, 4, 4)))
"""
RUN = """
import numpy as np, onnx
from y12.runtime.backends.onnx_runtime import OrtExecutor
model = onnx.parser.parse_model(
    '<ir_version: 8, opset_import: ["" : 20]> g (float[1,3,4,4] x) => (float[1,3,4,4] y) { y = Abs(x) }'
)
OrtExecutor(model.SerializeToString(), "cpu").run(np.zeros((1, 3, 4, 4), np.float32))
"""


def left_behind(folder, code, **variables):
    """Run code in a fresh interpreter whose HOME, cache and temporary folder are empty; give what it left there."""
    # Few of this process' own variables: where one such as CI is set, ONNX Runtime writes nothing anyway.
    environment = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ} | variables
    for name in PLACES:
        (folder / name).mkdir(parents=True)
        environment[name] = str(folder / name)
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("code", [LOAD, RUN, SIMPLIFY], ids=["load", "run", "simplify"])
def test_y12_leaves_nothing_behind(tmp_path, code):
    assert left_behind(tmp_path, code) == []


def test_a_model_that_runs_leaves_nothing_behind_from_a_command(tmp_path):
    scene = "import sys; from y12.exporter.cli.export import main; "
    model = tmp_path / "model"
    arguments = ["yolov12n", "--random-weights", "--imgsz", "64", "--no-verify", "--output", str(model)]
    code = f"{scene}sys.exit(main({arguments!r}))"
    assert left_behind(tmp_path / "export", code) == []
    bench = "import sys; from y12.runtime.cli.bench import main; "
    code = f"{bench}sys.exit(main([{str(model / 'yolov12n.onnx')!r}, '--iterations', '1', '--warmup', '1']))"
    assert left_behind(tmp_path / "bench", code) == []


def test_without_the_variable_it_is_written(tmp_path):
    """What the tests above would see: if this fails, ONNX Runtime has changed and they verify nothing."""
    assert any("onnxruntime" in path for path in left_behind(tmp_path, BARE))


def test_the_call_afterwards_is_too_late(tmp_path):
    assert left_behind(tmp_path, f"{BARE} as ort; ort.disable_telemetry_events()") != []


def test_who_chose_otherwise_is_left_alone(tmp_path):
    assert left_behind(tmp_path, LOAD, **{VARIABLE: "0"}) != []


def test_the_variable_is_set_once_y12_has_loaded_it(monkeypatch):
    monkeypatch.delenv(VARIABLE)
    import_onnxruntime()
    assert os.environ[VARIABLE] == "1"
