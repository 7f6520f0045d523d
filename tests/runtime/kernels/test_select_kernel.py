"""select.cu equals its twin, and the twin picks what the runtime's own decoder picks."""

from dataclasses import replace

import numpy as np
import pytest

from runtime.decode.predictions import Extras, Predictions, predictions_from_output0
from runtime.decode.select import picked_from_predictions
from runtime.errors import InputError
from runtime.kernels.layouts import SelectShape, select_plan, wanted_classes
from runtime.kernels.select_twin import selected
from runtime.options import DetectOptions
from tests.runtime.kernels.select_cases import CASES, SelectCase, SelectRun
from tests.runtime.kernels.shim import ORDERS, compiled


def expected_of(case: SelectCase):
    return [selected(output, case.shape, case.options, case.limit) for output in case.outputs()]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_kernels_equal_twin(case, order):
    run = SelectRun(case)
    run.launch(compiled("select"), order=order)
    run.check(expected_of(case))


def predictions_of(output: np.ndarray, shape: SelectShape) -> Predictions:
    first = 4 + shape.objectness
    scores = output[first : first + shape.classes] * (output[4] if shape.objectness else 1)
    angles = np.empty((0, shape.anchors)) if shape.angle_row is None else output[[shape.angle_row]]
    rows = np.concatenate([output[:4], scores, angles]).astype(np.float32)
    return predictions_from_output0(rows, shape.classes, Extras(angle=len(angles)))


@pytest.mark.parametrize("case", [case for case in CASES if not case.broken], ids=str)
def test_twin_picks_what_the_decoder_picks(case):
    options = replace(case.options, iou=1.0, max_det=30_000)  # no overlap is above 1
    for output, found in zip(case.outputs(), expected_of(case), strict=True):
        picked = picked_from_predictions(predictions_of(output, case.shape), options)
        assert found.found == len(picked.scores)
        assert len(found.scores) == min(case.limit, found.found)
        for name in ("boxes", "scores", "class_ids", "anchors"):
            np.testing.assert_array_equal(getattr(found, name), getattr(picked, name)[: case.limit])


@pytest.mark.parametrize("case", [case for case in CASES if case.broken], ids=str)
def test_twin_takes_what_is_not_finite_for_nothing(case):
    shape = case.shape
    options = replace(case.options, iou=1.0, max_det=30_000)
    for output, found in zip(case.outputs(), expected_of(case), strict=True):
        rows = [0, 1, 2, 3] if shape.angle_row is None else [0, 1, 2, 3, shape.angle_row]
        repaired = np.where(np.isfinite(output), output, 0)
        repaired[4 : 4 + shape.objectness + shape.classes, ~np.isfinite(output[rows]).all(axis=0)] = 0
        picked = picked_from_predictions(predictions_of(repaired, shape), options)
        assert 0 < len(found.scores) == min(case.limit, len(picked.scores)) or case.options.conf == 1
        for name in ("boxes", "scores", "class_ids", "anchors"):
            np.testing.assert_array_equal(getattr(found, name), getattr(picked, name)[: case.limit])


@pytest.mark.parametrize(
    ("column", "class_ids", "nonfinite"),
    [
        ((9, 9, 4, 4, 0.5, 0.6), [1], False),
        ((9, 9, 4, 4, np.nan, 0.6), [1], True),
        ((9, 9, 4, 4, 0.5, np.nan), [0], True),
        ((9, 9, 4, 4, 0.1, np.nan), [], True),
        ((9, 9, 4, 4, 0.5, np.inf), [0], True),
        ((9, 9, 4, 4, -np.inf, 0.3), [1], True),
        ((9, np.nan, 4, 4, 0.5, 0.6), [], True),
        ((9, 9, 4, np.inf, 0.5, 0.6), [], True),
        ((9, 9, np.nan, 4, 0.1, 0.2), [], False),  # the box of no candidate is not looked at
        ((9, 9, 4, 4, np.nan, np.nan), [], True),
    ],
)
def test_one_anchor_that_is_not_finite(column, class_ids, nonfinite):
    case = SelectCase("one anchor", SelectShape(1, 2, 6), batch=1)
    run = SelectRun(case)
    run.outputs = np.array(column, np.float32).reshape(1, 6, 1)
    run.launch(compiled("select"))
    run.check([selected(run.outputs[0], case.shape, case.options, case.limit)])
    assert run.class_ids[0, : len(class_ids)].tolist() == class_ids
    assert run.headers["count"].tolist() == [len(class_ids)]
    assert run.headers["nonfinite"].tolist() == [nonfinite]


