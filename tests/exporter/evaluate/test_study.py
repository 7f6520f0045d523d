"""What is drawn of an evaluation: curves, matrix and mistakes against what is written out by hand."""

import numpy as np
import pytest

from y12.exporter.data.coco_json import coco_ground_truth
from y12.exporter.data.dataset import Sample
from y12.exporter.evaluate.confusion import BACKGROUND, Confusion, Mistakes
from y12.exporter.evaluate.curves import CONFS
from y12.exporter.evaluate.results_json import read_results
from y12.exporter.evaluate.study import WORST, study_of

CAT, DOG, CAR = range(3)
BOX, OTHER, FAR = [10, 10, 40, 40], [60, 60, 30, 30], [100, 10, 20, 20]


def label(category, box, image=1, **more):
    return {"image_id": image, "category_id": category, "bbox": box, **more}


def result(category, box, score, image=1, **more):
    return {**label(category, box, image, **more), "score": score}


def truth_of(labels, images=1):
    return {
        "images": [{"id": i, "file_name": f"{i}.png", "height": 128, "width": 128} for i in range(1, images + 1)],
        "categories": [{"id": i, "name": name} for i, name in enumerate(("cat", "dog", "car"))],
        "annotations": [{"id": n, **one} for n, one in enumerate(labels, 1)],
    }


def studied(labels, results, kind="bbox", images=1):
    return study_of(truth_of(labels, images), results, [kind])


# What is labelled, what is found, and the cells of the matrix that are not zero.
MATRIX = {
    "right": ([label(CAT, BOX)], [result(CAT, BOX, 0.9)], {(CAT, CAT): 1}),
    "taken for a dog": ([label(CAT, BOX)], [result(DOG, BOX, 0.9)], {(CAT, DOG): 1}),
    "missed": ([label(CAT, BOX)], [result(CAT, OTHER, 0.9)], {(CAT, BACKGROUND): 1, (BACKGROUND, CAT): 1}),
    "at 0.25 nothing counts": ([label(CAT, BOX)], [result(CAT, BOX, 0.25)], {(CAT, BACKGROUND): 1}),
    "its own class comes first, however sure the other": (
        [label(CAT, BOX)],
        [result(DOG, BOX, 0.9), result(CAT, BOX, 0.3)],
        {(CAT, CAT): 1, (BACKGROUND, DOG): 1},
    ),
    "found twice": (
        [label(CAT, BOX)],
        [result(CAT, BOX, 0.9), result(CAT, [11, 10, 40, 40], 0.8)],
        {(CAT, CAT): 1, (BACKGROUND, CAT): 1},
    ),
    "a crowd is neither right nor wrong": (
        [label(CAT, BOX, iscrowd=1), label(DOG, OTHER)],
        [result(CAT, BOX, 0.9)],
        {(DOG, BACKGROUND): 1},
    ),
    "less overlap than 0.5": (
        [label(CAT, BOX)],
        [result(DOG, [30, 10, 40, 40], 0.9)],
        {
            (CAT, BACKGROUND): 1,
            (BACKGROUND, DOG): 1,
        },
    ),
    "nothing found": ([label(CAT, BOX), label(CAR, FAR)], [], {(CAT, BACKGROUND): 1, (CAR, BACKGROUND): 1}),
}


@pytest.mark.parametrize(("labels", "results", "cells"), MATRIX.values(), ids=MATRIX)
def test_what_was_planted_stands_in_its_cell(labels, results, cells):
    assert studied(labels, results).confusion.counts == cells


def test_oriented_boxes_are_confused_by_their_own_overlap():
    """Turned by 90 degrees the upright boxes are other ones, and so is the object."""
    box, turned = [30.0, 30.0, 40.0, 10.0, 0.0], [30.0, 30.0, 40.0, 10.0, np.pi / 2]
    labels = [label(CAT, [10, 25, 40, 10], xywhr=box)]
    same = studied(labels, [result(DOG, [10, 25, 40, 10], 0.9, xywhr=box)], "obb")
    assert same.confusion.counts == {(CAT, DOG): 1}
    assert same.confusion.of == "oriented boxes"
    other = studied(labels, [result(DOG, [10, 25, 40, 10], 0.9, xywhr=turned)], "obb")
    assert other.confusion.counts == {(CAT, BACKGROUND): 1, (BACKGROUND, DOG): 1}


def test_the_most_confused_come_first():
    matrix = Confusion(("a", "b", "c"), {(0, 0): 9, (0, 1): 1, (2, 1): 4, (1, BACKGROUND): 8}, "boxes")
    assert matrix.most_confused() == [(2, 1, 4), (0, 1, 1)]


