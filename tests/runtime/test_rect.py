"""Rectangular input: its size, that only padding goes, batches of mixed sizes, and where boxes come back to."""

import json
import sys
from itertools import product

import numpy as np
import pytest
from PIL import Image

from tests.each import each
from y12 import Runtime
from y12.errors import InputError
from y12.runtime.artefact.manifest import AxisRange, InputProfile, Manifest
from y12.runtime.artefact.opened import Artefact
from y12.runtime.cli.bench import main as bench
from y12.runtime.cli.infer import main as infer
from y12.runtime.preprocess.input_size import InputSize
from y12.runtime.preprocess.letterbox import Letterbox, letterbox, padded_image

FREE = AxisRange(32, 64, 256)
STRIDES = (8, 16, 32)
# height and width of the image, and of its input of at most 64x64 in multiples of 32
SIZES = [((64, 64), (64, 64)), ((20, 64), (32, 64)), ((48, 30), (64, 64)), ((200, 90), (64, 32)), ((7, 500), (32, 64))]


def manifest_of(height=FREE, width=FREE, batch=(1, 1, 4), **changes):
    profile = InputProfile(AxisRange(*batch), height, width)
    return Manifest(profile=profile, **{"task": "detect", "names": ("a",), "strides": STRIDES} | changes)


def centres(blob):
    """Find one box in each image of whatever size: at the middle of what is not gray, as large as that."""
    rows = []
    for image in blob:
        seen = np.abs(image - 114 / 255).max(axis=0) > 0.05
        y, x = (np.flatnonzero(seen.any(axis=axis)) for axis in (1, 0))
        left, right, top, bottom = x[0], x[-1] + 1, y[0], y[-1] + 1
        rows.append([(left + right) / 2, (top + bottom) / 2, right - left, bottom - top, 0.9])
    return {"output0": np.array(rows, np.float32)[:, :, None]}


def opened(fake, manifest=None, **options):
    manifest = manifest or manifest_of()
    return Runtime(Artefact("made-up.onnx", "onnx", manifest, "a test"), fake, **{"rect": True} | options)


def white(size_hw, level=255):
    return np.full((*size_hw, 3), level, np.uint8)


@pytest.mark.parametrize(("image_hw", "input_hw"), SIZES)
def test_the_input_is_what_holds_the_image_and_boxes_come_back_exactly(fake_executor, image_hw, input_hw):
    fake = fake_executor(centres)
    found = opened(fake).infer(white(image_hw))
    assert [blob.shape for blob in fake.blobs] == [(1, 3, *input_hw)]
    assert found.xyxy[0].tolist() == pytest.approx([0, 0, image_hw[1], image_hw[0]], rel=1e-6)


def test_only_padding_goes(rng):
    """Every size of image: the pixels in the input are those of the full size, and no smaller input would do."""
    size = InputSize((96, 128), (32, 64), 32)

    def check(image_hw):
        image = rng.integers(0, 100, (*image_hw, 3), dtype=np.uint8)  # darker than the padding
        full, whole = letterbox(image, size.full_hw)
        frame = size.frame(image_hw)
        own = padded_image(image, frame)
        assert own.shape[:2] == frame.input_hw == size.input_hw(image_hw)
        assert (frame.scale, frame.resized_hw) == (whole.scale, whole.resized_hw)
        for side, inside, least in zip(frame.input_hw, frame.resized_hw, size.least_hw, strict=True):
            assert side % 32 == 0
            assert side >= inside
            assert side - 32 < max(inside, least)
        assert np.array_equal(inner(own, frame), inner(full, whole))
        assert (own >= 100).all(axis=2).sum() == own.shape[0] * own.shape[1] - inner(own, frame).size // 3

    each(((f"{h}x{w}", (h, w)) for h, w in product((1, 30, 61, 96, 97, 300), (1, 45, 64, 128, 201, 999))), check)


def inner(padded, frame: Letterbox):
    height, width = frame.resized_hw
    return padded[frame.top : frame.top + height, frame.left : frame.left + width]


def test_images_of_one_size_run_together_and_results_keep_their_order(fake_executor):
    fake = fake_executor(centres)
    sizes = [(20, 64), (64, 20), (40, 128), (64, 64), (10, 32)]
    runtime = opened(fake, manifest_of(batch=(1, 1, 8)))
    images = [white(size) for size in sizes]
    wanted = [[[0, 0, width, height]] for height, width in sizes]
    assert [found.xyxy.tolist() for found in runtime.infer_batch(images)] == wanted
    assert [blob.shape for blob in fake.blobs] == [(3, 3, 32, 64), (1, 3, 64, 32), (1, 3, 64, 64)]
    fake.blobs.clear()
    assert [found.xyxy.tolist() for found in runtime.stream(images, batch=2)] == wanted
    shapes = [(1, 3, 32, 64), (1, 3, 64, 32), (1, 3, 32, 64), (1, 3, 64, 64), (1, 3, 32, 64)]
    assert [blob.shape for blob in fake.blobs] == shapes
    with pytest.raises(InputError, match="expected a uint8"):  # the others of its batch are not what fails
        runtime.infer_batch([images[0], images[0].astype(np.float32)])


