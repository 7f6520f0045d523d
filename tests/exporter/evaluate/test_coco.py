"""COCO's evaluation: published figures, and figures that are known by hand."""

import copy
import json

import numpy as np
import pytest

from y12.exporter.data.coco_json import coco_ground_truth
from y12.exporter.evaluate.coco import evaluate
from y12.exporter.evaluate.results_json import read_results, result_kinds

PUBLISHED = [  # the values of pycocotools' own demonstration and of faster_coco_eval's tests
    ("instances_val2014_100.json", "instances_val2014_fakebbox100_results.json", "bbox", 0.504581),
    ("instances_val2014_100.json", "instances_val2014_fakesegm100_results.json", "segm", 0.319545),
    ("keypoints_gt_dataset.json", "keypoints_dt_dataset.json", "keypoints", 0.504884),
]


@pytest.mark.parametrize(("labels", "results", "kind", "ap"), PUBLISHED, ids=[row[2] for row in PUBLISHED])
def test_published_figures(shared, labels, results, kind, ap):
    folder = shared / "metrics" / "coco_eval"
    truth = coco_ground_truth(folder / labels)
    figures = evaluate(truth, read_results(folder / results, truth), kind)
    assert figures.values["AP"] == pytest.approx(ap, abs=1e-6)


SIDE = 200


def truth_of(*objects, images=2, **more):
    """Labels from (image, category, left, top, width, height)."""
    return {
        "images": [{"id": i, "height": SIDE, "width": SIDE} for i in range(images)],
        "categories": [{"id": 0, "name": "cat"}, {"id": 5, "name": "dog"}],
        "annotations": [
            {"id": n, "image_id": i, "category_id": c, "bbox": box, **more} for n, (i, c, *box) in enumerate(objects)
        ],
    }


def results_of(*objects):
    """Results from (image, category, score, left, top, width, height)."""
    return [{"image_id": i, "category_id": c, "score": s, "bbox": box} for i, c, s, *box in objects]


A, B = (10, 10, 20, 20), (100, 100, 50, 50)
TWO_THIRDS = (10, 14, 20, 20)  # overlaps A by 16 * 20 / (24 * 20)
HALF = 51 / 101  # the recall is 1/2: 51 of the 101 recall thresholds are reached

BOXES = [
    ("perfect", [(0, 0, *A), (1, 5, *B)], [(0, 0, 0.9, *A), (1, 5, 0.8, *B)], 1, 1),
    ("nothing found", [(0, 0, *A)], [], 0, 0),
    ("one of two missed", [(0, 0, *A), (1, 0, *B)], [(0, 0, 0.9, *A)], HALF, HALF),
    ("one class of two missed", [(0, 0, *A), (1, 5, *B)], [(0, 0, 0.9, *A)], 0.5, 0.5),
    ("wrong class", [(0, 0, *A)], [(0, 5, 0.9, *A)], 0, 0),
    ("wrong image", [(0, 0, *A)], [(1, 0, 0.9, *A)], 0, 0),
    ("overlap 2/3: 4 of 10 thresholds", [(0, 0, *A)], [(0, 0, 0.9, *TWO_THIRDS)], 0.4, 1),
    ("a false one ranked first", [(0, 0, *A)], [(0, 0, 0.9, *B), (0, 0, 0.8, *A)], 0.5, 0.5),
    ("a false one ranked last", [(0, 0, *A)], [(0, 0, 0.9, *A), (0, 0, 0.8, *B)], 1, 1),
    (
        "found twice",
        [(0, 0, *A), (1, 0, *A)],
        [(0, 0, 0.9, *A), (0, 0, 0.8, *A), (1, 0, 0.7, *A)],
        None,
        (51 + 100 / 3) / 101,
    ),
]


@pytest.mark.parametrize(("labels", "results", "ap", "ap50"), [row[1:] for row in BOXES], ids=[row[0] for row in BOXES])
def test_boxes(labels, results, ap, ap50):
    figures = evaluate(truth_of(*labels), results_of(*results), "bbox")
    if ap is not None:
        assert figures.values["AP"] == pytest.approx(ap)
    assert figures.values["AP50"] == pytest.approx(ap50)


