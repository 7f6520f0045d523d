"""Thresholds of a candidate that keep a reference's precision or recall: small cases counted by hand."""

import json
import random

import pytest

from y12.exporter.evaluate.thresholds import GRID, labels_from_results, shift_points

COPIES = 12  # of each case: more than any minimum, and shares stay what they are
OBJECT = [10, 10, 20, 20]
R, W = True, False  # a right and a wrong detection


def truth_of(labels, copies=COPIES, **more):
    """`labels` images with one object each, `copies` times, and a category that no image has."""
    images = range(labels * copies)
    annotations = [{"id": i + 1, "image_id": i, "category_id": 3, "bbox": OBJECT, **more} for i in images]
    categories = [{"id": 3, "name": "cat"}, {"id": 4, "name": "dog"}]
    return {"images": [{"id": i} for i in images], "categories": categories, "annotations": annotations}


def results_of(pairs, labels, copies=COPIES):
    """Detections from (score, right); the right ones find one object after the other, the wrong ones lie apart."""
    results = []
    for copy in range(copies):
        right = 0
        for n, (score, is_right) in enumerate(pairs):
            image = copy * labels + (right if is_right else 0)
            right += is_right
            box = OBJECT if is_right else [100, 30 * n, 20, 20]
            results.append({"image_id": image, "category_id": 3, "score": score, "bbox": box})
    return results


REFERENCE = [(0.9, R), (0.8, W), (0.6, R), (0.5, W), (0.4, R), (0.2, W)]
# conf         0.1      0.3      0.45     0.55      0.7      0.85
# above it     3 of 6   3 of 5   2 of 4   2 of 3    1 of 2   1 of 1
# envelope     1/2      3/5      3/5      2/3       2/3      1
# recall (4)   3/4      3/4      2/4      2/4       1/4      1/4
HALF_AS_SURE = [(score / 2, right) for score, right in REFERENCE]
BETTER = [(0.9, R), (0.7, R), (0.5, R), (0.3, W)]  # from 0 3/4, from 0.3 on 1; right until 0.5, 0.7, 0.9
WORSE = [(0.9, W), (0.8, R), (0.6, W), (0.4, W)]  # from 0 1/4, from 0.4 1/3, from 0.6 1/2, then 0; right until 0.8

CASES = [  # candidate, conf, the confidences that keep precision and recall
    ("itself", REFERENCE, 0.1, 0.1, 0.1),
    ("itself", REFERENCE, 0.3, 0.3, 0.3),
    ("itself", REFERENCE, 0.55, 0.55, 0.55),
    ("scores halved", HALF_AS_SURE, 0.1, 0.05, 0.05),
    ("scores halved", HALF_AS_SURE, 0.3, 0.15, 0.15),
    ("scores halved", HALF_AS_SURE, 0.7, 0.35, 0.35),
    # 3 right: the reference's step is 0 to 0.4, the candidate's 0 to 0.5; more than 1/2 precise wherever it is known
    ("better", BETTER, 0.2, None, 0.25),
    # 2 right: 0.4 to 0.6 becomes 0.5 to 0.7
    ("better", BETTER, 0.55, None, 0.65),
    # 1 right: 0.6 to 0.9 becomes 0.7 to 0.9, and 0.7 is a third of the way: 0.7667
    ("better", BETTER, 0.7, None, 0.766),
    # 1/2 precise: 0 to 0.2 becomes 0.6 to 0.9 (the envelope stays at 1/2); never 3 right
    ("worse", WORSE, 0.1, 0.75, None),
    ("worse", WORSE, 0.3, None, None),  # never 3/5 precise
    # 1 right: 0.6 to 0.9 becomes 0 to 0.8
    ("worse", WORSE, 0.75, None, 0.4),
    ("nothing found", [], 0.3, None, None),
    ("all wrong", [(0.9, W), (0.5, W)], 0.3, None, None),
    # 0.6 of them right at 0.3: never just that, so the lowest that is better (2/3, from 0.25 on)
    ("in one jump", [(0.9, R), (0.8, R), (0.5, W), (0.25, W), (0.1, W)], 0.3, 0.25, None),
]


@pytest.mark.parametrize(
    ("candidate", "conf", "precision", "recall"), [c[1:] for c in CASES], ids=[f"{c[0]}-{c[2]}" for c in CASES]
)
def test_confidences_that_keep(candidate, conf, precision, recall):
    (point,) = shift_points(truth_of(4), results_of(REFERENCE, 4), results_of(candidate, 4), grid=[conf])
    assert (point.keeps_precision, point.keeps_recall) == (precision, recall)


