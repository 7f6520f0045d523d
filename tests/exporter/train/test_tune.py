import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from y12.errors import OptionsError
from y12.exporter.checkpoint.load import detector_from_checkpoint, read_checkpoint
from y12.exporter.cli.export import main as export
from y12.exporter.cli.tune import main
from y12.exporter.train.curves import _scale, best_point, curves_of, curves_png
from y12.exporter.train.datasets import SHAPES, DataChoice, material_for
from y12.exporter.train.examples.options import UNCHANGED
from y12.exporter.train.initial import NetworkChoice, network_from
from y12.exporter.train.log import ACCURACY_FILE, STEPS_FILE, rows_of
from y12.exporter.train.options import TuneOptions
from y12.exporter.train.scenes.write import INSTANCES, write_shapes
from y12.exporter.train.state import STATE_FILE
from y12.exporter.train.trackers import EVENTS_FOLDER, RUN_ID_FILE
from y12.exporter.train.tune import CURVES_FILE, Tune, tune
from y12.runtime.session import Runtime

SIDE = 96


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    write_shapes(folder, seed=5, count=8, side=SIDE)
    return folder


def arguments(scenes: Path, output: Path, *more: str) -> list[str]:
    data = str(scenes / "data.yaml")
    sizes = ("--imgsz", "64", "--batch", "4", "--epochs", "2", "--device", "cpu")
    return [data, "--model", "yolov12n", *sizes, "--output", str(output), *more]


