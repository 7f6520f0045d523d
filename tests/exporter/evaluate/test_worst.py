"""The agreement of two graphs on an image, counted by hand."""

import pytest

from y12.exporter.evaluate.graph_results import Outcome
from y12.exporter.evaluate.worst import agreement_by_image

A, B = [0, 0, 10, 10], [50, 50, 20, 20]
SHIFTED = [0, 2, 10, 10]  # IoU with A: 80 / 120
FAR = [0, 4, 10, 10]  # 60 / 140, below 0.5


def box(bbox, score=0.9, category_id=1):
    return {"image_id": 7, "category_id": category_id, "bbox": bbox, "score": score}


CASES = [
    ("identical", [box(A), box(B)], [box(A), box(B)], 1),
    ("scores do not count", [box(A), box(B)], [box(A, 0.3), box(B, 0.4)], 1),
    ("one missing", [box(A), box(B)], [box(A)], 2 / 3),
    ("one added", [box(A)], [box(A), box(B)], 2 / 3),
    ("another class", [box(A), box(B)], [box(A, category_id=2), box(B)], 1 / 2),
    ("none in both", [], [], 1),
    ("none above 0.25 in both", [box(A, 0.25)], [box(B, 0.2)], 1),
    ("fallen below 0.25", [box(A)], [box(A, 0.25)], 0),
    ("none in the candidate", [box(A)], [], 0),
    ("none in the reference", [], [box(A)], 0),
    ("shifted", [box(A)], [box(SHIFTED)], 2 / 3),
    ("shifted too far", [box(A)], [box(FAR)], 0),
    ("twice the same", [box(A)], [box(A), box(SHIFTED)], 2 / 3),
    ("the best score first", [box(A)], [box(SHIFTED, 0.8), box(A, 0.5)], 2 * (2 / 3) / 3),
    ("to the nearest", [box(A), box(SHIFTED)], [box(SHIFTED, 0.9), box(A, 0.8)], 1),
]


@pytest.mark.parametrize(("reference", "candidate", "agreement"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_agreement(reference, candidate, agreement):
    by_image = agreement_by_image(Outcome(reference, {7: (99, 99)}), Outcome(candidate, {7: (99, 99)}))
    assert by_image == {7: pytest.approx(agreement, abs=1e-9)}


def test_each_image_is_on_its_own():
    reference = [box(A), box(B) | {"image_id": 8}]
    candidate = [box(A) | {"image_id": 8}, box(B) | {"image_id": 8}]
    sizes = {7: (99, 99), 8: (99, 99), 9: (99, 99)}
    by_image = agreement_by_image(Outcome(reference, sizes), Outcome(candidate, sizes))
    assert by_image == {7: 0, 8: pytest.approx(2 / 3), 9: 1}


def test_a_classifiers_best_class():
    reference, candidate = (
        [{"image_id": i, "category_id": c} for i, c in enumerate(classes)] for classes in ((3, 4), (3, 5))
    )
    sizes = dict.fromkeys((0, 1), (9, 9))
    assert agreement_by_image(Outcome(reference, sizes), Outcome(candidate, sizes)) == {0: 1, 1: 0}
