import numpy as np
import pytest
from pycocotools import mask as rle

from y12.exporter.train.examples.objects import Frame, Labels, Objects, joined, moved

SIDE = 64


def _objects(*boxes: tuple[float, float, float, float], outlines: list[list[float]] | None = None, **more) -> Objects:
    polygons = None if outlines is None else tuple((np.array(o, float).reshape(-1, 2),) for o in outlines)
    return Objects((64, 64), np.arange(len(boxes)), np.array(boxes, float).reshape(-1, 4), polygons, **more)


def _matrix(scale: float = 1.0, x: float = 0.0, y: float = 0.0) -> np.ndarray:
    return np.array([[scale, 0, x], [0, scale, y], [0, 0, 1.0]])


@pytest.mark.parametrize(
    ("x", "min_visible", "expected"),
    [
        (0, 0.5, [8, 8, 28, 28]),
        (-13, 0.7, [0, 8, 15, 28]),  # 15 of 20 left
        (-13, 0.76, None),
        (50, 0.29, [58, 8, 64, 28]),  # 6 of 20
        (50, 0.31, None),
        (54.5, 0.0, None),  # 1.5 pixels left: too small
        (-100, 0.0, None),
        (100, 0.0, None),
    ],
)
@pytest.mark.parametrize("outlined", [False, True])
def test_boxes_are_cut_or_dropped(x: float, min_visible: float, expected: list[float] | None, outlined: bool):
    outline = [[8, 8, 28, 8, 28, 28, 8, 28]] if outlined else None
    labels = moved(_objects((8, 8, 28, 28), outlines=outline), _matrix(x=x), Frame(SIDE, min_visible))
    assert labels.boxes.tolist() == ([] if expected is None else [expected])
    assert len(labels.labels) == len(labels.boxes)
    if outlined:
        assert labels.masks is not None
        assert labels.masks.shape == (len(labels.labels), 16, 16)


def test_a_cut_box_is_that_of_what_is_seen_of_the_outline():
    ell = [10, 10, 50, 10, 50, 20, 20, 20, 20, 50, 10, 50]  # its bar at the left, 10 wide, is cut off
    labels = moved(_objects((10, 10, 50, 50), outlines=[ell]), _matrix(x=-24), Frame(SIDE))
    assert labels.boxes.tolist() == [[0, 10, 26, 20]]  # the box alone would reach down to 50


def test_an_uncut_box_stays_as_labelled():
    labels = moved(_objects((9.25, 9.5, 50.5, 50.75), outlines=[[10, 10, 50, 10, 50, 50]]), _matrix(), Frame(SIDE))
    assert labels.boxes.tolist() == [[9.25, 9.5, 50.5, 50.75]]


def test_masks_are_at_a_quarter_and_follow():
    labels = moved(_objects((8, 8, 24, 16), outlines=[[8, 8, 24, 8, 24, 16, 8, 16]]), _matrix(2, 4, 0), Frame(SIDE))
    expected = np.zeros((16, 16), bool)
    expected[4:8, 5:13] = True
    assert labels.masks is not None
    np.testing.assert_array_equal(labels.masks[0], expected)


def test_several_polygons_are_one_object():
    parts = (
        np.array([[8, 8], [16, 8], [16, 16], [8, 16]], float),
        np.array([[32, 8], [40, 8], [40, 16], [32, 16]], float),
    )
    objects = Objects((64, 64), np.array([4]), np.array([[8.0, 8, 40, 16]]), (parts,))
    masks = moved(objects, _matrix(), Frame(SIDE)).masks
    assert masks is not None
    assert np.flatnonzero(masks[0].any(0)).tolist() == [2, 3, 8, 9]


def test_run_lengths_are_enlarged_about_the_same_point():
    mask = np.zeros((8, 8), np.uint8)
    mask[1:3, 2:5] = 1
    objects = Objects((8, 8), np.array([4]), np.array([[2.0, 1, 5, 3]]), (rle.encode(np.asfortranarray(mask)),))
    labels = moved(objects, _matrix(8), Frame(SIDE))
    expected = np.zeros((16, 16), bool)
    expected[2:6, 4:10] = True
    assert labels.masks is not None
    assert (labels.masks[0] ^ expected).sum() <= 4  # its corners are rounded
    assert labels.boxes.tolist() == [[16, 8, 40, 24]]


