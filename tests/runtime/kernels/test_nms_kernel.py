"""nms.cu: its twin against the runtime's own NMS, and its source, run without a GPU, against the twin."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from tests.each import each
from tests.runtime.kernels.nms_cases import (
    HUGE,
    ORIENTED,
    ORIENTED_HUGE,
    SMALL,
    THRESHOLDS,
    border_pairs,
    candidates_of,
    check_kernels,
    crowd,
    launch,
    oriented_border_pairs,
    oriented_crowd,
)
from tests.runtime.kernels.references.nms import nms_twin, oriented_overlaps, upright_overlaps
from tests.runtime.kernels.shim import ORDERS, compiled
from y12.errors import InputError
from y12.runtime.kernels.layout import SELECT_HEADER
from y12.runtime.kernels.nms_layout import OPTIONS, distance_limit, mask_grid, nms_options, result_dtype, tiles_of
from y12.runtime.results.oriented import probiou


def by_name(case):
    return f"{case.boxes.shape[1]}: {case.name}"


def shim(order=0):
    return {name: partial(kernel, order=order) for name, kernel in compiled("nms").items()}


def kept_by(result, image=0):
    return result["rows"]["anchor"][image, : result["header"]["count"][image]].tolist()


FEW = [(by_name(case), case) for case in (*SMALL, *ORIENTED)]


def test_the_twin_keeps_what_the_runtime_keeps():
    def check(case):
        given, options = candidates_of([case], case.capacity), nms_options(case.iou, case.max_det, case.agnostic)
        result = nms_twin(given, options, case.max_det)
        expected = case.expected
        assert kept_by(result) == expected
        rows = result["rows"][0]
        assert np.array_equal(rows["box"][: len(expected)], case.boxes[expected])
        assert np.array_equal(rows["score"][: len(expected)], case.scores[expected])
        assert np.array_equal(rows["class_id"][: len(expected)], case.class_ids[expected])
        assert not rows[len(expected) :].tobytes().strip(b"\0")

    each(FEW, check)


@pytest.mark.parametrize("order", ORDERS)
def test_the_kernels_equal_the_twin(order):
    each(FEW, lambda case: check_kernels(shim(order), [case]))


@pytest.mark.parametrize("case", [*HUGE, *ORIENTED_HUGE], ids=by_name)
def test_many_boxes(case):
    assert kept_by(check_kernels(shim(), [case])) == case.expected


@pytest.mark.parametrize("cases", [SMALL[:4] + SMALL[14:22], ORIENTED[1:12]], ids=["upright", "oriented"])
@pytest.mark.parametrize("room", [2, 100])
def test_images_of_a_batch_do_not_mix(cases, room):
    check_kernels(shim(7), cases, room)
    given, options = candidates_of(cases, 256), nms_options(0.5, 300)
    _, _, result = launch(shim(), given, options, room)
    for image, case in enumerate(cases):
        assert kept_by(result, image) == replace(case, iou=0.5, max_det=300, agnostic=False).expected[:room]
    assert result["header"]["truncated"].tolist() == [i % 2 for i in range(len(cases))]
    assert result["header"]["candidates"].tolist() == [len(case.scores) + 5 for case in cases]


def float32_iou_above(one, other, iou):
    width = np.minimum(one[:, 2], other[:, 2]) - np.maximum(one[:, 0], other[:, 0])
    height = np.minimum(one[:, 3], other[:, 3]) - np.maximum(one[:, 1], other[:, 1])
    area, area2 = ((b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1]) for b in (one, other))
    return width * height > np.float32(iou) * (area + area2 - width * height)


@pytest.mark.parametrize("iou", THRESHOLDS[1:-1])
def test_float32_decides_no_pair_at_the_border_wrongly(iou):
    one, other = border_pairs(iou, 40_000, seed=1)
    wide, wide2 = one.astype(np.float64), other.astype(np.float64)
    width = np.minimum(wide[:, 2], wide2[:, 2]) - np.maximum(wide[:, 0], wide2[:, 0])
    height = np.minimum(wide[:, 3], wide2[:, 3]) - np.maximum(wide[:, 1], wide2[:, 1])
    area, area2 = ((b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1]) for b in (wide, wide2))
    expected = width * height > iou * (area + area2 - width * height)
    assert np.array_equal(upright_overlaps(one, other, nms_options(iou, 1)), expected)
    assert (float32_iou_above(one, other, iou) != expected).sum() > 100  # float32 alone would be wrong here


@pytest.mark.parametrize("iou", THRESHOLDS[1:-1])
def test_distances_decide_as_overlaps_do_at_the_border(iou):
    one, other = oriented_border_pairs(iou, 5_000, seed=1)
    expected = probiou(one, other) > iou
    assert 0.2 < expected.mean() < 0.8
    assert np.array_equal(oriented_overlaps(one, other, nms_options(iou, 1)), expected)


@pytest.mark.parametrize("iou", [*THRESHOLDS, 1e-17, 1 - 1e-9, np.nextafter(1, 0)])
def test_the_limit_is_the_first_distance_that_does_not_overlap_too_much(iou):
    limit = distance_limit(iou)
    below = np.nextafter(limit, 0) if limit else 0.0
    overlaps = 1 - np.sqrt(-np.expm1(-np.array([below, limit])))
    assert overlaps[1] <= iou
    assert overlaps[0] > iou or limit == 0
    assert (limit == 0) == (iou == 1)


@pytest.mark.parametrize("values", [4, 5])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_neither_kept_nor_suppresses(values, bad):
    boxes = crowd(150, 200, 8) if values == 4 else oriented_crowd(150, 200, 8)
    case = replace(
        SMALL[0], boxes=boxes, scores=np.linspace(1, 0.5, 150, dtype=np.float32), class_ids=np.zeros(150, int)
    )
    given, options = candidates_of([case, case], 192), nms_options(0.5, 300)
    broken = {0: 0, 63: values - 1, 64: 2, 149: 1}
    for place, column in broken.items():
        given.boxes[0, place, column] = bad
    given.scores[0, 30] = bad
    _, _, result = launch(shim(), given, options, 300)
    assert result.tobytes() == nms_twin(given, options, 300).tobytes()
    good = np.setdiff1d(np.arange(150), [*broken, 30])
    alone = replace(case, boxes=boxes[good], scores=case.scores[good], class_ids=case.class_ids[good])
    assert kept_by(result) == good[alone.expected].tolist()
    assert kept_by(result, 1) == case.expected
    assert result["header"]["nonfinite"].tolist() == [1, 0]


@pytest.mark.parametrize(("count", "max_det"), [(-1, 300), (-(2**31), 300), (2**31 - 1, 300), (256, -5), (256, 0)])
@pytest.mark.parametrize("values", [4, 5])
def test_numbers_out_of_range_write_nothing_out_of_bounds(values, count, max_det):
    case = (SMALL if values == 4 else ORIENTED)[0]
    given, options = candidates_of([case, case], 256), nms_options(0.5, 300)
    given.headers["count"], options["max_det"] = count, max_det
    given.class_ids[:] = np.arange(256)
    _, _, result = launch(shim(), given, options, 20)  # a write beyond an array is an error of the shim
    assert result.tobytes() == nms_twin(given, options, 20).tobytes()
    assert result["header"]["count"].tolist() == [20 if count > 0 and max_det > 0 else 0] * 2


def test_a_mask_of_any_bits_is_walked_within_bounds():
    case = next(case for case in SMALL if case.name == "256 apart")
    given, options = candidates_of([case], 256), nms_options(0.5, 300)
    rng = np.random.default_rng(3)
    for density in (0.01, 0.5, 1.0):
        mask = np.packbits(rng.random((1, 256, 4, 64)) < density, axis=3, bitorder="little").view("<u8")[..., 0]
        dead, result = np.zeros((1, 4), np.uint64), np.zeros(1, result_dtype(300, 4))
        inputs = given.boxes, given.scores, given.class_ids, given.anchors, given.headers, options, mask, dead
        compiled("nms")["nms_keep"]((1,), (512,), *inputs, *map(np.int32, (256, 4, 300)), result)
        removed = np.zeros(256, np.bool_)
        bits = np.unpackbits(mask[0].view(np.uint8), axis=1, bitorder="little").astype(bool)
        kept = []
        for place in range(256):
            if not removed[place]:
                kept.append(place)
                removed[place + 1 :] |= bits[place, place + 1 :]
        assert kept_by(result) == [given.anchors[0, place] for place in kept]


def test_layouts_are_those_of_the_source():
    assert OPTIONS.itemsize == 24
    assert SELECT_HEADER.itemsize == 16
    assert result_dtype(10, 4).itemsize == 16 + 10 * 28
    assert result_dtype(10, 5).itemsize == 16 + 10 * 32
    assert mask_grid(3, 4096) == (64, 64, 3)
    assert tiles_of(65) == 2


@pytest.mark.parametrize("capacity", [0, 4097])
def test_a_capacity_that_does_not_fit_is_refused(capacity):
    with pytest.raises(InputError, match=f"expected room for 1 to 4096 candidates, found {capacity}"):
        tiles_of(capacity)
