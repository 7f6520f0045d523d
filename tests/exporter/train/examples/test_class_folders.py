from pathlib import Path

import cv2
import numpy as np
import pytest

from y12.errors import DatasetError
from y12.exporter.train.examples.batches import Batches
from y12.exporter.train.examples.class_folders import ClassSource, class_folders
from y12.exporter.train.examples.options import AugmentOptions, DataOptions
from y12.runtime.preprocess.crop import centre_crop
from y12.runtime.preprocess.images import image_from


def _tree(folder: Path, *names: str) -> Path:
    for i, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        ramp = np.tile(np.linspace(20, 235, 120).astype(np.uint8)[:, None], (70, 1, 1))  # brighter to the right
        cv2.imwrite(str(folder / name), np.dstack([ramp, ramp, np.full_like(ramp, 30 * i)]))
    return folder


def test_folders_are_classes(tmp_path: Path):
    data = class_folders(_tree(tmp_path, "train/dog/1.png", "train/cat/2.png", "train/cat/a/3.png", "val/cow/4.png"))
    assert data.names == ("cat", "dog")
    assert [path.name for path in data.paths] == ["2.png", "3.png", "1.png"]
    assert data.labels == (0, 0, 1)
    assert data.notes == ()
    assert class_folders(tmp_path, DataOptions(split="val")).names == ("cow",)


def test_folders_without_splits_and_a_class_without_images(tmp_path: Path):
    (_tree(tmp_path, "dog/1.png") / "cat").mkdir()
    data = class_folders(tmp_path)
    assert (data.names, data.labels) == (("cat", "dog"), (1,))
    assert data.notes == ("1 of 2 classes have no images, 'cat' among them",)


def test_a_data_yaml_names_the_classes(tmp_path: Path):
    _tree(tmp_path, "mine/dog/1.png", "mine/cat/2.png")
    (tmp_path / "data.yaml").write_text("train: mine\nnames: [dog, cat]\n")
    data = class_folders(tmp_path / "data.yaml")
    assert (data.names, data.labels) == (("dog", "cat"), (0, 1))


def test_only_val_is_nothing_to_train_on(tmp_path: Path):
    with pytest.raises(DatasetError, match=r"expected the classes' folders in .*train"):
        class_folders(_tree(tmp_path, "val/dog/1.png"))


def test_a_damaged_image_is_named(tmp_path: Path):
    (_tree(tmp_path, "train/dog/1.png") / "train" / "dog" / "2.png").write_bytes(b"no")
    with pytest.raises(DatasetError, match=r"1 problem: .*2\.png"):
        class_folders(tmp_path)


def test_unvaried_is_what_inference_sees(tmp_path: Path):
    data = class_folders(_tree(tmp_path, "train/dog/1.png", "train/cat/2.png"))
    source = ClassSource(data, 32)
    for position in range(2):
        example = source.example(0, 0, position)
        path = data.paths[data.labels.index(int(example.labels[0]))]
        expected, _ = centre_crop(image_from(path), (32, 32))
        np.testing.assert_array_equal(example.image, expected[:, :, ::-1])
        assert example.boxes.tolist() == [[0, 0, 32, 32]]


def test_varied_images_keep_their_labels(tmp_path: Path):
    data = class_folders(_tree(tmp_path, "train/a/0.png", "train/b/1.png", "train/c/2.png"))
    source = ClassSource(data, 32, AugmentOptions(flip=0.5, scale=0.5, hue=0, saturation=0, brightness=0))
    mirrored, spans = [], []
    for epoch in range(30):
        example = source.example(1, epoch, 0)
        np.testing.assert_array_equal(example.image, source.example(1, epoch, 0).image)
        assert abs(example.image[..., 0].mean() - 30 * example.labels[0]) < 2
        row = example.image[16, :, 1].astype(int)
        mirrored.append(row[-1] < row[0])
        spans.append(abs(row[-1] - row[0]))
    assert 5 < sum(mirrored) < 25
    assert min(spans) < 0.65 * max(spans)
    batch = Batches(source, 3, 1)[0]
    assert sorted(batch.targets.labels[:, 0].tolist()) == [0, 1, 2]
