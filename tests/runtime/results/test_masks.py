"""Masks against a reference that asks pixel by pixel, and COCO's run lengths against pycocotools."""

import math

import cv2
import numpy as np
import pytest

from y12.errors import InputError
from y12.runtime.kernels.masks_layout import MASK_PLACE
from y12.runtime.preprocess.images import image_from
from y12.runtime.preprocess.letterbox import Letterbox, letterbox
from y12.runtime.results.masks import Masks

TOO_CLOSE = 1e-3  # logits this near 0 may fall on either side: float32 sums here, Python's floats in the reference


def slow_logit(values, frame, x, y):
    """The logit (Hp, Wp) `values` have at the centre of pixel x, y of the original image."""
    height, width = values.shape
    u = ((x + 0.5) * frame.resized_hw[1] / frame.image_hw[1] + frame.left) * width / frame.input_hw[1] - 0.5
    v = ((y + 0.5) * frame.resized_hw[0] / frame.image_hw[0] + frame.top) * height / frame.input_hw[0] - 0.5
    u, v = min(max(u, 0), width - 1), min(max(v, 0), height - 1)
    left, top = math.floor(u), math.floor(v)
    right, bottom = min(left + 1, width - 1), min(top + 1, height - 1)
    a, b = u - left, v - top
    upper = values[top, left] * (1 - a) + values[top, right] * a
    lower = values[bottom, left] * (1 - a) + values[bottom, right] * a
    return upper * (1 - b) + lower * b


def assert_equals_the_slow_answer(masks, coefficients, protos, xyxy, frame):
    undecided = 0
    for i, (x1, y1, x2, y2) in enumerate(xyxy.tolist()):
        values = np.tensordot(coefficients[i].astype(np.float64), protos.astype(np.float64), 1)
        for y in range(frame.image_hw[0]):
            for x in range(frame.image_hw[1]):
                inside = x1 <= x + 0.5 < x2 and y1 <= y + 0.5 < y2
                logit = slow_logit(values, frame, x, y) if inside else -1.0
                if abs(logit) < TOO_CLOSE:
                    undecided += 1
                else:
                    assert masks.bitmaps[i, y, x] == (logit > 0), (i, x, y, logit)
    assert undecided <= 2 + 0.002 * masks.bitmaps.size


@pytest.mark.parametrize(("chunk", "tile"), [(7, 100), (256, 1 << 18)])
@pytest.mark.parametrize(
    ("image_hw", "input_hw", "protos_hw"),
    [
        ((48, 64), (64, 64), (16, 16)),  # padding above and below
        ((37, 53), (64, 64), (16, 16)),  # enlarged, odd padding
        ((90, 61), (64, 64), (16, 16)),  # made smaller, odd padding to the right
        ((20, 50), (32, 96), (8, 24)),  # an oblong input
        ((33, 40), (64, 64), (13, 16)),  # prototypes at another stride on each axis
        ((1, 9), (32, 32), (8, 8)),
        ((5, 1), (32, 32), (8, 8)),
        ((12, 12), (32, 32), (1, 1)),  # one prototype pixel is everywhere
    ],
)
def test_equals_the_slow_answer(rng, monkeypatch, chunk, tile, image_hw, input_hw, protos_hw):
    monkeypatch.setattr("y12.runtime.results.masks.CHUNK", chunk)
    monkeypatch.setattr("y12.runtime.results.masks.TILE", tile)
    frame = Letterbox.fit(image_hw, input_hw)
    height, width = image_hw
    xyxy = np.array(
        [
            [0, 0, width, height],
            [width * 0.2, height * 0.1, width * 0.71, height * 0.93],
            [-5, -5, width * 0.5, height * 0.5],  # reaches outside
            [width + 3, 2, width + 9, 8],  # is outside
            [3, 2, 4, 3],  # one pixel
            [3.6, 2.6, 4.4, 3.4],  # between pixel centres
            [3.5, 2.5, 4.5, 3.5],  # on them: the first is inside
            [6, 6, 2, 2],  # crossed corners
        ],
        np.float32,
    )
    coefficients = rng.normal(size=(len(xyxy), 3)).astype(np.float32)
    protos = rng.normal(size=(3, *protos_hw)).astype(np.float32)
    masks = Masks.from_prototypes(coefficients, protos, xyxy, frame)
    assert masks.bitmaps.shape == (len(xyxy), *image_hw)
    assert_equals_the_slow_answer(masks, coefficients, protos, xyxy, frame)
    assert masks.areas.tolist() == masks.bitmaps.sum(axis=(1, 2)).tolist()
    assert masks.areas[3] == masks.areas[7] == 0


