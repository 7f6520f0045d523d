"""INT8 from the options to a verified artefact: calibrated, quantised, built, audited."""

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.runtime.conftest import colour_manifest
from y12 import Runtime
from y12.errors import CalibrationError, EngineBuildError, OptionsError, VerificationError
from y12.exporter.engine.build_engine import BuiltEngine
from y12.exporter.engine.engine import Engine
from y12.exporter.engine.engine_options import EngineOptions
from y12.exporter.engine.inspect import EngineFacts
from y12.exporter.export_config import ExportConfig, Int8Options, ShapeOptions
from y12.exporter.export_pipeline import export
from y12.exporter.precision.calibration.calibrate import CalibrationOptions, calibrate
from y12.exporter.precision.qdq.qdq import QdqReport, QuantizeOptions, quantize, tensors_to_calibrate
from y12.exporter.verify.engine_precision import check_engine_precision, engine_notes
from y12.exporter.verify.verify_images import photos_dir
from y12.exporter.verify.verify_options import VerifyOptions
from y12.exporter.verify.weights import check_weights
from y12.runtime.artefact.manifest import Manifest

OTHERS = [pytest.param(*row, marks=pytest.mark.exhaustive) for row in (("yolo11n-seg", "max"), ("yolov12n-cls", "mse"))]
SMALL = ShapeOptions(imgsz=((96, 128),))
PHOTOS = photos_dir()


@contextmanager
def silent(_stage):
    yield


def int8(target="trt", method="auto"):
    return Int8Options(PHOTOS, CalibrationOptions(method, symmetric=target == "trt"), QuantizeOptions(target))


@pytest.mark.parametrize(("name", "method"), [("yolov12n", "auto"), *OTHERS])
def test_an_engine(tmp_path, name, method):
    config = ExportConfig(
        name,
        random_weights=True,
        format="engine",
        precision="int8",
        int8=int8(method=method),
        shapes=SMALL,
        verify=VerifyOptions(images=PHOTOS, allow_inconclusive=True),
        output=tmp_path,
    )
    result = export(config, silent)
    report, facts = result.report, result.report.engine
    assert facts.convolutions_by_precision["int8"] == report.quantization.quantized >= 50
    assert facts.fp32_convolutions == ()
    assert facts.attentions_fused == facts.attentions_expected >= 1
    assert report.calibration.startswith("4 images, ")
    assert any("4 images" in note or "fewer" in note or "100" in note for note in report.notes)  # too few to be good
    assert any("--half is likely the better engine for TensorRT-RTX" in note for note in report.notes)
    assert report.verification.comparisons[0].verdict != "different"
    assert any(line.startswith("calibrated") for line in report.summary())
    with Runtime(result.artefact.replace(".engine", ".onnx")) as runtime:
        assert runtime.manifest.precision == "int8"
        runtime.infer(sorted(PHOTOS.glob("*.jpg"))[0])


@pytest.mark.exhaustive
def test_tensorrt_rtx_gets_depthwise_convolutions_in_half_precision_from_an_older_graph_too(tmp_path):
    fp32 = export(
        ExportConfig("yolov12n", random_weights=True, opset=18, shapes=SMALL, verify=None, output=tmp_path), silent
    ).artefact
    config = ExportConfig(
        fp32, precision="int8", int8=int8(method="max"), shapes=SMALL, verify=None, output=tmp_path / "onnx"
    )
    report = export(config, silent).report
    assert "its opset 18 was converted to 19" in report.notes
    of_engine = export(replace(config, format="engine", output=tmp_path / "engine"), silent).report.quantization
    depthwise = {name for name, why in of_engine.left.items() if why.startswith("depthwise")}
    assert len(depthwise) == report.quantization.quantized - of_engine.quantized >= 8


def test_for_onnx_runtime(tmp_path):
    options = VerifyOptions(images=PHOTOS, allow_inconclusive=True)
    config = ExportConfig(
        "yolov12n",
        random_weights=True,
        precision="int8",
        int8=int8("cpu"),
        shapes=SMALL,
        verify=options,
        output=tmp_path,
    )
    result = export(config, silent)
    assert result.report.quantization.target == "cpu"
    assert result.report.quantization.quantized >= 0.95 * result.report.quantization.convolutions
    assert result.report.weights_checked > 200


