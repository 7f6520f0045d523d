"""Which images are calibrated on: a folder's, or those of a data.yaml's training split."""

from pathlib import Path

import pytest

from y12.errors import CalibrationError
from y12.exporter.precision.calibration.calibration_images import calibration_images


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data set of empty files: nothing here looks into one."""
    for name in ("train/b.jpg", "train/a.png", "train/deeper/c.WEBP", "train/notes.txt", "val/v.jpg", "more/d.bmp"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "list.txt").write_text("train/b.jpg\n\n./more/d.bmp\ntrain/b.jpg\n")
    (tmp_path / "train" / "list.txt").write_text("./a.png\ntrain/b.jpg\n")
    return tmp_path


def names(paths: list[Path], root: Path) -> list[str]:
    return [str(path.relative_to(root)) for path in paths]


def test_a_folder_is_searched_deeper_and_sorted(data):
    assert names(calibration_images(data / "train"), data) == ["train/a.png", "train/b.jpg", "train/deeper/c.WEBP"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("train: train\nval: val\n", ["train/a.png", "train/b.jpg", "train/deeper/c.WEBP"]),
        ("path: .\ntrain: [more, train/b.jpg]\n", ["more/d.bmp", "train/b.jpg"]),
        ("train: list.txt\n", ["more/d.bmp", "train/b.jpg"]),
        ("train: train/list.txt\n", ["train/a.png", "train/b.jpg"]),
        ("path: train\ntrain: deeper\n", ["train/deeper/c.WEBP"]),
    ],
)
def test_a_data_yaml_names_its_training_split(data, text, expected):
    (data / "data.yaml").write_text(text)
    assert names(calibration_images(data / "data.yaml"), data) == expected


def test_a_limit_takes_images_evenly(tmp_path):
    for i in range(10):
        (tmp_path / f"{i}.jpg").touch()
    assert names(calibration_images(tmp_path, limit=4), tmp_path) == ["0.jpg", "2.jpg", "5.jpg", "7.jpg"]
    assert len(calibration_images(tmp_path, limit=10)) == len(calibration_images(tmp_path, limit=99)) == 10


BILLION = "a: &a [x,x]\nb: &b [*a,*a]\ntrain: *b\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("val: val\ntest: val\n", "splits: val, test.*must not be calibrated on"),
        ("train:\nval: val\n", "expected train"),
        ("train: []\n", "expected train"),
        ("train: [train, 3]\n", "train: expected a folder"),
        ("path: [1]\ntrain: train\n", "path: expected a folder"),
        ("train: nowhere\n", "nowhere, found nothing there"),
        ("- train\n", "expected a mapping"),
        ("train: [\n", "not readable as YAML"),
        (BILLION, "aliases"),
        ("train: " + "[" * 20 + "]" * 20, "within each other"),
        ("", "1 to"),
    ],
)
def test_a_data_yaml_that_does_not_say_is_refused(data, text, message):
    (data / "data.yaml").write_text(text)
    with pytest.raises(CalibrationError, match=message) as caught:
        calibration_images(data / "data.yaml")
    assert "\n" not in str(caught.value)


def test_an_empty_folder_is_refused(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(CalibrationError, match=r"expected images to calibrate on, found none; known: .*\.jpg"):
        calibration_images(tmp_path)


@pytest.mark.parametrize("name", ["missing", "file.onnx", "missing.yaml"])
def test_what_is_neither_is_refused(tmp_path, name):
    (tmp_path / "file.onnx").touch()
    with pytest.raises(CalibrationError, match=name):
        calibration_images(tmp_path / name)


def test_a_limit_under_one_is_refused(data):
    with pytest.raises(CalibrationError, match="limit"):
        calibration_images(data / "train", limit=0)
