"""Average precision of drawn images: pycocotools' own figure, and intervals that are known by hand."""

import math

import numpy as np
import pytest

from y12.exporter.data.coco_json import coco_ground_truth
from y12.exporter.evaluate.bootstrap import DRAWS, average_precision, draws_of, interval_of, matches_of
from y12.exporter.evaluate.coco import evaluate
from y12.exporter.evaluate.results_json import read_results

FIXTURES = [
    ("instances_val2014_100.json", "instances_val2014_fakebbox100_results.json", "bbox"),
    ("instances_val2014_100.json", "instances_val2014_fakesegm100_results.json", "segm"),
    ("keypoints_gt_dataset.json", "keypoints_dt_dataset.json", "keypoints"),
]


@pytest.mark.parametrize(("labels", "results", "kind"), FIXTURES, ids=[row[2] for row in FIXTURES])
def test_each_image_once_is_pycocotools_figure(shared, labels, results, kind):
    folder = shared / "metrics" / "coco_eval"
    truth = coco_ground_truth(folder / labels)
    found = read_results(folder / results, truth)
    classes = matches_of(truth, found, kind)
    (own,) = average_precision(classes, np.ones((1, len(truth["images"]))))
    assert own == pytest.approx(evaluate(truth, found, kind).values["AP"], abs=1e-12)


def random_set(seed, images=6):
    """Labels and results of two classes, with objects missed, shifted and made up; no two scores are the same."""
    random = np.random.default_rng(seed)
    labels, results = [], []
    for image in range(images):
        for _ in range(random.integers(0, 6)):
            left, top, width, height = (int(v) for v in random.integers(5, 60, 4))
            category = int(random.integers(0, 2))
            box = [left, top, width, height]
            crowd = int(random.random() < 0.1)
            labels.append({"image_id": image, "category_id": category, "bbox": box, "iscrowd": crowd})
            if random.random() < 0.8:
                shifted = [left + int(random.integers(-3, 4)), top, width, height]
                results.append(
                    {"image_id": image, "category_id": category, "bbox": shifted, "score": float(random.random())}
                )
        wrong = [int(v) for v in random.integers(5, 60, 4)]
        results.append({"image_id": image, "category_id": 0, "bbox": wrong, "score": float(random.random())})
    return labels, results


def truth_of(labels, images):
    return {
        "images": [{"id": image, "height": 128, "width": 128} for image in images],
        "categories": [{"id": 0, "name": "cat"}, {"id": 1, "name": "dog"}],
        "annotations": [{"id": n, **label} for n, label in enumerate(labels, 1)],
    }


@pytest.mark.parametrize("seed", range(8))
def test_a_draw_is_the_figure_of_its_images_written_out(seed):
    """An image that is drawn twice is there twice, with its labels and results; one that is not, is not."""
    labels, results = random_set(seed)
    often = np.random.default_rng(100 + seed).integers(0, 4, 6)
    copies = [(image, image + 10 * copy) for image in range(6) for copy in range(often[image])]
    repeated_labels = [
        {**label, "image_id": new} for old, new in copies for label in labels if label["image_id"] == old
    ]
    repeated = [{**one, "image_id": new} for old, new in copies for one in results if one["image_id"] == old]
    expected = evaluate(truth_of(repeated_labels, [new for _, new in copies]), repeated, "bbox").values["AP"]
    classes = matches_of(truth_of(labels, range(6)), results, "bbox")
    (found,) = average_precision(classes, often[None].astype(float))
    assert found == pytest.approx(expected, abs=1e-12)


def test_many_draws_are_each_what_it_is_alone(monkeypatch):
    labels, results = random_set(3, images=12)
    classes, draws = matches_of(truth_of(labels, range(12)), results, "bbox"), draws_of(12)
    together = average_precision(classes, draws)
    alone = [average_precision(classes, draw[None])[0] for draw in draws[:20]]
    assert together[:20] == pytest.approx(alone)
    monkeypatch.setattr("y12.exporter.evaluate.bootstrap._AT_A_TIME", 1)  # one draw after the other
    assert average_precision(classes, draws) == pytest.approx(together)


def test_draws_without_labels_have_no_value_and_do_not_count():
    labels = [{"image_id": 0, "category_id": 0, "bbox": [10, 10, 20, 20]}]
    results = [{**labels[0], "score": 0.9}]
    classes = matches_of(truth_of(labels, range(2)), results, "bbox")
    found = average_precision(classes, np.array([[1.0, 1], [0, 2]]))
    assert found[0] == pytest.approx(1)
    assert math.isnan(found[1])
    assert interval_of(found) == (pytest.approx(1), pytest.approx(1))


def test_nothing_found_is_nothing():
    labels = [{"image_id": 0, "category_id": 0, "bbox": [10, 10, 20, 20]}]
    assert average_precision(matches_of(truth_of(labels, range(2)), [], "bbox"), np.ones((1, 2))).tolist() == [0]


def test_draws_are_the_same_every_time_and_as_large_as_the_set():
    draws = draws_of(50)
    assert draws.shape == (DRAWS, 50)
    assert set(draws.sum(axis=1)) == {50}
    assert np.array_equal(draws, draws_of(50))


def test_an_interval_is_the_binomial_ones():
    """Ten of 100 images lost: the deviation of what is lost is 100 sqrt(0.1 0.9 / 100) = 3 points."""
    lost = 100 * draws_of(100) @ (np.arange(100) < 10) / 100
    low, high = interval_of(lost)
    assert low == pytest.approx(10 - 1.645 * 3, abs=1)
    assert high == pytest.approx(10 + 1.645 * 3, abs=1)
