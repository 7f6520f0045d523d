import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from tests.exporter.train.batches import batch_of
from y12.errors import CheckpointError, OptionsError
from y12.exporter.model.build import detector_from_spec
from y12.exporter.model.detector import Detector
from y12.exporter.model.spec import spec_from_name
from y12.exporter.train.batch import Batch
from y12.exporter.train.log import ACCURACY_FILE, STEPS_FILE, RunLog, rows_of
from y12.exporter.train.loop import Course, StepLog, TrainingError, fabric_for, train
from y12.exporter.train.options import OptimizerOptions, TuneOptions
from y12.exporter.train.state import STATE_FILE

OPTIONS = TuneOptions(epochs=3, batch=2, accelerator="cpu", optimizer=OptimizerOptions(lr=1e-3, warmup=2))


class Noise:
    """Batches that differ by number."""

    def __init__(self, factor: float = 1.0) -> None:
        self.factor = factor
        self.asked: list[int] = []

    def __getitem__(self, index: int) -> Batch:
        self.asked.append(index)
        batch = batch_of()
        noise = torch.rand(batch.images.shape, generator=torch.Generator().manual_seed(index))
        return Batch((batch.images + 0.1 * noise) * self.factor, batch.targets)


class Recorder:
    """Writes the log, and stops the run as a signal would, after a step."""

    def __init__(self, folder: Path, stop_after: int | None = None) -> None:
        self.log = RunLog(folder)
        self.stop_after = stop_after
        self.best: list[int] = []
        self.ended: tuple[int, int] | None = None

    def started(self, step: int, steps: int) -> None:
        self.log.started(step)
        self.steps = steps

    def stepped(self, log: StepLog) -> None:
        self.log.stepped(log)
        if log.step == self.stop_after:
            raise KeyboardInterrupt

    def measured(self, step: int, figures: dict[str, float], best: Detector | None) -> None:
        self.log.measured(step, figures)
        if best is not None:
            self.best.append(step)

    def stopped(self, step: int, best_step: int) -> None:
        self.ended = (step, best_step)


def new_detector() -> Detector:
    torch.manual_seed(1)
    return detector_from_spec(spec_from_name("yolov12n", nc=3))


def size_of_weights(detector: Detector) -> dict[str, float]:
    assert not detector.training
    return {"AP": float(sum(p.abs().sum() for p in detector.parameters()))}


def run(folder: Path, options: TuneOptions = OPTIONS, stop_after: int | None = None, factor: float = 1.0) -> Recorder:
    folder.mkdir(exist_ok=True)
    recorder, detector = Recorder(folder, stop_after), new_detector()
    course = Course(Noise(factor), 2, size_of_weights)
    train(fabric_for(options), detector, course, options, folder, recorder)
    return recorder


def without_times(folder: Path) -> list[dict[str, str]]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows_of(folder / STEPS_FILE)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    run(folder)
    return folder


def test_a_killed_run_goes_on_as_if_it_had_not_been(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("y12.exporter.train.loop._SAVE_SECONDS", 0.0)  # a state after each step
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, stop_after=4)  # step 4 is logged, but its state is not saved: it is done again
    assert len(without_times(tmp_path)) == 4
    resumed = run(tmp_path)
    assert without_times(tmp_path) == without_times(whole)
    assert [row["step"] for row in rows_of(tmp_path / STEPS_FILE)] == ["1", "2", "3", "4", "5", "6"]
    assert rows_of(tmp_path / ACCURACY_FILE) == rows_of(whole / ACCURACY_FILE)
    assert (tmp_path / STATE_FILE).read_bytes() == (whole / STATE_FILE).read_bytes()
    assert resumed.steps == 6


class Figures:
    """Gives accuracies that are known, one after the other."""

    def __init__(self, *values: float) -> None:
        self.values = list(values)

    def __call__(self, _detector: Detector) -> dict[str, float]:
        return {"AP": self.values.pop(0)}


def patient(folder: Path, patience: int, validate: Figures, first: bool = False, epochs: int = 6) -> Recorder:
    """Run epochs of two steps each."""
    folder.mkdir(exist_ok=True)
    options = replace(OPTIONS, epochs=epochs, patience=patience)
    recorder = Recorder(folder)
    course = Course(Noise(), 2, validate, measure_first=first)
    train(fabric_for(options), new_detector(), course, options, folder, recorder)
    return recorder


def test_a_run_stops_when_it_has_not_been_better_for_long(tmp_path: Path) -> None:
    """Best after epoch 2 of 6; two epochs later, after step 8, patience ends."""
    recorder = patient(tmp_path, 2, Figures(0.1, 0.3, 0.3, 0.2))
    assert recorder.ended == (8, 4)
    assert [row["step"] for row in rows_of(tmp_path / ACCURACY_FILE)] == ["2", "4", "6", "8"]
    again = patient(tmp_path, 2, Figures())
    assert again.ended == (8, 4)  # it has stopped: nothing more is measured
    assert len(rows_of(tmp_path / STEPS_FILE)) == 8
    on = patient(tmp_path, 3, Figures(0.25))  # an epoch more of patience is one more
    assert on.ended == (10, 4)


