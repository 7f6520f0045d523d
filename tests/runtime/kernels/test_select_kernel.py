"""select.cu equals its twin, and the twin picks what the runtime's own decoder picks."""

from dataclasses import replace

import numpy as np
import pytest

from tests.each import each
from tests.runtime.kernels.references.select import Given, Selected, selected
from tests.runtime.kernels.select_cases import CASES, SelectCase, SelectRun
from tests.runtime.kernels.shim import ORDERS, compiled
from y12.errors import InputError
from y12.runtime.artefact.output_layout import OutputLayout
from y12.runtime.kernels.layout import SELECT_PLAN, SelectShape, select_plan, wanted_classes
from y12.runtime.options import DetectOptions
from y12.runtime.postprocess.candidates import peaks_only, picked_from_predictions
from y12.runtime.postprocess.predictions import Predictions, predictions_from


@pytest.mark.parametrize("order", ORDERS)
def test_kernels_equal_twin(order):
    def check(case):
        run = SelectRun(case)
        run.launch(compiled("candidates"), order=order)
        run.check(case.expected())

    each(((str(case), case) for case in CASES), check)


SHAPE = SelectShape(10, 3, 70, 70)


def predictions_of(given: Given) -> Predictions:
    scores = given.scores * (np.float32(1) if given.objectness is None else given.objectness)
    angles = np.empty((0, scores.shape[1])) if given.angles is None else given.angles[None]
    rows = np.concatenate([given.boxes, scores, angles]).astype(np.float32)
    predictions = predictions_from(
        {"output0": rows}, OutputLayout("obb" if len(angles) else "detect", len(scores)), (1, 1)
    )
    return replace(predictions, peaks_of=given.levels_hw)


def assert_is_what_the_decoder_picks(found: Selected, given: Given, case: SelectCase) -> None:
    options = replace(case.options, iou=1.0, max_det=30_000)  # no overlap is above 1
    picked = picked_from_predictions(predictions_of(given), options)
    assert found.candidates == len(picked.scores)
    assert len(found.scores) == min(case.limit, found.candidates)
    for name in ("boxes", "scores", "class_ids", "anchors"):
        np.testing.assert_array_equal(getattr(found, name), getattr(picked, name)[: case.limit])


@pytest.mark.parametrize("case", [case for case in CASES if not case.broken], ids=str)
def test_twin_picks_what_the_decoder_picks(case):
    for output, separate, found in zip(*case.outputs(), case.expected(), strict=True):
        assert_is_what_the_decoder_picks(found, case.given(output, separate), case)


def repaired(given: Given, conf: float) -> Given:
    """Without numbers that are not finite: those are no scores, and what has one in its box has no score."""
    with np.errstate(all="ignore"):
        scores = given.scores * (np.float32(1) if given.objectness is None else given.objectness)
    scores = np.where(np.isfinite(scores), scores, np.float32(0))
    if given.levels_hw is not None:  # a score whose box is broken still beats its neighbours
        scores = peaks_only(scores, given.levels_hw, conf)
    boxes = given.boxes if given.angles is None else np.concatenate([given.boxes, given.angles[None]])
    broken = ~np.isfinite(boxes).all(axis=0)
    scores[:, broken] = 0
    angles = None if given.angles is None else np.where(broken, 0, given.angles)
    return Given(np.where(broken, 0, given.boxes), scores, angles=angles)


@pytest.mark.parametrize("case", [case for case in CASES if case.broken], ids=str)
def test_twin_takes_what_is_not_finite_for_nothing(case):
    for output, separate, found in zip(*case.outputs(), case.expected(), strict=True):
        assert_is_what_the_decoder_picks(found, repaired(case.given(output, separate), case.options.conf), case)
        assert (found.nonfinite and len(found.scores) > 0) or case.options.conf == 1


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
    case = SelectCase("one anchor", 1, 2, batch=1)
    run = SelectRun(case)
    run.outputs = np.array(column, np.float32).reshape(1, 6, 1)
    run.launch(compiled("candidates"))
    run.check([selected(case.given(run.outputs[0], run.separate[0]), case.options, case.limit)])
    assert run.class_ids[0, : len(class_ids)].tolist() == class_ids
    assert run.headers["count"].tolist() == [len(class_ids)]
    assert run.headers["nonfinite"].tolist() == [nonfinite]


def test_a_change_of_plan_needs_no_other_launch():
    case = next(case for case in CASES if str(case) == "some classes of every")
    run = SelectRun(case)
    run.launch(compiled("candidates"))
    run.check(case.expected())
    options = DetectOptions(conf=0.6, classes=(1, 2, 3))
    changed = replace(case, options=options)
    again = SelectRun(changed)
    run.plan[["conf", "multi_label"]] = again.plan[["conf", "multi_label"]]
    run.wanted[:] = again.wanted
    run.boxes[:], run.scores[:], run.class_ids[:], run.anchors[:] = np.nan, np.nan, -1, -1
    run.launch(compiled("candidates"))
    run.case = changed
    run.check(changed.expected())


