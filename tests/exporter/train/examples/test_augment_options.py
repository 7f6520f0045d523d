import math

import pytest

from y12.errors import OptionsError
from y12.exporter.train.examples.options import COCO_FLIP, AugmentOptions, DataOptions


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mosaic": 1.1}, "mosaic: expected a number from 0 to 1, found 1.1"),
        ({"flip": -0.1}, "flip: expected a number from 0 to 1, found -0.1"),
        ({"scale": 1.0}, "scale: expected a number from 0 to 0.9"),
        ({"translate": 0.6}, "translate: .* 0 to 0.5"),
        ({"rotate": 181}, "rotate: .* 0 to 180"),
        ({"hue": 0.6}, "hue: .* 0 to 0.5"),
        ({"saturation": math.nan}, "saturation: .* found nan"),
        ({"brightness": "1"}, "brightness: .* found '1'"),
        ({"min_visible": True}, "min_visible: .* found True"),
        ({"flip_indices": (1, 2, 0)}, "flip_indices: expected pairs"),
        ({"flip_indices": (1, 0, 3)}, "flip_indices: expected pairs"),
    ],
)
def test_values_out_of_range(values: dict[str, object], message: str):
    with pytest.raises(OptionsError, match=message) as refused:
        AugmentOptions(**values)  # type: ignore[arg-type]
    assert "\n" not in str(refused.value)


def test_coco_points_change_sides():
    pairs = ["eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle"]
    names = ["nose", *(name for pair in pairs for name in (pair, pair))]
    assert [names[i] for i in COCO_FLIP] == names
    assert all(i != to for i, to in enumerate(COCO_FLIP) if i)


@pytest.mark.parametrize(
    ("points", "indices", "expected"),
    [(None, None, ()), (17, None, None), (5, None, None), (2, (1, 0), (1, 0)), (None, (1, 0), ())],
)
def test_flips(points: int | None, indices: tuple[int, ...] | None, expected: tuple[int, ...] | None):
    assert AugmentOptions(flip_indices=indices).flips(points) == expected


def test_flips_of_another_number():
    with pytest.raises(OptionsError, match="flip_indices: expected 3, one for each keypoint, found 2"):
        AugmentOptions(flip_indices=(1, 0)).flips(3)


def test_data_options_out_of_range():
    with pytest.raises(OptionsError, match="check: expected 'decode' or 'header', found 'no'"):
        DataOptions(check="no")  # type: ignore[arg-type]