def test_a_size_that_needs_more_images_is_filled(fake_executor):
    fake = fake_executor(lambda blob: centres(np.where(blob == 0.5, 1, blob)))
    runtime = opened(fake, manifest_of(batch=(2, 2, 2)))
    found = runtime.infer_batch([white((20, 64)), white((64, 20))])
    assert [one.xyxy.tolist() for one in found] == [[[0, 0, 64, 20]], [[0, 0, 20, 64]]]
    assert [blob.shape for blob in fake.blobs] == [(2, 3, 32, 64), (2, 3, 64, 32)]


@pytest.mark.parametrize(
    ("height", "width", "imgsz", "image_hw", "input_hw"),
    [
        (FREE, FREE, 128, (30, 128), (32, 128)),
        (FREE, FREE, (64, 128), (30, 128), (32, 128)),
        (FREE, FREE, (64, 128), (128, 30), (64, 32)),
        (AxisRange(64, 64, 64), FREE, None, (10, 64), (64, 64)),  # one side is free
        (AxisRange(64, 64, 64), FREE, None, (64, 10), (64, 32)),
        (AxisRange(40, 128, 128), FREE, None, (10, 128), (64, 64)),  # the least it takes, in multiples of the stride
    ],
)
def test_the_size_that_is_asked_for_bounds_it(fake_executor, height, width, imgsz, image_hw, input_hw):
    fake = fake_executor(centres)
    opened(fake, manifest_of(height, width), imgsz=imgsz).infer(white(image_hw))
    assert [blob.shape[2:] for blob in fake.blobs] == [input_hw]


FIXED = AxisRange(64, 64, 64)


@pytest.mark.parametrize(
    ("manifest", "options", "said"),
    [
        (manifest_of(FIXED, FIXED), {}, "whose height or width is free, found 64x64 fixed in it"),
        (manifest_of(), {"imgsz": 32}, "takes less than 32x32, found one that does not"),
        (manifest_of(AxisRange(32, 70, 96), FREE), {}, "imgsz in multiples of 32, found 70x64"),
        (manifest_of(task="classify", strides=()), {}, "finds objects, found a classifier"),
    ],
)
def test_what_cannot_be_rectangular_is_refused(fake_executor, manifest, options, said):
    with pytest.raises(InputError, match=f"^rect: expected .*{said}: "):
        opened(fake_executor(centres), manifest, **options)


@pytest.fixture
def dynamic(make_onnx, make_manifest):
    return str(make_onnx(batch="b", size="s", manifest=make_manifest(batch=AxisRange(1, 1, 8), size=FREE)))


@pytest.mark.parametrize("batch", ["1", "4"])
def test_the_command_finds_the_same_in_any_batch(dynamic, tmp_path, capsys, batch):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number, (height, width) in enumerate([(20, 64), (64, 20), (40, 128), (64, 64)]):
        Image.new("RGB", (width, height), (255, 0, 0)).save(pictures / f"{number}.png")
    assert infer([dynamic, str(pictures), "--rect", "--json", "--batch", batch]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [record["counts"] for record in records] == [{"red": 1}] * 4
    # The network always says (32, 32), where it is 64x64 the middle. Its scores are the colour's share of the input.
    scores = [record["detections"][0]["confidence"] for record in records]
    gray = 114 / 255
    shares = [20 / 32, 20 / 32, 20 / 32, 1]
    assert scores == pytest.approx([share + (1 - share) * gray for share in shares], abs=1e-4)


def test_the_benchmark_says_what_it_timed(dynamic, capsys):
    assert bench([dynamic, "--rect", "--iterations", "1", "--warmup", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["input_hw"] == [64, 64]  # of 480x640
    assert bench([dynamic, "--rect", "--imgsz", "256", "--iterations", "1", "--warmup", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["input_hw"] == [192, 256]


def test_a_fixed_artefact_is_refused_in_one_line(make_onnx, tmp_path, capsys):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    assert infer([str(make_onnx()), str(tmp_path / "a.png"), "--rect"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: rect: expected an artefact whose height or width is free, found 64x64 fixed in it")


PEERS = {False: [0.9402, 0.9073, 0.8490, 0.8425, 0.4156], True: [0.9382, 0.8922, 0.8866, 0.8616, 0.6264]}


@pytest.mark.parametrize("rect", PEERS)
def test_a_stranger_s_graph_finds_what_its_own_program_does(shared, tmp_path, monkeypatch, rect):
    monkeypatch.setattr(sys, "path", [str(shared / "foreign_onnx"), *sys.path])
    import onnx
    import unpack

    onnx.save(unpack.load("T_yolo11n_dynamic"), tmp_path / "peer.onnx")
    with Runtime(tmp_path / "peer.onnx", rect=rect) as runtime:
        found = runtime.infer(shared / "images/bus.jpg")
    assert found.confidence.tolist() == pytest.approx(PEERS[rect], abs=5e-4)
    assert found.class_name == ["bus", *["person"] * 4]