@pytest.fixture
def some(rng):
    """Three masks in a 30x40 image."""
    frame = Letterbox.fit((30, 40), (64, 64))
    xyxy = np.array([[2, 3, 30, 25], [10, 0, 40, 30], [5, 5, 5, 5]], np.float32)
    protos = cv2.resize(rng.normal(size=(5, 5, 4)).astype(np.float32), (16, 16)).transpose(2, 0, 1)
    coefficients = np.abs(rng.normal(size=(3, 4))).astype(np.float32)

    def make():
        return Masks.from_prototypes(coefficients, protos, xyxy, frame)

    return make


@pytest.mark.parametrize("drawn_before", [False, True])
@pytest.mark.parametrize(
    ("rows", "expected"),
    [(slice(1, 3), [1, 2]), ([2, 0], [2, 0]), ([], []), (np.array([False, True, False]), [1]), ([-1], [2])],
)
def test_slices(some, drawn_before, rows, expected):
    masks = some()
    if drawn_before:
        assert len(masks.crops) == 3
    part = masks[rows if len(np.shape(rows)) == 0 or len(rows) else np.empty(0, int)]
    assert len(part) == len(expected)
    assert np.array_equal(part.bitmaps, some().bitmaps[expected])
    assert part[:0].bitmaps.shape == (0, 30, 40)


def test_refuses_rows_that_are_not_there(some):
    for rows in ([3], [-4], 1):
        with pytest.raises(IndexError):
            some()[rows]


def test_ready_bitmaps(some):
    bitmaps = some().bitmaps
    masks = Masks.from_bitmaps(bitmaps)
    assert np.array_equal(masks[1:].bitmaps, bitmaps[1:])
    assert masks.coco_rle() == some().coco_rle()
    assert (len(masks), masks.image_hw) == (3, (30, 40))


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (lambda: Masks.from_bitmaps(np.zeros((2, 3), bool)), "bool"),
        (lambda: Masks.from_bitmaps(np.zeros((2, 3, 4), np.uint8)), "uint8"),
        (lambda: Masks.from_prototypes(np.zeros((2, 3)), np.zeros((4, 8, 8)), np.zeros((2, 4)), None), "4, 8, 8"),
        (lambda: Masks.from_prototypes(np.zeros((2, 4)), np.zeros((4, 8, 8)), np.zeros((3, 4)), None), "3, 4"),
    ],
)
def test_refuses_shapes_that_disagree(make, found):
    with pytest.raises(InputError, match=f"masks: expected .*{found}"):
        make()


def shapes():
    """Bitmaps on which run lengths and outlines can go wrong."""
    ring = np.zeros((7, 9), bool)
    ring[1:6, 2:8] = True
    ring[3, 4:6] = False
    two = np.zeros((7, 9), bool)
    two[0:2, 0:3] = two[5:7, 6:9] = True
    columns = np.zeros((7, 9), bool)
    columns[:, 3:6] = True  # runs go on from one column to the next
    corner = np.zeros((7, 9), bool)
    corner[6, 8] = True
    first = np.zeros((7, 9), bool)
    first[0, 0] = True
    noise = np.random.default_rng(3).random((7, 9)) < 0.5
    return {
        "empty": np.zeros((7, 9), bool),
        "full": np.ones((7, 9), bool),
        "ring": ring,
        "two": two,
        "columns": columns,
        "corner": corner,
        "first": first,
        "noise": noise,
    }


@pytest.mark.parametrize("name", shapes())
def test_run_lengths_equal_pycocotools(name):
    coco = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed")
    bitmap = shapes()[name]
    (ours,) = Masks.from_bitmaps(bitmap[None]).coco_rle()
    theirs = coco.encode(np.asfortranarray(bitmap.astype(np.uint8)))
    assert ours == {"size": theirs["size"], "counts": theirs["counts"].decode()}


