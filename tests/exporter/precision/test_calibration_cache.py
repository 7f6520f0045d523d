"""The cache answers only for the very same question, and never with damaged ranges."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from text_models import model_of, noise

from exporter.precision import calibrate as calibration
from exporter.precision import range_cache
from exporter.precision.calibrate import CalibrationError, CalibrationOptions, calibrate
from exporter.precision.ranges import Ranges
from runtime.errors import InputError
from runtime.manifest import AxisRange, InputProfile, Manifest

MODEL = model_of(
    "(float[1,3,16,16] images) => (float[1,2,16,16] out) { y = Conv(images, w) out = Relu(y) }", w=noise(2, 3, 1, 1)
)
SIDE = AxisRange(16, 16, 16)
MANIFEST = Manifest("detect", ("thing",), (8,), InputProfile(AxisRange(1, 1, 1), SIDE, SIDE))


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    rng = np.random.Generator(np.random.PCG64(4))
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(3):
        cv2.imwrite(str(folder / f"{i}.png"), rng.integers(0, 255, size=(16, 16, 3), dtype=np.uint8))
    return sorted(folder.iterdir())


@pytest.fixture
def options(tmp_path: Path) -> CalibrationOptions:
    return CalibrationOptions("percentile", 99.0, cache=tmp_path / "cache")


@pytest.fixture
def runs(monkeypatch) -> list[int]:
    """One entry each time that images are run through the network."""
    entries: list[int] = []
    collect = calibration.collect_histograms

    def counting(*arguments):
        entries.append(1)
        return collect(*arguments)

    monkeypatch.setattr(calibration, "collect_histograms", counting)
    return entries


def only_file(options: CalibrationOptions) -> Path:
    assert options.cache is not None
    (file,) = options.cache.iterdir()
    return file


def test_the_second_time_nothing_is_run(images, options, runs):
    (first,) = calibrate(MODEL, ["y"], images, MANIFEST, options)
    (second,) = calibrate(MODEL, ["y"], images, MANIFEST, options)
    assert second == first
    assert len(runs) == 1
    assert not any("cache" in note for note in first.notes)
    assert any("from the cache" in note for note in second.notes)
    assert any("3 images only" in note for note in second.notes)


def test_without_a_folder_nothing_is_kept(images, runs, tmp_path):
    for _ in range(2):
        calibrate(MODEL, ["y"], images, MANIFEST, CalibrationOptions())
    assert len(runs) == 2
    assert {path.name for path in tmp_path.iterdir()} == {"images"}


def test_names_and_order_of_the_images_do_not_matter(images, options, runs, tmp_path):
    (first,) = calibrate(MODEL, ["y"], images, MANIFEST, options)
    moved = [Path(shutil.copy(path, tmp_path / f"other{i}.png")) for i, path in enumerate(images)]
    assert calibrate(MODEL, ["y"], moved[::-1], MANIFEST, options) == (first,)
    assert len(runs) == 1


def other_model():
    model = type(MODEL)()
    model.CopyFrom(MODEL)
    model.graph.initializer[0].raw_data = (noise(2, 3, 1, 1) * 2).tobytes()
    return model


def at_another_size(axis):
    return replace(MANIFEST, profile=replace(MANIFEST.profile, **{axis: AxisRange(8, 16, 24)}))


# what is asked for the second time, where it differs
STALE = {
    "weights": {"graph": other_model()},
    "tensors": {"tensors": ["out"]},
    "more tensors": {"tensors": ["y", "out"]},
    "fewer images": {"images": slice(2)},
    "an image twice": {"images": [0, 1, 2, 2]},
    "method": {"options": {"method": "mse"}},
    "percentile": {"options": {"percentile": 99.00001}},
    "affine": {"options": {"symmetric": False}},
    "task, and so how images are fitted": {"manifest": replace(MANIFEST, task="classify")},
}


@pytest.mark.parametrize("change", STALE.values(), ids=STALE.keys())
def test_another_question_is_not_answered_from_the_cache(images, options, runs, change):
    calibrate(MODEL, ["y"], images, MANIFEST, options)
    pick = change.get("images", slice(None))
    calibrate(
        change.get("graph", MODEL),
        change.get("tensors", ["y"]),
        images[pick] if isinstance(pick, slice) else [images[i] for i in pick],
        change.get("manifest", MANIFEST),
        replace(options, **change.get("options", {})),
    )
    assert len(runs) == 2


def test_all_that_is_tried_is_found_again_after_one_run(images, options, runs):
    tried = replace(options, method="auto")
    first = calibrate(MODEL, ["y"], images, MANIFEST, tried)
    assert len(runs) == 1
    assert calibrate(MODEL, ["y"], images, MANIFEST, tried) == first
    (alone,) = calibrate(MODEL, ["y"], images, MANIFEST, replace(options, method="mse"))
    assert alone == first[0]
    assert len(runs) == 1


def test_each_method_has_its_own_entry(images, options, runs):
    methods = ("max", "mse", "entropy")
    for method in methods:
        (found,) = calibrate(MODEL, ["y"], images, MANIFEST, replace(options, method=method))
        assert found.method.startswith(method)
    assert len(runs) == len(methods)


def test_changed_pixels_are_not_answered_from_the_cache(images, options, runs):
    calibrate(MODEL, ["y"], images, MANIFEST, options)
    pixels = cv2.imread(str(images[1]))
    pixels[3, 3] ^= 1
    cv2.imwrite(str(images[1]), pixels)
    calibrate(MODEL, ["y"], images, MANIFEST, options)
    assert len(runs) == 2


@pytest.mark.parametrize("what", ["size", "format"])
def test_neither_size_nor_format_may_differ(images, monkeypatch, what):
    def key(manifest):
        return range_cache.content_key(MODEL, ["y"], images, ("mse", manifest.profile))

    before = key(MANIFEST)
    if what == "format":
        monkeypatch.setattr(range_cache, "_FORMAT", 999)
        assert key(MANIFEST) != before
    else:
        assert len({before, key(at_another_size("height")), key(at_another_size("width"))}) == 3


def test_parts_are_kept_apart(images):
    keys = {
        range_cache.content_key(MODEL, names, images, ()) for names in (["ab", "c"], ["a", "bc"], ["abc"], ["c", "ab"])
    }
    assert len(keys) == 4


def flipped(content: bytes) -> bytes:
    """A digit of a range becomes another."""
    payload = json.loads(content)["payload"]
    low = json.dumps(json.loads(payload)["ranges"]["y"][0])
    assert low.encode() in content
    return content.replace(low.encode(), low.replace(low[-1], str((int(low[-1]) + 1) % 10)).encode())


DAMAGE = {
    "cut off": lambda content: content[: len(content) // 2],
    "empty": lambda _: b"",
    "no JSON": lambda _: b"ranges",
    "another JSON": lambda _: b"[]",
    "no text": lambda _: b"\xff\xfe",
    "a number changed": flipped,
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_file_is_told_of_and_replaced(images, options, runs, damage):
    (first,) = calibrate(MODEL, ["y"], images, MANIFEST, options)
    file = only_file(options)
    content = file.read_bytes()
    file.write_bytes(damage(content))

    (again,) = calibrate(MODEL, ["y"], images, MANIFEST, options)
    assert again == first
    assert len(runs) == 2
    (told,) = [note for note in again.notes if str(file) in note]
    assert "calibrated again" in told
    assert "\n" not in told
    assert only_file(options).read_bytes() == content


def test_a_file_under_another_name_is_damaged(tmp_path):
    ranges = Ranges({}, "mse", 1)
    range_cache.store_ranges(tmp_path, "a", ranges)
    assert range_cache.load_ranges(tmp_path, "a") == ranges
    assert range_cache.load_ranges(tmp_path, "b") is None
    (tmp_path / "a.json").rename(tmp_path / "b.json")
    with pytest.raises(CalibrationError, match="checksum"):
        range_cache.load_ranges(tmp_path, "b")


def test_a_folder_that_cannot_be_written_to_is_refused_before_any_work(images, options, runs, tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(InputError, match="cache"):
        calibrate(MODEL, ["y"], images, MANIFEST, options)
    assert not runs


def test_a_missing_image_is_named(images, options):
    images[1].unlink()
    with pytest.raises(CalibrationError, match=r"1\.png"):
        calibrate(MODEL, ["y"], images, MANIFEST, options)
