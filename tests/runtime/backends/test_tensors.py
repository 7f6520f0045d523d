"""Which shapes an engine takes, and under which of its profiles."""

import numpy as np
import pytest

from y12.errors import InputError
from y12.runtime.backends.tensorrt.tensors import EngineIo, ShapeRange


def batch_range(low: int, best: int, high: int, side: int = 640) -> ShapeRange:
    return ShapeRange((low, 3, 320, 320), (best, 3, side, side), (high, 3, 640, 640))


def io_of(*profiles: ShapeRange) -> EngineIo:
    return EngineIo("images", np.dtype(np.float32), profiles, {})


FIXED = ShapeRange((1, 3, 640, 640), (1, 3, 640, 640), (1, 3, 640, 640))


@pytest.mark.parametrize(
    ("profiles", "shape", "index"),
    [
        ([FIXED], (1, 3, 640, 640), 0),
        ([batch_range(1, 1, 1), batch_range(2, 8, 16)], (2, 3, 640, 640), 1),  # one holds it
        ([batch_range(1, 1, 16), batch_range(1, 8, 16)], (6, 3, 640, 640), 1),  # 6 is nearer to 8
        ([batch_range(1, 1, 16), batch_range(1, 8, 16)], (2, 3, 640, 640), 0),  # in ratios, 2 is nearer to 1
        ([batch_range(1, 8, 16), batch_range(1, 1, 16)], (2, 3, 640, 640), 1),
        ([batch_range(1, 4, 16), batch_range(1, 4, 16)], (4, 3, 640, 640), 0),  # the first of equals
        ([batch_range(1, 1, 4, 320), batch_range(1, 1, 4, 640)], (1, 3, 384, 384), 0),
        ([batch_range(1, 1, 4, 320), batch_range(1, 1, 4, 640)], (1, 3, 512, 512), 1),
        ([batch_range(1, 1, 1, 320), batch_range(1, 4, 4, 640)], (4, 3, 320, 320), 1),  # near the first, not held by it
    ],
)
def test_the_profile_that_was_timed_nearest_runs_the_shape(profiles, shape, index):
    assert io_of(*profiles).profile_for(shape) == index


@pytest.mark.parametrize(
    "shape",
    [(2, 3, 640, 640), (1, 3, 639, 640), (1, 3, 640, 641), (1, 1, 640, 640), (3, 640, 640), (1, 1, 3, 640, 640), ()],
)
def test_a_shape_that_no_profile_holds_is_refused_with_all_ranges(shape):
    io = io_of(FIXED, batch_range(4, 4, 8))
    with pytest.raises(InputError) as caught:
        io.profile_for(shape)
    assert str(caught.value) == (
        "expected images of a shape between (1, 3, 640, 640) and (1, 3, 640, 640), or between (4, 3, 320, 320) and "
        f"(8, 3, 640, 640), found {shape}: export with --dynamic or with the size and batch you need"
    )


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float64])
def test_images_that_are_not_float32_are_refused(dtype):
    with pytest.raises(InputError, match=f"expected float32 images, found {np.dtype(dtype)}"):
        io_of(FIXED).check(np.zeros((1, 3, 640, 640), dtype))