@pytest.mark.parametrize(
    ("name", "expected"),  # written out by hand from the runs, for where pycocotools is missing
    [("full", "0o1"), ("empty", "o1"), ("first", "01n1"), ("corner", "n11"), ("columns", "e0e0e0")],
)
def test_run_lengths_by_hand(name, expected):
    (run,) = Masks.from_bitmaps(shapes()[name][None]).coco_rle()
    assert run["size"] == [7, 9]
    assert run["counts"] == expected


def test_run_lengths_of_large_and_cropped_masks_equal_pycocotools(rng):
    coco = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed")
    frame = Letterbox.fit((700, 901), (640, 640))
    corners = np.sort(rng.random((12, 2, 2)), axis=1).reshape(12, 4) * [901, 700, 901, 700]
    corners[0] = [0, 0, 901, 700]
    corners[1] = [100, 0, 300, 700]
    protos = cv2.resize(rng.normal(size=(9, 9, 4)).astype(np.float32), (160, 160)).transpose(2, 0, 1)
    coefficients = rng.normal(size=(12, 4)).astype(np.float32)
    masks = Masks.from_prototypes(coefficients, protos, corners.astype(np.float32), frame)
    assert (masks.areas > 100).sum() > 6
    for run, bitmap in zip(masks.coco_rle(), masks.bitmaps, strict=True):
        theirs = coco.encode(np.asfortranarray(bitmap.astype(np.uint8)))
        assert run == {"size": theirs["size"], "counts": theirs["counts"].decode()}


def test_outlines_filled_give_the_mask_back_without_its_holes(some):
    ring = shapes()["ring"]
    ((outline,),) = Masks.from_bitmaps(ring[None]).polygons()
    assert (outline.dtype, outline.shape[1]) == (np.float32, 2)
    filled = ring.copy()
    filled[3, 4:6] = True
    assert np.array_equal(painted([outline], ring.shape), filled)
    masks = some()
    assert masks.polygons()[2] == []  # nothing to outline
    for outlines, bitmap in zip(masks.polygons(), masks.bitmaps, strict=True):
        assert not (bitmap & ~painted(outlines, bitmap.shape)).any()
        assert painted(outlines, bitmap.shape).sum() >= bitmap.sum()


def test_parts_have_outlines_of_their_own():
    (outlines,) = Masks.from_bitmaps(shapes()["two"][None]).polygons()
    assert sorted(outline.min(axis=0).tolist() for outline in outlines) == [[0, 0], [6, 5]]


def painted(outlines, shape):
    canvas = np.zeros(shape, np.uint8)
    for outline in outlines:
        cv2.fillPoly(canvas, [outline.astype(np.int32)], 1)
    return canvas.astype(bool)


def test_nothing_found():
    frame = Letterbox.fit((30, 40), (64, 64))
    protos = np.ones((4, 16, 16), np.float32)
    masks = Masks.from_prototypes(np.empty((0, 4), np.float32), protos, np.empty((0, 4), np.float32), frame)
    assert (len(masks), masks.bitmaps.shape, masks.areas.shape) == (0, (0, 30, 40), (0,))
    assert (masks.polygons(), masks.coco_rle(), masks.crops) == ([], [], [])


def test_a_disc_lands_where_it_is_in_the_photograph(shared):
    """A disc drawn as a prototype comes out round its place in the image, to a pixel and a half."""
    image = image_from(shared / "images" / "bus.jpg")
    _, frame = letterbox(image, (640, 640))
    height, width = frame.image_hw
    centre, radius = (300.0, 500.0), 150.0
    ys, xs = np.mgrid[0:160, 0:160] * 4 + 2.0  # centres of the prototype's pixels in the input
    x = (xs - frame.left) * width / frame.resized_hw[1]
    y = (ys - frame.top) * height / frame.resized_hw[0]
    distance = radius - np.hypot(x - centre[0], y - centre[1])
    whole = np.array([[0, 0, width, height]], np.float32)
    masks = Masks.from_prototypes(np.ones((1, 1), np.float32), distance[None].astype(np.float32), whole, frame)
    ys, xs = np.mgrid[0:height, 0:width] + 0.5
    away = radius - np.hypot(xs - centre[0], ys - centre[1])
    wrong = masks.bitmaps[0] != (away > 0)
    assert np.abs(away[wrong]).max(initial=0) < 0.1  # a linear distance is interpolated nearly exactly


