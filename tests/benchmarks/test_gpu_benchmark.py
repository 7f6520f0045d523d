"""What benchmarks/gpu.py computes beside times, without a GPU; and the whole of it on one."""

import ctypes.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import gpu, gpu_kernels
from benchmarks.gpu_kernels import CLASSES, OPTIONS, Suppression, letterbox_bytes, made_up_boxes, torch_nms
from tests.runtime.kernels.shim import compiled
from y12.runtime.postprocess.nms import nms
from y12.runtime.preprocess.letterbox import Letterbox

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, str(ROOT / "benchmarks" / "gpu.py")]


@pytest.mark.skipif(ctypes.util.find_library("cuda") is not None, reason="this machine has a driver")
def test_without_a_gpu_it_ends_in_one_line(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--quick"])
    assert gpu.main() == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "expected an NVIDIA driver" in err


def case_of(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Boxes as centre and size and as corners, scores, classes."""
    rng = np.random.default_rng(count)
    xywh = made_up_boxes(rng, count)
    corners = np.concatenate([xywh[:, :2] - xywh[:, 2:] / 2, xywh[:, :2] + xywh[:, 2:] / 2], 1)
    return xywh, corners, rng.uniform(0.26, 1, count).astype(np.float32), rng.integers(0, CLASSES, count)


@pytest.mark.parametrize("count", [1, 30, 1000])
def test_torch_s_operations_keep_what_the_runtime_keeps(count):
    _, boxes, scores, class_ids = case_of(count)
    expected = nms(boxes, scores, class_ids, OPTIONS.iou, count, False)
    found = torch_nms(*(torch.from_numpy(array) for array in (boxes, scores, class_ids)), OPTIONS.iou)
    assert found.tolist() == expected.tolist()


class OnHost:
    """The kernels behind the shim, for addresses of the host's memory."""

    def kernel(self, source, entry):
        return compiled(source)[entry]

    def synchronize(self):
        """Nothing is under way."""


def test_y12_s_kernels_are_launched_on_what_they_are_meant_for(monkeypatch):
    count = 200
    monkeypatch.setattr(
        gpu_kernels, "uploaded", lambda array: torch.from_numpy(array.reshape(-1).view(np.uint8).copy())
    )
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    xywh, boxes, scores, class_ids = case_of(count)
    class_ids %= 2  # so that there is much to suppress
    scores[0] = 1  # the best candidate's anchor is 0: it cannot pass for a count
    output0 = np.zeros((1, 4 + CLASSES, count), np.float32)
    output0[0, :4], output0[0, 4 + class_ids, np.arange(count)] = xywh.T, scores
    expected = len(nms(boxes, scores, class_ids, OPTIONS.iou, count, False))
    assert expected < count * 0.9
    ours = Suppression(OnHost(), output0)
    for _ in range(2):  # as timed: again and again on the same memory
        ours.done(ours.select, ours.suppress)
        assert ours.kept() == expected


@pytest.mark.parametrize("image_hw", [(8, 8), (40, 70), (3, 500), (64, 64), (333, 222)])
def test_bytes_are_counted_sector_by_sector(image_hw):
    input_hw = (64, 64)
    frame = Letterbox.fit(image_hw, input_hw)
    sectors = set()
    for y in range(frame.resized_hw[0]):
        for x in range(frame.resized_hw[1]):
            places = []
            for at, size, resized in zip((y, x), image_hw, frame.resized_hw, strict=True):
                low = int(min(max((at + 0.5) * size / resized - 0.5, 0), size - 1))
                places.append((low, min(low + 1, size - 1)))
            for row in places[0]:
                for column in places[1]:
                    first = 3 * (row * image_hw[1] + column)
                    sectors |= {first // 32, (first + 1) // 32, (first + 2) // 32}
    assert letterbox_bytes(image_hw, input_hw) == 32 * len(sectors) + 4 * 3 * 64 * 64


@pytest.mark.gpu
@pytest.mark.usefixtures("gpu")
def test_on_a_gpu_it_prints_figures_and_tables(tmp_path):
    done = subprocess.run([*COMMAND, "--quick"], capture_output=True, text=True, check=False, cwd=tmp_path, timeout=600)
    assert done.returncode == 0, done.stderr
    figures, end = json.JSONDecoder().raw_decode(done.stdout)
    assert done.stdout[end:].count("| --- |") >= 1
    assert figures["overhead"]["numpy"]["objects"] > 50
    for frame in ("numpy", "pinned", "device"):
        assert figures["overhead"][frame]["launches"] == 1
        assert figures["overhead"][f"{frame}, no graph"]["launches"] > 4
    for row in figures["nms"]:
        if row["taken"] == row["candidates"]:
            assert abs(row["kept"] - row["kept_by_other"]) <= max(1, row["kept"] // 100)  # float32 against float64
