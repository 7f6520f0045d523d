"""Places that a data set names: names that no file has, and folders that hold the whole machine."""

import json

import pytest
from cost import refused
from PIL import Image

from y12.errors import DatasetError
from y12.exporter.data import image_lists
from y12.exporter.data.open import labelled_dataset

NAMES = ["x" * 300, "x" * 300 + ".txt", "x/" * 3000, "a\0b", "\x1b[2J\nforged", "..", "/dev/null", "/proc/self/mem"]


@pytest.mark.parametrize("name", NAMES)
def test_data_yaml(name, tmp_path):
    (tmp_path / "data.yaml").write_text(f"val: {json.dumps(name)}\nnames: [a]\n")
    refused(name, lambda: labelled_dataset(tmp_path / "data.yaml"), seconds=1, mib=16)


@pytest.mark.parametrize("name", [name for name in NAMES if name != ".."])
def test_lists(name, tmp_path):
    (tmp_path / "list.txt").write_text(f"./{name}.jpg\n{name}.jpg\n{name}\n")
    (tmp_path / "data.yaml").write_text("val: list.txt\nnames: [a]\n")
    refused(name, lambda: labelled_dataset(tmp_path / "data.yaml"), seconds=1, mib=16)


@pytest.mark.parametrize("name", NAMES)
def test_coco(name, tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    images = [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": name}]
    data = {"images": images, "annotations": [], "categories": [{"id": 1, "name": "a"}]}
    (tmp_path / "a.json").write_text(json.dumps(data))
    refused(name, lambda: labelled_dataset(tmp_path / "a.json"), seconds=1, mib=16)


def test_many_folders(tmp_path, monkeypatch):
    for i in range(20):
        (tmp_path / "images" / str(i)).mkdir(parents=True)
    (tmp_path / "data.yaml").write_text("val: images\nnames: [a]\n")
    with pytest.raises(DatasetError, match=r"expected images in .*images, found none"):
        labelled_dataset(tmp_path / "data.yaml")
    monkeypatch.setattr(image_lists, "MAX_FOLDERS", 20)
    with pytest.raises(DatasetError, match="expected at most 20 folders in it, found more"):
        labelled_dataset(tmp_path / "data.yaml")
