"""Outlines, masks and labels that are dear to draw, from every source: refused before C code sees them."""

import json

import pytest
from cost import measured, refused
from label_files import make_yolo as make_yolo
from PIL import Image

from y12.errors import DatasetError
from y12.exporter.data.bounds import MAX_LABELS, ShapeError, check_segmentation
from y12.exporter.data.open import labelled_dataset

SIDE = 64
ZIGZAG = [0, 0, 1, 1, 0, 1, 1, 0]  # of an image's width and height


def corners(count: int, step: int = 4) -> list[float]:
    return (ZIGZAG[: 2 * step] * (count // step + 1))[: 2 * count]


LABELS = {  # what a label file of one image holds
    "an outline of 50,000 corners": f"0 {' '.join(map(str, corners(50_000)))}\n",
    "an outline of 300 crossings": f"0 {' '.join(map(str, corners(300)))}\n",
    "a line of megabytes": "0 " + "0 " * 1_500_000 + "\n",
    "many outlines": (f"0 {' '.join(map(str, corners(190)))} 0.5 0.{{}}\n" * 40).format(*range(100, 140)),
    "many labels": "".join(f"0 0.5 0.5 0.{i + 100_000} 0.5\n" for i in range(200_000)),
    "many empty lines": "0 0.5 0.5 0.1 0.1\n" + "\n" * 3_000_000,
    "many wrong lines": "x\n" * 200_000,
}


@pytest.mark.parametrize("name", LABELS)
def test_label_files(make_yolo, name):
    path = make_yolo({"a": LABELS[name]})
    assert "a.txt" in refused(name, lambda: labelled_dataset(path), seconds=1, mib=64)


def test_labels_of_one_hash(make_yolo):
    """Numbers that differ by a factor of 2 ** 61 have one hash: such labels are as quick to tell apart as others."""
    values = [repr(0.005 * 2.0 ** (-61 * i)) for i in range(16)]
    lines = [f"0 {a} {b} 0.01 {c} {d} 0.01\n" for a in values for b in values for c in values[:4] for d in values[:8]]
    path = make_yolo({"a": "".join(lines)})
    with measured() as cost:
        labels = labelled_dataset(path).labels
    assert labels == len(set(lines))
    assert cost.seconds < 4


def polygon(count: int) -> list[float]:
    return [SIDE * value for value in corners(count)]


SEGMENTATIONS = {
    "an outline of 50,000 corners": [polygon(50_000)],
    "far beyond the image": [[0, 0, 1e6, 1e6, 0, 1e6]],
    "ten long ones": [polygon(100) for _ in range(10)],
    "many polygons": [[0, 0, 1, 0, 1, 1] for _ in range(100_000)],
    "runs of nothing": {"size": [SIDE, SIDE], "counts": [0] * 1_000_000 + [SIDE * SIDE]},
    "runs of nothing, as text": {"size": [SIDE, SIDE], "counts": "0" * 4_000_000},
    "runs beyond 32 bits": {"size": [SIDE, SIDE], "counts": [2**32, SIDE * SIDE]},
    "runs beyond 64 bits": {"size": [SIDE, SIDE], "counts": [2**64 + SIDE * SIDE]},
    "runs of a million bits": {"size": [SIDE, SIDE], "counts": [2**10_000]},
    "runs that wrap around": {"size": [SIDE, SIDE], "counts": "ooooooo7" * 100_000},
    "a number that never ends": {"size": [SIDE, SIDE], "counts": "o" * 4_000_000},
    "a text too long": {"size": [SIDE, SIDE], "counts": "0" * (17 << 20)},
    "a size of lists": {"size": [[SIDE], SIDE], "counts": [SIDE * SIDE]},
    "lists in lists": [[[[[[[0]]]]]]],
}


@pytest.mark.parametrize("name", SEGMENTATIONS)
def test_segmentations(name):
    def check() -> None:
        try:
            check_segmentation(SEGMENTATIONS[name], (SIDE, SIDE))
        except ShapeError as error:
            raise DatasetError(str(error)) from error

    refused(name, check, seconds=1, mib=256)


def coco(tmp_path, annotations):
    Image.new("L", (SIDE, SIDE)).save(tmp_path / "a.png")
    image = {"id": 1, "file_name": "a.png", "height": SIDE, "width": SIDE}
    path = tmp_path / "labels.json"
    entries = [
        {"id": i, "image_id": 1, "category_id": 1, "bbox": [0, 0, 9, 9], **one} for i, one in enumerate(annotations)
    ]
    content = {"images": [image], "categories": [{"id": 1, "name": "a"}], "annotations": entries}
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("annotations", [[{}] * (MAX_LABELS + 1), [{"segmentation": [polygon(190)]}] * 30])
def test_annotations_of_one_image(tmp_path, annotations):
    path = coco(tmp_path, annotations)
    assert "one image, found more" in refused("annotations", lambda: labelled_dataset(path), seconds=1, mib=64)


@pytest.mark.parametrize("count", [3, 100, 199])
def test_detailed_outlines_are_kept(make_yolo, tmp_path, count):
    path = make_yolo({"a": f"0 {' '.join(map(str, corners(count)))}\n"})
    assert labelled_dataset(path).kinds == ("bbox", "segm")
    assert labelled_dataset(coco(tmp_path, [{"segmentation": [polygon(count)]}])).kinds == ("bbox", "segm")
