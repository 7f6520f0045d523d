from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from y12.errors import DatasetError, OptionsError
from y12.exporter.train.batch import Batch
from y12.exporter.train.examples.batches import Batches
from y12.exporter.train.examples.options import AugmentOptions
from y12.exporter.train.examples.sources import ShapesSource, UserSource, drawn_example
from y12.exporter.train.examples.user import TrainingData, training_data
from y12.exporter.train.shapes import CLASS_NAMES


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainingData:
    """Seven images of one gray value each, 10, 20 … 70, that one object covers."""
    folder = tmp_path_factory.mktemp("gray")
    (folder / "images").mkdir()
    (folder / "labels").mkdir()
    for i in range(1, 8):
        cv2.imwrite(str(folder / "images" / f"{i}.png"), np.full((64, 64, 3), 10 * i, np.uint8))
        (folder / "labels" / f"{i}.txt").write_text("0 0.5 0.5 1 1\n")
    (folder / "data.yaml").write_text("train: images\nval: images\nnames: [gray]\n")
    return training_data(folder / "data.yaml", "detect")


def _equal(first: Batch, second: Batch) -> bool:
    return torch.equal(first.images, second.images) and torch.equal(first.targets.boxes, second.targets.boxes)


def _grays(batch: Batch) -> list[int]:
    return (batch.images[:, 0, 32, 32] * 25.5).round().int().tolist()


def test_each_epoch_shows_each_image_once_in_its_own_order(data: TrainingData):
    batches = Batches(UserSource(data, 64), 3, seed=1)
    assert batches.steps_per_epoch == 3
    epochs = [[g for step in range(3 * e, 3 * e + 3) for g in _grays(batches[step])] for e in range(3)]
    for shown in epochs:
        assert sorted(shown[:7]) == [1, 2, 3, 4, 5, 6, 7]
        assert shown[7:] == shown[:2]  # the last batch is filled up
    assert epochs[0] != epochs[1] != epochs[2]
    assert [g for step in range(3) for g in _grays(Batches(UserSource(data, 64), 3, seed=2)[step])] != epochs[0]


@pytest.mark.parametrize("cache_bytes", [0, 30_000, 1 << 20])
def test_a_batch_depends_on_its_step_only(data: TrainingData, cache_bytes: int):
    options = AugmentOptions(rotate=5)
    first = Batches(UserSource(data, 64, options), 3, seed=4)
    forward = [first[step] for step in range(4)]
    torch.manual_seed(99)
    other = Batches(UserSource(data, 64, options, cache_bytes=cache_bytes), 3, seed=4)
    for step in (3, 1, 2, 1):
        assert _equal(other[step], forward[step])
    assert not _equal(forward[0], forward[3])
    assert not _equal(forward[0], Batches(UserSource(data, 64, options), 3, seed=5)[0])


def test_the_cache_keeps_to_its_limit(data: TrainingData):
    source = UserSource(data, 64, cache_bytes=2 * 64 * 64 * 3 + 5)
    for step in range(7):
        Batches(source, 1, 0)[step]
    assert sum(image.nbytes for image in source._cache.values()) == 2 * 64 * 64 * 3


def test_worker_processes_give_the_same(data: TrainingData):
    batches = Batches(UserSource(data, 64, AugmentOptions()), 2, seed=4)
    loader = DataLoader(batches, batch_size=None, sampler=range(2, 6), num_workers=1)
    for step, batch in zip(range(2, 6), loader, strict=True):
        assert _equal(batch, batches[step])


def test_mosaics_end_with_their_epochs(data: TrainingData):
    options = AugmentOptions(scale=0, translate=0, flip=0, hue=0, saturation=0, brightness=0)
    batches = Batches(UserSource(data, 64, options, mosaic_epochs=1), 7, seed=0)
    assert batches[0].targets.present.sum(1).min() > 1
    assert batches[1].targets.present.sum(1).tolist() == [1] * 7
    assert batches[1].targets.boxes.tolist() == [[[0, 0, 64, 64]]] * 7


def test_a_file_that_changed_is_named(data: TrainingData, tmp_path: Path):
    cv2.imwrite(str(tmp_path / "1.png"), np.zeros((32, 64, 3), np.uint8))
    changed = TrainingData(data.origin, data.names, (tmp_path / "1.png", *data.paths[1:]), data.objects)
    with pytest.raises(DatasetError, match=r"1\.png: expected 64x64 pixels, as when training started, found 64x32"):
        Batches(UserSource(changed, 64), 7, 0)[0]


def test_shapes():
    batches = Batches(ShapesSource(5, 96), 2, seed=3)
    assert batches.names == CLASS_NAMES
    assert batches.steps_per_epoch == 3
    numbers = [(0, 1), (2, 3), (4, 0), (5, 6), (7, 8), (9, 5)]
    for step, pair in enumerate(numbers):
        batch = batches[step]
        assert batch.targets.masks is not None
        for row, number in enumerate(pair):
            one = drawn_example(3, number, 96)
            np.testing.assert_allclose(batch.images[row].permute(1, 2, 0) * 255, one.image, atol=1e-4)
            np.testing.assert_array_equal(batch.targets.boxes[row][batch.targets.present[row]], one.boxes)


def test_notes_tell_what_is_not_trained_on(data: TrainingData):
    small = [type(one)(one.image_hw, one.labels, one.boxes * 0 + (0, 0, 1.5, 30)) for one in data.objects]
    source = UserSource(TrainingData(data.origin, data.names, data.paths, tuple(small), notes=("first",)), 64)
    assert source.notes == ("first", "7 objects are less than 2 pixels wide or high at imgsz 64: not trained on")
    pointed = TrainingData(data.origin, data.names, data.paths, data.objects, points=5)
    assert "not mirrored: which of the 5 keypoints" in UserSource(pointed, 64, AugmentOptions()).notes[0]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"batch": 0}, "batch: expected 1 to 4096 images, found 0"),
        ({"seed": -1}, "seed: expected 0 or more, found -1"),
        ({"imgsz": 100}, "imgsz: expected 64 to 4096 pixels, a multiple of 32, found 100"),
        ({"images_per_epoch": 0}, "images_per_epoch: expected 1 or more, found 0"),
    ],
)
def test_refused(values: dict[str, int], message: str):
    asked = {"batch": 1, "seed": 0, "imgsz": 64, "images_per_epoch": 4} | values
    with pytest.raises(OptionsError, match=message):
        Batches(ShapesSource(asked["images_per_epoch"], asked["imgsz"]), asked["batch"], asked["seed"])


def test_no_step_before_the_first():
    with pytest.raises(IndexError, match="found -1"):
        Batches(ShapesSource(4, 64), 2, 0)[-1]
