"""Images to measure on, whatever names them, and labels that fit the model or are not used."""

import json

import pytest
from colour_network import (
    SIDE,
    box_line,
    drawings,
    manifest_of,
    model_of,
    outline_line,
    pose_line,
    set_for,
    write_image,
    write_labels,
)

from y12.errors import DatasetError
from y12.exporter.data.dataset import Dataset
from y12.exporter.evaluate.classification import ClassTree
from y12.exporter.evaluate.evaluation_set import evaluation_set_of_images
from y12.exporter.evaluate.graph_results import Outcome
from y12.exporter.evaluate.scoring import truth_from

DETECT = manifest_of()


def boxes_in(evaluation_set):
    """How many labels there are, once the images' sizes are known."""
    sizes = {sample.image_id: (SIDE, SIDE) for sample in evaluation_set.samples}
    return len(truth_from(evaluation_set, Outcome([], sizes, kinds=("bbox",))).coco["annotations"])


def test_the_val_of_a_data_yaml(make_yaml):
    evaluation_set = set_for(make_yaml(box_line), DETECT)
    assert isinstance(evaluation_set.labels, Dataset)
    assert (evaluation_set.data, evaluation_set.truth, evaluation_set.notes) == ("data.yaml, 6 images", "labels", ())
    assert len(evaluation_set.samples) == 6
    assert boxes_in(evaluation_set) == 48


def test_what_a_reader_has_to_know_is_noted(make_yaml):
    path = make_yaml(lambda cell: f"{box_line(cell)}\n{box_line(cell)}")
    assert set_for(path, DETECT).notes == ("48 labels repeat another of their image and were left out",)
    evaluation_set = set_for(path, manifest_of("segment"))
    assert evaluation_set.notes[0] == "masks were not evaluated: the labels have none"


def test_a_coco_json(make_folder):
    folder = make_folder()
    drawn = drawings()
    annotations = [
        {"image_id": i, "category_id": 1 + cell.class_id, "bbox": [8 * cell.column, 8 * cell.row, 8, 8]}
        for i, cells in enumerate(drawn)
        for cell in cells
    ]
    path = folder.parent / "coco.json"
    images = [{"id": i, "file_name": f"picture{i}.png", "height": SIDE, "width": SIDE} for i in range(6)]
    categories = [{"id": 1, "name": "red"}, {"id": 2, "name": "green"}]
    numbered = [{"id": i, "area": 64, "iscrowd": 0, **a} for i, a in enumerate(annotations, 1)]
    path.write_text(json.dumps({"images": images, "annotations": numbered, "categories": categories}))
    evaluation_set = set_for(path, DETECT)
    assert (evaluation_set.data, evaluation_set.truth, len(evaluation_set.samples)) == (
        "coco.json, 6 images",
        "labels",
        6,
    )
    assert boxes_in(evaluation_set) == 48


@pytest.mark.parametrize(("task", "line"), [("detect", box_line), ("pose", pose_line), ("obb", outline_line)])
def test_a_folder_with_labels_beside(make_folder, task, line):
    folder = make_folder(line)
    evaluation_set = set_for(folder, manifest_of(task))
    assert evaluation_set.truth == "labels"
    assert evaluation_set.notes[-1] == f"labels found beside the images of {folder} are used"


def test_a_folder_without_labels(make_folder):
    evaluation_set = set_for(make_folder(), DETECT)
    assert (evaluation_set.data, evaluation_set.truth, evaluation_set.labels, evaluation_set.notes) == (
        "images, 6 images",
        "detections of FP32",
        None,
        (),
    )
    assert [sample.image_id for sample in evaluation_set.samples] == [1, 2, 3, 4, 5, 6]


def test_images_without_a_file_of_labels_show_background(make_folder):
    folder = make_folder(box_line)
    write_image(folder / "empty.png", [])
    evaluation_set = set_for(folder, DETECT)
    assert evaluation_set.labels.background == 1
    assert len(evaluation_set.samples) == 7


@pytest.mark.parametrize(
    ("task", "line", "reason"),
    [
        ("detect", lambda cell: f"7{box_line(cell)[1:]}", "class"),
        ("detect", lambda _: "what is this", "number"),
        ("pose", box_line, "line 1"),
        ("obb", box_line, "line 1"),
    ],
)
def test_labels_beside_that_do_not_fit_are_not_used(make_folder, task, line, reason):
    folder = make_folder(line)
    evaluation_set = set_for(folder, manifest_of(task))
    assert (evaluation_set.truth, evaluation_set.labels, len(evaluation_set.samples)) == ("detections of FP32", None, 6)
    (note,) = evaluation_set.notes
    assert note.startswith(f"labels beside the images of {folder} are not used, as they do not fit the model: ")
    assert reason in note


