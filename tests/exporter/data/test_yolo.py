"""A YOLO data set: files are found, every wrong line is told, pixels are those of the decoded image."""

from pathlib import Path

import pytest

from y12.errors import DatasetError
from y12.exporter.data.label_lines import LabelForm, parse_line
from y12.exporter.data.label_pixels import annotation_from_label
from y12.exporter.data.yolo import label_path, yolo_dataset

BOX = "0 0.5 0.5 0.5 0.25"
POLYGON = "1 0.25 0.25 0.75 0.25 0.75 0.75 0.25 0.75"


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("d/images/val/1.jpg", "d/labels/val/1.txt"),
        ("images/d/images/1.jpg", "images/d/labels/1.txt"),  # the last folder of that name
        ("d/val/1.2.jpg", "d/val/1.2.txt"),
        ("d/my_images/1.jpg", "d/my_images/1.txt"),
    ],
)
def test_where_labels_are(image, label):
    assert label_path(Path(image)) == Path(label)


def test_background_images_repeats_and_ids(make_yolo):
    dataset = yolo_dataset(make_yolo({"a": f"{BOX}\n\n{BOX}\n", "b": None, "c": "", "d": POLYGON}), "val")
    assert [sample.image_id for sample in dataset.samples] == [1, 2, 3, 4]
    assert (dataset.labels, dataset.background) == (2, 2)
    assert dataset.categories == ((0, "cat"), (1, "dog"))
    assert dataset.kinds == ("bbox",)
    assert dataset.notes == (
        "1 of 2 labels are boxes without an outline",
        "1 labels repeat another of their image and were left out",
    )
    truth = dataset.ground_truth(dict.fromkeys((1, 2, 3, 4), (10, 20)))
    assert [a["image_id"] for a in truth["annotations"]] == [1, 4]
    assert [a["id"] for a in truth["annotations"]] == [1, 2]
    assert truth["images"][1] == {"id": 2, "file_name": "b.png", "height": 10, "width": 20}


def test_images_named_by_coco_ids_keep_them(make_yolo):
    dataset = yolo_dataset(make_yolo({"000000000139": BOX, "000000000285": None}), "val")
    assert [sample.image_id for sample in dataset.samples] == [139, 285]


def test_names_that_are_one_number_are_not_ids(make_yolo):
    dataset = yolo_dataset(make_yolo({"01": BOX, "1": None}), "val")
    assert [sample.image_id for sample in dataset.samples] == [1, 2]


def test_every_wrong_line_is_counted_and_ten_are_told(make_yolo):
    path = make_yolo({"a": f"{BOX}\n9 0.5 0.5 1 1\n", "b": "0 5 5 1 1\n" * 12})
    with pytest.raises(DatasetError) as error:
        yolo_dataset(path, "val")
    message = str(error.value)
    assert "data.yaml: 13 problems: " in message
    assert "labels/val/a.txt, line 2: expected a class from 0 to 1, found 9" in message
    assert "b.txt, line 9: " in message
    assert "b.txt, line 10: " not in message
    assert message.endswith("; and 3 more")


def test_no_labels_at_all_is_a_wrong_folder(make_yolo):
    with pytest.raises(DatasetError, match=r"expected labels for 2 images, found none; looked for .*labels/val/a\.txt"):
        yolo_dataset(make_yolo({"a": None, "b": None}), "val")


def test_label_files_without_any_object_are_not_called_missing(make_yolo):
    path = make_yolo({"a": "", "b": "\n \n", "c": None})
    with pytest.raises(
        DatasetError, match=r"expected labelled objects in 3 images, found none: the 2 label files there"
    ):
        yolo_dataset(path, "val")


def test_a_folder_in_place_of_a_label_file_is_refused(make_yolo):
    path = make_yolo({"a": BOX, "b": None})
    (path.parent / "labels" / "val" / "b.txt").mkdir()
    with pytest.raises(DatasetError, match="expected a label file, found a directory"):
        yolo_dataset(path, "val")


def test_a_label_file_of_another_program_is_read(make_yolo):
    path = make_yolo({"a": f"\ufeff{BOX}\r\n{POLYGON}\r\n"})  # byte order mark and Windows' line ends
    assert yolo_dataset(path, "val").labels == 2


def test_a_label_file_that_is_no_text_is_refused(make_yolo):
    path = make_yolo({"a": BOX, "b": ""})
    (path.parent / "labels" / "val" / "b.txt").write_bytes(b"\x89PNG\xff\x00")
    with pytest.raises(DatasetError, match=r"b\.txt, line 1: expected numbers, found "):
        yolo_dataset(path, "val")


KINDS = [
    (BOX, "", ("bbox",)),
    (POLYGON, "", ("bbox", "segm")),
    (BOX + " 0.1 0.1 2", "kpt_shape: [1, 3]", ("bbox", "keypoints")),
]


@pytest.mark.parametrize(("line", "yaml", "kinds"), KINDS)
def test_kinds(make_yolo, line, yaml, kinds):
    assert yolo_dataset(make_yolo({"a": line}, f"names: [cat, dog]\n{yaml}"), "val").kinds == kinds


def test_a_box_in_pixels():
    annotation = annotation_from_label(parse_line(BOX, LabelForm(1)), (100, 200))
    assert annotation == {"category_id": 0, "bbox": [50, 37.5, 100, 25], "area": 2500, "iscrowd": 0}


def test_a_polygon_in_pixels_has_its_masks_area():
    annotation = annotation_from_label(parse_line("0 0 0 0.5 0 0 0.5", LabelForm(1)), (100, 200))
    assert annotation["bbox"] == [0, 0, 100, 50]
    assert annotation["segmentation"] == [[0, 0, 100, 0, 0, 50]]
    assert annotation["area"] == pytest.approx(2500, rel=0.02)  # half of the box, drawn as pixels


def test_keypoints_in_pixels():
    annotation = annotation_from_label(parse_line(BOX + " .5 .5 2 0 0 0", LabelForm(1, (2, 3))), (100, 200))
    assert annotation["keypoints"] == [100, 50, 2, 0, 0, 0]
    assert annotation["num_keypoints"] == 1


def test_an_oriented_box_in_pixels():
    line = "0 0.5 0.25 0.75 0.5 0.5 0.75 0.25 0.5"  # a square on its corner
    annotation = annotation_from_label(parse_line(line, LabelForm(1, oriented=True)), (100, 100), oriented=True)
    x, y, w, h, r = annotation["xywhr"]
    assert (x, y) == pytest.approx((50, 50))
    assert (w, h) == pytest.approx((1250**0.5, 1250**0.5))
    assert abs(r) % 1.5707963 == pytest.approx(0.7853981, abs=1e-4)
    assert annotation["area"] == pytest.approx(1250)
