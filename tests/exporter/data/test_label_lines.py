"""One line of a label file: what is read, what is clipped, what is refused and in which words."""

import pytest

from y12.exporter.data.bounds import NothingError, ShapeError
from y12.exporter.data.label_lines import Label, LabelForm, LabelLineError, parse_line

BOXES = LabelForm(3)
POSE = LabelForm(1, (2, 3))
FLAT_POSE = LabelForm(1, (2, 2))
ORIENTED = LabelForm(3, oriented=True)

READ = [
    ("1 0.5 0.5 0.2 0.4", BOXES, Label(1, (0.4, 0.3, 0.6, 0.7))),
    ("2.0 0.5 0.5 1 1", BOXES, Label(2, (0, 0, 1, 1))),  # some tools write the class as a float
    ("0 0.5 0.5 1.005 1", BOXES, Label(0, (0, 0, 1, 1))),  # rounding
    ("0 0 0.5 0.5 0.5", BOXES, Label(0, (0, 0.25, 0.25, 0.75), clipped=True)),  # a quarter of it is outside
    ("0 0.1 0.2 0.5 0.2 0.5 0.6", BOXES, Label(0, (0.1, 0.2, 0.5, 0.6), (0.1, 0.2, 0.5, 0.2, 0.5, 0.6))),
    ("0 -0.01 0 1.01 0 1 1", BOXES, Label(0, (0, 0, 1, 1), (0, 0, 1, 0, 1, 1))),
    ("0 .5 .5 1 1 .1 .2 2 .3 .4 1", POSE, Label(0, (0, 0, 1, 1), keypoints=(0.1, 0.2, 2, 0.3, 0.4, 1))),
    ("0 .5 .5 1 1 9 9 0 .3 .4 1", POSE, Label(0, (0, 0, 1, 1), keypoints=(0, 0, 0, 0.3, 0.4, 1))),  # not labelled
    ("0 .5 .5 1 1 .1 .2 0 0", FLAT_POSE, Label(0, (0, 0, 1, 1), keypoints=(0.1, 0.2, 2, 0, 0, 0))),
    ("0 .1 .2 .5 .2 .5 .6 .1 .6", ORIENTED, Label(0, (0.1, 0.2, 0.5, 0.6), (0.1, 0.2, 0.5, 0.2, 0.5, 0.6, 0.1, 0.6))),
]


@pytest.mark.parametrize(("text", "form", "expected"), READ)
def test_lines_are_read(text, form, expected):
    label = parse_line(text, form)
    assert label.class_id == expected.class_id
    assert label.box == pytest.approx(expected.box)
    assert label.outline == expected.outline
    assert label.keypoints == expected.keypoints
    assert label.clipped == expected.clipped


REFUSED = [
    ("0 0.5 0.5 0.2", BOXES, "expected 5 values"),
    ("0 0.5 0.5 0.2 0.2 0.9", BOXES, "found 6 values"),  # predictions with a score are no labels
    ("0 0.5 0.5 0.2 0.2 0.9 0.1 0.1", BOXES, "found 8 values"),  # an odd corner
    ("3 0.5 0.5 0.2 0.2", BOXES, "expected a class from 0 to 2, found 3"),
    ("-1 0.5 0.5 0.2 0.2", BOXES, "expected a class from 0 to 2, found -1"),
    ("0.5 0.5 0.5 0.2 0.2", BOXES, "found 0.5"),
    ("cat 0.5 0.5 0.2 0.2", BOXES, "expected numbers, found 'cat'"),
    ("0 nan 0.5 0.2 0.2", BOXES, "expected numbers, found 'nan'"),
    ("0 0.5 inf 0.2 0.2", BOXES, "expected numbers, found 'inf'"),
    ("1_0 0.5 0.5 0.2 0.2", LabelForm(80), "expected numbers"),
    ("0 320 240 64 64", BOXES, "expected coordinates from 0 to 1 (fractions of the image), found 320"),
    ("0 1.011 0.5 0.2 0.2", BOXES, "found 1.011"),
    ("0 0.5 -0.011 0.2 0.2", BOXES, "found -0.011"),
    ("0 0.5 0.5 0.2 -0.005", BOXES, "expected a width and height above 0"),
    ("0 1.01 0.5 0.01 0.2", BOXES, "expected a box that touches the image"),
    ("0 0.1 0.2 0.5 0.2 0.5 1.02", BOXES, "found 1.02"),
    ("0 0.5 0.5 1 1", POSE, "expected 11 values (class, box and 2 keypoints of 3), found 5"),
    ("0 .5 .5 1 1 .1 .2 2 .3 .4 3", POSE, "expected a visibility of 0, 1 or 2, found 3"),
    ("0 .5 .5 1 1 .1 .2 2 .3 2.1 1", POSE, "found 2.1"),
    ("0 .5 .5 1 1", ORIENTED, "expected 9 values (class and four corners x y) for oriented boxes, found 5"),
    ("0 .1 .2 .5 .2 .5 .6 .1 -1.1", ORIENTED, "found -1.1"),
]


NOTHING = [
    ("0 0.5 0.5 0 0.2", BOXES),
    ("0 0.5 0.5 0.2 0", BOXES),
    ("0 0.5 0.5 0 0", BOXES),
    ("0 0.1 0.2 0.5 0.2 0.9 0.2", BOXES),
    ("0 .5 .5 0 1 .1 .2 2 .3 .4 1", POSE),
    ("0 .1 .2 .5 .2 .7 .2 .3 .2", ORIENTED),
]


@pytest.mark.parametrize(("text", "form"), NOTHING)
def test_a_label_of_nothing_is_told_from_a_wrong_one(text, form):
    with pytest.raises(NothingError, match=r"expected a width and height above 0|encloses an area"):
        parse_line(text, form)


def test_points_and_turned_corners_may_lie_outside():
    assert parse_line("0 .5 .5 1 1 -.5 1.9 2 2 -1 1", POSE).keypoints == (-0.5, 1.9, 2, 2, -1, 1)
    assert parse_line("0 -.2 .5 .5 -.2 1.2 .5 .5 1.2", ORIENTED).outline == (-0.2, 0.5, 0.5, -0.2, 1.2, 0.5, 0.5, 1.2)
    assert parse_line("0 .5 .5 1 1 9 9 0 .3 .4 1", POSE).keypoints == (0, 0, 0, 0.3, 0.4, 1)  # not labelled


@pytest.mark.parametrize(("text", "form", "message"), REFUSED)
def test_lines_are_refused(text, form, message):
    with pytest.raises((LabelLineError, ShapeError)) as error:
        parse_line(text, form)
    assert message in str(error.value)
