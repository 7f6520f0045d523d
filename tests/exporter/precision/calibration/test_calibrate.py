"""Calibration on real ONNX Runtime: what is counted is what the runtime would have the network see."""

from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from text_models import copy_of, model_of, noise, run

from y12.errors import ExecutorError
from y12.exporter.precision.calibration import activations
from y12.exporter.precision.calibration.calibrate import (
    CalibrationError,
    CalibrationOptions,
    calibrate,
    collect_histograms,
    ranges_from_histograms,
)
from y12.exporter.precision.calibration.calibration_images import calibration_images
from y12.exporter.precision.calibration.histograms import Histogram
from y12.exporter.precision.quantization_options import CLIPPINGS
from y12.exporter.precision.ranges import Range, Ranges
from y12.exporter.verify.verify_images import photos_dir
from y12.runtime.artefact.manifest import AxisRange, InputProfile
from y12.runtime.preprocess.crop import centre_crop
from y12.runtime.preprocess.images import image_from
from y12.runtime.preprocess.letterbox import blob_from, letterbox
from y12.runtime.tasks import fit_for

BODY = "{ y = Conv<strides=[2,2]>(images, w) s = Sigmoid(y) z = Mul(y, s) out = Conv(z, u) }"
WEIGHTS = {"w": noise(4, 3, 2, 2) * 3, "u": noise(2, 4, 1, 1, seed=1)}
MAX = CalibrationOptions("max")
MANY = 100  # images, from which on there is no warning


def network(batch: str = "1") -> onnx.ModelProto:
    return model_of(f"(float[{batch},3,32,48] images) => (float[{batch},2,16,24] out) {BODY}", **WEIGHTS)


def fitting(*batch: int, task: str = "detect", hw: tuple[int, int] = (32, 48)) -> tuple[str, InputProfile]:
    """What images are made to fit: a task and its input's shapes."""
    sides = [AxisRange(side, side, side) for side in hw]
    return task, InputProfile(AxisRange(*(batch or (1, 1, 1))), *sides)


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    """Six images of several sizes, each with values of its own: the last is the brightest."""
    rng = np.random.Generator(np.random.PCG64(3))
    for i in range(6):
        pixels = rng.integers(0, 100 + 30 * i, size=(20 + 10 * i, 60 - 5 * i, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / f"{i}.png"), pixels)
    return sorted(tmp_path.iterdir())


def prepared(paths: list[Path], hw: tuple[int, int] = (32, 48)) -> NDArray[np.float32]:
    return blob_from([letterbox(image_from(path), hw)[0] for path in paths])


def shown(model: onnx.ModelProto, *names: str) -> onnx.ModelProto:
    """The model with these tensors as its outputs."""
    model = copy_of(model)
    del model.graph.output[:]
    model.graph.output.extend(onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, None) for n in names)
    return model


def counts_of(histograms: dict[str, Histogram]) -> dict[str, tuple[float, list[int]]]:
    return {name: (h.width, h.counts.tolist()) for name, h in histograms.items()}


def test_ranges_are_those_of_the_graph_run_on_the_letterboxed_images(images):
    (ranges,) = calibrate(network(), ["y", "z", "out"], images, *fitting(), MAX)

    values = [run(shown(network(), "y", "z", "out"), prepared([path])) for path in images]
    for name in ("y", "z", "out"):
        every = np.concatenate([v[name].ravel() for v in values])
        expected = Range.around_zero(float(every.min()), float(every.max()))
        assert (ranges.by_tensor[name].low, ranges.by_tensor[name].high) == pytest.approx((expected.low, expected.high))
    assert list(ranges.by_tensor) == ["y", "z", "out"]
    assert (ranges.images, ranges.method) == (6, "max, symmetric")


def test_every_value_is_counted_once(images):
    histograms = collect_histograms(network(), ["y", "images", "y"], images, *fitting())
    assert {name: h.total for name, h in histograms.items()} == {"y": 6 * 4 * 16 * 24, "images": 6 * 3 * 32 * 48}


