"""Label files: each task's lines, which y12's own reader of labels reads back."""

import numpy as np
import pytest

from y12.exporter.data.label_lines import LabelForm, parse_line
from y12.runtime.results.detections import Detections
from y12.runtime.results.masks import Masks

NAMES = ("cat", "dog")


def make(**parts):
    """Two objects in an image 200 wide and 100 high."""
    values = {
        "xyxy": np.array([[20, 10, 60, 30], [150, 50, 200, 100]], np.float32),
        "confidence": np.array([0.75, 0.5], np.float32),
        "class_id": np.array([1, 0]),
        "names": NAMES,
        "image_hw": (100, 200),
    }
    return Detections(**values | parts)


def masks():
    bitmaps = np.zeros((2, 100, 200), bool)
    bitmaps[0, 10:30, 20:60] = True
    bitmaps[1, 50:100, 150:170] = True
    bitmaps[1, 60:70, 190:200] = True
    return bitmaps


KEYPOINTS = np.array([[[20, 10, 0.9], [-5, 20, 0.9]], [[150, 50, 0.2], [200, 100, 0.6]]], np.float32)


@pytest.mark.parametrize(
    ("found", "text", "with_conf"),
    [
        (make(), "1 0.2 0.2 0.2 0.2\n0 0.875 0.75 0.25 0.5\n", "1 0.2 0.2 0.2 0.2 0.75\n0 0.875 0.75 0.25 0.5 0.5\n"),
        (
            make(keypoints=KEYPOINTS),
            "1 0.2 0.2 0.2 0.2 0.1 0.1 2 0 0 0\n0 0.875 0.75 0.25 0.5 0 0 0 1 1 2\n",
            "1 0.2 0.2 0.2 0.2 0.1 0.1 0.9 -0.025 0.2 0.9 0.75\n0 0.875 0.75 0.25 0.5 0.75 0.5 0.2 1 1 0.6 0.5\n",
        ),
        (
            make(xywhr=np.array([[40, 20, 40, 20, 0], [195, 75, 20, 50, 0]], np.float32)),
            "1 0.1 0.1 0.3 0.1 0.3 0.3 0.1 0.3\n0 0.925 0.5 1 0.5 1 1 0.925 1\n",
            "1 0.1 0.1 0.3 0.1 0.3 0.3 0.1 0.3 0.75\n0 0.925 0.5 1.025 0.5 1.025 1 0.925 1 0.5\n",
        ),
        (make(xyxy=np.array([[0, 0, 200, 100]] * 2, np.float32), whole_image=True), "0.75 dog\n0.5 cat\n", None),
        (Detections.empty(NAMES, (100, 200)), "", ""),
    ],
)
def test_lines(found, text, with_conf):
    assert found.to_yolo() == text
    assert found.to_yolo(conf=True) == (text if with_conf is None else with_conf)


def test_segments_are_whole_outlines_of_the_masks():
    found = make(masks=Masks.from_bitmaps(masks()))
    one, two = (parse_line(line, LabelForm(2)) for line in found.to_yolo().splitlines())
    assert (one.class_id, two.class_id) == (1, 0)
    assert sorted(zip(one.outline[::2], one.outline[1::2], strict=True)) == [
        (0.1, 0.1),
        (0.1, 0.3),
        (0.3, 0.1),
        (0.3, 0.3),
    ]
    assert two.box == (0.75, 0.5, 1, 1)  # both of its parts
    last = found.to_yolo(conf=True).splitlines()[0].split()
    assert (len(last), last[-1]) == (1 + 8 + 1, "0.75")


def test_an_object_without_an_outline_is_its_box():
    empty = np.zeros_like(masks())
    found = make(masks=Masks.from_bitmaps(empty))
    assert found.to_yolo().splitlines()[0] == "1 0.1 0.1 0.3 0.1 0.3 0.3 0.1 0.3"


def test_segments_follow_the_tolerance():
    rows, columns = np.mgrid[:100, :200]
    bitmaps = np.stack([(rows - 50) ** 2 + (columns - 60) ** 2 < 40**2] * 2)
    found = make(masks=Masks.from_bitmaps(bitmaps))
    exact, coarse = (found.to_yolo(tolerance=tolerance).splitlines()[0].split() for tolerance in (0, 3))
    assert len(exact) > 100 > 30 > len(coarse) > 7


def test_every_line_is_a_label_to_train_on():
    """As the reader of y12-tune and y12-val sees it: in the image, of whole visibilities, with an area."""
    flat = np.array([[20, 10, 20, 10], [199, 99, 200, 100]], np.float32)  # the first has no area
    turned = make(xywhr=np.array([[0, 0, 40, 20, 0.7], [199, 99, 50, 50, 0.3]], np.float32))
    for found, form in (
        (make(), LabelForm(2)),
        (make(xyxy=flat), LabelForm(2)),
        (make(masks=Masks.from_bitmaps(masks())), LabelForm(2)),
        (make(keypoints=KEYPOINTS), LabelForm(2, (2, 3))),
        (turned, LabelForm(2, oriented=True)),
    ):
        labels = [parse_line(line, form) for line in found.to_yolo().splitlines()]
        assert [label.class_id for label in labels] == [1, 0]


def test_a_name_of_several_lines_is_one_line():
    found = make(names=("cat", "do\ng"), whole_image=True, xyxy=np.array([[0, 0, 200, 100]] * 2, np.float32))
    assert found.to_yolo() == "0.75 do\\ng\n0.5 cat\n"
