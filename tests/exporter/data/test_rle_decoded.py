import numpy as np
import pytest
from pycocotools import mask as rle

from y12.exporter.data.rle import decoded


@pytest.mark.parametrize("seed", range(30))
def test_masks_come_back(seed: int):
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 200, 2)
    coarse = rng.random((height // 9 + 1, width // 9 + 1)) < rng.random()
    mask = np.kron(coarse, np.ones((9, 9), bool))[:height, :width] ^ (rng.random((height, width)) < 0.01)
    runs = rle.encode(np.asfortranarray(mask.astype(np.uint8)))
    np.testing.assert_array_equal(decoded(runs), mask)
    np.testing.assert_array_equal(decoded({"size": runs["size"], "counts": runs["counts"].decode()}), mask)


@pytest.mark.parametrize("value", [0, 1])
def test_masks_of_one_value(value: int):
    mask = np.full((300, 500), value, np.uint8)
    np.testing.assert_array_equal(decoded(rle.encode(np.asfortranarray(mask))), mask)


@pytest.mark.parametrize("size", [[10, 11], [11, 10], [0, 0]])
def test_runs_of_another_size_are_refused(size: list[int]):
    runs = rle.encode(np.asfortranarray(np.eye(10, dtype=np.uint8)))
    with pytest.raises(ValueError, match="expected runs"):
        decoded({"size": size, "counts": runs["counts"]})
