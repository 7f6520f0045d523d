"""examples/cpp, compiled against a TensorRT that answers from a file: what it prints is what y12's runtime finds."""

import itertools

import numpy as np
import pytest

from tests.examples.cpp_program import check, plan, predictions
from tests.runtime.conftest import FakeExecutor, colour_manifest, colour_model
from y12 import Runtime
from y12.runtime.artefact.manifest import ONNX_KEY
from y12.runtime.options import DetectOptions


def expected(folder, output, image, options):
    """Return what the runtime finds where a network gives `output`, and what it fed that network."""
    executor = FakeExecutor(lambda blob: {"output0": output.astype(np.float32)})
    names = tuple(f"class {i}" for i in range(output.shape[1] - 4))
    path = folder / "model.onnx"
    path.write_bytes(colour_model(metadata={ONNX_KEY: colour_manifest(names=names).to_json()}))
    with Runtime(path, executor) as runtime:
        return runtime.infer(image, options), executor.blobs[0]


SIZES = [(64, 64), (48, 64), (31, 97), (200, 63), (1, 1), (7, 640), (65, 64)]


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("image_hw", SIZES, ids=str)
def test_prints_what_the_runtime_finds(run, tmp_path, rng, image_hw, dtype):
    image = rng.integers(0, 256, (*image_hw, 3), np.uint8)
    output = predictions(rng, dtype=dtype)
    for conf in (0.25, 0.9):
        found, blob = expected(tmp_path, output, image, DetectOptions(conf=conf))
        check(run.found(plan(output, (64, 64)), image, conf), found)
        assert len(found) > 2 or min(image_hw) == 1
        assert np.abs(run.blob - blob.ravel()).max() <= 1.01 / 255  # OpenCV's resize differs by a gray level
        assert np.abs(run.blob - blob.ravel()).mean() <= 0.2 / 255


def test_a_second_output_and_rows_behind_the_scores_do_not_disturb(run, tmp_path, rng):
    image = rng.integers(0, 256, (50, 60, 3), np.uint8)
    output = predictions(rng)
    found, _ = expected(tmp_path, output, image, DetectOptions())
    masks = rng.uniform(5, 9, (1, 32, output.shape[2])).astype(np.float32)
    whole = np.concatenate([output, masks], axis=1)
    check(run.found(plan(whole, (64, 64), second=True), image, 0.25, 3), found)


def test_no_more_than_300_are_printed(run, tmp_path, rng):
    image = np.zeros((64, 64, 3), np.uint8)
    output = predictions(rng, places=500)
    grid = np.array(list(itertools.product(range(25), range(20))), np.float32).T
    output[0, :4] = [*(grid * 2.5), np.full(500, 2), np.full(500, 2)]
    output[0, 4] = np.linspace(0.5, 1, 500)
    found, _ = expected(tmp_path, output, image, DetectOptions())
    lines = run.found(plan(output, (64, 64)), image)
    assert len(lines) == 300
    check(lines, found)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_is_an_error_and_no_result(run, rng, value):
    output = predictions(rng)
    output[0, 5, 7] = value
    done = run(plan(output, (64, 64)), np.zeros((9, 9, 3), np.uint8))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: output0: expected finite scores, found NaN or infinity\n"


HALVES = [0.0, 6e-8, 6.1e-5, 0.25, 0.3333, 1.0, 63.97]


@pytest.mark.parametrize("value", HALVES)
def test_halves_are_read_exactly(run, value):
    half = np.float16(value)
    output = np.zeros((1, 5, 1), np.float16)
    output[0, :, 0] = [32, 32, 8, 8, half]
    lines = run.found(plan(output, (64, 64)), np.zeros((64, 64, 3), np.uint8), 0)
    assert [f"{line[1]:.6f}" for line in lines] == ([f"{float(half):.6f}"] if half else [])


