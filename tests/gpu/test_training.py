"""Training on a GPU: the same losses as on the CPU, in FP32 and within what bf16 rounds."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from y12.exporter.train.examples.batches import Batches
from y12.exporter.train.examples.sources import ShapesSource
from y12.exporter.train.initial import NetworkChoice, network_from, starting_detector
from y12.exporter.train.log import STEPS_FILE, RunLog, rows_of
from y12.exporter.train.loop import Course, StepLog, fabric_for, train
from y12.exporter.train.options import TuneOptions

pytestmark = pytest.mark.gpu

OPTIONS = TuneOptions(epochs=4, batch=4, devices=1, precision="32", validate_every=0)


class Recorder:
    def __init__(self, folder: Path) -> None:
        self.log = RunLog(folder)

    def started(self, step: int, steps: int) -> None:
        self.log.started(step)

    def stepped(self, log: StepLog) -> None:
        self.log.stepped(log)

    def measured(self, step, figures, best) -> None:
        assert figures["AP"] == 0.5


def losses_of(folder: Path, options: TuneOptions) -> list[dict[str, float]]:
    folder.mkdir()
    batches = Batches(ShapesSource(16, 128), 4, seed=0)
    detector, _ = starting_detector(network_from(NetworkChoice("yolov12n-multitask")), batches.names, seed=0)
    course = Course(batches, 1, lambda _: {"AP": 0.5})
    train(fabric_for(options), detector, course, options, folder, Recorder(folder))
    return [{k: float(row[k]) for k in ("class", "box", "dfl", "mask")} for row in rows_of(folder / STEPS_FILE)]


def test_a_gpu_loses_what_a_cpu_loses(gpu: str, tmp_path: Path) -> None:
    expected = losses_of(tmp_path / "cpu", replace(OPTIONS, accelerator="cpu"))
    found = losses_of(tmp_path / "gpu", replace(OPTIONS, accelerator="cuda"))
    assert found[0] == pytest.approx(expected[0], rel=2e-3)
    rounded = losses_of(tmp_path / "bf16", replace(OPTIONS, accelerator="cuda", precision="bf16"))
    assert rounded[0] == pytest.approx(expected[0], rel=0.1)
    assert all(torch.isfinite(torch.tensor(list(row.values()))).all() for row in (*found, *rounded))


def test_a_run_goes_on_on_another_device(gpu: str, tmp_path: Path) -> None:
    """Where a run is computed is no part of its state."""
    losses_of(tmp_path / "run", replace(OPTIONS, accelerator="cuda"))
    state = (tmp_path / "run" / "state.safetensors").read_bytes()
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / "state.safetensors").write_bytes(state)
    batches = Batches(ShapesSource(16, 128), 4, seed=0)
    detector, _ = starting_detector(network_from(NetworkChoice("yolov12n-multitask")), batches.names, seed=0)
    options = replace(OPTIONS, accelerator="cpu")
    course = Course(batches, 1, lambda _: {"AP": 0.5})
    train(fabric_for(options), detector, course, options, tmp_path / "again", Recorder(tmp_path / "again"))