def test_the_input_itself_can_be_asked_for(images):
    whole = prepared(images)
    (ranges,) = calibrate(network(), ["images"], images, *fitting(), MAX)
    (span,) = ranges.by_tensor.values()
    assert span == Range(0.0, float(whole.max()))


@pytest.mark.parametrize(("batch", "profile"), [("4", (4, 4, 4)), ("5", (5, 5, 5)), ("6", (6, 6, 6)), ("N", (1, 4, 8))])
def test_the_batch_does_not_matter(images, batch, profile):
    """6 images at 4 or 5 at a time: what fills up the last batch must not be counted."""
    expected = collect_histograms(network(), ["y", "images"], images, *fitting())
    histograms = collect_histograms(network(batch), ["y", "images"], images, *fitting(*profile))
    assert counts_of(histograms) == counts_of(expected)


def test_neither_does_the_order_of_the_images(images):
    expected = collect_histograms(network(), ["y", "z"], images, *fitting())
    histograms = collect_histograms(network(), ["y", "z"], images[::-1], *fitting())
    assert counts_of(histograms) == counts_of(expected)
    assert ranges_from_histograms(histograms, 6, CalibrationOptions("mse")) == ranges_from_histograms(
        expected, 6, CalibrationOptions("mse")
    )


def test_twice_gives_the_same_to_the_bit(images):
    one, two = (calibrate(network(), ["y", "z"], images, *fitting(), CalibrationOptions()) for _ in range(2))
    assert [ranges.to_json() for ranges in one] == [ranges.to_json() for ranges in two]
    assert [ranges.method.split(",")[0] for ranges in one] == ["mse", "l3", "percentile 99.99", "max"]  # all are tried


def test_a_classifier_sees_what_it_sees_at_inference(images):
    histogram = collect_histograms(network(), ["images"], images, *fitting(task="classify"))["images"]
    expected = Histogram()
    for path in images:
        expected.add(blob_from([centre_crop(image_from(path), (32, 48))[0]]))
    assert fit_for("classify") is centre_crop
    assert np.array_equal(histogram.counts, expected.counts)


def test_the_size_is_the_profiles_best(images):
    free = model_of(f"(float[1,3,H,W] images) => (float[1,2,A,B] out) {BODY}", **WEIGHTS)
    sides = AxisRange(32, 32, 64), AxisRange(32, 48, 64)
    ranging = InputProfile(AxisRange(1, 1, 1), *sides)
    expected = collect_histograms(network(), ["y"], images, *fitting())
    assert counts_of(collect_histograms(free, ["y"], images, "detect", ranging)) == counts_of(expected)


def test_progress_tells_images_done(images):
    calls: list[tuple[int, int]] = []
    calibrate(network("4"), ["y"], images, *fitting(4, 4, 4), MAX, lambda *call: calls.append(call))
    assert calls == [(4, 6), (6, 6)]


@pytest.mark.parametrize("count", [MANY - 1, MANY])
def test_few_images_are_told_of(images, count):
    (ranges,) = calibrate(network(), ["y"], [images[0]] * count, *fitting(), MAX)
    assert len(ranges.notes) == (count < MANY)
    assert all("99 images only" in note for note in ranges.notes)


def test_the_graph_is_left_as_it_is(images):
    model = network()
    serialized = model.SerializeToString()
    calibrate(model, ["y"], images, *fitting(), MAX)
    assert model.SerializeToString() == serialized


def test_a_graph_that_fails_is_reported_as_such(images):
    model = network()
    model.graph.initializer[1].CopyFrom(onnx.numpy_helper.from_array(noise(2, 7, 1, 1), "u"))
    with pytest.raises(ExecutorError, match="could not run it"):
        collect_histograms(model, ["out"], images, *fitting())