@pytest.fixture(scope="module")
def tuned(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tuned") / "run"
    assert main(arguments(scenes, folder)) == 0
    return folder


def test_a_run_leaves_weights_log_and_picture(tuned: Path) -> None:
    assert {path.name for path in tuned.iterdir()} == {
        *("yolov12n.safetensors", "yolov12n.yaml", STATE_FILE, STEPS_FILE, ACCURACY_FILE, CURVES_FILE)
    }
    detector = detector_from_checkpoint(read_checkpoint(tuned / "yolov12n.safetensors"))
    assert detector.spec.nc == len(detector.names) == 10
    written = read_checkpoint(tuned / "yolov12n.safetensors")
    assert written.side == 64
    assert written.licence.startswith("Trained with y12-tune from new weights")
    assert [row["step"] for row in rows_of(tuned / STEPS_FILE)] == ["1", "2", "3", "4"]
    assert [row["step"] for row in rows_of(tuned / ACCURACY_FILE)] == ["2", "4"]


def test_the_picture_shows_every_curve_of_the_log(tuned: Path) -> None:
    curves = curves_of(tuned)
    assert {panel: list(ones) for panel, ones in curves.items()} == {
        "accuracy": ["boxes AP", "boxes AP50"],
        "loss": ["class", "box", "dfl"],
        "learning rate": ["learning rate"],
    }
    with Image.open(tuned / CURVES_FILE) as picture:
        pixels = np.asarray(picture.convert("RGB"), int)
    assert 0.01 < (np.abs(pixels - 255).max(axis=2) > 60).mean() < 0.3


def test_weights_are_measured_before_the_first_step_and_drawn_at_the_end(
    scenes: Path, tuned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """At a rate of next to nothing no step changes what is found: all measurements are of the weights begun with."""
    more = ("--weights", str(tuned / "yolov12n.safetensors"), "--lr", "1e-12", "--plots", "--tensorboard")
    pytest.importorskip("tensorboard")
    assert main(arguments(scenes, tmp_path / "run", *more)) == 0
    rows = rows_of(tmp_path / "run" / ACCURACY_FILE)
    assert [row["step"] for row in rows] == ["0", "2", "4"]
    plots = tmp_path / "run" / "plots"
    assert f"plots        {plots / 'report.html'}" in capsys.readouterr().out
    drawn = json.loads((plots / "report.json").read_text())
    last = best_point(curves_of(tmp_path / "run")["accuracy"])
    assert drawn["figures"]["bbox"]["values"]["AP"] == pytest.approx(last[1] if last else 0, abs=1e-4)
    assert drawn["images"] == 8
    assert drawn["artefact"].endswith("yolov12n.safetensors")
    assert events_in(tmp_path / "run" / EVENTS_FOLDER) == {
        **{f"accuracy/{name}": [0, 2, 4] for name in ("boxes AP", "boxes AP50")},
        **{f"loss/{name}": [1, 2, 3, 4] for name in ("box", "class", "dfl")},
        "learning_rate": [1, 2, 3, 4],
    }


def events_in(folder: Path) -> dict[str, list[int]]:
    """The steps that TensorBoard itself finds of each figure."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return {tag: [event.step for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_mlflow_is_told_the_figures(scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow", reason="mlflow-skinny is not installed: pip install mlflow-skinny")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # its database needs more packages than mlflow-skinny has
    assert main(arguments(scenes, tmp_path / "run", "--mlflow")) == 0
    run = mlflow.get_run((tmp_path / "run" / RUN_ID_FILE).read_text().strip())
    assert run.info.status == "FINISHED"
    assert run.data.params["epochs"] == "2"
    accuracy = [float(row["boxes AP"]) for row in rows_of(tmp_path / "run" / ACCURACY_FILE)]
    assert run.data.metrics["accuracy/boxes AP"] == pytest.approx(accuracy[-1], abs=1e-6)


@pytest.mark.parametrize("tracker", ["tensorboard", "mlflow"])
def test_a_tracker_that_is_not_installed_is_one_line(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tracker: str
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == tracker else name)
    assert main(arguments(scenes, tmp_path / "run", f"--{tracker}")) == 1
    line = capsys.readouterr().err
    assert f"error: y12-tune --{tracker} needs the package '{tracker}" in line
    assert "pip install '" in line
    assert line.count("\n") == 1
    assert not (tmp_path / "run").exists()


BEST = [
    ([(0, 0.0), (5, 0.0), (10, 0.0)], (5, 0.0)),  # what finds nothing is not kept before training
    ([(0, 0.3), (5, 0.2)], (0, 0.3)),
    ([(5, 0.1), (10, 0.4), (15, 0.4)], (10, 0.4)),  # the first of equal ones
    ([(0, 0.0)], None),
    ([], None),
]


@pytest.mark.parametrize(("points", "best"), BEST)
def test_the_best_step_is_the_loop_s(points: list[tuple[float, float]], best: tuple[float, float] | None) -> None:
    assert best_point({"boxes AP": points, "boxes AP50": [(step, 1.0) for step, _ in points]}) == best


def test_losses_over_more_than_a_decade_have_plain_numbers_on_a_logarithmic_axis() -> None:
    from matplotlib.figure import Figure

    for values, scale, expected in (
        ([5.62, 3.16, 0.178], "log", {"0.2", "0.5", "1", "2", "5"}),
        ([5.62, 3.16, 1.78], "linear", {"0", "2", "4"}),
    ):
        figure = Figure()
        axes = figure.add_subplot()
        axes.plot(values)
        _scale(axes, values)
        figure.canvas.draw()
        assert axes.get_yscale() == scale
        shown = {label.get_text() for label in axes.get_yticklabels()}
        assert expected <= shown, shown
        assert not shown & {"5.62", "3.16", "1.78"}


def test_a_run_without_a_measurement_is_drawn(tmp_path: Path) -> None:
    assert curves_png(tmp_path).startswith(b"\x89PNG")


def test_what_was_trained_is_exported_and_runs(tuned: Path, tmp_path: Path) -> None:
    weights = str(tuned / "yolov12n.safetensors")
    assert export([weights, "--imgsz", "64", "--no-verify", "--output", str(tmp_path)]) == 0
    with Runtime(tmp_path / "yolov12n.onnx") as runtime:
        assert runtime.manifest.names[0] == detector_from_checkpoint(read_checkpoint(Path(weights))).names[0]


def test_the_network_s_yaml_is_read_again(tuned: Path) -> None:
    assert network_from(NetworkChoice(str(tuned / "yolov12n.yaml"))).spec.layers == detector_of(tuned).spec.layers


def detector_of(folder: Path):
    return detector_from_checkpoint(read_checkpoint(folder / "yolov12n.safetensors"))


def test_the_run_s_folder_is_not_overwritten(scenes: Path, tuned: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments(scenes, tuned)) == 1
    assert "holds a run: add --resume to go on with it, or name another folder" in capsys.readouterr().err


def test_a_finished_run_resumes_to_its_end_at_once(scenes: Path, tuned: Path) -> None:
    before = rows_of(tuned / STEPS_FILE)
    assert main(arguments(scenes, tuned, "--resume")) == 0
    assert rows_of(tuned / STEPS_FILE) == before


@pytest.mark.exhaustive
def test_two_processes_share_a_batch(scenes: Path, tmp_path: Path) -> None:
    """Each process is a copy of the program, hence the command itself; half a batch each."""
    import subprocess
    import sys

    command = [sys.executable, "-m", "y12.exporter.cli.tune", *arguments(scenes, tmp_path / "run", "--devices", "2")]
    done = subprocess.run([*command, "--no-augment"], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert [row["step"] for row in rows_of(tmp_path / "run" / STEPS_FILE)] == ["1", "2", "3", "4"]
    assert done.stdout.count("weights ") == 1  # one of them speaks


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--epochs", "0"), "--epochs: expected a whole number from 1"),
        (("--imgsz", "100"), "--imgsz: expected a multiple of 32, found 100"),
        (("--resume",), "--resume: expected a run in"),
        (("--mosaic", "2"), "mosaic: expected a number from 0 to 1, found 2.0"),
        (("--model", "yolov12n-seg"), "expected an outline for every object"),
        (("--model", "yolov12n-cls"), "expected a folder of images for each class"),
        (("--model", "yolov12n-pose"), "keypoints"),
        (("--weights", "none.pt"), "none.pt"),
        (("--patience", "3", "--validate-every", "0"), "--patience: expected --validate-every of 1 or more"),
        (("--freeze", "22"), "--freeze: expected fewer than the network's 22 rows"),
        (("--batch", "3", "--devices", "65"), "--devices: expected a whole number from 0 to 64"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], message: str
) -> None:
    assert main(arguments(scenes, tmp_path / "run", *more)) == 1
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert message in last, last
    assert not (tmp_path / "run" / "yolov12n.safetensors").exists()


def test_bad_labels_are_listed_with_file_and_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_shapes(tmp_path / "data", seed=6, count=3, side=SIDE)
    bad = tmp_path / "data" / "labels" / "000002.txt"
    bad.write_text("0 0.5 0.5 0.2 0.2\n99 0.5 0.5 0.1 0.1\n0 0.5 nan 0.1 0.1\n")
    assert main(arguments(tmp_path / "data", tmp_path / "run")) == 1
    error = capsys.readouterr().err
    assert f"{bad}, line 2" in error
    assert f"{bad}, line 3" in error


def test_a_coco_json_needs_another_to_measure_on(scenes: Path, tmp_path: Path) -> None:
    job = Tune(DataChoice(scenes / INSTANCES), tmp_path, network=NetworkChoice("yolov12n-seg"), imgsz=64)
    with pytest.raises(OptionsError, match=r"--val: .* is one set of images: name another to measure on, or the same"):
        tune(job, print, lambda *_: None)


def test_a_coco_json_with_masks_trains_a_segmentation_network(scenes: Path, tmp_path: Path) -> None:
    options = TuneOptions(epochs=1, batch=8, accelerator="cpu")
    choice = DataChoice(scenes / INSTANCES, val=scenes / INSTANCES)
    job = Tune(choice, tmp_path, network=NetworkChoice("yolov12n-seg"), imgsz=64, half=True, options=options)
    told: list[str] = []
    weights = tune(job, told.append, lambda *_: None)
    assert weights is not None
    assert weights.name == "yolov12n-seg.safetensors"
    assert set(rows_of(tmp_path / ACCURACY_FILE)[0]) >= {"mean AP", "boxes AP", "masks AP"}
    assert weights.stat().st_size < 8e6  # FP16
    assert "trained on 8 images an epoch, measured on 8" in told


def test_shapes_need_no_files(tmp_path: Path) -> None:
    spec = network_from(NetworkChoice("yolov12n-multitask")).spec
    material = material_for(spec, DataChoice(Path(SHAPES)), 64, TuneOptions(batch=4), tmp_path, processes=2)
    assert material.names[0] == "circle"
    assert material.course.steps_per_epoch == 400
    assert material.course.batches[0].images.shape == (2, 3, 64, 64)  # half a batch for each process
    truth = json.loads((tmp_path / "held-out" / INSTANCES).read_text())
    assert len(truth["images"]) == len(material.calibration) == 128


def test_shapes_have_no_other_data_beside_them(tmp_path: Path) -> None:
    spec = network_from(NetworkChoice("yolov12n")).spec
    with pytest.raises(OptionsError, match="--val and --images: are for a user's data"):
        material_for(spec, DataChoice(Path(SHAPES), val=Path("x.json")), 64, TuneOptions(), tmp_path, 1)


def test_shapes_are_boxes_and_masks_only(tmp_path: Path) -> None:
    spec = network_from(NetworkChoice("yolov12n-pose")).spec
    with pytest.raises(OptionsError, match="'shapes': expected a network that finds boxes or masks, found one for"):
        material_for(spec, DataChoice(Path(SHAPES)), 64, TuneOptions(), tmp_path, 1)


def test_a_classifier_learns_from_folders(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for colour, name in enumerate(("red", "green")):
            folder = tmp_path / "data" / split / name
            folder.mkdir(parents=True)
            for i in range(4):
                pixels = rng.integers(0, 60, (48, 48, 3), dtype=np.uint8)
                pixels[..., colour] += 180
                Image.fromarray(pixels).save(folder / f"{i}.png")
    options = TuneOptions(epochs=16, batch=8, accelerator="cpu", validate_every=0)
    choice = DataChoice(tmp_path / "data", augment=UNCHANGED)
    tune(
        Tune(choice, tmp_path / "run", network=NetworkChoice("yolov12n-cls"), imgsz=64, options=options),
        print,
        lambda *_: None,
    )
    losses = [float(row["class"]) for row in rows_of(tmp_path / "run" / STEPS_FILE)]
    assert losses[-1] < 0.1 < losses[0]  # statistics of BatchNorm need more steps than that to follow
    assert list(rows_of(tmp_path / "run" / ACCURACY_FILE)[0]) == ["step", "top1", "top5"]


def test_trained_for_int8_and_exported_without_images(scenes: Path, tuned: Path, tmp_path: Path) -> None:
    weights, output = tuned / "yolov12n.safetensors", tmp_path / "qat"
    assert main(arguments(scenes, output, "--weights", str(weights), "--qat", "--validate-every", "0")) == 0
    written = read_checkpoint(output / "yolov12n.safetensors")
    ranges = json.loads(written.ranges)
    assert len(str(ranges)) > 1000
    assert len(rows_of(output / STEPS_FILE)) == 4
    assert export([str(output / "yolov12n.safetensors"), "--int8", "--no-verify", "--output", str(tmp_path)]) == 0
    with Runtime(tmp_path / "yolov12n_int8.onnx") as runtime:
        assert runtime.input_hw == (64, 64)  # that it was trained on
        assert runtime.manifest.licence.startswith("Trained with y12-tune from yolov12n.safetensors. Trained with")
    assert (tmp_path / "yolov12n_int8.onnx").is_file()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--qat",), "--qat: goes on with trained weights: name them with --weights"),
        (("--qat", "--half", "--weights", "x.pt"), "--qat: its weights are written in FP32"),
    ],
)
def test_int8_training_that_cannot_be(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], message: str
) -> None:
    (tmp_path / "x.pt").write_bytes(b"weights")
    there = [str(tmp_path / word) if word == "x.pt" else word for word in more]
    assert main(arguments(scenes, tmp_path / "run", *there)) == 1
    assert message in capsys.readouterr().err


def test_other_data_do_not_resume(scenes: Path, tuned: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments(scenes, tuned, "--resume", "--no-augment")) == 1
    assert "that run had augment" in capsys.readouterr().err


def test_a_missing_package_is_refused_in_one_line(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "kornia" else name)
    assert main(arguments(scenes, tmp_path / "run")) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "kornia" in line
    assert "[train]" in line
