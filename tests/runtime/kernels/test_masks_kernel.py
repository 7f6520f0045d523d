"""masks.cu equals its twin, and the twin draws what the runtime draws."""

from dataclasses import replace

import numpy as np
import pytest

from tests.runtime.kernels.masks_cases import BORDER, CASES, LARGE, POISON, MaskCase, MaskRun
from tests.runtime.kernels.references.masks import logits_of, mask_words
from tests.runtime.kernels.shim import ORDERS, compiled, compiled_source
from y12.errors import InputError
from y12.runtime.kernels.masks_layout import (
    MASK_HEADER,
    MASK_PLACE,
    MASK_PLAN,
    MaskShape,
    mask_draw_grid,
    mask_plan,
)
from y12.runtime.kernels.sources import kernel_source
from y12.runtime.preprocess.letterbox import boxes_to_original, scale_xy
from y12.runtime.results.masks import Masks

MOST_DIFFERENT = 1e-4  # of the pixels
ROUNDING = 2.0**-20  # of the sum of |coefficient x prototype|, where they differ: a few steps of float32


@pytest.mark.parametrize("case", [*CASES, BORDER], ids=str)
def test_kernels_equal_twin(case):
    for order in ORDERS:
        run = MaskRun(case)
        run.launch(compiled("masks"), order=order)
        run.check()


def test_kernels_equal_twin_on_a_large_image():
    run = MaskRun(LARGE)
    run.launch(compiled("masks"), blocks=5)
    run.check()


@pytest.mark.parametrize("case", [*CASES, BORDER, LARGE], ids=str)
def test_twin_draws_what_the_runtime_draws(case):
    run, different, pixels = MaskRun(case), 0, 0
    twins = zip(run.places_by_twin(run.arena_words), run.drawn_by_twin(), run.frames, strict=True)
    for image, ((places, _), words, frame) in enumerate(twins):
        xyxy = boxes_to_original(run.boxes(image), frame)
        coefficients, protos = run.coefficients(image), run.protos[image]
        expected = Masks.from_prototypes(coefficients, protos, xyxy, frame).crops
        found = Masks.from_packed(places, words.words, frame.image_hw).crops
        for i, (one, other) in enumerate(zip(expected, found, strict=True)):
            assert (one.left, one.top, one.bitmap.shape) == (other.left, other.top, other.bitmap.shape)
            if not one.bitmap.size:
                continue
            wrong = one.bitmap != other.bitmap
            logits = logits_of(coefficients[i], protos, frame, (one.top, one.left, *one.bitmap.shape))
            size = np.abs(coefficients[i]) @ np.abs(protos).max(axis=(1, 2))
            assert np.abs(logits[wrong]).max(initial=0) <= ROUNDING * size
            different, pixels = different + wrong.sum(), pixels + wrong.size
    if case.few_values:
        assert different > 0  # there are logits that rounding decides
    else:
        assert different <= MOST_DIFFERENT * pixels
    assert pixels > 0


@pytest.mark.parametrize("case", [case for case in CASES if "dense" in str(case) or case.name == "tall"], ids=str)
@pytest.mark.parametrize("patch", [1, 4608])
def test_bits_do_not_depend_on_where_logits_are_kept(case, patch):
    source = kernel_source("masks")
    assert source.count("PATCH = 4608") == 1
    run = MaskRun(case)
    run.launch(compiled_source(source.replace("PATCH = 4608", f"PATCH = {patch}")))
    run.check()


@pytest.mark.parametrize("blocks", [1, 2, 7])
def test_any_number_of_blocks_draws_all(blocks):
    run = MaskRun(CASES[-1])
    run.launch(compiled("masks"), blocks=blocks, order=7)
    run.check()


@pytest.mark.parametrize("less", [0, 1, 30, 10**9])
def test_what_does_not_fit_is_told_and_not_drawn(less):
    case = next(case for case in CASES if str(case) == "a batch of sizes")
    fitting = MaskRun(case)
    needed = [int(header["words"][0]) for _, header in fitting.places_by_twin(2**40)]
    run = MaskRun(case, arena_words=max(1, max(needed) - less))
    run.launch(compiled("masks"))
    run.check()
    assert run.headers["words"].tolist() == needed
    assert run.headers["overflow"].tolist() == [int(words > run.arena_words) for words in needed]
    assert run.headers["overflow"].any() == (less > 0)
    if less == 1:  # the last mask that has pixels is missing, the others are there
        image = int(np.argmax(needed))
        places = run.places.reshape(4, -1)[image]
        last = np.flatnonzero(places["width"] * places["height"])[-1]
        assert (run.arena[image, places["offset"][last] :] == POISON).all()
        before = places["offset"][last]
        fitting.launch(compiled("masks"))
        assert np.array_equal(run.arena[image, :before], fitting.arena[image, :before])


