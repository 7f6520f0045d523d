"""Crops, and the folders of classes whatever these are called."""

import cv2
import numpy as np
import pytest

from y12.errors import InputError
from y12.runtime.results.crops import folder_names
from y12.runtime.results.detections import Detections

IMAGE = np.random.default_rng(3).integers(0, 256, (100, 200, 3), np.uint8)


def make(xyxy, **parts):
    count = len(xyxy)
    found = Detections(
        np.array(xyxy, np.float32), np.ones(count, np.float32), np.zeros(count, int), ("a",), (100, 200), **parts
    )
    found.image = IMAGE
    return found


def test_what_lies_in_the_box():
    one, two, corner, nothing = make(
        [[20, 10, 60, 30], [20.9, 10.2, 59.1, 29.5], [190, 90, 200, 100], [200, 100, 200, 100]]
    ).crops()
    np.testing.assert_array_equal(one, IMAGE[10:30, 20:60])
    np.testing.assert_array_equal(two, IMAGE[10:30, 20:60])  # each pixel that it touches
    np.testing.assert_array_equal(corner, IMAGE[90:, 190:])
    assert nothing.shape == (1, 1, 3)
    assert not np.shares_memory(one, IMAGE)


def test_an_oriented_box_is_turned_upright():
    upright = make([[20, 10, 60, 30]], xywhr=np.array([[40, 20, 40, 20, 0]], np.float32))
    np.testing.assert_array_equal(upright.crops()[0], IMAGE[10:30, 20:60])
    (crop,) = make([[30, 0, 50, 40]], xywhr=np.array([[40, 20, 40, 20, np.pi / 2]], np.float32)).crops()
    np.testing.assert_array_equal(crop, np.rot90(IMAGE[0:40, 30:50]))  # its width ran downwards
    picture = np.zeros_like(IMAGE)
    points = cv2.boxPoints(((100, 50), (80, 30), 30)).astype(np.int32)
    cv2.fillPoly(picture, [points], (255, 255, 255))
    (crop,) = make([[50, 10, 150, 90]], xywhr=np.array([[100, 50, 80, 30, np.deg2rad(30)]], np.float32)).crops(picture)
    assert crop.shape == (30, 80, 3)
    assert crop.mean() > 245  # the object fills it
    (edge,) = make([[0, 0, 9, 9]], xywhr=np.array([[0, 0, 1e9, 0, 1]], np.float32)).crops()
    assert edge.shape == (1, 1 << 14, 3)


def test_without_an_image():
    found = make([[20, 10, 60, 30]])
    found.image = None
    with pytest.raises(InputError, match=r"crops: expected the image, found none.*give it, as in crops"):
        found.crops()


NAMES = (
    "person", "traffic light", "v1.2", "naïve", "人", "", ".", "..", "../../etc/passwd", "/etc", "a/b", "a_b", "a\\b",
    "a\0b", "a\nb", "Person", "x" * 300, "x" * 299, "é" * 200, "  ", "trailing. ", ".hidden", "con:nul", "-rf",
    "a\udce9b", "a_b_10", "person_15", "\u202egpj", "class_5", "~", "$HOME", "a…b", "a..b",
)  # fmt: skip


def test_folders_lead_nowhere_and_are_no_others(tmp_path):
    folders = folder_names(NAMES)
    assert list(folders) == list(NAMES)
    assert [folders[name] for name in NAMES[:5]] == list(NAMES[:5])
    assert len({folder.casefold() for folder in folders.values()}) == len(NAMES)
    for folder in folders.values():
        path = tmp_path / folder
        assert path.resolve().parent == tmp_path.resolve()
        path.mkdir()  # the file system takes it
    assert len(list(tmp_path.iterdir())) == len(NAMES)
    assert folder_names(["a", "b", "a"]) == {"a": "a", "b": "b"}  # of one name, one folder
