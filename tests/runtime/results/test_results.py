"""What a person does with a result: read it, filter it, look at it, save it, hand it on."""

import base64
import importlib.util
import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import supervision as sv
from PIL import Image

from y12.errors import InputError, MissingPackageError, Y12Error
from y12.runtime.preprocess.images import kept_source
from y12.runtime.results.detections import Detections
from y12.runtime.results.masks import Masks

NAMES = ("person", "bicycle", "bus", "bus stop")


def make(classes=(0, 2, 0), **changes):
    count = len(classes)
    corners = np.arange(count, dtype=np.float32)[:, None] * 40 + np.array([10, 20, 60, 90], np.float32)
    found = Detections(
        corners, np.linspace(0.9, 0.3, count, dtype=np.float32), np.array(classes, int), NAMES, (480, 640)
    )
    return replace(found, **changes)


@pytest.mark.parametrize(
    ("found", "line"),
    [
        (make((2, 0, 0)), "3 detections in 640x480: 2 person, 1 bus"),
        (make((3,)), "1 detection in 640x480: 1 bus stop"),
        (make(()), "0 detections in 640x480"),
        (make((2, 0), whole_image=True), "2 classes in 640x480: bus 0.90, person 0.30"),
        (make((0,), names=("a\n\x1b[2J",)), r"1 detection in 640x480: 1 a\n\x1b[2J"),
    ],
)
def test_repr_is_one_short_line(found, line):
    assert repr(found) == str(found) == line


def test_boxes_in_other_forms():
    found = make((0,), image_hw=(100, 200))
    assert found.xywh.tolist() == [[35, 55, 50, 70]]
    np.testing.assert_allclose(found.xyxyn, [[0.05, 0.2, 0.3, 0.9]], rtol=1e-6)
    assert found.xyxyn.dtype == found.xywh.dtype == np.float32
    assert found.xyxy.tolist() == [[10, 20, 60, 90]]  # untouched
    assert make(()).xywh.shape == make(()).xyxyn.shape == (0, 4)


@pytest.mark.parametrize(
    ("asked", "rows"),
    [
        ({"classes": "person"}, [0, 2]),
        ({"classes": ["person", "bus"]}, [0, 1, 2]),
        ({"classes": [np.int64(2)]}, [1]),
        ({"classes": ("bus", 0), "conf": 0.3}, [0, 1]),
        ({"conf": 0.6}, [0]),
        ({"classes": []}, []),
        ({}, [0, 1, 2]),
    ],
)
def test_filters_by_class_and_confidence(asked, rows):
    found = make(confidence=np.array([0.9, 0.6, 0.3], np.float32))
    if asked.get("conf") == 0.6:
        found.confidence[1] = 0.6 - 1e-3
    assert found.filter(**asked).xyxy.tolist() == found.xyxy[rows].tolist()


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (["preson"], "classes: expected names of the model's 4 (person, bicycle, bus, bus stop), found 'preson' "
         "(did you mean 'person'?)"),
        ("Bus", "(person, bicycle, bus, bus stop), found 'Bus' (did you mean 'bus'?)"),
        (["zebra", "bycicle"], "found 'zebra', 'bycicle' (did you mean 'bicycle'?)"),
        ([4], "classes: expected names, or ids of 0 to 3, found 4"),
        ([-1], "found -1"),
        ([True], "found True"),
        ([1.5], "found 1.5"),
        (7, "classes: expected names or ids, as in ['person', 2], found 7"),
    ],
)  # fmt: skip
def test_names_that_no_class_has_are_refused_in_one_line(classes, message):
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        make().filter(classes)
    assert "\n" not in str(caught.value)


@pytest.fixture
def photograph(tmp_path, rng):
    path = tmp_path / "photograph.png"
    Image.fromarray(rng.integers(0, 60, (480, 640, 3), np.uint8)).save(path)
    return path


def test_plots_the_image_by_path_array_or_pil(photograph):
    array = cv2.imread(str(photograph))
    before = array.copy()
    drawn = [make(image=image).plot() for image in (photograph, str(photograph), array, Image.open(photograph))]
    drawn += [make().plot(photograph), make()[:].plot(array)]
    assert all(np.array_equal(one, drawn[0]) for one in drawn)
    assert np.array_equal(array, before)
    assert (drawn[0][20, 30] != array[20, 30]).any()


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (None, "plot: expected the image, found none: .* give it, as in plot"),
        (np.zeros((10, 20, 3), np.uint8), "plot: expected the image of 640x480 .*, found one of 20x10"),
        ("missing.png", "missing.png: expected an image file, found none"),
    ],
)
def test_a_picture_that_is_not_there(image, message):
    found = make(image=image)
    with pytest.raises(InputError, match=message):
        found.plot()
    assert "no picture: " in found._repr_html_()  # a repr does not fail


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".PNG"])
def test_saves_as_the_suffix_says(photograph, tmp_path, suffix):
    found = make(image=photograph)
    path = found.save(tmp_path / "new" / f"drawn{suffix}")
    with Image.open(path) as image:
        assert (image.format, image.size) == ({".jpg": "JPEG", ".webp": "WEBP"}.get(suffix, "PNG"), (640, 480))
    if suffix == ".png":
        assert np.array_equal(cv2.imread(str(path)), found.plot())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("photograph.png", "expected another file than the image itself"),
        ("drawn", "expected a name that ends in one of .jpg"),
        ("drawn.exe", "expected a name that ends in"),
        ("photograph.png/drawn.png", "cannot be written"),
    ],
)
def test_saves_nowhere_it_must_not(photograph, tmp_path, name, message):
    before = photograph.read_bytes()
    with pytest.raises(InputError, match=message):
        make(image=photograph).save(tmp_path / name)
    assert photograph.read_bytes() == before
    assert list(tmp_path.iterdir()) == [photograph]