@pytest.mark.parametrize("image_hw", [(1689, 835), (333, 1000), (640, 640), (50, 70)])
def test_a_box_has_the_pixels_that_the_runtime_gives_it(image_hw):
    """Edges on pixel centres, and the float32 steps round them."""
    rng = np.random.default_rng(8)
    case = MaskCase("edges", (image_hw,), (((0, 0, 0, 0),) * 600,), (640, 640), room=600)
    frame = case.frames()[0]
    corner = rng.integers(0, image_hw[::-1], (600, 2)) + 0.5
    edges = np.concatenate([corner, corner + rng.integers(0, 4, (600, 2))], axis=1)
    xyxy = (edges * np.tile(scale_xy(frame), 2) + [frame.left, frame.top] * 2).astype(np.float32)
    run = MaskRun(case, arena_words=1)
    run.result["rows"]["box"][0] = (xyxy.view(np.int32) + rng.integers(-3, 4, (600, 4), np.int32)).view(np.float32)
    run.launch(compiled("masks"))
    run.check()
    original = boxes_to_original(run.boxes(0), frame)
    crops = Masks.from_prototypes(np.ones((600, 1), np.float32), np.ones((1, 4, 4), np.float32), original, frame).crops
    expected = [(crop.left, crop.top, *crop.bitmap.shape[::-1]) for crop in crops]
    assert run.places[["left", "top", "width", "height"]].tolist() == expected
    assert len({width for _, _, width, _ in expected}) >= 4


def test_offsets_beyond_32_bits():
    boxes = ((0, 0, 32_767, 32_767),) * 150  # 5e9 words
    case = MaskCase("huge", ((32_767, 32_767),), (boxes,), room=150)
    run = MaskRun(case, arena_words=1)
    run.launch(compiled("masks"))
    run.check()
    words = 32_767 * 1024
    assert run.places["offset"].tolist() == [i * words for i in range(150)]
    assert run.headers[0].tolist() == (150 * words, 0, 1)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["coefficient", "prototype above", "prototype below"])
def test_what_is_not_finite_is_told(where, bad):
    case = next(case for case in CASES if str(case) == "a batch of sizes")
    run = MaskRun(case)
    if where == "coefficient":
        run.outputs[1, 6 + 2, run.result["rows"]["anchor"][1, 0]] = bad
    else:
        run.protos[1, 3, 7 + where.endswith("below"), 9] = (
            bad  # a pixel whose other taps are finite is infinite, or NaN
        )
    run.launch(compiled("masks"))
    run.check()
    assert run.result["header"]["nonfinite"].tolist() == [0, 1, 0, 0]


def test_a_prototype_outside_all_boxes_is_not_looked_at():
    case = MaskCase("a corner", ((64, 64),), (((40, 40, 60, 60),),))
    run = MaskRun(case)
    run.protos[0, :, :8, :8] = np.nan
    run.outputs[0, 6 : 6 + 4, 39] = np.inf
    run.result["rows"]["anchor"][0] = 3
    run.launch(compiled("masks"))
    run.check()
    assert run.result["header"]["nonfinite"].tolist() == [0]


@pytest.mark.parametrize("count", [-1, 11, 2**31 - 1])
def test_a_count_out_of_range_stays_in_bounds(count):
    case = next(case for case in CASES if str(case) == "as it is")
    run = MaskRun(replace(case, boxes=(case.boxes[0],)), arena_words=1000)
    run.result["header"]["count"] = count
    run.result["rows"]["anchor"][0, 0] = 2**31 - 1
    run.launch(compiled("masks"))  # a write beyond an array is an error of the shim
    assert (run.headers["tiles"][0] > 0) == (count > 0)


def test_layouts_are_those_of_the_source():
    assert (MASK_PLAN.itemsize, MASK_PLACE.itemsize, MASK_HEADER.itemsize) == (48, 32, 16)
    shape = MaskShape(8400, 8400 * 116, (32, 160, 120), (640, 480), 300)
    assert mask_plan(shape, 7)[0].tolist() == (8400 * 116, 7, 8400, 32, 160, 120, 640, 480, 300, 0)
    assert [mask_words(3, width) for width in (0, 1, 32, 33)] == [0, 3, 3, 6]
    assert [mask_draw_grid(batch) for batch in (1, 16, 1000)] == [(512, 1), (32, 16), (1, 1000)]


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: MaskShape(10, 9999, (129, 8, 8), (64, 64), 5), "expected 1 to 128 prototypes, found 129"),
        (lambda: MaskShape(10, 9999, (0, 8, 8), (64, 64), 5), "expected 1 to 128 prototypes, found 0"),
        (lambda: MaskShape(10, 9999, (4, 8, 32_768), (64, 64), 5), "32767 pixels a side, found 8, 32768, 64, 64"),
        (lambda: MaskShape(10, 9999, (4, 8, 8), (64, 0), 5), "1 to 32767 pixels a side"),
        (lambda: MaskShape(10, 9999, (4, 8, 8), (64, 64), 4097), "1 to 4096 rows, found 4097"),
        (lambda: MaskShape(0, 9999, (4, 8, 8), (64, 64), 5), "anchors, found 0"),
        (lambda: MaskShape(10, 39, (4, 8, 8), (64, 64), 5), "coefficient_stride: expected 40 floats or more, found 39"),
        (lambda: mask_plan(MaskShape(10, 40, (4, 8, 8), (64, 64), 5), 0), "arena_words: expected 1 or more, found 0"),
    ],
)
def test_what_the_kernels_cannot_take_is_refused(make, complaint):
    with pytest.raises(InputError, match=complaint):
        make()
