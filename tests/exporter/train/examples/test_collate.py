import numpy as np
import pytest
import torch

from y12.exporter.train.examples.collate import collate
from y12.exporter.train.examples.example import Example, reduced_mask


def _example(objects: int, *, masks: bool = True, points: int = 0, side: int = 32) -> Example:
    rng = np.random.default_rng(objects)
    return Example(
        rng.integers(0, 256, (side, side, 3), dtype=np.uint8),
        rng.integers(0, 5, objects),
        rng.uniform(0, side, (objects, 4)).astype(np.float32),
        rng.random((objects, side // 4, side // 4)) < 0.5 if masks else None,
        rng.uniform(0, side, (objects, points, 3)).astype(np.float32) if points else None,
    )


def test_examples_are_padded_to_the_most_objects():
    examples = [_example(2, points=17), _example(0, points=17), _example(3, points=17)]
    batch = collate(examples)
    assert batch.images.shape == (3, 3, 32, 32)
    assert batch.images.dtype == torch.float32
    assert batch.targets.present.tolist() == [[True, True, False], [False] * 3, [True] * 3]
    assert batch.targets.labels.dtype == torch.int64
    for i, example in enumerate(examples):
        n = len(example.labels)
        pixel = example.image[5, 7].astype(np.float32) / np.float32(255)  # row 5, column 7, RGB
        torch.testing.assert_close(batch.images[i, :, 5, 7], torch.from_numpy(pixel))
        for name in ("labels", "boxes", "masks", "keypoints"):
            value = getattr(batch.targets, name)[i]
            np.testing.assert_array_equal(value[:n].numpy(), getattr(example, name))
            assert not value[n:].any()
    assert batch.targets.angles is None


@pytest.mark.parametrize("points", [0, 4])
def test_no_objects_at_all(points: int):
    targets = collate([_example(0, points=points), _example(0, points=points)]).targets
    assert targets.labels.shape == (2, 0)
    assert targets.boxes.shape == (2, 0, 4)
    assert targets.masks is not None
    assert targets.masks.shape == (2, 0, 8, 8)
    assert targets.masks.dtype == torch.bool


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        ([], "none"),
        ([_example(1), _example(1, side=64)], "one size"),
        ([_example(1), _example(1, masks=False)], "masks: expected them in all examples or in none, found 1 of 2"),
    ],
)
def test_what_cannot_be_put_together(examples: list[Example], message: str):
    with pytest.raises(ValueError, match=message):
        collate(examples)


@pytest.mark.parametrize(("pixels", "expected"), [(7, False), (8, True), (16, True), (0, False)])
def test_a_mask_pixel_is_set_by_half_of_its_sixteen(pixels: int, expected: bool):
    mask = np.zeros((2, 8, 12), bool)
    cell = np.zeros(16, bool)
    cell[:pixels] = True
    mask[1, 4:8, 8:12] = np.random.default_rng(0).permutation(cell).reshape(4, 4)
    small = reduced_mask(mask)
    assert small.shape == (2, 2, 3)
    assert bool(small[1, 1, 2]) is expected
    assert small.sum() == expected


def test_a_mask_of_an_odd_size_is_refused():
    with pytest.raises(ValueError, match="multiples of 4"):
        reduced_mask(np.zeros((1, 8, 10), bool))