def test_points_outside_are_not_labelled():
    points = np.array([[[10, 10, 2], [30, 30, 1], [0, 0, 0], [60, 20, 2]]], float)
    labels = moved(_objects((8, 8, 60, 60), keypoints=points), _matrix(x=10), Frame(SIDE))
    assert labels.keypoints is not None
    assert labels.keypoints.tolist() == [[[20, 10, 2], [40, 30, 1], [0, 0, 0], [0, 0, 0]]]


def test_mirrored_points_change_their_names():
    points = np.array([[[10, 10, 2], [30, 30, 1], [0, 0, 0]]], float)
    mirror = np.array([[-1.0, 0, SIDE], [0, 1, 0], [0, 0, 1]])
    labels = moved(_objects((8, 8, 40, 40), keypoints=points), mirror, Frame(SIDE, flip=(0, 2, 1)))
    assert labels.keypoints is not None
    assert labels.keypoints.tolist() == [[[54, 10, 2], [0, 0, 0], [34, 30, 1]]]
    assert labels.boxes.tolist() == [[24, 8, 56, 40]]


def _turned_corners(x: float, y: float, w: float, h: float, angle: float) -> np.ndarray:
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.array([(-w, -h), (w, -h), (w, h), (-w, h)]) / 2 @ turn.T + (x, y)


def _moved_oriented(corners: np.ndarray, matrix: np.ndarray) -> Labels:
    boxes = np.concatenate([corners.min(0), corners.max(0)])[None]
    return moved(Objects((64, 64), np.array([0]), boxes, corners=corners[None]), matrix, Frame(SIDE, 0.1))


@pytest.mark.parametrize("angle", np.deg2rad([-44, 0, 20, 44, 46, 89, 91, 134]))
@pytest.mark.parametrize("turned", np.deg2rad([0, 30, 100]))
def test_oriented_boxes(angle: float, turned: float):
    cos, sin = 1.25 * np.cos(turned), 1.25 * np.sin(turned)
    about = np.array([[1, 0, 32], [0, 1, 32], [0, 0, 1.0]])
    matrix = about @ np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]) @ np.linalg.inv(about)
    labels = _moved_oriented(_turned_corners(32, 32, 24, 8, angle), matrix)
    np.testing.assert_allclose(labels.boxes, [[32 - 15, 32 - 5, 32 + 15, 32 + 5]], atol=1e-4)
    assert labels.angles is not None
    (found,) = labels.angles
    assert -np.pi / 4 - 1e-6 <= found < 3 * np.pi / 4 + 1e-6
    assert abs(np.sin(found - angle - turned)) < 1e-5


def test_a_mirrored_oriented_box_leans_the_other_way():
    labels = _moved_oriented(_turned_corners(20, 30, 24, 8, 0.3), np.array([[-1.0, 0, SIDE], [0, 1, 0], [0, 0, 1]]))
    assert labels.angles is not None
    np.testing.assert_allclose(labels.angles, [-0.3], atol=1e-6)
    np.testing.assert_allclose(labels.boxes, [[32, 26, 56, 34]], atol=1e-5)


@pytest.mark.parametrize(("x", "kept"), [(-19.9, 1), (-20.1, 0)])
def test_an_oriented_box_whose_centre_is_inside_is_kept_whole(x: float, kept: int):
    labels = _moved_oriented(_turned_corners(20, 30, 24, 8, 0.3), _matrix(x=x))
    assert len(labels.boxes) == kept
    if kept:
        np.testing.assert_allclose(labels.boxes[0, 2] - labels.boxes[0, 0], 24, atol=1e-4)


def test_labels_of_several_images_are_joined_in_their_order():
    square = [[8, 8, 28, 8, 28, 28, 8, 28]]
    parts = [moved(_objects((8, 8, 28, 28), outlines=square), _matrix(x=x), Frame(SIDE)) for x in (0, 500, 30)]
    both = joined(parts)
    assert both.boxes.tolist() == [[8, 8, 28, 28], [38, 8, 58, 28]]
    assert both.masks is not None
    assert both.masks.shape == (2, 16, 16)
    assert both.keypoints is None
