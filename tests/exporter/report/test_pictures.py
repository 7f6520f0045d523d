"""Pairs of images: drawn on, bounded in size, never enlarged."""

import io

import numpy as np
import pytest
from PIL import Image

from y12.exporter.report.pictures import MAX_BYTES, picture_from
from y12.runtime.results.detections import Detections


def found(*rows, image_hw=(300, 400)):
    table = np.array(rows, np.float32).reshape(-1, 6)
    return Detections(table[:, :4], table[:, 4], table[:, 5].astype(np.int64), ("a",), image_hw)


def pixels_of(jpeg):
    with Image.open(io.BytesIO(jpeg)) as image:
        assert image.format == "JPEG"
        return np.asarray(image.convert("RGB"), dtype=int)


def test_each_side_shows_its_own_detections():
    grey = np.full((300, 400, 3), 128, np.uint8)
    picture = picture_from(grey, "a.jpg", found((50, 60, 350, 280, 0.9, 0)), found(), "words")
    left, right = pixels_of(picture.left), pixels_of(picture.right)
    assert (picture.name, picture.caption) == ("a.jpg", "words")
    assert left.shape == right.shape == (300, 400, 3)
    assert np.abs(right - 128).max() <= 2
    changed = np.abs(left - 128).max(axis=2) > 40
    assert changed[170, 45:56].any()
    assert changed[170, 345:356].any()
    assert not changed[170, 100:300].any()


def test_colours_are_in_their_places():
    blue_bgr = np.zeros((40, 60, 3), np.uint8)
    blue_bgr[..., 0] = 255
    red, green, blue = pixels_of(picture_from(blue_bgr, "", found(), found(), "").left)[20, 30]
    assert blue > 240
    assert max(red, green) < 20


@pytest.mark.parametrize(
    ("hw", "expected"), [((960, 1280), (480, 640)), ((2000, 100), (640, 32)), ((90, 120), (90, 120))]
)
def test_the_longest_side_is_bounded(hw, expected):
    picture = picture_from(np.zeros((*hw, 3), np.uint8), "", found(), found(), "")
    assert pixels_of(picture.left).shape[:2] == expected


@pytest.mark.parametrize("side", [320, 640, 1000])
def test_the_worst_of_images_fits_too(side):
    noise = np.random.Generator(np.random.PCG64(1)).integers(0, 256, (side, side, 3), dtype=np.uint8)
    picture = picture_from(noise, "", found(), found(), "")
    assert 10_000 < len(picture.left) <= MAX_BYTES
    assert picture == picture_from(noise, "", found(), found(), "")