STEPS = {
    "createInferRuntime": "TensorRT could not start",
    "createExecutionContext": "TensorRT could not prepare model.engine",
    "cudaStreamCreate": "CUDA could not make a stream: the stub was told to fail",
    "cudaMalloc": "CUDA could not allocate memory: the stub was told to fail",
    "upload": "CUDA could not copy the image: the stub was told to fail",
    "download": "CUDA could not copy the output: the stub was told to fail",
    "setInputShape": "TensorRT could not take an image of this size",
    "setTensorAddress": "TensorRT could not bind the input",
    "enqueueV3": "TensorRT could not run",
    "cudaStreamSynchronize": "CUDA could not finish: the stub was told to fail",
}


@pytest.mark.parametrize(("step", "complaint"), STEPS.items())
def test_every_call_is_checked_and_everything_is_freed(run, rng, step, complaint):
    done = run(plan(predictions(rng), (64, 64)), np.zeros((9, 9, 3), np.uint8), fail=step)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.removesuffix("; its log above says why\n").rstrip() == f"error: {complaint}"


@pytest.mark.parametrize(
    ("plan_bytes", "complaint"),
    [
        (b"", "model.engine: expected a plan, found nothing to read"),
        (b"short", "TensorRT could not load model.engine; its log above says why"),
        (
            plan(np.zeros((1, 7), np.float32), (64, 64)),
            "output0: expected (B, 4 + classes, places); is this a detector?",
        ),
        (
            plan(np.zeros((1, 4, 9), np.float32), (64, 64)),
            "output0: expected 4 rows of boxes and one of each class, found 4",
        ),
        (plan(np.zeros((1, 7, 9), np.int32), (64, 64)), "TensorRT could not give floats in output0"),
        (plan(np.zeros((1, 7, 9), np.float32), (64, 64), input_type=1), "TensorRT could not take floats"),
    ],
)
def test_what_is_no_detector_is_refused(run, plan_bytes, complaint):
    done = run(plan_bytes, np.zeros((9, 9, 3), np.uint8))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"error: {complaint}")
    assert "not for the user" not in done.stderr


PIXELS = bytes(range(12))


@pytest.mark.parametrize(
    ("photo", "complaint"),
    [
        (b"", "expected a binary PPM (P6)"),
        (b"P5 2 2 255\n" + PIXELS, "expected a binary PPM (P6)"),
        (b"P6 2 -2 255\n" + PIXELS, "expected numbers of 1 to 32768 in a PPM's header"),
        (b"P6 2 99999999999999999999 255\n" + PIXELS, "expected numbers of 1 to 32768 in a PPM's header"),
        (b"P6 2 2 65535\n" + PIXELS * 2, "expected numbers of 1 to 32768 in a PPM's header"),
        (b"P6 2 2 127\n" + PIXELS, "expected a PPM of 8 bits"),
        (b"P6 2 2 255\n" + PIXELS[:-1], "expected more pixels, found the end of the file"),
        (b"P6 2 2 255", "expected a PPM of 8 bits"),
    ],
)
def test_damaged_photographs_are_refused(run, photo, complaint, rng):
    done = run(plan(predictions(rng), (64, 64)), photo)
    assert (done.returncode, done.stderr) == (1, f"error: photo.ppm: {complaint}\n")


def test_comments_in_a_photograph_are_skipped(run, rng):
    output = plan(predictions(rng), (64, 64))
    plain = run.found(output, b"P6 2 2 255\n" + PIXELS)
    blob = run.blob
    np.testing.assert_array_equal(run.found(output, b"P6\n# by hand\n# 3 4\n2 2\n255\n" + PIXELS), plain)
    np.testing.assert_array_equal(run.blob, blob)


@pytest.mark.parametrize("options", [("1.1",), ("-0.1",), ("nan",), ("0.5x",), ("",), ("0.5", "0"), ("0.5", "x")])
def test_wrong_numbers_are_refused(run, rng, options):
    done = run(plan(predictions(rng), (64, 64)), np.zeros((9, 9, 3), np.uint8), *options)
    assert done.returncode == 1
    assert done.stderr.startswith("error: expected ")
    assert done.stderr.endswith(f", found '{options[-1]}'\n")