@pytest.mark.parametrize(
    ("conf", "precision", "recall"),
    [(0.1, 1 / 2, 3 / 4), (0.3, 3 / 5, 3 / 4), (0.45, 3 / 5, 1 / 2), (0.7, 2 / 3, 1 / 4), (0.85, 1, 1 / 4)],
)
def test_what_the_reference_has(conf, precision, recall):
    (point,) = shift_points(truth_of(4), results_of(REFERENCE, 4), [], grid=[conf])
    assert (point.precision, point.recall) == (pytest.approx(precision), pytest.approx(recall))


@pytest.mark.parametrize(
    ("conf", "copies", "precision", "recall"),
    [
        (0.1, 3, None, None),  # 18 detections
        (0.1, 4, 0.1, 0.1),  # 24, of which 12 are right
        (0.45, 9, 0.45, 0.45),  # 36, of which 18 are right
        (0.45, 5, 0.45, 0.45),  # 20, of which 10 are right
        (0.55, 9, None, 0.55),  # 27, of which 9 are wrong
        (0.55, 6, None, None),  # 18, of which 12 are right
        (0.7, 9, None, None),  # 18
        (0.85, 25, None, 0.85),  # 25, none of them wrong
        (0.9, 25, None, None),  # nothing is above the highest score
        (0.95, 25, None, None),
    ],
)
def test_few_detections_decide_nothing(conf, copies, precision, recall):
    truth, results = truth_of(4, copies), results_of(REFERENCE, 4, copies)
    (point,) = shift_points(truth, results, results, grid=[conf])
    assert (point.keeps_precision, point.keeps_recall) == (precision, recall)


def test_few_detections_of_the_candidate_decide_nothing():
    """It is 2/3 precise from 0.5 on, with 15 detections."""
    candidate = [*results_of([(0.9, R)] * 2 + [(0.8, W)], 4, copies=5), *results_of([(0.5, W)], 4, copies=12)]
    (point,) = shift_points(truth_of(4), results_of(REFERENCE, 4), candidate, grid=[0.55])
    assert point.keeps_precision is None


@pytest.mark.parametrize("floor", [0.0, 0.25])
def test_nothing_is_known_below_the_floor(floor):
    results = results_of(REFERENCE, 4)
    low, high = shift_points(truth_of(4), results, results, grid=[0.1, 0.3], floor=floor)
    assert (low.keeps_recall, high.keeps_recall) == ((None, 0.3) if floor else (0.1, 0.3))
    assert low.precision == (None if floor else 0.5)


def test_results_below_the_floor_are_not_looked_at():
    reference, candidate = results_of(REFERENCE, 4), results_of(HALF_AS_SURE, 4)
    above = [[r for r in results if r["score"] > 0.25] for results in (reference, candidate)]
    grid = [0.3, 0.45, 0.55, 0.7]
    points = shift_points(truth_of(4), reference, candidate, grid=grid, floor=0.25)
    assert points == shift_points(truth_of(4), *above, grid=grid, floor=0.25)
    assert [p.keeps_recall for p in points[1:]] == pytest.approx([0.2625, 0.2875, 0.35], abs=0.0006)


def test_all_scores_equal():
    pairs = [(0.5, R), (0.5, W)]
    points = shift_points(truth_of(1), results_of(pairs, 1), results_of([(0.4, r) for _, r in pairs], 1))
    for point in points:
        known = point.conf < 0.5
        conf = round(point.conf * 0.8, 3) if known else None
        assert (point.keeps_precision, point.keeps_recall) == (conf, conf)
        assert (point.precision, point.recall) == ((0.5, 1) if known else (None, None))


def test_no_labels_and_no_detections():
    results = results_of(REFERENCE, 4)
    unlabelled = truth_of(4) | {"annotations": []}
    for truth, reference, candidate in (
        (unlabelled, results, results),
        (truth_of(4), [], results),
        (truth_of(4), results, []),
        (unlabelled, [], []),
    ):
        points = shift_points(truth, reference, candidate)
        assert {(point.keeps_precision, point.keeps_recall) for point in points} == {(None, None)}
    (point,) = shift_points(unlabelled, results, results, grid=[0.3])
    assert (point.precision, point.recall) == (None, None)


def test_crowds_are_neither_right_nor_wrong():
    truth, results = truth_of(4), results_of(REFERENCE, 4)
    crowds = [
        {"id": 1000 + i, "image_id": i, "category_id": 3, "bbox": [90, 0, 90, 900], "iscrowd": 1}
        for i in range(4 * COPIES)
    ]
    truth["annotations"] += crowds
    (point,) = shift_points(truth, results, results, grid=[0.3])
    assert (point.precision, point.recall) == (1, 3 / 4)  # the wrong ones lie on a crowd
    assert (point.keeps_precision, point.keeps_recall) == (None, 0.3)


