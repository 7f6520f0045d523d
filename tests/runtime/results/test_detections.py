"""The result type: its checks, its rows, and what supervision needs of it."""

import json
from dataclasses import replace

import numpy as np
import pytest
import supervision as sv

from y12.errors import InputError
from y12.runtime.preprocess.letterbox import Letterbox
from y12.runtime.results.detections import Detections
from y12.runtime.results.masks import Masks


def make(count=3, **changes):
    values = {
        "xyxy": np.arange(count * 4, dtype=np.float32).reshape(count, 4) * [1, 1, 2, 2],
        "confidence": np.linspace(0.9, 0.1, count, dtype=np.float32),
        "class_id": np.arange(count) % 2,
        "names": ("cat", "dog"),
        "image_hw": (6, 8),
    }
    return Detections(**(values | changes))


def bitmaps(*shape):
    return Masks.from_bitmaps(np.arange(np.prod(shape)).reshape(shape) % 5 == 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"xyxy": np.zeros((3, 5))}, r"xyxy: expected shape \(N, 4\), found \(3, 5\)"),
        ({"xyxy": np.zeros(4)}, r"xyxy: expected shape \(N, 4\), found \(4,\)"),
        ({"confidence": np.zeros(2)}, r"confidence: expected shape \(3,\), found \(2,\)"),
        ({"class_id": np.zeros((3, 1), int)}, r"class_id: expected shape \(3,\), found \(3, 1\)"),
        ({"class_id": np.zeros(3)}, "class_id: expected integers, found float64"),
        ({"class_id": np.array([0, 1, 2])}, "class_id: expected 0 to 1, .* found 0 to 2"),
        ({"class_id": np.array([0, -1, 0])}, "found -1 to 0"),
        ({"masks": bitmaps(3, 8, 6)}, r"masks: expected shape \(3, 6, 8\), found \(3, 8, 6\)"),
        ({"masks": bitmaps(2, 6, 8)}, r"masks: expected shape \(3, 6, 8\), found \(2, 6, 8\)"),
        ({"xywhr": np.zeros((3, 4))}, r"xywhr: expected shape \(3, 5\), found \(3, 4\)"),
        ({"keypoints": np.zeros((3, 17, 2))}, r"keypoints: expected shape \(3, K, 3\), found \(3, 17, 2\)"),
        ({"tracker_id": np.zeros(4, int)}, r"tracker_id: expected shape \(3,\), found \(4,\)"),
    ],
)
def test_refuses_arrays_that_disagree(changes, message):
    with pytest.raises(InputError, match=message):
        make(**changes)


@pytest.mark.parametrize(
    ("index", "rows"),
    [
        (1, [1]),
        (-1, [2]),
        (np.int64(0), [0]),
        (slice(0, 2), [0, 1]),
        (slice(None, None, -1), [2, 1, 0]),
        ([2, 0], [2, 0]),
        ([], []),
        (np.array([True, False, True]), [0, 2]),
        ([False, True, False], [1]),
        (np.array([0, 0]), [0, 0]),
        (np.array([False] * 3), []),
    ],
)
def test_picks_rows_of_every_array(index, rows):
    full = make(
        masks=bitmaps(3, 6, 8),
        keypoints=np.arange(3 * 2 * 3, dtype=np.float32).reshape(3, 2, 3),
        xywhr=np.arange(3 * 5, dtype=np.float32).reshape(3, 5),
        truncated=True,
        whole_image=True,
        tracker_id=np.array([7, 8, 9]),
    )
    part = full[index]
    assert len(part) == len(rows)
    for name in ("xyxy", "confidence", "class_id", "mask", "keypoints", "xywhr", "tracker_id"):
        assert np.array_equal(getattr(part, name), getattr(full, name)[rows]), name
    assert np.array_equal(part["xyxyxyxy"], full["xyxyxyxy"][rows])
    assert (part.names, part.image_hw) == (full.names, full.image_hw)
    assert part.truncated
    assert part.whole_image


@pytest.mark.parametrize("detections", [make(), Detections.empty()])
@pytest.mark.parametrize(
    ("index", "error"),
    [(3, IndexError), (-4, IndexError), ([5], IndexError), ([True], IndexError), ("names", KeyError)],
)
def test_refuses_rows_that_are_not_there(detections, index, error):
    with pytest.raises(error):
        detections[index]


def test_rows_and_names():
    rows = list(make())
    assert [row.data["class_name"] for row in rows] == ["cat", "dog", "cat"]
    assert rows[0].mask is None
    assert rows[0].tracker_id is None
    xyxy, _, confidence, class_id, _, data = rows[1]  # supervision's order
    assert (xyxy.tolist(), class_id, data) == ([4, 5, 12, 14], 1, {"class_name": "dog"})
    assert confidence == pytest.approx(0.5)
    assert make().class_name == make()["class_name"].tolist() == ["cat", "dog", "cat"]


