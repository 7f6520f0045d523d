import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from y12.errors import DatasetError, OptionsError
from y12.exporter.train.examples.augment import plain
from y12.exporter.train.examples.options import COCO_FLIP, AugmentOptions, DataOptions
from y12.exporter.train.examples.sources import UserSource
from y12.exporter.train.examples.user import training_data


def _yolo(folder: Path, labels: dict[str, str], extra: str = "") -> Path:
    for name, text in labels.items():
        split, stem = name.split("/")
        for part in ("images", "labels"):
            (folder / part / split).mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / "images" / split / f"{stem}.png"), np.full((40, 80, 3), 60, np.uint8))
        (folder / "labels" / split / f"{stem}.txt").write_text(text)
    (folder / "data.yaml").write_text(f"train: images/train\nval: images/val\nnames: [cat, dog]\n{extra}")
    return folder / "data.yaml"


def _coco(folder: Path, *annotations: dict[str, Any]) -> Path:
    folder.mkdir(exist_ok=True)
    for i in (1, 2):
        cv2.imwrite(str(folder / f"{i}.png"), np.full((40, 80, 3), 60, np.uint8))
    truth = {
        "images": [{"id": i, "file_name": f"{i}.png", "height": 40, "width": 80} for i in (1, 2)],
        "annotations": [{"id": i, "image_id": 1, "category_id": 9} | a for i, a in enumerate(annotations, 1)],
        "categories": [{"id": 9, "name": "dog"}, {"id": 3, "name": "cat"}],
    }
    (folder / "train.json").write_text(json.dumps(truth))
    return folder / "train.json"


BOX = {"bbox": [10, 5, 20, 10]}
POLYGON = {"segmentation": [[10, 5, 30, 5, 30, 15, 10, 15]]}
RUNS = {"segmentation": {"size": [40, 80], "counts": [405, 10, 30, 10, 2745]}}  # columns 10 and 11, rows 5 to 14
CROWD = {"iscrowd": 1, "bbox": [0, 0, 80, 40], "segmentation": {"size": [40, 80], "counts": [0, 3200]}}


def test_a_data_yaml_is_trained_on_by_its_train(tmp_path: Path):
    data = _yolo(tmp_path, {"train/a": "1 0.5 0.5 0.25 0.5\n", "train/b": "", "val/c": "0 0.5 0.5 1 1\n"})
    found = training_data(data, "detect")
    assert found.names == ("cat", "dog")
    assert [path.name for path in found.paths] == ["a.png", "b.png"]
    assert found.objects[0].labels.tolist() == [1]
    assert found.objects[0].boxes.tolist() == [[30, 10, 50, 30]]
    assert found.objects[1].boxes.shape == (0, 4)
    assert found.notes == ("1 of 2 images show background only",)
    assert (found.masks, found.points, found.oriented) == (False, None, False)
    assert training_data(data, "detect", DataOptions(split="val")).objects[0].labels.tolist() == [0]


def test_a_coco_json(tmp_path: Path):
    data = _coco(
        tmp_path / "a", BOX | POLYGON, CROWD, POLYGON | {"category_id": 3}, RUNS, {"bbox": [90, 5, 20, 10]} | POLYGON
    )
    found = training_data(data, "segment")
    assert found.names == ("cat", "dog")
    (objects, empty) = found.objects
    assert objects.labels.tolist() == [1, 0, 1]
    assert objects.boxes.tolist() == [[10, 5, 30, 15], [10, 5, 30, 15], [10, 5, 12, 15]]
    assert len(empty.labels) == 0
    assert found.notes == (
        "1 annotations of crowds were left out",
        "1 annotations without an area inside their image were left out",
        "1 of 2 images show background only",
    )
    masks = plain(UserSource(found, 160)._fitted(0)).masks  # twice as large, 40 pixels further down
    assert masks is not None
    expected = np.zeros((40, 40), bool)
    expected[12:18, 5:15] = True  # rows 50 to 70: half of a cell counts
    np.testing.assert_array_equal(masks[0], expected)
    assert np.flatnonzero(masks[2].any(0)).tolist() == [5]


def test_a_box_is_cut_at_its_image(tmp_path: Path):
    found = training_data(_coco(tmp_path / "a", {"bbox": [-5, 30, 20, 25]}, {"bbox": [70, -3, 20, 10]}), "detect")
    assert found.objects[0].boxes.tolist() == [[0, 30, 15, 40], [70, 0, 80, 7]]