def test_f1_of_the_hand_calculation():
    """Three cats; found at 0.9 right, 0.8 right, 0.6 wrong, 0.4 right, 0.3 wrong.

    F1 = 2h / (3 + found): above 0.9 0; 1/2 from 0.8; 4/5 from 0.6; 2/3 from 0.4; 6/7 from 0.3; then 3/4.
    """
    boxes = [BOX, OTHER, FAR]
    labels = [label(CAT, box) for box in boxes]
    found = [result(CAT, box, score) for box, score in zip(boxes, (0.9, 0.8, 0.4), strict=True)]
    found += [result(CAT, [5, 100, 20, 20], 0.6), result(CAT, [100, 100, 20, 20], 0.3)]
    curves = studied(labels, found).kinds[0].curves
    assert curves.classes.tolist() == [CAT]
    at = {conf: int(np.abs(CONFS - conf).argmin()) for conf in (0.1, 0.35, 0.5, 0.7, 0.85, 0.95)}
    f1 = {conf: curves.mean_f1[i] for conf, i in at.items()}
    expected = {0.1: 3 / 4, 0.35: 6 / 7, 0.5: 2 / 3, 0.7: 4 / 5, 0.85: 1 / 2, 0.95: 0}
    assert f1 == {conf: pytest.approx(value) for conf, value in expected.items()}
    assert curves.mean_precision[at[0.5]] == pytest.approx(2 / 3)
    assert np.isnan(curves.mean_precision[at[0.95]])
    assert curves.mean_recall[at[0.5]] == pytest.approx(2 / 3)
    assert curves.best is not None
    assert CONFS[curves.best] == pytest.approx(0.35, abs=0.001)  # the middle between 0.3 and 0.4


def test_the_mean_is_over_classes_with_labels():
    study = studied([label(CAT, BOX), label(DOG, OTHER)], [result(CAT, BOX, 0.9), result(CAR, FAR, 0.9)])
    curves = study.kinds[0].curves
    assert curves.classes.tolist() == [CAT, DOG]
    assert curves.mean_f1[500] == pytest.approx(0.5)
    assert curves.mean_precision[500] == pytest.approx(1)  # of dogs nothing is found


FIXTURES = [
    ("instances_val2014_100.json", "instances_val2014_fakebbox100_results.json", "bbox"),
    ("instances_val2014_100.json", "instances_val2014_fakesegm100_results.json", "segm"),
    ("keypoints_gt_dataset.json", "keypoints_dt_dataset.json", "keypoints"),
]


@pytest.mark.parametrize(("labels", "results", "kind"), FIXTURES, ids=[row[2] for row in FIXTURES])
def test_curves_matrix_and_figures_of_photographs_agree(shared, labels, results, kind):
    truth = coco_ground_truth(shared / "metrics" / "coco_eval" / labels)
    found = read_results(shared / "metrics" / "coco_eval" / results, truth)
    study = study_of(truth, found, [kind])
    (one,) = study.kinds
    precision = one.precision[:, :, one.curves.classes]
    assert precision.mean() == pytest.approx(one.figures.values["AP"], abs=1e-12)
    assert precision[0].mean() == pytest.approx(one.figures.values["AP50"], abs=1e-12)
    cells, at = study.confusion.counts, 250
    for k, recall in zip(one.curves.classes, one.curves.recall[:, at], strict=True):
        assert cells.get((k, k), 0) == pytest.approx(recall * one.matches[k].labels.sum())
        assert study.confusion.labels_of(k) == one.matches[k].labels.sum()
    assert 0 < sum(one.labels_by_size.values()) <= sum(c.labels for c in one.figures.classes)


def test_without_any_success_there_is_no_peak_and_nothing_is_divided_by_zero():
    study = studied([label(CAT, BOX)], [])
    assert study.kinds[0].curves.best is None
    assert study.worst[0].mistakes == Mistakes(missed=1)
    crowd_only = studied([label(CAT, BOX, iscrowd=1)], [result(CAT, OTHER, 0.9)])
    assert crowd_only.kinds[0].curves.best is None
    assert crowd_only.kinds[0].curves.mean_f1.shape == CONFS.shape
    assert crowd_only.kinds[0].figures.values["AP"] is None


def test_the_worst_images_are_those_of_the_lowest_f1():
    """1: all right. 2: one of two. 3: nothing of one. 4: nothing of two. 5: nothing there, nothing found."""
    labels = [label(CAT, BOX), label(CAT, BOX, 2), label(DOG, OTHER, 2), label(CAT, BOX, 3)]
    labels += [label(CAT, BOX, 4), label(CAT, OTHER, 4)]
    found = [result(CAT, BOX, 0.9), result(CAT, BOX, 0.9, 2), result(CAT, FAR, 0.2, 3)]
    study = study_of(truth_of(labels, 5), found, ["bbox"], [Sample(4, "four.png")])
    assert [one.name for one in study.worst] == ["4.png", "3.png", "2.png"]
    assert [one.path for one in study.worst] == ["four.png", None, None]
    assert study.worst[2].mistakes == Mistakes(right=1, missed=1)
    assert study.worst[2].mistakes.f1 == pytest.approx(2 / 3)
    assert [len(one.found) for one in study.worst] == [0, 0, 1]
    assert study.mistaken == 3
    many = [label(CAT, BOX, i) for i in range(1, 31)]
    assert len(study_of(truth_of(many, 30), [], ["bbox"]).worst) == WORST


def test_labels_are_counted_by_size():
    study = studied([label(CAT, [0, 0, 10, 10]), label(CAT, BOX), label(DOG, [0, 0, 100, 100])], [])
    assert study.kinds[0].labels_by_size == {"small": 1, "medium": 1, "large": 1}
