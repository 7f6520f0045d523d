"""Annotated pictures: drawn where they should be, readable, and for any size."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from y12.runtime.results.detections import Detections
from y12.runtime.results.draw import annotated
from y12.runtime.results.masks import Masks
from y12.runtime.results.style import SKELETONS, class_colour, side_colour, text_colour


@pytest.fixture(autouse=True, params=["supervision", "none"])
def drawer(request, monkeypatch):
    """What draws: with supervision, which the set-up installs, and as where it is missing."""
    if request.param == "none":
        monkeypatch.setattr("y12.runtime.results.draw.find_spec", lambda name: None)
    return request.param


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


def colour_bgr():
    return np.array(class_colour(0)[::-1])


def test_masks_are_translucent():
    found = one_box([20, 40, 80, 90], (100, 120))
    bitmap = np.zeros((1, 100, 120), bool)
    bitmap[0, 50:80, 30:60] = True
    found.masks = Masks.from_bitmaps(bitmap)
    drawn = annotated(np.full((100, 120, 3), 200, np.uint8), found)
    expected = np.rint(200 * 0.55 + colour_bgr() * 0.45)
    assert (np.abs(drawn[52:78, 32:58] - expected) <= 1).all()
    assert (drawn[60:88, 62:75] == 200).all()


def person():
    """17 points on a ring, of which the left ankle (15) is hidden."""
    angles = np.arange(17) / 17 * 2 * np.pi
    points = np.stack([150 + 100 * np.cos(angles), 150 + 100 * np.sin(angles), np.ones(17)], axis=1)
    points[15, 2] = 0.3
    return points[None].astype(np.float32)


def test_a_person_has_a_skeleton():
    found = one_box([5, 40, 295, 295], (300, 300))
    found.keypoints = person()
    drawn = annotated(np.zeros((300, 300, 3), np.uint8), found)
    for a, b in SKELETONS[17]:
        x, y = found.keypoints[0, [a, b], :2].mean(axis=0).round().astype(int)
        near = drawn[y - 1 : y + 2, x - 1 : x + 2].reshape(-1, 3)
        colour = side_colour((a, b), 17, class_colour(0))[::-1]
        assert (near == colour).all(axis=1).any() == (15 not in (a, b)), (a, b)
    x, y = found.keypoints[0, 15, :2].astype(int)
    assert not drawn[y - 2 : y + 3, x - 2 : x + 3].any()  # hidden


def test_other_keypoints_are_points_only():
    found = one_box([5, 40, 295, 295], (300, 300))
    found.keypoints = person()[:, :4]
    drawn = annotated(np.zeros((300, 300, 3), np.uint8), found)
    for x, y, _ in found.keypoints[0].round().astype(int):
        assert (drawn[y, x] == colour_bgr()).all()
    x, y = found.keypoints[0, :2, :2].mean(axis=0).round().astype(int)
    assert not drawn[y - 1 : y + 2, x - 1 : x + 2].any()


def test_oriented_boxes_are_drawn_as_they_stand():
    found = one_box([64, 64, 136, 136], (200, 200))
    found.xywhr = np.array([[100, 100, 80, 20, np.pi / 4]], np.float32)
    drawn = annotated(np.zeros((200, 200, 3), np.uint8), found)
    for corner in found.data["xyxyxyxy"][0].round().astype(int):
        x, y = corner
        assert drawn[y - 2 : y + 3, x - 2 : x + 3].any()
    assert not drawn[100:136, 64][:30].any()  # the upright box is not drawn
    assert not drawn[98:103, 98:103].any()  # inside


def test_classes_are_listed_in_the_corner():
    found = Detections(
        np.tile(np.array([[50, 0, 150, 100]], np.float32), (3, 1)),
        np.array([0.7, 0.2, 0.05], np.float32),
        np.array([2, 0, 1]),
        names=("red", "green", "blue"),
        image_hw=(100, 200),
        whole_image=True,
    )
    drawn = annotated(np.zeros((100, 200, 3), np.uint8), found)
    grounds = [class_colour(int(i))[::-1] for i in found.class_id]
    rows = [np.flatnonzero((drawn[:, 0] == ground).all(axis=1)) for ground in grounds]
    assert [len(r) > 8 for r in rows] == [True] * 3
    assert rows[0][0] == 0
    assert rows[0][-1] < rows[1][-1] < rows[2][-1]
    assert not drawn[80:, :].any()  # no boxes


@pytest.mark.parametrize(
    "parts",
    [
        {"keypoints": np.full((1, 17, 3), 1e6, np.float32)},
        {"keypoints": np.full((1, 17, 3), -50, np.float32)},
        {"keypoints": np.ones((1, 17, 3), np.float32)},  # all in one place
        {"xywhr": np.array([[5, 5, 0, 0, 0]], np.float32)},
        {"xywhr": np.array([[-100, 500, 1e4, 3, 2]], np.float32)},
        {"masks": Masks.from_bitmaps(np.zeros((1, 10, 12), bool))},
        {"masks": Masks.from_bitmaps(np.ones((1, 10, 12), bool))},
        {"whole_image": True},
    ],
)
def test_draws_any_part(parts):
    found = replace(one_box([2, 2, 9, 9], (10, 12)), **parts)
    assert annotated(np.zeros((10, 12, 3), np.uint8), found).shape == (10, 12, 3)


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


def test_the_sides_of_a_person_differ():
    found = one_box([5, 40, 295, 295], (300, 300))
    found.keypoints = person()
    found.keypoints[0, 15, 2] = 1
    drawn = annotated(np.zeros((300, 300, 3), np.uint8), found)
    at = {i: drawn[y, x].tolist()[::-1] for i, (x, y, _) in enumerate(found.keypoints[0].round().astype(int).tolist())}
    left, right = ({tuple(at[i]) for i in range(first, 17, 2)} for first in (1, 2))
    assert len(left) == len(right) == 1
    assert len(left | right | {tuple(at[0])}) == 3


def test_supervision_draws_what_y12_alone_draws(monkeypatch, rng):
    """The same places and colours but for the edges of lines: most pixels agree."""
    image = rng.integers(0, 90, (200, 300, 3), dtype=np.uint8)
    found = one_box([20, 40, 180, 190], (200, 300))
    found.keypoints = person() * np.array([0.6, 0.6, 1], np.float32)
    bitmap = np.zeros((1, 200, 300), bool)
    bitmap[0, 50:180, 30:160] = True
    found.masks = Masks.from_bitmaps(bitmap)
    drawn = [annotated(image, found)]
    monkeypatch.setattr("y12.runtime.results.draw.find_spec", lambda name: None)
    drawn.append(annotated(image, found))
    differ = (np.abs(drawn[0].astype(int) - drawn[1]) > 2).any(axis=2)
    assert differ.mean() < 0.05
    assert (drawn[1] != image).any(axis=2).mean() > 0.25