@pytest.mark.parametrize("options", [None, AugmentOptions(hue=0, saturation=0, brightness=0, scale=0, translate=0)])
def test_images_are_red_green_blue(tmp_path: Path, options: AugmentOptions | None):
    data = _yolo(tmp_path, {"train/a": "1 0.5 0.5 0.25 0.5\n"})
    cv2.imwrite(str(tmp_path / "images" / "train" / "a.png"), np.full((40, 80, 3), (10, 60, 200), np.uint8))  # BGR
    image = UserSource(training_data(data, "detect"), 160, options).example(0, 0, 0).image
    colours = image[(image != 114).any(2)]
    assert len(colours) > 1000
    assert np.median(colours, axis=0).tolist() == [200, 60, 10]


@pytest.mark.parametrize(
    ("annotations", "task", "message"),
    [
        ((BOX,), "segment", "expected an outline for every object for the task segment, found labels of bbox only"),
        ((BOX,), "pose", "expected keypoints"),
        ((BOX,), "multitask", "expected outlines or keypoints"),
        ((BOX,), "obb", "expected a data.yaml with oriented boxes"),
        (({"bbox": [90, 5, 20, 10]},), "detect", "found none that are inside their images"),
        ((BOX | {"category_id": 4},), "detect", r"annotations\[0\]: expected the category_id"),
    ],
)
def test_labels_that_will_not_do(tmp_path: Path, annotations: tuple[dict[str, Any], ...], task: str, message: str):
    with pytest.raises(DatasetError, match=message) as refused:
        training_data(_coco(tmp_path / "a", *annotations), task)
    assert "\n" not in str(refused.value)


def test_a_wrong_line_is_named(tmp_path: Path):
    data = _yolo(tmp_path, {"train/a": "1 0.5 0.5 0.25 0.5\n2 0.5 0.5 0.1 0.1\n"})
    with pytest.raises(DatasetError, match=r"a\.txt, line 2: expected a class from 0 to 1, found 2"):
        training_data(data, "detect")


def test_a_damaged_image_is_named_before_training(tmp_path: Path):
    data = _yolo(tmp_path, {"train/a": "1 0.5 0.5 0.25 0.5\n"})
    path = tmp_path / "images" / "train" / "a.png"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DatasetError, match=r"1 problem: .*a\.png"):
        training_data(data, "detect")


def test_keypoints(tmp_path: Path):
    keypoints = {"keypoints": [10, 5, 2, 0, 0, 0], "num_keypoints": 1}
    found = training_data(_coco(tmp_path / "a", BOX | keypoints, BOX), "pose")
    assert found.points == 2
    assert not found.masks
    assert found.objects[0].keypoints is not None
    assert found.objects[0].keypoints.tolist() == [[[10, 5, 2], [0, 0, 0]], [[0, 0, 0], [0, 0, 0]]]
    assert training_data(_coco(tmp_path / "a", BOX | keypoints), "detect").points is None


MIRRORED = AugmentOptions(mosaic=0, flip=1, scale=0, translate=0, hue=0, saturation=0, brightness=0)


def _points(folder: Path, points: int, extra: str) -> UserSource:
    """One object in an image of 80x40, its points at x 4, 8, 12 …, mirrored whenever that may be."""
    where = " ".join(f"{0.05 * (i + 1):g} 0.5 2" for i in range(points))
    data = _yolo(folder, {"train/a": f"0 0.5 0.5 0.9 0.5 {where}\n"}, f"kpt_shape: [{points}, 3]\n{extra}")
    return UserSource(training_data(data, "pose"), 64, MIRRORED)


def _xs(source: UserSource) -> list[float]:
    return source.example(0, 0, 0).keypoints[0, :, 0].round().tolist()


def test_points_change_sides_as_the_data_yaml_says(tmp_path: Path):
    pairs = _points(tmp_path / "a", 3, "flip_idx: [2, 1, 0]")
    none = _points(tmp_path / "b", 3, "flip_idx: [0, 1, 2]")
    unknown = _points(tmp_path / "c", 3, "")
    assert _xs(unknown) == [3, 6, 10]  # 64 / 80 of where they were drawn
    assert _xs(none) == [61, 58, 54]
    assert _xs(pairs) == [54, 58, 61]
    assert not [note for note in (*pairs.notes, *none.notes) if "mirror" in note]
    assert [note for note in unknown.notes if note.startswith("images are not mirrored: which of the 3 keypoints")]


