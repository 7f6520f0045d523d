"""A COCO JSON: its entries are checked before pycocotools sees them, its images are found."""

import json

import pytest
from pycocotools import mask
from tiny_data import coco_data

from y12.errors import DatasetError
from y12.exporter.data.bounds import ShapeError, check_segmentation
from y12.exporter.data.coco_json import coco_dataset, coco_ground_truth, ground_truth_kinds


def changed(part, **values):
    data = coco_data()
    data[part][0] |= values
    return data


def test_what_is_read(make_coco):
    dataset = coco_dataset(make_coco())
    assert dataset.categories == ((1, "cat"), (3, "dog"))
    assert [(s.image_id, s.path.name, s.height, s.width) for s in dataset.samples] == [(7, "a.png", 64, 64)]
    assert (dataset.labels, dataset.background, dataset.kinds) == (1, 0, ("bbox",))


REFUSED = [
    ([], "expected a COCO JSON with lists of images, annotations, categories"),
    ({"images": []}, "expected a COCO JSON"),
    (coco_data() | {"annotations": []}, "expected annotations, found none"),
    (coco_data() | {"images": []}, "expected one or more images"),
    (changed("images", id="7"), "images[0]: expected an id"),
    (coco_data() | {"images": [{"file_name": "a.png"}]}, "images[0]: expected an id"),
    (changed("images", file_name="../a.png"), "images[0]: expected a file_name inside"),
    (changed("images", file_name="/etc/passwd"), "images[0]: expected a file_name inside"),
    (changed("images", height=0), "images[0]: expected a height of 1 or more"),
    (changed("categories", name=3), "categories[0]: expected an id and a name"),
    (changed("categories", id=3), "expected one or more categories with an id each of its own"),
    (changed("annotations", image_id=8), "annotations[0]: expected the image_id of one of the images, found 8"),
    (changed("annotations", image_id=[]), "annotations[0]: expected the image_id"),
    (changed("annotations", category_id=2), "annotations[0]: expected the category_id"),
    (changed("annotations", iscrowd=2), "annotations[0]: expected iscrowd 0 or 1"),
    (changed("annotations", bbox=[0, 0, 1]), "expected a bbox of 4 numbers"),
    (changed("annotations", bbox=[0, 0, 1, float("nan")]), "expected a bbox of 4 numbers"),
    (changed("annotations", bbox=[0, 0, 1, 10**400]), "expected a bbox of 4 numbers"),
    (changed("annotations", bbox=[0, 0, -1, 1]), "expected a bbox [left, top, width, height]"),
    (changed("annotations", area=-1), "expected an area of 0 or more"),
    (changed("annotations", area="1"), "expected an area"),
    (changed("annotations", segmentation=[[0, 0, 1, 1]]), "expected a polygon of three corners"),
    (changed("annotations", segmentation=[[0, 0, 1, 1, 2, 2, 3]]), "expected a polygon of three corners"),
    (changed("annotations", segmentation=[[0, 0, 1, 1, "2", 2]]), "expected a polygon of numbers"),
    (changed("annotations", segmentation=[[0, 0, 1e9, 1, 2, 2]]), "expected a polygon of numbers of at most 1e+06"),
    (changed("annotations", segmentation=[[0, 0, 1e6, 1e6] * 20]), "an outline of at most 200 image sides"),
    (changed("annotations", segmentation={"size": [64, 63], "counts": [0]}), "expected a mask of the image's size"),
    (changed("annotations", segmentation={"size": 5, "counts": [0]}), "expected a mask of the image's size"),
    (changed("annotations", segmentation={"size": [64, 64], "counts": [4095]}), "a damaged mask"),
    (changed("annotations", segmentation={"size": [64, 64], "counts": [-1, 4097]}), "a damaged mask"),
    (changed("annotations", segmentation={"size": [64, 64], "counts": "~~~"}), "a damaged text"),
    (changed("annotations", segmentation={"size": [64, 64], "counts": "P"}), "breaks off"),
    (changed("annotations", keypoints=[1, 2]), "expected keypoints as x, y, visibility"),
    ({**coco_data(), "annotations": [3]}, "annotations[0]: expected a mapping"),
]


@pytest.mark.parametrize(("data", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_refused(tmp_path, data, message):
    path = tmp_path / "c.json"
    path.write_text(json.dumps(data))
    with pytest.raises(DatasetError) as error:
        coco_ground_truth(path)
    assert message in str(error.value)
    assert str(path) in str(error.value)


def test_text_that_is_no_json_is_refused(tmp_path):
    path = tmp_path / "c.json"
    for text in ("{", "[" * 100_000, "\xff"):
        path.write_bytes(text.encode("latin-1"))
        with pytest.raises(DatasetError, match="found no readable JSON"):
            coco_ground_truth(path)


def test_masks_of_pycocotools_pass():
    from_polygon = mask.frPyObjects([[3, 4, 50, 8, 30, 60, 5, 33]], 64, 48)[0]
    check_segmentation({"size": [64, 48], "counts": from_polygon["counts"].decode()}, (64, 48))
    plain = {"size": [64, 48], "counts": [5, 7, 64 * 48 - 12]}
    check_segmentation(plain, (64, 48))
    counts = from_polygon["counts"].decode()
    with pytest.raises(ShapeError):
        check_segmentation({"size": [64, 48], "counts": counts[:-2]}, (64, 48))


@pytest.mark.parametrize("folder", [".", "images", "images/val2017", "val2017"])
def test_images_are_found_beside_the_json(make_coco, folder):
    path = make_coco(folder=folder)
    assert coco_dataset(path).samples[0].path == path.parent / folder / "a.png"


def test_images_are_found_beside_annotations(make_coco):
    path = make_coco(folder="../images/val2017", name="annotations/instances.json")
    assert coco_dataset(path).samples[0].path.is_file()


def test_images_can_be_named_or_are_missed(make_coco):
    path = make_coco(folder="elsewhere/deep")
    with pytest.raises(DatasetError, match=r"a\.png is not in .*name the folder with --images"):
        coco_dataset(path)
    assert coco_dataset(path, path.parent / "elsewhere" / "deep").samples[0].path.is_file()


def test_kinds():
    whole = {"segmentation": [[0, 0, 1, 0, 1, 1]]}
    assert ground_truth_kinds({"annotations": [{"bbox": 1, **whole}, {"bbox": 1}]}) == ("bbox",)
    assert ground_truth_kinds({"annotations": [whole]}) == ("segm",)
    assert ground_truth_kinds({"annotations": [{"bbox": 1, "keypoints": []}, {"bbox": 1}]}) == ("bbox", "keypoints")