def test_sizes_and_classes():
    figures = evaluate(truth_of((0, 0, *A), (1, 0, *B), (1, 5, *A)), results_of((1, 0, 0.9, *B)), "bbox")
    assert figures.values["APsmall"] == 0
    assert figures.values["APmedium"] == pytest.approx(1)
    assert figures.values["APlarge"] is None
    cat, dog = figures.classes
    assert (cat.name, cat.labels, cat.ap, cat.ap50) == ("cat", 2, pytest.approx(HALF), pytest.approx(HALF))
    assert (dog.name, dog.labels, dog.ap) == ("dog", 1, 0)


def test_a_class_without_labels_has_no_figure():
    figures = evaluate(truth_of((0, 0, *A)), results_of((0, 0, 0.9, *A), (0, 5, 0.9, *B)), "bbox")
    assert figures.values["AP"] == pytest.approx(1)
    assert (figures.classes[1].labels, figures.classes[1].ap) == (0, None)


def test_crowds_are_neither_missed_nor_found():
    truth = truth_of((0, 0, *A))
    crowd = {"id": 9, "image_id": 0, "category_id": 0, "bbox": list(B), "iscrowd": 1}
    truth["annotations"].append(crowd)
    inside = results_of((0, 0, 0.95, 105, 105, 10, 10), (0, 0, 0.9, *A))
    figures = evaluate(truth, inside, "bbox")
    assert figures.values["AP"] == pytest.approx(1)
    assert figures.classes[0].labels == 1
    crowd["iscrowd"] = 0
    assert evaluate(truth, inside, "bbox").values["AP"] < 1


def test_the_arguments_stay_as_they_are(capsys):
    truth, results = truth_of((0, 0, *A)), results_of((0, 0, 0.9, *A))
    copies = copy.deepcopy((truth, results))
    evaluate(truth, results, "bbox")
    assert (truth, results) == copies
    assert capsys.readouterr() == ("", "")


def square(left, top, side):
    return [[left, top, left + side, top, left + side, top + side, left, top + side]]


def test_masks_are_compared_not_boxes():
    from pycocotools import mask

    truth = truth_of((0, 0, 0, 0, 100, 100), segmentation=square(0, 0, 100))
    three_fifths = mask.frPyObjects([[0, 0, 100, 0, 100, 20, 0, 100]], SIDE, SIDE)[0]
    results = [{**results_of((0, 0, 0.9, 0, 0, 100, 100))[0], "segmentation": three_fifths}]
    assert evaluate(truth, results, "bbox").values["AP"] == pytest.approx(1)
    figures = evaluate(truth, results, "segm")
    assert figures.values["AP50"] == pytest.approx(1)
    assert figures.values["AP75"] == 0


def test_masks_without_a_box_or_an_area():
    truth = truth_of((0, 0, 0, 0, 1, 1), segmentation=square(0, 0, 100))
    del truth["annotations"][0]["bbox"]
    results = results_of((0, 0, 0.9, 0, 0, 100, 100))
    assert evaluate(truth, results, "bbox").values["AP"] == pytest.approx(1)


def keypoint_truth(points, moved=0.0):
    keypoints = [v for i in range(points) for v in (20 + i, 30 + 2 * i, 2)]
    truth = truth_of((0, 0, 10, 10, 100, 100), keypoints=keypoints)
    shifted = [v + moved if i % 3 == 0 else v for i, v in enumerate(keypoints)]
    return truth, [{"image_id": 0, "category_id": 0, "score": 0.9, "keypoints": shifted}]


@pytest.mark.parametrize("points", [1, 5, 17])
def test_keypoints_that_agree(points):
    figures = evaluate(*keypoint_truth(points), "keypoints")
    assert figures.values["AP"] == pytest.approx(1)
    assert figures.values["APlarge"] == pytest.approx(1)


