"""examples/cpp as the image builds it, and on the output of a real network."""

import os
import shutil
import subprocess

import numpy as np
import pytest

from tests.examples.cpp_program import ROOT, STUB, Run, plan, predictions
from y12 import Runtime
from y12.runtime.backends.onnx_runtime import OrtExecutor
from y12.runtime.preprocess.images import image_from


def test_the_build_script_finds_tensorrt_and_cuda_where_it_is_told(tmp_path, rng):
    if shutil.which("cmake") is None:
        pytest.skip("cmake is not installed")
    for root, header, name in (("trt", "NvInfer.h", "tensorrt_rtx"), ("cuda", "cuda_runtime_api.h", "cudart")):
        (tmp_path / root / "include").mkdir(parents=True)
        (tmp_path / root / "lib").mkdir()
        shutil.copy(STUB / header, tmp_path / root / "include")
        empty = ["g++", "-shared", "-x", "c++", "/dev/null", "-o", str(tmp_path / root / "lib" / f"lib{name}.so")]
        subprocess.run(empty, check=True)
    variables = {"OUTPUT": tmp_path / "out", "CUDA_ROOT": tmp_path / "cuda", "TENSORRT_ROOT": tmp_path / "trt"}
    environment = (
        os.environ | {name: str(path) for name, path in variables.items()} | {"TENSORRT_LIBRARY": "tensorrt_rtx"}
    )
    script = ROOT / "docker" / "scripts" / "build_cpp.sh"
    done = subprocess.run(["bash", str(script)], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr
    lines = Run(tmp_path / "out" / "detect", tmp_path).found(
        plan(predictions(rng), (64, 64)), np.zeros((9, 9, 3), np.uint8)
    )
    assert len(lines) > 2


@pytest.mark.slow
def test_finds_in_a_real_network_what_the_runtime_finds(run, tmp_path):
    """The trained network that ships, exported small, run by ONNX Runtime on scenes it knows."""
    pytest.importorskip("torch")
    from y12.exporter.cli.export import main as export
    from y12.exporter.train.shapes import main as draw

    weights = ROOT / "configs" / "weights" / "yolov12n-shapes.safetensors"
    assert export([str(weights), "--imgsz", "192", "--no-verify", "--output", str(tmp_path)]) == 0
    assert draw([str(tmp_path / "scenes"), "--images", "2", "--seed", "7"]) == 0
    (artefact,) = tmp_path.glob("*.onnx")
    network = OrtExecutor(artefact, "cpu")
    count = 0
    with Runtime(artefact) as runtime:
        for path in sorted((tmp_path / "scenes").rglob("*.png")):
            image = image_from(path)
            run.found(plan(np.zeros((1, 5, 1), np.float32), runtime.input_hw), image)
            outputs = network.run(run.blob.reshape(1, 3, *runtime.input_hw))  # of the program's own letterbox
            output0 = np.concatenate([outputs["boxes"], outputs["scores"]], axis=1)
            lines, found = run.found(plan(output0, runtime.input_hw), image), runtime.infer(image)
            np.testing.assert_array_equal(lines[:, 0], found.class_id)
            np.testing.assert_allclose(lines[:, 1], found.confidence, atol=0.01)
            np.testing.assert_allclose(lines[:, 2:], found.xyxy, atol=0.5)  # pixels of 320
            count += len(found)
    network.close()
    assert count > 2