def test_one_label_is_found_once_and_by_its_own_class():
    results = results_of([(0.9, R)], 4)
    again = [r | {"score": 0.7} for r in results]
    other = [r | {"score": 0.7, "category_id": 4} for r in results]
    for more in (again, other):
        (point,) = shift_points(truth_of(4), results + more, [], grid=[0.5])
        assert (point.precision, point.recall) == (1 / 2, 1 / 4)


def noisy(seed, labels=400):
    """Scores that tell right from wrong only more or less."""
    rng = random.Random(seed)
    pairs = [(rng.betavariate(2, 2), R) for _ in range(labels)] + [(rng.betavariate(1, 4), W) for _ in range(labels)]
    return truth_of(labels, 1), results_of(pairs, labels, 1)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("factor", [1.0, 0.8])
def test_scaled_scores_scale_the_confidences(seed, factor):
    truth, results = noisy(seed)
    scaled = [r | {"score": r["score"] * factor} for r in results]
    points = shift_points(truth, results, scaled)
    for point in points:
        for conf in (point.keeps_precision, point.keeps_recall):
            assert conf is None or conf == pytest.approx(factor * point.conf, abs=0.001)
    assert sum(p.keeps_recall is not None for p in points) >= 15
    assert sum(p.keeps_precision is not None for p in points) >= 8


@pytest.mark.parametrize("seed", range(5))
def test_the_confidences_really_keep_what_they_say(seed):
    truth, reference = noisy(seed)
    _, candidate = noisy(seed + 100)
    candidate = [r | {"score": r["score"] ** 1.5} for r in candidate]
    points = shift_points(truth, reference, candidate)
    recalls = [(p.keeps_recall, p.recall) for p in points if p.keeps_recall is not None]
    there = shift_points(truth, candidate, [], grid=[conf for conf, _ in recalls])
    for point, (_, recall) in zip(there, recalls, strict=True):
        assert recall <= point.recall <= recall + 3 / 400  # a rounded conf may cross a score
    precisions = [(p.keeps_precision, p.precision) for p in points if p.keeps_precision is not None]
    there = shift_points(truth, candidate, [], grid=[conf for conf, _ in precisions])
    for point, (_, precision) in zip(there, precisions, strict=True):
        assert point.precision >= precision
    assert len(recalls) >= 12
    assert len(precisions) >= 6


def test_a_model_compared_with_itself_keeps_its_own_confidences():
    results = results_of(REFERENCE, 4, copies=25)
    points = shift_points(truth_of(4, copies=25), results, results, floor=0.07)
    known = [point for point in points if point.keeps_precision is not None or point.keeps_recall is not None]
    # 0.05 is below the floor; none is wrong above 0.8, and there is none above 0.9
    assert [point.conf for point in known] == [conf for conf in GRID if 0.07 < conf < 0.9]
    for point in known:
        assert point.keeps_precision == (point.conf if point.conf < 0.8 else None)
        assert point.keeps_recall == point.conf


def test_the_arguments_stay_as_they_are(capsys):
    truth, results = truth_of(4), results_of(REFERENCE, 4)
    serialized = json.dumps([truth, results])
    shift_points(truth, results, results)
    assert json.dumps([truth, results]) == serialized
    assert capsys.readouterr() == ("", "")


def test_a_models_own_detections_as_labels():
    """Above 0.45: four each; against them the model misses nothing below 0.45, and is never wrong above it."""
    results = results_of(REFERENCE, 6)
    images = range(6 * COPIES)
    truth = labels_from_results(results, 0.45, images, [3, 4])
    assert len(truth["annotations"]) == 4 * COPIES
    assert len(truth["images"]) == 6 * COPIES
    fewer = [r | {"score": r["score"] / 2} for r in results if r["score"] != 0.5]
    below, above = shift_points(truth, results, fewer, grid=[0.3, 0.55])
    assert (below.precision, below.recall) == (4 / 5, 1)
    assert below.keeps_recall is None  # one of them is never found
    assert (above.precision, above.recall) == (1, 3 / 4)
    assert (above.keeps_precision, above.keeps_recall) == (None, 0.15)  # 3 each: 0.5 to 0.6 becomes 0 to 0.3


@pytest.mark.parametrize("levels", [6, 9, 16])
def test_no_column_falls_where_many_scores_are_equal(levels):
    numbers = random.Random(levels)
    pairs = [(numbers.uniform(0.02, 0.98), numbers.random() < 0.6) for _ in range(60)]
    coarse = [(max(1, round(score * levels)) / levels, right) for score, right in pairs]  # as of few-bit networks
    points = shift_points(truth_of(60), results_of(sorted(pairs, reverse=True), 60), results_of(coarse, 60))
    for column in ("keeps_precision", "keeps_recall"):
        values = [v for point in points if (v := getattr(point, column)) is not None]
        assert len(values) > 5
        assert values == sorted(values)