def packed(masks):
    """Pack crops as masks.cu does: each row begins a word of 32 bits."""
    places, words, offset = [], [np.empty(0, np.uint32)], 0
    for left, top, bitmap in masks.crops:
        height, width = bitmap.shape
        bits = np.zeros((height, -(-width // 32) * 32), bool)
        bits[:, :width] = bitmap
        bits[:, width:] = True  # what lies beyond a row's end is nobody's
        words.append(np.packbits(bits, bitorder="little").view("<u4"))
        places.append((left, top, width, height, offset, 0, 0))
        offset += len(words[-1])
    return np.array(places, MASK_PLACE), np.concatenate(words)


def test_packed_masks(some):
    places, words = packed(some())
    masks = Masks.from_packed(places, words, (30, 40))
    assert np.array_equal(masks.bitmaps, some().bitmaps)
    assert masks.bitmaps.dtype == np.bool_
    assert masks.coco_rle() == some().coco_rle()
    for crop, expected in zip(masks.crops, some().crops, strict=True):
        assert (crop.left, crop.top, crop.bitmap.tolist()) == (expected.left, expected.top, expected.bitmap.tolist())


@pytest.mark.parametrize("drawn_before", [False, True])
@pytest.mark.parametrize(
    ("rows", "expected"), [(slice(1, 3), [1, 2]), ([2, 0], [2, 0]), (np.array([False, True, False]), [1]), ([-1], [2])]
)
def test_packed_masks_are_sliced(some, drawn_before, rows, expected):
    masks = Masks.from_packed(*packed(some()), (30, 40))
    if drawn_before:
        assert len(masks.crops) == 3
    assert np.array_equal(masks[rows].bitmaps, some().bitmaps[expected])
    assert np.array_equal(masks[rows][::-1].bitmaps, some().bitmaps[expected][::-1])


@pytest.mark.parametrize("width", [1, 31, 32, 33, 64, 65])
def test_packed_rows_begin_a_word(rng, width):
    bitmaps = rng.random((4, 3, width)) < 0.5
    masks = Masks.from_packed(*packed(Masks.from_bitmaps(bitmaps)), (3, width))
    assert np.array_equal(masks.bitmaps, bitmaps)


def test_packed_masks_of_nothing():
    none = Masks.from_packed(np.zeros(0, MASK_PLACE), np.empty(0, np.uint32), (30, 40))
    assert (len(none), none.bitmaps.shape, none.crops) == (0, (0, 30, 40), [])
    places = np.array([(40, 30, 0, 0, 5, 0, 0), (3, 4, 0, 9, 5, 0, 0), (3, 4, 9, 0, 5, 0, 0)], MASK_PLACE)
    empty = Masks.from_packed(places, np.empty(5, np.uint32), (30, 40))
    assert empty.areas.tolist() == [0, 0, 0]
    assert [crop.bitmap.shape for crop in empty.crops] == [(0, 0), (9, 0), (0, 9)]


@pytest.mark.parametrize(
    "place",
    [
        (-1, 0, 4, 4, 0),
        (0, -1, 4, 4, 0),
        (37, 0, 4, 4, 0),
        (0, 27, 4, 4, 0),
        (0, 0, -4, 4, 0),
        (0, 0, 4, -4, 0),
        (0, 0, 4, 4, -1),
        (0, 0, 4, 4, 7),
        (0, 0, 33, 4, 3),
        (0, 0, 4, 4, 2**62),
    ],
)
def test_packed_masks_that_lie_elsewhere_are_refused(place):
    places = np.array([(0, 0, 4, 4, 0, 0, 0), (*place, 0, 0)], MASK_PLACE)
    with pytest.raises(InputError, match=r"masks: expected masks within \(30, 40\) pixels and 10 words"):
        Masks.from_packed(places, np.zeros(10, np.uint32), (30, 40))
    Masks.from_packed(places[:1], np.zeros(10, np.uint32), (30, 40))
