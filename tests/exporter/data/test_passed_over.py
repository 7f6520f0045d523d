"""What lies among the images and is not used is told; what archives leave behind is nothing."""

import cv2
import numpy as np
import pytest

from y12.errors import CalibrationError, DatasetError
from y12.exporter.data.image_lists import images_in
from y12.exporter.data.open import labelled_dataset
from y12.exporter.evaluate.evaluation_set import open_evaluation_set
from y12.exporter.precision.calibration.calibration_images import calibration_images, calibration_notes
from y12.exporter.verify.verify_images import _image_paths

PICTURE = np.full((16, 16, 3), 90, np.uint8)
LINE = "0 0.5 0.5 0.5 0.5\n"


@pytest.fixture
def folder(tmp_path):
    """Two images, one of them called a JFIF, with labels; and a data.yaml."""
    for split in ("train", "val"):
        for kind in ("images", "labels"):
            (tmp_path / kind / split).mkdir(parents=True)
        for name in ("a.png", "b.jfif"):
            encoded = cv2.imencode(".jpg" if name.endswith("jfif") else ".png", PICTURE)[1]
            (tmp_path / "images" / split / name).write_bytes(encoded.tobytes())
            (tmp_path / "labels" / split / f"{name[0]}.txt").write_text(LINE)
    (tmp_path / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [cat]\n")
    return tmp_path


def notes_of(folder, split="val"):
    return labelled_dataset(folder / "data.yaml", split).notes


def test_nothing_is_told_of_a_data_set_in_order(folder):
    assert notes_of(folder) == ()
    assert len(labelled_dataset(folder / "data.yaml").samples) == 2  # a .jfif is a JPEG


def test_a_picture_that_is_not_read_and_its_labels_are_told(folder):
    (folder / "images" / "val" / "c.NEF").write_bytes(b"II*\0")
    (folder / "labels" / "val" / "c.txt").write_text(LINE)
    assert notes_of(folder) == (
        "1 label file without an image: c.txt",
        "1 picture passed over: .NEF is not read (c.NEF): convert to JPEG or PNG",
    )
    assert notes_of(folder, "train") == ()


def test_the_first_names_stand_for_many(folder):
    for i in range(5):
        (folder / "labels" / "val" / f"x{i}.txt").write_text(LINE)
    (folder / "labels" / "val" / "classes.txt").write_text("cat\n")
    assert notes_of(folder) == ("5 label files without an image: x0.txt, x1.txt, x2.txt and 2 more",)


def test_labels_of_images_that_a_list_leaves_out_are_not_missed(folder):
    (folder / "list.txt").write_text("images/val/a.png\n")
    (folder / "data.yaml").write_text("train: images/train\nval: list.txt\nnames: [cat]\n")
    assert notes_of(folder) == ()


LITTER = ("._a.png", "._a.txt", ".DS_Store", "Thumbs.db", "desktop.ini", "__MACOSX/images/val/z.png", "__MACOSX/z.txt")


def test_litter_is_no_image_and_no_label_anywhere(folder):
    for place in ("images/val", "labels/val"):
        for name in LITTER:
            file = folder / place / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"\0\5\x16\7")
    images = folder / "images" / "val"
    assert [path.name for path in images_in(images, DatasetError)] == ["a.png", "b.jfif"]
    assert [path.name for path in _image_paths(images)] == ["a.png", "b.jfif"]
    assert notes_of(folder) == ()
    assert [path.name for path in calibration_images(images)] == ["a.png", "b.jfif"]


def test_a_folder_of_litter_alone_holds_nothing(folder, tmp_path):
    for file in (folder / "images" / "val").iterdir():
        file.rename(file.with_name(f"._{file.name}"))
    with pytest.raises(DatasetError, match=r"val: expected images in .*, found none$"):
        notes_of(folder)
    with pytest.raises(CalibrationError, match="found none"):
        calibration_images(folder / "images" / "val")


def test_a_folder_of_pictures_that_are_not_read_says_so(folder):
    for file in (folder / "images" / "val").iterdir():
        file.rename(file.with_suffix(".dng"))
    with pytest.raises(DatasetError, match=r"found none \(2 pictures passed over: .dng is not read \(a.dng, b.dng\)"):
        notes_of(folder)


def test_images_to_calibrate_and_to_measure_on_tell_it_too(folder):
    images = folder / "images" / "train"
    (images / "c.nef").write_bytes(b"x")
    told = "1 picture passed over: .nef is not read (c.nef): convert to JPEG or PNG"
    assert calibration_notes(images) == calibration_notes(folder / "data.yaml") == (told,)
    assert told in open_evaluation_set(images, "detect", ("cat",), None).notes


def test_names_are_shown_escaped(folder):
    (folder / "labels" / "val" / "\x1b[31mx.txt").write_text(LINE)
    (note,) = notes_of(folder)
    assert "\x1b" not in note