def test_other_numbers_of_keypoints_get_sigmas_of_one_by_k():
    moved = 24.0  # OKS = exp(-d^2 / (2 area (2/K)^2)): for K = 5, exp(-576 / 3200) = 0.835
    figures = evaluate(*keypoint_truth(5, moved), "keypoints")
    thresholds = np.linspace(0.5, 0.95, 10)
    assert figures.values["AP"] == pytest.approx((np.exp(-576 / 3200) >= thresholds).mean())


def test_objects_without_keypoints_are_neither_missed_nor_found():
    truth, results = keypoint_truth(17)
    truth["annotations"].append({"id": 3, "image_id": 1, "category_id": 0, "bbox": [0, 0, 50, 50]})
    assert evaluate(truth, results, "keypoints").values["AP"] == pytest.approx(1)


def oriented(angle, image=0):
    return {"image_id": image, "category_id": 0, "bbox": [0, 0, 100, 100], "xywhr": [50, 50, 80, 20, angle]}


@pytest.mark.parametrize(("turned", "ap"), [(0.0, 1.0), (np.pi, 1.0), (np.pi / 2, 0.0)])
def test_oriented_boxes_are_compared_by_their_angle(turned, ap):
    truth = truth_of((0, 0, 0, 0, 1, 1))
    truth["annotations"][0] |= oriented(0.3)
    results = [{**oriented(0.3 + turned), "score": 0.9}]
    assert evaluate(truth, results, "bbox").values["AP"] == pytest.approx(1)
    assert evaluate(truth, results, "obb").values["AP"] == pytest.approx(ap)


def test_oriented_boxes_are_matched_best_first():
    truth = truth_of((0, 0, 0, 0, 1, 1))
    truth["annotations"][0] |= oriented(0.3)
    results = [{**oriented(1.9), "score": 0.5}, {**oriented(0.3), "score": 0.9}]
    assert evaluate(truth, results, "obb").values["AP"] == pytest.approx(1)


RESULTS = [
    ([], "expected a list of COCO results"),
    ({}, "expected a list of COCO results"),
    ([3], "[0]: expected a mapping"),
    ([{"image_id": 9, "category_id": 0, "score": 1, "bbox": [0, 0, 1, 1]}], "expected an image_id of the ground truth"),
    ([{"image_id": 0, "category_id": 9, "score": 1, "bbox": [0, 0, 1, 1]}], "expected an category_id"),
    ([{"image_id": 0, "category_id": 0, "score": None, "bbox": [0, 0, 1, 1]}], "expected a score"),
    ([{"image_id": 0, "category_id": 0, "score": 1, "bbox": [0, 0, 1]}], "expected a bbox of 4 numbers"),
    ([{"image_id": 0, "category_id": 0, "score": 1}], "expected a bbox, a segmentation or keypoints"),
    ([{"image_id": 0, "category_id": 0, "score": 1, "segmentation": [[0, 0, 1, 1, 2, 2]]}], "a run-length mask"),
    (
        [{"image_id": 0, "category_id": 0, "score": 1, "keypoints": [1, 2, 3, 4, 5, 6]}],
        "expected keypoints of 3 numbers",
    ),
]


@pytest.mark.parametrize(("results", "message"), RESULTS, ids=[row[1] for row in RESULTS])
def test_results_are_refused(tmp_path, results, message):
    from y12.errors import DatasetError

    path = tmp_path / "r.json"
    path.write_text(json.dumps(results))
    with pytest.raises(DatasetError) as error:
        read_results(path, truth_of((0, 0, *A), keypoints=[1, 2, 2]))
    assert message in str(error.value)


def test_results_are_of_the_kinds_that_all_of_them_have():
    assert result_kinds([{"bbox": 1, "keypoints": 1}, {"bbox": 1}]) == ("bbox",)
    assert result_kinds([{"segmentation": 1}, {"bbox": 1}]) == ()
