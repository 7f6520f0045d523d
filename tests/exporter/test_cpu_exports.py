"""`--target cpu`: every task computes what torch does, says what it is for, and is kept from TensorRT."""

from contextlib import contextmanager

import numpy as np
import onnx
import pytest

from y12 import DetectOptions, Runtime
from y12.errors import OptionsError
from y12.exporter.export_config import ExportConfig, Int8Options, ShapeOptions
from y12.exporter.export_pipeline import export
from y12.exporter.precision.quantization_options import CalibrationOptions, QuantizeOptions
from y12.exporter.verify.verify_images import photos_dir
from y12.exporter.verify.verify_options import VerifyOptions
from y12.runtime.artefact.nms_settings import NmsSettings

SMALL = ShapeOptions(imgsz=((96, 128),))
ONE = VerifyOptions(max_images=1, allow_inconclusive=True)
PHOTO = sorted(photos_dir().glob("*.jpg"))[0]
# Name, attentions, and expectations over bins, of which a classifier has none.
MODELS = {
    "yolov12n-seg": (8, 1),
    "yolov12n-v1-pose": (8, 1),
    "yolov12n-obb": (8, 1),
    "yolov12n-cls": (8, 0),
    "yolo11n": (1, 1),
    "yolov8n": (0, 1),
}
SLOW = ("yolov12n-v1-pose", "yolov12n-obb", "yolo11n", "yolov8n")


@contextmanager
def silent(_stage):
    yield


def exported(name, folder, **options):
    values = {"form": "cpu", "shapes": SMALL, "verify": ONE} | options
    return export(ExportConfig(name, random_weights="." not in name, output=folder, **values), silent)


def passes_of(result):
    return {done.name: done.changes for done in result.report.simplification.passes}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.exhaustive] * (name in SLOW)) for name in MODELS]
)
def test_every_task_computes_what_torch_does(tmp_path, name):
    attentions, expectations = MODELS[name]
    result = exported(name, tmp_path)
    done = passes_of(result)
    assert (done["map_attention"], done["power_expectations"]) == (attentions, expectations)
    assert "fuse_attention" not in done
    assert result.report.verification.comparisons[0].verdict in ("equal within tolerance", "inconclusive")
    assert result.artefact.endswith(f"{name}_cpu.onnx")
    with Runtime(result.artefact) as runtime:
        assert runtime.manifest.target == "cpu"
        runtime.infer(PHOTO)


@pytest.mark.exhaustive
def test_batch_and_size_are_free_with_nms_inside(tmp_path):
    shapes = ShapeOptions(imgsz=((96, 128), (128, 192), (160, 256)), batch=(1, 2, 4))
    nms = NmsSettings("packed", 400, DetectOptions(conf=0.3, max_det=50))
    raw = {form: exported("yolov12n", tmp_path / form, form=form, shapes=shapes, nms=nms) for form in ("cpu", "trt")}
    assert passes_of(raw["cpu"])["map_attention"] == 8
    for size in ((96, 256), (160, 128)):
        with Runtime(raw["cpu"].artefact, imgsz=size) as cpu, Runtime(raw["trt"].artefact, imgsz=size) as trt:
            images = [PHOTO, np.zeros((50, 70, 3), np.uint8), PHOTO]
            for one, other in zip(cpu.infer_batch(images), trt.infer_batch(images), strict=True):
                assert len(one) == len(other)
                np.testing.assert_allclose(one.xyxy, other.xyxy, atol=1e-2)


def test_a_graph_for_tensorrt_becomes_one_for_cpus_and_not_the_other_way(tmp_path):
    given = exported("yolo11n", tmp_path, form="trt", verify=None).artefact
    made = exported(given, tmp_path / "cpu")
    assert passes_of(made)["map_attention"] == passes_of(made)["power_expectations"] == 1
    with pytest.raises(OptionsError, match="expected a graph in the form that TensorRT fuses, found one for CPUs"):
        exported(made.artefact, tmp_path / "engine", form="trt", format="engine")
    with pytest.raises(OptionsError, match="found one for CPUs; export from the original, or add --target cpu"):
        exported(made.artefact, tmp_path / "onnx", form="trt")
    again = exported(made.artefact, tmp_path / "again", verify=None)
    assert (passes_of(again)["map_attention"], passes_of(again)["power_expectations"]) == (0, 0)


def test_without_being_asked_no_graph_is_for_cpus(tmp_path):
    result = exported("yolo11n", tmp_path, form="trt", verify=None)
    assert not {"map_attention", "power_expectations"} & set(passes_of(result))
    (manifest,) = (entry.value for entry in onnx.load(result.artefact).metadata_props)
    assert "target" not in manifest  # which an older y12 reads too


def test_int8_has_that_form_too(tmp_path):
    int8 = Int8Options(photos_dir(), CalibrationOptions("max", symmetric=False), QuantizeOptions("cpu"))
    result = exported("yolo11n", tmp_path, precision="int8", int8=int8)
    assert passes_of(result)["map_attention"] == 1
    assert result.artefact.endswith("yolo11n_int8_cpu.onnx")
    kinds = [node.op_type for node in onnx.load(result.artefact).graph.node]
    assert kinds.count("Softmax") == 1  # attention's; that of the bins is gone
    with Runtime(result.artefact) as runtime:
        assert (runtime.manifest.precision, runtime.manifest.target) == ("int8", "cpu")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"form": "gpu"}, "--target: expected one of trt, cpu, found 'gpu'"),
        ({"form": "cpu", "format": "engine"}, "--target cpu is for ONNX Runtime; TensorRT needs trt"),
        ({"form": "cpu", "precision": "fp16"}, "drop --half"),
        ({"form": "cpu", "simplify": False}, "--no-simplify leaves out"),
        ({"form": "cpu", "precision": "int8", "int8": Int8Options(photos_dir())}, "name one target for both"),
    ],
)
def test_what_a_cpu_has_no_use_for_is_refused(options, message):
    with pytest.raises(OptionsError, match=message):
        ExportConfig("yolo11n", random_weights=True, **options)