def test_a_change_of_plan_needs_no_other_launch():
    case = next(case for case in CASES if str(case) == "some classes of every")
    run = SelectRun(case)
    run.launch(compiled("select"))
    run.check(expected_of(case))
    options = DetectOptions(conf=0.6, classes=(1, 2, 3))
    changed = SelectCase("changed", case.shape, options, case.limit)
    again = SelectRun(changed)
    run.plan[["conf", "multi_label"]] = again.plan[["conf", "multi_label"]]
    run.wanted[:] = again.wanted
    run.boxes[:], run.scores[:], run.class_ids[:], run.anchors[:] = np.nan, np.nan, -1, -1
    run.launch(compiled("select"))
    run.case = changed
    run.check(expected_of(changed))


@pytest.mark.parametrize("capacity", [0, 1, 50])
def test_too_few_places_for_keys_are_told_and_not_exceeded(capacity):
    case = next(case for case in CASES if str(case) == "all, cut at the limit")
    run = SelectRun(case, capacity)
    run.launch(compiled("select"), order=7)
    assert run.headers["truncated"].tolist() == [2, 2]
    assert run.headers["count"].tolist() == [capacity, capacity]
    assert run.headers["found"].tolist() == [333, 333]
    assert np.isnan(run.scores[:, capacity:]).all()


@pytest.mark.parametrize("classes", [1, 3])
def test_keys_that_are_garbage_stay_in_bounds(rng, classes):
    case = SelectCase("garbage", SelectShape(40, classes, 4 + classes), batch=1, limit=32)
    run = SelectRun(case)
    run.keys[:] = rng.integers(0, 2**64, run.keys.shape, np.uint64)
    run.counters["found"] = 1_000_000
    results = (run.boxes, run.scores, run.class_ids, run.anchors, run.headers)
    compiled("select")["select_best"]((1,), (1024,), run.outputs, run.plan, run.keys, run.counters, *results)
    assert run.headers["count"].tolist() == [32]
    assert ((run.anchors >= 0) & (run.anchors < 40)).all()
    assert ((run.class_ids >= 0) & (run.class_ids < classes)).all()


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: SelectShape(0, 1, 5), "expected an anchor"),
        (lambda: SelectShape(10, 3, 6), "7 rows or more"),
        (lambda: SelectShape(10, 3, 7, objectness=True), "8 rows or more"),
        (lambda: SelectShape(10, 3, 7, angle_row=7), "angle_row"),
        (lambda: SelectShape(10, 3, 8, angle_row=6), "expected a row from 7 to 7"),
        (lambda: SelectShape(2**20, 2**11, 4000), "fewer than 2"),
        (lambda: select_plan(SelectShape(10, 3, 7), DetectOptions(), 4097, 10), "expected 1 to 4096"),
        (lambda: select_plan(SelectShape(10, 3, 7), DetectOptions(), 0, 10), "expected 1 to 4096"),
        (lambda: select_plan(SelectShape(10, 3, 7), DetectOptions(), 9, 9), "expected 10 places"),
        (lambda: select_plan(SelectShape(10, 3, 7), DetectOptions(multi_label=True), 9, 29), "expected 30 places"),
        (lambda: wanted_classes(DetectOptions(classes=(3,)), 3), "expected ids of 0 to 2"),
    ],
)
def test_what_the_kernels_cannot_take_is_refused(make, complaint):
    with pytest.raises(InputError, match=complaint):
        make()


@pytest.mark.parametrize(
    ("classes", "count", "words"),
    [(None, 3, [7]), (None, 33, [2**32 - 1, 1]), ((0, 33), 64, [1, 2]), ((31,), 32, [2**31])],
)
def test_wanted_classes_are_bits(classes, count, words):
    assert wanted_classes(DetectOptions(classes=classes), count).tolist() == words
