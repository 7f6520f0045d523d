"""From a prepared network to a file, and from the file to a verified INT8 graph."""

import json
import re
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from qat_checks import as_if_trained

from y12.errors import CalibrationError, CheckpointError, OptionsError
from y12.exporter.checkpoint.metadata import RANGES_KEY
from y12.exporter.checkpoint.save import write_checkpoint
from y12.exporter.cli.export import main
from y12.exporter.export_config import ExportConfig, Int8Options, ShapeOptions
from y12.exporter.export_pipeline import export
from y12.exporter.precision.mixed.budget_options import BudgetOptions
from y12.exporter.precision.qat.convert import convert
from y12.exporter.precision.qat.learned import LearnedRanges
from y12.exporter.precision.quantization_options import CalibrationOptions, QuantizeOptions
from y12.exporter.precision.ranges import Range
from y12.exporter.source import source_from_config
from y12.exporter.verify.verify_images import photos_dir
from y12.exporter.verify.verify_options import VerifyOptions

VERIFY = VerifyOptions(images=photos_dir(), allow_inconclusive=True)


@contextmanager
def silent(_stage):
    yield


@pytest.fixture
def tuned(tmp_path, prepared):
    """A file as training leaves it, its detector and its ranges."""
    detector, learned = convert(as_if_trained(prepared))
    path = tmp_path / "tuned.safetensors"
    write_checkpoint(path, detector, extra={RANGES_KEY: learned.to_json()})
    return path, detector, learned


def config_of(path, int8=Int8Options(None), **changes):  # noqa: B008 (frozen)
    options = {"shapes": ShapeOptions(imgsz=((64, 64),)), "verify": VERIFY, "output": path.parent / "out"}
    return ExportConfig(str(path), precision="int8", int8=int8, **(options | changes))


def test_learned_ranges_need_no_images_and_are_in_the_verified_graph(tuned):
    path, _, learned = tuned
    result = export(config_of(path), silent)
    report = result.report
    comparison = report.verification.comparisons[0]
    assert comparison.reference.startswith("the model as trained, with its rounding, in torch")
    assert comparison.verdict != "different"  # as FP32 with these weights is
    assert report.weights_checked > 100
    assert report.calibration == "1 images, learned from given"
    assert [note for note in report.notes if "learned" in note] == [
        "ranges were learned with the weights: not calibrated"
    ]
    graph = onnx.load(result.artefact).graph
    scales = {w.name: float(numpy_helper.to_array(w)) for w in graph.initializer if not w.dims}
    for tensor, span in learned.ranges.by_tensor.items():
        written = {scales[name] for name in (f"{tensor}_scale", f"{tensor}_fp16_scale") if name in scales}
        assert written == {span.high / 127}


def test_the_command_line_takes_the_file_as_it_is(tuned, capsys):
    path, _, _ = tuned
    out = str(path.parent / "out")
    assert main([str(path), "--int8", "--imgsz", "96", "--dynamic", "--no-verify", "--output", out]) == 0
    printed, notes = capsys.readouterr()
    assert "learned from given" in printed
    assert "ranges were learned with the weights" in notes


def test_calibrating_instead_is_told(tuned):
    path, _, learned = tuned
    int8 = Int8Options(photos_dir(), CalibrationOptions("max"))
    source = source_from_config(config_of(path))
    assert source.learned == learned
    report = export(config_of(path, int8, verify=None), silent).report
    assert report.calibration == "4 images, max, symmetric"
    assert "--calib: calibrated anew; the ranges that were learned with the weights are not used" in report.notes


def test_what_was_kept_in_training_is_kept(tuned):
    path, detector, learned = tuned
    convolution = "/model.2/model.2.0/Conv"
    fewer = {name: span for name, span in learned.ranges.by_tensor.items() if name != "/model.1/cv2/cv2.1/Mul_output_0"}
    some = LearnedRanges(replace(learned.ranges, by_tensor=fewer), frozenset([convolution]))
    write_checkpoint(path, detector, extra={RANGES_KEY: some.to_json()})
    report = export(config_of(path, verify=None), silent).report
    assert report.quantization.left[convolution] == "kept by name"