@pytest.mark.parametrize("capacity", [0, 1, 50])
def test_too_few_places_for_keys_are_told_and_not_exceeded(capacity):
    case = next(case for case in CASES if str(case) == "all, cut at the limit")
    run = SelectRun(case, capacity)
    run.launch(compiled("candidates"), order=7)
    assert run.headers["truncated"].tolist() == [2, 2]
    assert run.headers["count"].tolist() == [capacity, capacity]
    assert run.headers["candidates"].tolist() == [333, 333]
    assert np.isnan(run.scores[:, capacity:]).all()


@pytest.mark.parametrize("classes", [1, 3])
def test_keys_that_are_garbage_stay_in_bounds(rng, classes):
    case = SelectCase("garbage", 40, classes, batch=1, limit=32)
    run = SelectRun(case)
    run.keys[:] = rng.integers(0, 2**64, run.keys.shape, np.uint64)
    run.counters["candidates"] = 1_000_000
    results = (run.boxes, run.scores, run.class_ids, run.anchors, run.headers)
    compiled("candidates")["select_best"]((1,), (1024,), run.outputs, 0, run.plan, run.keys, run.counters, *results)
    assert run.headers["count"].tolist() == [32]
    assert ((run.anchors >= 0) & (run.anchors < 40)).all()
    assert ((run.class_ids >= 0) & (run.class_ids < classes)).all()


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: SelectShape(0, 1, 5, 5), "expected an anchor"),
        (lambda: SelectShape(10, 3, 39, 70), "box_stride: expected 40 floats or more, below 2.31, found 39"),
        (lambda: SelectShape(10, 3, 40, 29), "score_stride: expected 30 floats or more, below 2.31, found 29"),
        (lambda: SelectShape(10, 3, 2**31, 70), "box_stride: expected 40 .* found 2147483648"),
        (lambda: SelectShape(2**20, 2**11, 2**30, 2**31), "score_stride: expected 2147483648"),
        (lambda: SelectShape(10, 3, 70, 70, levels_hw=((3, 3), (1, 2))), "levels_hw: expected 10 cells"),
        (lambda: SelectShape(10, 3, 70, 70, levels_hw=((2, 5), (0, 9))), "1 to 8 levels of a cell or more"),
        (lambda: SelectShape(9, 3, 70, 70, levels_hw=((1, 1),) * 9), "1 to 8 levels of a cell or more"),
        (lambda: SelectShape(9, 3, 70, 70, levels_hw=()), "1 to 8 levels of a cell or more"),
        (lambda: select_plan(SHAPE, DetectOptions(), 4097, 10), "expected 1 to 4096"),
        (lambda: select_plan(SHAPE, DetectOptions(), 0, 10), "expected 1 to 4096"),
        (lambda: select_plan(SHAPE, DetectOptions(), 9, 9), "expected 10 places"),
        (lambda: select_plan(SHAPE, DetectOptions(multi_label=True), 9, 29), "expected 30 places"),
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


def test_a_plan_is_what_the_source_reads():
    assert SELECT_PLAN.itemsize == 9 * 4 + 3 * 8 * 4
    shape = SelectShape(11, 3, 70, 80, levels_hw=((2, 4), (3, 1)))
    (plan,) = select_plan(shape, DetectOptions(conf=0.5), 20, 11)
    assert plan.tolist()[:9] == (0.5, 0, 11, 3, 70, 80, 20, 11, 2)
    assert [plan[name].tolist()[:3] for name in ("heights", "widths", "starts")] == [[2, 3, 0], [4, 1, 0], [0, 8, 0]]


@pytest.mark.parametrize(
    ("scores", "kept"),
    [
        ([[1, 2, 1], [0, 0, 0], [3, 0, 3]], [1, 6, 8]),
        ([[2, 2, 0], [0, 0, 0], [0, 0, 1]], [0, 1, 8]),
        ([[5, 5, 5], [5, 5, 5], [5, 5, 5]], list(range(9))),
        ([[1, 0, 0], [0, 2, 0], [0, 0, 3]], [8]),
        ([[np.nan, 1, 0], [0, 0, np.inf], [0, 0, 4]], [1, 8]),  # what is no number beats nobody
    ],
)
def test_peaks_by_hand(scores, kept):
    case = SelectCase("3x3", 9, 1, DetectOptions(conf=0.05), batch=1, levels_hw=((3, 3),))
    run = SelectRun(case)
    run.outputs = np.concatenate([np.full((4, 9), 9), np.reshape(scores, (1, 9)) / 10]).astype(np.float32)[None]
    run.launch(compiled("candidates"))
    assert sorted(run.anchors[0, : run.headers["count"][0]].tolist()) == kept