def test_empty():
    empty = Detections.empty(("cat",), (4, 5))
    assert (len(empty), list(empty), empty.as_records(), empty.class_name) == (0, [], [], [])
    assert empty.is_empty()
    assert not make().is_empty()
    assert empty.area.shape == (0,)


def test_records_are_json():
    records = make(keypoints=np.ones((3, 1, 3), np.float32) / 3).as_records()
    assert json.loads(json.dumps(records))[1] == {
        "box_xyxy": [4.0, 5.0, 12.0, 14.0],
        "confidence": 0.5,
        "class_id": 1,
        "class_name": "dog",
        "keypoints": [[0.333, 0.333, 0.333]],
    }


def test_area_is_of_boxes_or_masks():
    assert make(1).area.tolist() == [(4 - 0) * (6 - 1)]
    mask = np.zeros((1, 6, 8), bool)
    mask[0, 2, 3:6] = True
    assert make(1, masks=Masks.from_bitmaps(mask)).area.tolist() == [3]


class Place:
    """Looks like a member of supervision's Position."""

    def __init__(self, value):
        self.value = value


@pytest.mark.parametrize(
    ("place", "xy"),
    [
        ("CENTER", [2, 3.5]),
        ("CENTER_LEFT", [0, 3.5]),
        ("CENTER_RIGHT", [4, 3.5]),
        ("TOP_CENTER", [2, 1]),
        ("TOP_LEFT", [0, 1]),
        ("TOP_RIGHT", [4, 1]),
        ("BOTTOM_LEFT", [0, 6]),
        ("BOTTOM_CENTER", [2, 6]),
        ("BOTTOM_RIGHT", [4, 6]),
    ],
)
def test_anchors(place, xy):
    assert make(1).get_anchors_coordinates(Place(place)).tolist() == [xy]


def test_unknown_anchor():
    with pytest.raises(InputError, match="CENTER_OF_MASS"):
        make().get_anchors_coordinates(Place("CENTER_OF_MASS"))


def test_masks_are_drawn_when_asked_for_and_once():
    frame = Letterbox.fit((6, 8), (32, 32))
    masks = Masks.from_prototypes(np.ones((3, 1), np.float32), np.ones((1, 8, 8), np.float32), make().xyxy, frame)
    found = make(masks=masks)
    found[1:].as_records()
    found[[0]].class_name  # noqa: B018
    assert masks._crops is None
    assert found.mask is found.mask
    assert not found.mask.flags.writeable
    with pytest.raises(AttributeError):
        make().masks.bitmaps  # noqa: B018
    assert make().mask is None


def test_rows_carry_masks_and_corners():
    row = next(iter(make(1, masks=bitmaps(1, 6, 8), xywhr=np.array([[4, 3, 4, 2, 0]], np.float32))))
    assert row.mask.shape == (6, 8)
    assert row.data["class_name"] == "cat"
    assert row.data["xyxyxyxy"].tolist() == [[2, 2], [6, 2], [6, 4], [2, 4]]


def test_supervision_annotates_ours():
    scene = np.zeros((60, 80, 3), np.uint8)
    found = make(2, xyxy=np.array([[5, 20, 40, 50], [30, 25, 70, 55]], np.float32), image_hw=(60, 80))
    mask = np.zeros((1, 60, 80), bool)
    mask[0, 20:50, 5:40] = True
    masked = make(1, xyxy=found.xyxy[:1], masks=Masks.from_bitmaps(mask), image_hw=(60, 80))
    oriented = make(1, xyxy=found.xyxy[:1], xywhr=np.array([[22, 35, 20, 9, 0.4]], np.float32), image_hw=(60, 80))
    for annotator, detections in [
        (sv.BoxAnnotator(), found),
        (sv.LabelAnnotator(), found),
        (sv.DotAnnotator(), found),
        (sv.MaskAnnotator(), masked),
        (sv.PolygonAnnotator(), masked),
        (sv.OrientedBoxAnnotator(), oriented),
        (sv.LabelAnnotator(), oriented),
    ]:
        assert annotator.annotate(scene.copy(), detections).any(), annotator


@pytest.mark.parametrize(
    ("class_id", "names", "expected"),
    [
        ([2, 0, 2, 2], ("person", "face", "bus"), {"person": 1, "bus": 3}),
        ([], ("person",), {}),
        ([1, 0], ("person", "person"), {"person": 2}),
    ],
)
def test_counts_by_class(class_id, names, expected):
    count = len(class_id)
    boxes = np.zeros((count, 4), np.float32)
    found = Detections(boxes, np.ones(count, np.float32), np.array(class_id, np.int64), names, (9, 9))
    assert found.counts() == expected
    assert list(found.counts()) == list(expected)
    assert replace(found, whole_image=True).counts() == {}
