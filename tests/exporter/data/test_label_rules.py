"""Labels that are nothing, or lie outside: one rule for YOLO's files and COCO's, as docs/data.md has it in a table."""

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from y12.errors import DatasetError
from y12.exporter.data.open import labelled_dataset
from y12.exporter.train.examples.user import training_data

ROOT = Path(__file__).resolve().parents[3]
SIDE = 100
KEPT, LEFT_OUT, REFUSED = "taken", "left out, told", "refused"
GOOD = {"yolo": "0 0.5 0.5 0.2 0.2", "coco": {"bbox": [40, 40, 20, 20]}}
GOOD_POSE = {"yolo": "0 0.5 0.5 0.2 0.2 0.5 0.5 2", "coco": {"bbox": [40, 40, 20, 20], "keypoints": [50, 50, 2]}}
GOOD_TURNED = {"yolo": "0 .4 .4 .6 .4 .6 .6 .4 .6"}
POSE, TURNED = "kpt_shape: [1, 3]\n", "turned"

# What the table calls it: form, YOLO's line, COCO's annotation (None where the form cannot say it), what becomes of it.
ROWS = {
    "a box without width or height": ("", "0 0.5 0.5 0 0.2", {"bbox": [50, 40, 0, 20]}, LEFT_OUT),
    "an outline without area": ("", "0 0.1 0.2 0.5 0.2 0.9 0.2", None, LEFT_OUT),
    "a negative width or height": ("", "0 0.5 0.5 -0.2 0.2", {"bbox": [50, 40, -20, 20]}, REFUSED),
    "`iscrowd: null`": ("", None, {"bbox": [40, 40, 20, 20], "iscrowd": None}, KEPT),
    "a box that reaches beyond the picture": ("", "0 0.9 0.5 0.4 0.2", {"bbox": [70, 40, 40, 20]}, KEPT),
    "a box beyond twice the picture": ("", "0 5 0.5 0.2 0.2", {"bbox": [500, 40, 20, 20]}, REFUSED),
    "a labelled keypoint outside": (
        *(POSE, "0 0.5 0.5 0.2 0.2 1.3 -0.2 2"),
        *({"bbox": [40, 40, 20, 20], "keypoints": [130, -20, 2]}, KEPT),
    ),
    "a keypoint beyond twice the picture": (
        *(POSE, "0 0.5 0.5 0.2 0.2 2.3 0.5 2"),
        *({"bbox": [40, 40, 20, 20], "keypoints": [230, 50, 2]}, REFUSED),
    ),
    "a corner of an oriented box outside": (TURNED, "0 -.2 .5 .5 -.2 1.2 .5 .5 1.2", None, KEPT),
    "a corner beyond twice the picture": (TURNED, "0 -.2 .5 .5 -.2 2.2 .5 .5 1.2", None, REFUSED),
}
CASES = [
    (name, door) for name, row in ROWS.items() for door, said in zip(("yolo", "coco"), row[1:3], strict=True) if said
]


@pytest.fixture
def folder(tmp_path):
    for kind in ("images", "labels"):
        (tmp_path / kind / "val").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "images" / "val" / "a.png"), np.full((SIDE, SIDE, 3), 90, np.uint8))
    return tmp_path


def data_set(folder, name, door):
    """A sound label and the one in question, in the form of a door; the file, the task, whether boxes are oriented."""
    form, line, annotation, _ = ROWS[name]
    good = GOOD_POSE if form == POSE else GOOD_TURNED if form == TURNED else GOOD
    task = "pose" if form == POSE else "obb" if form == TURNED else "detect"
    if door == "yolo":
        (folder / "labels" / "val" / "a.txt").write_text(f"{good['yolo']}\n{line}\n")
        data = folder / "data.yaml"
        data.write_text(f"train: images/val\nval: images/val\nnames: [cat]\n{form if form == POSE else ''}")
        return data, task
    truth = {
        "images": [{"id": 1, "file_name": "a.png", "height": SIDE, "width": SIDE}],
        "annotations": [
            {"id": i, "image_id": 1, "category_id": 1} | a for i, a in enumerate((good["coco"], annotation))
        ],
        "categories": [{"id": 1, "name": "cat"}],
    }
    data = folder / "images" / "val" / "labels.json"
    data.write_text(json.dumps(truth))
    return data, task


@pytest.mark.parametrize(("name", "door"), CASES)
def test_a_row_of_the_table(folder, name, door):
    data, task = data_set(folder, name, door)
    outcome = ROWS[name][3]
    if outcome == REFUSED:
        with pytest.raises(DatasetError, match=r"a\.txt, line 2: expected|annotations\[1\]: expected"):
            labelled_dataset(data, oriented=task == "obb")
        return
    dataset = labelled_dataset(data, oriented=task == "obb")
    told = [note for note in dataset.notes if "without width, height or area left out, the first in" in note]
    assert dataset.labels == (2 if outcome == KEPT else 1)
    assert len(told) == (outcome == LEFT_OUT)
    found = training_data(data, task)  # training sees the same ones
    assert len(found.objects[0].labels) == dataset.labels


@pytest.mark.parametrize(("name", "door"), [case for case in CASES if ROWS[case[0]][3] == LEFT_OUT])
def test_strict_refuses_what_is_left_out_otherwise(folder, name, door):
    data, task = data_set(folder, name, door)
    with pytest.raises(DatasetError, match=r"a\.txt, line 2: expected|annotations\[1\]: expected"):
        labelled_dataset(data, oriented=task == "obb", strict=True)


def test_keypoints_outside_count_as_coco_counts_them(folder):
    data, _ = data_set(folder, "a labelled keypoint outside", "yolo")
    truth = labelled_dataset(data).ground_truth({1: (SIDE, SIDE)})
    assert [a["num_keypoints"] for a in truth["annotations"]] == [1, 1]
    assert truth["annotations"][1]["keypoints"] == pytest.approx([130, -20, 2])


def test_the_table_in_the_documents_is_this_one():
    text = (ROOT / "docs" / "data.md").read_text()
    rows = dict(re.findall(r"^\| ([^|]+?) \| (taken|left out, told|refused)\b", text, re.MULTILINE))
    assert rows == {name: row[3] for name, row in ROWS.items()}
