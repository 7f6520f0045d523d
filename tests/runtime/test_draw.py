"""Annotated pictures: drawn where they should be, readable, and for any size."""

from itertools import pairwise

import numpy as np
import pytest

from runtime.detections import Detections
from runtime.draw import annotated, class_colour, text_colour


def one_box(xyxy, image_hw, name="person"):
    return Detections(
        np.array([xyxy], np.float32),
        np.array([0.5], np.float32),
        np.array([0]),
        names=(name,),
        image_hw=image_hw,
    )


def test_draws_the_box_and_leaves_the_input_alone():
    image = np.zeros((200, 300, 3), np.uint8)
    drawn = annotated(image, one_box([50, 60, 250, 150], (200, 300)))
    assert not image.any()
    red, green, blue = class_colour(0)
    for y, x in [(60, 150), (150, 150), (100, 50), (100, 250)]:  # the middle of each side
        assert drawn[y, x].tolist() == [blue, green, red]
    assert not drawn[100:140, 70:230].any()  # inside
    assert drawn[45:60, 52:90].any()  # the label


def test_lines_grow_with_the_image():
    small, large = (
        annotated(np.zeros((s, s, 3), np.uint8), one_box([s * 0.2, s * 0.4, s * 0.8, s * 0.8], (s, s)))
        for s in (200, 2000)
    )
    assert np.count_nonzero(large[1200].any(axis=1)) > 3 * np.count_nonzero(small[120].any(axis=1))


@pytest.mark.parametrize(
    ("xyxy", "hw"),
    [
        ([0, 0, 1, 1], (1, 1)),
        ([0, 0, 10, 10], (10, 10)),  # the label has no room above
        ([5, 5, 5, 5], (20, 20)),  # an empty box
        ([0, 0, 3000, 2], (2, 3000)),
    ],
)
@pytest.mark.parametrize("name", ["person", "", "Größe", "人", "a\nb"])
def test_draws_anything(xyxy, hw, name):
    assert annotated(np.zeros((*hw, 3), np.uint8), one_box(xyxy, hw, name)).shape == (*hw, 3)


def test_nothing_found_changes_nothing(rng):
    image = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
    assert np.array_equal(annotated(image, Detections.empty(("a",), (40, 50))), image)


def test_neighbouring_classes_differ_and_their_text_is_readable():
    def luma(rgb):
        return 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2]

    colours = [class_colour(i) for i in range(80)]
    assert len(set(colours)) == 80
    for colour in colours:
        assert abs(luma(colour) - luma(text_colour(colour))) > 80
    for a, b in pairwise(colours):
        assert sum(abs(x - y) for x, y in zip(a, b, strict=True)) > 100
