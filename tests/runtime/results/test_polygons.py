"""Outlines: along centres and along edges, thin parts, tolerance, several parts in one."""

import cv2
import numpy as np
import pytest

from y12.errors import InputError
from y12.runtime.results.masks import Masks
from y12.runtime.results.outlines import joined, outlines_of

SHAPE = (40, 60)
# pycocotools 2.0.11 says it of its own arrays.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def mask_of(*boxes, holes=()):
    """Set pixels left, top, right, bottom, of which the last are not in it."""
    mask = np.zeros(SHAPE, bool)
    for value, each in ((True, boxes), (False, holes)):
        for left, top, right, bottom in each:
            mask[top:bottom, left:right] = value
    return mask


def disc(x=30, y=20, radius=15):
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


def area_of(outline):
    return cv2.contourArea(outline)


THIN = {
    "a pixel": mask_of((5, 5, 6, 6)),
    "two pixels": mask_of((5, 5, 7, 6)),
    "a line": mask_of((5, 5, 6, 30)),
    "a diagonal": np.eye(*SHAPE, dtype=bool),
    "pixels apart": mask_of((0, 0, 1, 1), (59, 39, 60, 40)),
}


@pytest.mark.parametrize("name", THIN)
def test_a_part_that_encloses_nothing_is_left_out(name):
    mask = THIN[name]
    assert Masks.from_bitmaps(mask[None]).polygons() == [[]]
    (outlines,) = Masks.from_bitmaps((mask | disc())[None]).polygons()  # and what it hangs on is kept
    assert outlines
    assert all(len(outline) >= 3 and area_of(outline) > 0 for outline in outlines)


@pytest.mark.parametrize("name", THIN)
def test_along_the_edges_every_part_is_kept(name):
    mask_module = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed")
    mask = THIN[name]
    (outlines,) = Masks.from_bitmaps(mask[None]).polygons(edges=True)
    runs = mask_module.frPyObjects([outline.reshape(-1).tolist() for outline in outlines], *SHAPE)
    np.testing.assert_array_equal(mask_module.decode(mask_module.merge(runs)).astype(bool), mask)


def test_edges_are_those_of_the_pixels():
    (outlines,) = Masks.from_bitmaps(mask_of((10, 20, 12, 23))[None]).polygons(edges=True)
    assert sorted(outlines[0].tolist()) == [[10, 20], [10, 23], [12, 20], [12, 23]]
    assert outlines[0].dtype == np.float32
    (outlines,) = Masks.from_bitmaps(mask_of((0, 0, 60, 40))[None]).polygons(edges=True)  # to the ends of the image
    assert outlines[0].min(axis=0).tolist() == [0, 0]
    assert outlines[0].max(axis=0).tolist() == [60, 40]


@pytest.mark.parametrize("seed", range(5))
def test_pycocotools_draws_the_mask_again(seed):
    """Of blobs with any bends; holes are filled."""
    mask_module = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed")
    noise = np.random.default_rng(seed).random(SHAPE, np.float32)
    mask = cv2.GaussianBlur(noise, (0, 0), 1 + seed) > 0.5
    contours, _ = cv2.findContours(mask.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = cv2.drawContours(np.zeros(SHAPE, np.uint8), contours, -1, 1, cv2.FILLED).astype(bool)
    (outlines,) = Masks.from_bitmaps(mask[None]).polygons(edges=True)
    runs = mask_module.frPyObjects([outline.reshape(-1).tolist() for outline in outlines], *SHAPE)
    np.testing.assert_array_equal(mask_module.decode(mask_module.merge(runs)).astype(bool), filled)


@pytest.mark.parametrize("edges", [False, True])
def test_fewer_points_within_the_tolerance(edges):
    masks = Masks.from_bitmaps(disc()[None])
    exact = masks.polygons(edges=edges)[0][0]
    before = len(exact)
    for tolerance in (0.5, 1, 6):
        ((outline,),) = masks.polygons(tolerance, edges=edges)
        assert len(outline) < before
        before = len(outline)
        far = [-cv2.pointPolygonTest(outline, [float(x), float(y)], measureDist=True) for x, y in exact]
        assert max(map(abs, far)) <= tolerance + 1e-3  # what was left out lies no farther from what is left
    assert before <= 7


def test_no_part_vanishes_by_the_tolerance():
    """Of a part of three pixels, nothing within 10 pixels of it has an area: it stays as it is."""
    mask = mask_of((2, 2, 5, 5), (20, 10, 50, 30))
    (outlines,) = Masks.from_bitmaps(mask[None]).polygons(10)
    assert sorted(map(area_of, outlines)) == [4, 29 * 19]


@pytest.mark.parametrize("tolerance", [-1, -1e-9, float("nan"), float("inf"), "1", None])
def test_a_tolerance_that_is_none(tolerance):
    with pytest.raises(InputError, match="tolerance: expected pixels, a number of 0 or more, found"):
        Masks.from_bitmaps(disc()[None]).polygons(tolerance)


def test_parts_joined_are_one_outline_of_the_same_area():
    mask = mask_of((0, 0, 10, 10), (20, 5, 30, 20), (45, 30, 60, 40), holes=((3, 3, 6, 6),))
    parts = outlines_of(mask, 0, 0, edges=True)
    assert len(parts) == 3
    one = joined(parts)
    assert area_of(one) == sum(map(area_of, parts)) == 100 + 150 + 150
    assert {tuple(point) for point in one.tolist()} == {tuple(point) for part in parts for point in part.tolist()}
    np.testing.assert_array_equal(joined(parts[:1]), parts[0])