BAD_GRAPHS = [
    ("{ d = Sub(images, images) y = Reciprocal(d) out = Relu(y) }", "y", "'y' holds Inf on the image .*0.png"),
    ("{ m = Neg(images) y = Sqrt(m) out = Relu(y) }", "y", "'y' holds NaN on the image .*0.png"),
    ("{ y = Cast<to=7>(images) z = Cast<to=1>(y) out = Relu(z) }", "y", "cannot be run with its activations"),
    ("{ y = Relu(images) out = Relu(y) }", "nothing", "found no 'nothing' in the graph"),
    (
        "{ y = ReduceMax<keepdims=0>(images) out = Add(images, y) }",
        "y",
        r"a first axis of images, 1 at a time, found \(\)",
    ),
]


@pytest.mark.parametrize(("body", "tensor", "message"), BAD_GRAPHS)
def test_what_cannot_be_calibrated_is_refused(images, body, tensor, message):
    model = model_of(f"(float[1,3,32,48] images) => (float[1,3,32,48] out) {body}")
    with pytest.raises(CalibrationError, match=message) as caught:
        calibrate(model, [tensor], images, *fitting(), MAX)
    assert "\n" not in str(caught.value)


def test_the_image_with_the_nan_is_named_out_of_a_batch(images):
    """The square root of (0.9 - x): only the brightest image has an x over it."""
    body = "{ d = Sub(limit, images) y = Sqrt(d) out = Relu(y) }"
    model = model_of(f"(float[3,3,32,48] images) => (float[3,3,32,48] out) {body}", limit=np.float32(0.85))
    with pytest.raises(CalibrationError, match=r"5\.png"):
        calibrate(model, ["y"], images, *fitting(3, 3, 3), MAX)


def test_a_tensor_over_all_images_of_a_batch_is_refused(images):
    """Which of its values belong to the images that fill up a batch cannot be told."""
    body = "{ y = ReduceMax(images, axes) out = Sub(images, y) }"
    model = model_of(f"(float[3,3,32,48] images) => (float[3,3,32,48] out) {body}", axes=np.array([0]))
    with pytest.raises(CalibrationError, match=r"'y': expected a first axis of images, 3 at a time, found \(1, 3"):
        calibrate(model, ["y"], images, *fitting(3, 3, 3), MAX)


def test_an_image_that_cannot_be_read_is_named(images):
    images[3].write_bytes(b"no image")
    with pytest.raises(CalibrationError, match=r"cannot calibrate on this image: .*3\.png") as caught:
        calibrate(network(), ["y"], images, *fitting(), MAX)
    assert "\n" not in str(caught.value)


def test_no_images_are_refused():
    with pytest.raises(CalibrationError, match="found none"):
        calibrate(network(), ["y"], [], *fitting(), MAX)


def test_the_executor_is_closed_when_an_image_fails(images, monkeypatch):
    closed = []

    class Watched(activations.OrtExecutor):
        def close(self):
            closed.append(self)
            super().close()

    monkeypatch.setattr(activations, "OrtExecutor", Watched)
    images[3].write_bytes(b"no image")
    with pytest.raises(CalibrationError):
        calibrate(network(), ["y"], images, *fitting(), MAX)
    assert len(closed) == 1


def test_on_photographs_a_better_method_quantises_better():
    """The activations of a convolution with SiLU on y12's own photographs, rounded to int8."""
    model = model_of(
        "(float[1,3,160,160] images) => (float[1,8,80,80] out)"
        "{ y = Conv<strides=[2,2], kernel_shape=[6,6], pads=[2,2,2,2]>(images, w) s = Sigmoid(y) out = Mul(y, s) }",
        w=noise(8, 3, 6, 6),
    )
    paths = calibration_images(photos_dir())
    histograms = collect_histograms(model, ["out"], paths, *fitting(hw=(160, 160)))
    values = np.concatenate([run(model, prepared([path], (160, 160)))["out"].ravel() for path in paths])

    def error(ranges: Ranges) -> float:
        scale = ranges.by_tensor["out"].symmetric_scale()
        return float(((np.clip(np.rint(values / scale), -127, 127) * scale - values) ** 2).mean())

    errors = {m: error(ranges_from_histograms(histograms, 4, CalibrationOptions(m))) for m in CLIPPINGS}
    assert len(paths) == 4
    assert errors["mse"] == min(errors.values())
    assert errors["mse"] < 0.9 * errors["max"]