@pytest.fixture(scope="module")
def quantised(seeded_n, stages_of, make_profile):
    """The simplified graph of a small yolov12n, and what quantisation makes of it for each target."""
    stages = stages_of(seeded_n.detector, make_profile(96, 96))
    manifest = Manifest("detect", stages.detector.names, (8, 16, 32), stages.profile)
    photos = sorted(PHOTOS.glob("*.jpg"))
    typed = {}
    for target in ("trt", "cpu"):
        options = QuantizeOptions(target)
        tensors = tensors_to_calibrate(stages.simplified, options)
        calibration = CalibrationOptions("max", symmetric=target == "trt")
        (ranges,) = calibrate(stages.simplified, tensors, photos, manifest.task, manifest.profile, calibration)
        typed[target] = quantize(stages.simplified, ranges, options)[0]
    return stages.simplified, typed


@pytest.mark.parametrize("target", ["trt", "cpu"])
def test_every_weight_is_audited(quantised, target):
    simplified, typed = quantised
    assert check_weights(simplified, typed[target]) == len(typed[target].graph.initializer)


@pytest.mark.parametrize("target", ["trt", "cpu"])
@pytest.mark.parametrize("index", [0, 40, -1])
def test_a_changed_weight_is_named(quantised, target, index):
    simplified, typed = quantised
    wrong = onnx.ModelProto()
    wrong.CopyFrom(typed[target])
    weights = [w for w in wrong.graph.initializer if w.data_type == onnx.TensorProto.INT8 and len(w.dims) == 4]
    values = numpy_helper.to_array(weights[index]).copy()
    flat = values.reshape(-1)
    largest = int(np.abs(flat.astype(int)).argmax())
    flat[largest] = -flat[largest]
    weights[index].CopyFrom(numpy_helper.from_array(values, weights[index].name))
    with pytest.raises(VerificationError, match="of the typed graph is not the model's in INT8"):
        check_weights(simplified, wrong)


def test_a_weight_where_a_group_does_not_look_is_named(quantised):
    """Convolutions of a few groups are written as one, with zeros."""
    simplified, typed = quantised
    wrong = onnx.ModelProto()
    wrong.CopyFrom(typed["cpu"])
    (weight,) = (w for w in wrong.graph.initializer if w.name == "model.1.0.weight_int8")
    values = numpy_helper.to_array(weight).copy()
    assert values[0, -1].any() == 0
    values[0, -1, 0, 0] = 1
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    with pytest.raises(VerificationError, match=r"'model\.1\.0\.weight_int8' .* is not the model's"):
        check_weights(simplified, wrong)


def facts(**convolutions):
    return EngineFacts(1, 0, {}, {}, convolutions, (), 0, 0, ())


def test_an_engine_of_another_precision_is_refused():
    requested = QdqReport("trt", 89, 96, 80, {})
    check_engine_precision("int8", facts(int8=89, fp16=7), requested)
    with pytest.raises(EngineBuildError, match="asked for INT8, but TensorRT computes 60 of the 89 INT8 convolutions"):
        check_engine_precision("int8", facts(int8=60, fp16=36), requested)


def test_int8_that_moves_little_less_than_fp16_is_told_with_why():
    def moving(count, kernels):
        return replace(facts(int8=1), bytes_moved=count, kernels=kernels)

    def notes(found, half, flavour="rtx"):
        built = BuiltEngine(b"", "TensorRT", (), 0.0)
        return list(engine_notes(Engine(built, colour_manifest(precision="int8"), found, flavour, "", "", half)))

    half = moving(100_000_000, 96)
    (note,) = notes(moving(76_000_000, 156), half)
    assert "INT8 reads and writes 76 MB in 156 kernels, FP16 100 MB in 96 kernels" in note
    assert notes(moving(75_000_000, 156), half) == []
    assert notes(moving(76_000_000, 156), None, "full") == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"int8": None}, "--int8 is calibrated on images like those the model will see: add --calib"),
        ({"precision": "fp16"}, "are of --int8, found precision fp16: add --int8"),
        ({"format": "engine", "int8": int8("cpu")}, "--target cpu is for ONNX Runtime"),
    ],
)
def test_options_that_contradict_each_other(changes, message):
    with pytest.raises(OptionsError, match=message):
        ExportConfig(**({"precision": "int8", "int8": int8()} | changes))


def test_an_empty_folder_and_sm_75_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    config = ExportConfig(
        precision="int8", int8=Int8Options(tmp_path / "empty"), shapes=SMALL, verify=None, output=tmp_path / "out"
    )
    with pytest.raises(CalibrationError, match="empty"):
        export(config, silent)
    config = ExportConfig(
        "yolov8n",
        random_weights=True,
        format="engine",
        precision="int8",
        int8=int8(method="max"),
        shapes=SMALL,
        target=EngineOptions("rtx", sms=(75,)),
        verify=None,
        output=tmp_path / "out",
    )
    with pytest.raises(EngineBuildError, match="asked for INT8, but TensorRT"):
        export(config, silent)
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())