def test_a_notebook_shows_words_and_picture(rng):
    image = rng.integers(0, 60, (480, 1920, 3), np.uint8)
    shown = make((0,), names=("<b>&",), image_hw=(480, 1920), image=image)._repr_html_()
    assert shown.startswith("<p>1 detection in 1920x480: 1 &lt;b&gt;&amp;</p><img alt=")
    jpeg = base64.b64decode(re.search(r"base64,([^\"]+)", shown)[1])
    assert cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR).shape == (240, 960, 3)


def whole():
    mask = np.zeros((3, 480, 640), bool)
    mask[:, 30:50, 20:60] = True
    return make(
        masks=Masks.from_bitmaps(mask),
        tracker_id=np.array([7, 8, 9]),
        keypoints=np.arange(3 * 17 * 3, dtype=np.float32).reshape(3, 17, 3),
        xywhr=np.tile(np.array([[35, 55, 30, 20, 0.3]], np.float32), (3, 1)),
    )


def test_becomes_supervision_s_own():
    ours = whole()
    theirs = ours.to_supervision()
    assert isinstance(theirs, sv.Detections)
    picked = theirs[theirs.confidence < 0.7]  # its own filtering takes all columns along
    for name in ("xyxy", "confidence", "class_id", "tracker_id", "mask"):
        assert np.array_equal(getattr(picked, name), getattr(ours, name)[1:]), name
    assert picked["class_name"].tolist() == ["bus", "person"]
    assert np.array_equal(picked["keypoints"], ours.keypoints[1:])
    assert np.array_equal(picked["xyxyxyxy"], ours.data["xyxyxyxy"][1:])
    assert sv.Detections.merge([theirs, make(()).to_supervision()]).xyxy.shape == (3, 4)
    assert len(make(()).to_supervision()) == 0


def test_a_missing_supervision_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(
        MissingPackageError, match=r"to_supervision needs the package 'supervision' .* \[draw\].*: pip install "
    ):
        make().to_supervision()


def test_no_package_for_tables_is_told(monkeypatch):
    for package in ("pandas", "polars"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(Y12Error, match=r"^to_df: expected pandas or polars, found neither: pip install pandas$"):
        make().to_df()


@pytest.mark.parametrize("package", ["pandas", "polars"])
def test_a_table_of_what_is_installed(monkeypatch, package):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    other = {"pandas": "polars", "polars": "pandas"}[package]
    monkeypatch.setitem(sys.modules, other, None)
    table = whole().to_df()
    assert type(table).__module__.partition(".")[0] == package
    assert list(table["class_name"]) == ["person", "bus", "person"]
    assert list(table["x2"]) == [60, 100, 140]
    columns = "class_name class_id confidence x1 y1 x2 y2 x y width height angle tracker_id"
    assert list(table.columns) == columns.split()
    assert len(make(()).to_df()) == 0


@pytest.mark.parametrize("there", ["pandas", "polars"])
def test_a_table_is_made_by_the_package_that_is_there(monkeypatch, there):
    """What either is handed: columns by name. Both are tried for real where they are installed."""
    monkeypatch.setitem(sys.modules, {"pandas": "polars", "polars": "pandas"}[there], None)
    monkeypatch.setitem(sys.modules, there, SimpleNamespace(DataFrame=lambda columns: (there, columns)))
    package, columns = make().to_df()
    assert package == there
    assert columns["y2"].tolist() == [90, 130, 170]
    assert {len(column) for column in columns.values()} == {3}


def test_json_is_what_the_records_say():
    found = whole()
    assert json.loads(found.to_json(masks="polygon")) == found.as_records("polygon")
    assert make((0,), names=("人\x85\ud800",)).to_json().isprintable()


def test_an_image_on_a_gpu_is_not_kept():
    """Nobody would expect a result to hold a GPU's memory."""
    assert kept_source(SimpleNamespace(__cuda_array_interface__={})) is None


def test_a_result_from_a_path_holds_no_pixels(photograph):
    assert make(image=photograph)[:2].image == Path(photograph)
