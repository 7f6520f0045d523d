"""What a classifier sees, against torchvision's documented rule and against resizing the whole image."""

import numpy as np
import pytest
from PIL import Image

from y12.errors import InputError
from y12.runtime.preprocess.crop import CentreCrop, centre_crop


def whole_image_resized(image, size):
    """Resize(size), then CenterCrop(size), as torchvision documents them."""
    height, width = image.shape[:2]
    short, long = min(height, width), max(height, width)
    other = int(size * long / short)
    new_h, new_w = (size, other) if height <= width else (other, size)
    resized = np.asarray(Image.fromarray(image).resize((new_w, new_h), Image.Resampling.BILINEAR))
    top, left = round((new_h - size) / 2.0), round((new_w - size) / 2.0)
    return resized[top : top + size, left : left + size]


@pytest.mark.parametrize(
    "image_hw", [(480, 640), (640, 480), (100, 100), (1, 1), (3, 7), (33, 500), (224, 225), (227, 224), (835, 1689)]
)
@pytest.mark.parametrize("size", [32, 64, 224])
def test_equals_resizing_the_whole_image(rng, image_hw, size):
    image = rng.integers(0, 256, (*image_hw, 3), dtype=np.uint8)
    cut, frame = centre_crop(image, (size, size))
    expected = whole_image_resized(image, size)
    assert cut.shape == expected.shape == (size, size, 3)
    # Pillow rounds the filter's weights to 1/2^22 at places that are computed in another order.
    assert np.abs(cut.astype(int) - expected).max() <= 1
    assert frame.image_hw == image_hw


@pytest.mark.parametrize(
    ("image_hw", "input_hw", "region"),
    [
        ((100, 200), (50, 50), (50, 0, 150, 100)),
        ((200, 100), (50, 50), (0, 50, 100, 150)),
        ((64, 64), (32, 32), (0, 0, 64, 64)),
        ((100, 100), (50, 100), (0, 25, 100, 75)),  # oblong: cut above and below
        ((100, 200), (100, 100), (50, 0, 150, 100)),  # nothing to resize
        ((100, 50), (40, 80), (0, 37.5, 50, 62.5)),
    ],
)
def test_region(image_hw, input_hw, region):
    assert CentreCrop.fit(image_hw, input_hw).region_xyxy == pytest.approx(region)


@pytest.mark.parametrize("image_hw", [(1, 20_000), (20_000, 1), (3, 9_999)])
@pytest.mark.parametrize("input_hw", [(224, 224), (32, 96)])
def test_extreme_shapes_take_no_memory(image_hw, input_hw):
    cut, frame = centre_crop(np.full((*image_hw, 3), 7, np.uint8), input_hw)
    assert (cut == 7).all()
    x1, y1, x2, y2 = frame.region_xyxy
    assert 0 <= x1 < x2 <= image_hw[1] + 1e-9
    assert 0 <= y1 < y2 <= image_hw[0] + 1e-9


def test_nothing_is_stretched(rng):
    """However odd the shapes, the region has the input's proportions, but for the rounding of one side."""
    for height, width, out_h, out_w in rng.integers(1, 300, (300, 4)).tolist():
        x1, y1, x2, y2 = CentreCrop.fit((height, width), (out_h, out_w)).region_xyxy
        assert -1e-9 <= x1 < x2 <= width + 1e-9
        assert -1e-9 <= y1 < y2 <= height + 1e-9
        along_x, along_y = (x2 - x1) / out_w, (y2 - y1) / out_h
        assert abs(along_x / along_y - 1) <= 1 / min(out_h, out_w) + 1e-9


def test_refuses_no_pixels():
    with pytest.raises(InputError, match=r"\(0, 5\)"):
        CentreCrop.fit((0, 5), (64, 64))
