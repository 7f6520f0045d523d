"""How far results are from a truth, against a sum by hand."""

import math

import pytest

from y12.exporter.evaluate.closeness import points_apart

IMAGES = [{"id": 1, "height": 100, "width": 100}, {"id": 2, "height": 100, "width": 100}]
CATEGORIES = [{"id": 0, "name": "0"}, {"id": 1, "name": "1"}]


def box(image_id, category_id, x, width=10, **more):
    return {"image_id": image_id, "category_id": category_id, "bbox": [x, 20.0, width, 10.0], **more}


def apart(truth, results):
    annotations = [{**annotation, "id": i} for i, annotation in enumerate(truth, 1)]
    return points_apart({"images": IMAGES, "annotations": annotations, "categories": CATEGORIES}, results, "bbox")


TRUTH = [box(1, 0, 10.0, score=0.8), box(1, 0, 50.0, score=0.6), box(2, 1, 10.0, score=0.5)]
CASES = {
    "the same": (TRUTH, 0),
    "surer": ([{**one, "score": 0.9} for one in TRUTH], 0),
    "nothing": ([], 100),
    "another class": ([*TRUTH[:2], {**TRUTH[2], "category_id": 0}], 100 / 3),
    "another image": ([*TRUTH[:2], {**TRUTH[2], "image_id": 1}], 100 / 3),
    "half as sure": ([{**TRUTH[0], "score": 0.4}, *TRUTH[1:]], 50 / 3),
    "half as wide": ([{**TRUTH[0], "bbox": [10.0, 20.0, 5.0, 10.0]}, *TRUTH[1:]], 50 / 3),
    "both": ([box(1, 0, 10.0, 5, score=0.4), *TRUTH[1:]], 75 / 3),
    "the nearest of several": ([box(1, 0, 10.0, 5, score=0.99), *TRUTH], 0),
    "a surer one that is farther off": (
        [box(1, 0, 10.0, 8, score=0.8), box(1, 0, 10.0, score=0.6), *TRUTH[1:]],
        20 / 3,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_points_apart(case):
    results, expected = CASES[case]
    assert apart(TRUTH, results) == pytest.approx(expected, abs=1e-9)


def test_objects_without_a_score_count_as_certain_and_crowds_not_at_all():
    truth = [box(1, 0, 10.0), box(1, 0, 50.0, iscrowd=1)]
    assert apart(truth, [box(1, 0, 10.0, score=0.7)]) == pytest.approx(30)


def test_of_nothing_there_is_no_distance():
    assert math.isnan(apart([], [box(1, 0, 10.0, score=0.7)]))