@pytest.mark.parametrize(
    ("task", "yaml", "message"),
    [
        ("detect", "names: [cat]", "expected the model's 2 classes"),
        ("pose", "names: [red, green]", "is kpt_shape missing in the data.yaml"),
    ],
)
def test_labels_of_a_file_that_do_not_fit_are_refused_before_anything_is_run(make_yaml, task, yaml, message):
    path = make_yaml(lambda cell: f"0{box_line(cell)[1:]}")
    path.write_text(f"val: images\n{yaml}\n")
    with pytest.raises(DatasetError, match=message):
        set_for(path, manifest_of(task))


def test_held_out_images_take_the_classes_of_their_data_yaml(make_yaml):
    path = make_yaml(box_line)
    path.write_text("train: images\nnames: [green, red]\n")  # the model has them the other way round
    images = sorted((path.parent / "images").iterdir())[1::2]
    evaluation_set = evaluation_set_of_images(images, path, *model_of(DETECT))
    assert (evaluation_set.data, evaluation_set.truth, len(evaluation_set.samples)) == (
        "data.yaml, 3 images",
        "labels",
        3,
    )
    assert evaluation_set.labels.categories == ((0, "green"), (1, "red"))
    path.write_text("train: images\nnames: [green]\n")
    with pytest.raises(DatasetError, match="line"):
        evaluation_set_of_images(images, path, *model_of(DETECT))


def test_a_model_with_two_classes_of_one_name_has_its_own_labels(make_folder):
    evaluation_set = set_for(make_folder(box_line), manifest_of(names=("thing", "thing")))
    assert evaluation_set.truth == "labels"


def test_a_tree_of_classes(tmp_path):
    manifest = manifest_of("classify")
    for name in ("red/1.png", "red/2.png", "green/1.png"):
        write_image(tmp_path / "tree" / name, [])
    evaluation_set = set_for(tmp_path / "tree", manifest)
    assert isinstance(evaluation_set.labels, ClassTree)
    assert (evaluation_set.data, evaluation_set.truth, evaluation_set.labels.labels) == (
        "tree, 3 images",
        "labels",
        (0, 0, 1),
    )
    assert "by name, 2 of the model's 3" in evaluation_set.notes[0]
    path = tmp_path / "data.yaml"
    path.write_text("val: tree\nnames: [red, green, blue]\n")
    assert set_for(path, manifest).labels.labels == (0, 0, 1)


def test_a_classifiers_folders_that_are_no_classes_are_only_images(tmp_path):
    for name in ("monday/1.png", "tuesday/1.png"):
        write_image(tmp_path / "days" / name, [])
    evaluation_set = set_for(tmp_path / "days", manifest_of("classify"))
    assert (evaluation_set.truth, len(evaluation_set.samples)) == ("detections of FP32", 2)
    assert "are not taken for classes: " in evaluation_set.notes[0]


def test_a_classifiers_folder_of_images(tmp_path):
    write_image(tmp_path / "flat" / "1.png", [])
    evaluation_set = set_for(tmp_path / "flat", manifest_of("classify"))
    assert (evaluation_set.truth, len(evaluation_set.samples), evaluation_set.notes) == ("detections of FP32", 1, ())


@pytest.mark.parametrize("task", ["detect", "classify"])
def test_what_has_no_images_is_refused(tmp_path, task):
    with pytest.raises(DatasetError, match="expected images to measure on, found none"):
        set_for(tmp_path, manifest_of(task))
    with pytest.raises(DatasetError, match="nowhere"):
        set_for(tmp_path / "nowhere", manifest_of(task))


def test_labels_of_another_format_are_refused(tmp_path):
    (tmp_path / "labels.csv").write_text("a,b")
    with pytest.raises(DatasetError, match=r"labels.csv: expected a data.yaml or a COCO .json"):
        set_for(tmp_path / "labels.csv", DETECT)


def test_labels_that_lie_in_the_same_folder(tmp_path):
    images = [write_image(tmp_path / "flat" / f"{i}.png", cells) for i, cells in enumerate(drawings(images=2))]
    write_labels(images, drawings(images=2))
    assert set_for(tmp_path / "flat", DETECT).labels.labels == 16
