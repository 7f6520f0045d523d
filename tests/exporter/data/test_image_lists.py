"""What the readers of data sets and of calibration images share; the rest is in their own tests."""

from pathlib import Path

import pytest

from y12.errors import CalibrationError, DatasetError
from y12.exporter.data.image_lists import evenly, images_in, without_repeats
from y12.exporter.data.splits import images_of, splits_of
from y12.exporter.precision.calibration.calibration_images import calibration_images
from y12.files import IMAGE_SUFFIXES


def test_the_order_is_by_name_and_every_suffix_is_known(tmp_path):
    for suffix in IMAGE_SUFFIXES:
        (tmp_path / f"x{suffix.upper()}").touch()
    for name in ("b/2.jpg", "b/10.jpg", "a/c/1.jpg", "a/z.jpg", "a/z.txt", "b/._2.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    names = [path.relative_to(tmp_path).as_posix() for path in images_in(tmp_path, DatasetError)]
    assert names[: len(IMAGE_SUFFIXES)] == sorted(f"x{suffix.upper()}" for suffix in IMAGE_SUFFIXES)
    assert names[len(IMAGE_SUFFIXES) :] == ["a/z.jpg", "a/c/1.jpg", "b/10.jpg", "b/2.jpg"]


def test_too_many_images_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("y12.exporter.data.image_lists._MAX_IMAGES", 2)
    for name in ("1.jpg", "2.jpg"):
        (tmp_path / name).touch()
    data = tmp_path / "data.yaml"
    data.write_text("train: .\nval: .\nnames: [a]\n")
    assert len(calibration_images(data)) == len(images_of(splits_of(data, DatasetError), "val", DatasetError)) == 2
    assert len(without_repeats([Path("a"), Path("b"), Path("a")], "x", DatasetError)) == 2
    (tmp_path / "3.jpg").touch()
    for source in (data, tmp_path):
        with pytest.raises(CalibrationError, match="expected at most 2 images"):
            calibration_images(source)
    with pytest.raises(DatasetError, match=r"data\.yaml: val: expected at most 2 images"):
        images_of(splits_of(data, DatasetError), "val", DatasetError)


@pytest.mark.parametrize(("count", "taken"), [(1, [0]), (3, [0, 2, 4]), (6, [0, 1, 2, 3, 4, 5]), (9, list(range(7)))])
def test_items_are_taken_evenly(count, taken):
    assert evenly(list(range(7)), count) == taken
