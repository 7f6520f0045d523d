"""Trained networks and photographs through the GPU pipeline on the host: its kernels find what the CPU's path finds.

The two letterboxes may differ by a gray level, which is what scores and boxes may differ by here; with the same
letterbox they are equal bit for bit (tests/runtime/gpu).
"""

import numpy as np
import pytest

from tests.runtime.gpu.host_device import World
from tests.runtime.gpu.ort_network import OrtNetwork
from y12 import Runtime
from y12.exporter.cli.export import main
from y12.runtime.options import DetectOptions


@pytest.mark.parametrize("name", ["yolo11n-seg", "yolov8n-pose"])
def test_photographs(shared, tmp_path, capsys, name):
    checkpoint = shared / "checkpoints" / "trained" / f"{name}.pt"
    command = [str(checkpoint), "--format", "onnx", "--imgsz", "320", "--batch", "1:1:2", "--no-verify"]
    assert main([*command, "--output", str(tmp_path)]) == 0
    path = tmp_path / f"{name}.onnx"
    photos = sorted((shared / "images").glob("*.jpg"))[:2]
    options = DetectOptions(conf=0.4)
    world = World()
    with Runtime(path) as on_cpu, Runtime(path, OrtNetwork(path, world)) as on_gpu:
        expected = on_cpu.infer_batch(photos, options)
        once, again = (on_gpu.infer_batch(photos, options) for _ in range(2))
    world.check_clean()
    assert (world.captures, world.launches) == (1, 1)
    assert sum(map(len, expected)) >= 3
    for cpu, launched, replayed in zip(expected, once, again, strict=True):
        np.testing.assert_array_equal(replayed.xyxy, launched.xyxy)
        assert replayed.class_name == cpu.class_name
        np.testing.assert_allclose(replayed.confidence, cpu.confidence, atol=5e-3)
        np.testing.assert_allclose(replayed.xyxy, cpu.xyxy, atol=1)
        if cpu.masks is not None:
            assert (replayed.mask != cpu.mask).mean() < 1e-3
            assert cpu.mask.mean() > 0.01
        if cpu.keypoints is not None:
            seen = cpu.keypoints[..., 2] > 0.5
            np.testing.assert_allclose(replayed.keypoints[seen], cpu.keypoints[seen], atol=2)