@pytest.mark.parametrize(
    ("int8", "error", "message"),
    [
        (
            Int8Options(None, quantize=QuantizeOptions("cpu")),
            CalibrationError,
            "--target cpu: drop it, or add --calib",
        ),
        (
            Int8Options(None, quantize=QuantizeOptions(attention=True)),
            CalibrationError,
            "--int8-attention: drop it, or add",
        ),
    ],
)
def test_another_int8_than_was_learned_is_refused(tuned, int8, error, message):
    with pytest.raises(error, match=message):
        export(config_of(tuned[0], int8, verify=None), silent)


def test_a_budget_needs_images_of_its_own():
    with pytest.raises(OptionsError, match=r"--max-drop: without --calib .* add --max-drop-data"):
        Int8Options(None, budget=BudgetOptions(1.0))


@pytest.mark.parametrize("model", [None, "yolov12n", "best.pt", "best.onnx"])
def test_files_that_cannot_have_ranges_need_images(model):
    with pytest.raises(OptionsError, match="add --calib"):
        ExportConfig(model, precision="int8", int8=Int8Options(None))


def test_a_file_without_ranges_needs_images(tuned):
    path, detector, _ = tuned
    write_checkpoint(path, detector)
    with pytest.raises(OptionsError, match="add --calib"):
        export(config_of(path), silent)


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        (lambda r: dict(list(r.items())[1:]), r"found 45 of another \(first: '/model.0/model.0.1/Mul_output_0'\)"),
        (lambda r: r | {"/elsewhere": Range(0, 1)}, r"found 47 of another \(first: '/elsewhere'\)"),
    ],
)
def test_ranges_of_another_graph_are_refused(tuned, change, difference):
    path, detector, learned = tuned
    other = replace(learned, ranges=replace(learned.ranges, by_tensor=change(dict(learned.ranges.by_tensor))))
    write_checkpoint(path, detector, extra={RANGES_KEY: other.to_json()})
    with pytest.raises(CalibrationError, match=difference):
        export(config_of(path), silent)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "not readable as JSON"),
        ("[]", "expected keep, ranges and schema 1"),
        ("[" * 100_000, "not readable as JSON"),
        ('{"schema": 2, "keep": [], "ranges": {}}', "expected keep, ranges and schema 1"),
        ('{"schema": 1, "keep": [3], "ranges": {}}', "up to 4096 names under keep"),
        (json.dumps({"schema": 1, "keep": ["a"] * 5000, "ranges": {}}), "up to 4096 names under keep"),
        ('{"schema": 1, "keep": [], "ranges": {}}', "calibrated ranges: expected images, method"),
        (
            '{"schema": 1, "keep": [], "ranges": {"schema": 1, "method": "m", "images": 1, "ranges": {"a": [1, 2]}}}',
            "'a': a range: expected finite numbers low <= 0 <= high, found 1.0, 2.0",
        ),
        (
            '{"schema": 1, "keep": [], "ranges": {"schema": 1, "method": "m", "images": 1, "ranges": {"a": [0, NaN]}}}',
            "'a': a range: expected finite numbers",
        ),
    ],
)
def test_what_a_stranger_writes_is_refused_in_one_line(tmp_path, prepared, text, reason):
    path = tmp_path / "tuned.safetensors"
    write_checkpoint(path, convert(prepared)[0], extra={RANGES_KEY: text})
    with pytest.raises(CheckpointError, match=re.escape(reason)) as caught:
        export(config_of(path), silent)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_converting_gives_plain_modules_with_what_was_trained(prepared):
    prepared = as_if_trained(prepared)
    for module in prepared.modules():
        if hasattr(module, "eps"):
            module.eps = 3e-4
    detector, learned = convert(prepared)
    state = prepared.state_dict()
    assert {type(m).__name__ for m in detector.modules()}.isdisjoint({"QuantConv", "ActivationQuantizer"})
    assert all(np.array_equal(value, state[key]) for key, value in detector.state_dict().items())
    assert {m.eps for m in detector.modules() if hasattr(m, "eps")} == {3e-4}
    assert LearnedRanges.from_json(learned.to_json()) == learned
    assert learned.ranges.by_tensor.keys() == set(prepared.tensors) - {"images"}