def test_a_run_with_enough_patience_goes_to_its_end(tmp_path: Path) -> None:
    recorder = patient(tmp_path, 3, Figures(0.5, 0.4, 0.3), epochs=3)
    assert recorder.ended is None
    assert recorder.best == [2]


def test_the_weights_that_are_begun_with_are_step_0(tmp_path: Path) -> None:
    recorder = patient(tmp_path, 0, Figures(0.5, 0.4, 0.6), first=True, epochs=2)
    assert [row["step"] for row in rows_of(tmp_path / ACCURACY_FILE)] == ["0", "2", "4"]
    assert recorder.best == [0, 4]


def test_weights_that_find_nothing_are_not_kept_before_training(tmp_path: Path) -> None:
    recorder = patient(tmp_path, 0, Figures(0.0, 0.0, 0.0), first=True, epochs=2)
    assert recorder.best == [2]


def test_a_run_that_was_killed_before_its_first_state_begins_its_log_anew(tmp_path: Path) -> None:
    patient(tmp_path, 0, Figures(0.5, 0.4), first=True, epochs=1)
    (tmp_path / STATE_FILE).unlink()
    patient(tmp_path, 0, Figures(0.5, 0.4), first=True, epochs=1)
    assert [row["step"] for row in rows_of(tmp_path / ACCURACY_FILE)] == ["0", "2"]


def test_a_finished_run_is_not_trained_further(whole: Path) -> None:
    before = (whole / STATE_FILE).read_bytes()
    run(whole)
    assert (whole / STATE_FILE).read_bytes() == before
    assert len(rows_of(whole / STEPS_FILE)) == 6


def test_the_rate_follows_its_schedule(whole: Path) -> None:
    rows = rows_of(whole / STEPS_FILE)
    assert [float(row["lr"]) for row in rows] == pytest.approx([5e-4, 1e-3, 1e-3, 7.525e-4, 2.575e-4, 1e-5])


def test_other_options_do_not_resume(whole: Path) -> None:
    with pytest.raises(CheckpointError, match=r"that run had seed 0, this one has 1: give the same options"):
        run(whole, replace(OPTIONS, seed=1))


def test_where_it_runs_may_change(whole: Path) -> None:
    run(whole, replace(OPTIONS, workers=1, validate_every=0))


def test_losses_beyond_all_numbers_stop_the_run(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"expected finite losses and gradients, found .* at step 1; lower --lr"):
        run(tmp_path, factor=float("inf"))
    assert not (tmp_path / STATE_FILE).exists()


def test_workers_make_the_same_batches(whole: Path, tmp_path: Path) -> None:
    run(tmp_path, replace(OPTIONS, workers=1))
    assert without_times(tmp_path) == without_times(whole)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there() -> None:
    with pytest.raises(OptionsError, match="--device: expected a CUDA device, found none"):
        fabric_for(replace(OPTIONS, accelerator="cuda"))


def damaged(path: Path, change: str) -> None:
    with safe_open(path, framework="pt") as file:
        header, tensors = json.loads(file.metadata()["run"]), {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
    if change == "schema":
        header["schema"] = 9
    if change == "step":
        header["step"] = "4"
    if change == "best":
        header["best"] = "high"
    if change == "options":
        header["options"] = 3
    if change == "tensor":
        tensors.pop("network.model.0.conv.weight")
    if change == "shape":
        tensors["network.model.0.conv.weight"] = torch.zeros(3)
    if change == "moment":
        tensors["optimizer.x.exp_avg"] = torch.zeros(3)
    save_file(tensors, path, {"run": json.dumps(header)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("schema", "expected the state of a run, found something else"),
        ("step", "expected the state of a run, found something else"),
        ("best", "best: expected a number, found 'high'"),
        ("options", "expected the options of a run, found 3"),
        ("tensor", "expected the state of this network, found another's tensors"),
        ("shape", "does not fit this network"),
        ("moment", "does not fit this network"),
    ],
)
def test_a_damaged_state_is_refused(whole: Path, tmp_path: Path, change: str, message: str) -> None:
    path = tmp_path / STATE_FILE
    path.write_bytes((whole / STATE_FILE).read_bytes())
    damaged(path, change)
    with pytest.raises(CheckpointError, match=message):
        run(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\xff" * 100, b"\x00\x01\x02"])
def test_what_is_no_state_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / STATE_FILE).write_bytes(content)
    with pytest.raises(CheckpointError, match="expected the state of a run, found none"):
        run(tmp_path)


def test_a_row_cut_short_by_a_kill_is_left_out(tmp_path: Path) -> None:
    (tmp_path / STEPS_FILE).write_text("step,lr,class\n1,0.1,2.5\n2,0.1,2")
    assert rows_of(tmp_path / STEPS_FILE) == [{"step": "1", "lr": "0.1", "class": "2.5"}]