def test_coco_s_points_are_those_of_persons_only(tmp_path: Path):
    extra = "names: [person]"
    flips = {
        "person": _points(tmp_path / "a", 7, "").notes,
        "cat, dog": _points(tmp_path / "b", 17, "").notes,
    }
    assert all(any("not mirrored" in note for note in notes) for notes in flips.values())
    data = tmp_path / "b" / "data.yaml"
    data.write_text(data.read_text().replace("names: [cat, dog]", extra))
    source = UserSource(training_data(data, "pose"), 64, MIRRORED)
    assert any("taken for COCO's" in note for note in source.notes)
    plain_xs = UserSource(training_data(data, "pose"), 64).example(0, 0, 0).keypoints[0, :, 0]
    assert _xs(source) == pytest.approx([round(64 - float(plain_xs[i])) for i in COCO_FLIP])


def test_what_a_program_says_of_points_comes_before_the_data(tmp_path: Path):
    source = _points(tmp_path, 3, "flip_idx: [2, 1, 0]")
    own = UserSource(source._data, 64, replace(MIRRORED, flip_indices=(0, 1, 2)))
    assert _xs(own) == [61, 58, 54]
    with pytest.raises(OptionsError, match="flip_indices: expected 3"):
        UserSource(source._data, 64, replace(MIRRORED, flip_indices=(1, 0)))


def test_multitask_trains_on_what_there_is(tmp_path: Path):
    keypoints = {"keypoints": [10, 5, 2], "num_keypoints": 1}
    assert training_data(_coco(tmp_path / "a", BOX | POLYGON), "multitask").points is None
    both = training_data(_coco(tmp_path / "b", BOX | POLYGON | keypoints), "multitask")
    assert both.masks
    assert both.points == 1


def test_oriented_boxes(tmp_path: Path):
    # A box of 20 x 10 pixels about (40, 20), turned by 45 degrees, in an image of 80 x 40.
    turn = np.sqrt(0.5)
    corners = np.array([(-10, -5), (10, -5), (10, 5), (-10, 5)]) @ np.array([[turn, turn], [-turn, turn]]) + (40, 20)
    line = "0 " + " ".join(f"{v:.8f}" for v in (corners / (80, 40)).ravel())
    found = training_data(_yolo(tmp_path, {"train/a": line}), "obb")
    assert found.oriented
    example = UserSource(found, 160).example(0, 0, 0)
    sides = np.sort((example.boxes[:, 2:] - example.boxes[:, :2])[0])
    np.testing.assert_allclose(sides, [20, 40], atol=1e-3)
    np.testing.assert_allclose((example.boxes[:, 2:] + example.boxes[:, :2])[0] / 2, [80, 80], atol=1e-3)
    assert example.angles is not None
    wide = example.boxes[0, 2] - example.boxes[0, 0] > 30
    np.testing.assert_allclose(np.sin(2 * example.angles[0]), 1 if wide else -1, atol=1e-5)


def test_coco128(shared: Path):
    folder = shared / "datasets" / "coco128"
    found = training_data(folder / "instances_seg_val2017_100.json", "segment", DataOptions(check="header"))
    assert len(found.paths) == 100
    assert len(found.names) == 80
    assert found.masks
    source = UserSource(found, 320)
    off = []
    for position in range(8):
        example = source.example(0, 0, position)
        assert example.masks is not None
        for box, mask in zip(example.boxes, example.masks, strict=True):
            if min(box[2] - box[0], box[3] - box[1]) > 16:
                ys, xs = np.nonzero(mask)
                drawn = np.array([4 * xs.min(), 4 * ys.min(), 4 * xs.max() + 4, 4 * ys.max() + 4])
                assert (drawn[:2] > box[:2] - 4.1).all()
                assert (drawn[2:] < box[2:] + 4.1).all()
                off.append(np.abs(drawn - box).mean())
    assert len(off) > 20
    assert np.median(off) < 3  # a mask's pixel is 4 wide


def test_people_with_points(shared: Path):
    file = shared / "datasets" / "pose_minicoco" / "annotations" / "person_keypoints_train2017.json"
    found = training_data(file, "multitask", DataOptions(check="header"))
    assert (found.masks, found.points) == (True, 17)
    assert "1 annotations of crowds were left out" in found.notes
    assert sum(len(one.labels) for one in found.objects) == 86
