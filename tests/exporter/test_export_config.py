"""Options that contradict each other are refused before any work, and the message names the option."""

import dataclasses
import math
from pathlib import Path

import pytest

from y12.errors import OptionsError
from y12.exporter.engine.engine_options import EngineOptions
from y12.exporter.export_config import ExportConfig, Int8Options, ShapeOptions
from y12.exporter.precision.quantization_options import QuantizeOptions
from y12.runtime.artefact.manifest import AxisRange

TRT, CPU = (Int8Options(Path("photos"), quantize=QuantizeOptions(target)) for target in ("trt", "cpu"))
FIXED = AxisRange(640, 640, 640)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: ExportConfig(format="tflite"), "--format: expected one of onnx, engine, found 'tflite'"),
        (lambda: ExportConfig(precision="int4"), "precision: expected one of fp32, fp16, int8, found 'int4'"),
        (lambda: ExportConfig(target=EngineOptions(workspace_gib=4)), "add --format engine, or drop them"),
        (lambda: ExportConfig(target=EngineOptions("rtx")), "--tensorrt, --workspace and --sm are of engines"),
        (lambda: ExportConfig(target=EngineOptions(sms=(80,))), "--sm are of engines"),
        (lambda: ExportConfig(opset=16), "--opset: expected 17 to 20, found 16"),
        (lambda: ExportConfig(opset=21), "--opset: expected 17 to 20, found 21"),
        (lambda: ExportConfig("best.onnx", opset=20), "an .onnx keeps its own: drop --opset"),
        (
            lambda: ExportConfig("n", random_weights=True, opset=18, precision="int8", int8=TRT),
            "--opset: --int8 needs 19 or newer, found 18",
        ),
        (lambda: ExportConfig(scale="l"), "--scale is for a model YAML, and none was named"),
        (lambda: ExportConfig("best.pt", scale="l"), "--scale is for a model YAML; 'best.pt' tells its own scale"),
        (lambda: ExportConfig("best.safetensors", scale="l"), "drop --scale"),
        (lambda: ExportConfig("best.onnx", scale="l"), "drop --scale"),
        (lambda: EngineOptions(workspace_gib=0), "--workspace: expected GiB from above 0 to 1024, found 0"),
        (lambda: EngineOptions(workspace_gib=-1), "--workspace"),
        (lambda: EngineOptions(workspace_gib=4e9), "--workspace"),  # bytes in place of GiB
        (lambda: EngineOptions(workspace_gib=math.nan), "--workspace"),
        (lambda: EngineOptions(workspace_gib=math.inf), "--workspace"),
        (lambda: EngineOptions("full", sms=(80,)), "--sm chooses targets for TensorRT-RTX"),
        (lambda: EngineOptions(sms=(80, 89, 80)), "--sm: expected each target once, found 80, 89, 80"),
        (lambda: ShapeOptions(imgsz=()), "--imgsz: expected one value, or least:best:largest; found 0 values"),
        (lambda: ShapeOptions(imgsz=((320, 320), (640, 640))), "--imgsz: expected one value"),
        (lambda: ShapeOptions(batch=(1, 4)), "--batch: expected one value, or least:best:largest; found 2 values"),
        (lambda: ShapeOptions(batch=(1, 2, 3, 4)), "--batch"),
    ],
)
def test_refused_at_construction(make, reason):
    with pytest.raises(OptionsError) as caught:
        make()
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "make",
    [
        lambda: ExportConfig(),
        lambda: ExportConfig("yolov12", random_weights=True, scale="l"),
        lambda: ExportConfig("my/net.yaml", scale="l"),
        lambda: ExportConfig("my/net.yml", scale="l"),
        lambda: ExportConfig(format="engine", precision="fp16", target=EngineOptions("rtx", 4, (80, 89))),
        lambda: ExportConfig(verify=None, simplify=False),
        lambda: ExportConfig("n", random_weights=True, opset=19, precision="int8", int8=TRT),
        lambda: ExportConfig("n", random_weights=True, opset=17, precision="int8", int8=CPU),
    ],
)
def test_accepted(make):
    with pytest.raises(dataclasses.FrozenInstanceError):
        make().format = "onnx"


@pytest.mark.parametrize(
    ("shapes", "reason"),
    [
        (
            ShapeOptions(((630, 640),)),
            "--imgsz: expected multiples of the stride 32 up to 8192, found 630; the nearest are",
        ),
        (ShapeOptions(((640, 1),)), "found 1; the nearest are 32 and 32"),
        (ShapeOptions(((0, 640),)), "found 0; the nearest are 32 and 32"),
        (ShapeOptions(((640, 9000),)), "found 9000"),
        (ShapeOptions(((9600, 640),)), "found 9600"),
        (ShapeOptions(((8192, 640),), dynamic=True), "found 16384"),  # twice the side asked for
        (ShapeOptions(((640, 640), (320, 320), (960, 960))), "--batch, --imgsz"),
        (ShapeOptions(((320, 320), (640, 640), (480, 480))), "--batch, --imgsz"),
        (ShapeOptions(batch=(0,)), "--batch, --imgsz"),
        (ShapeOptions(batch=(-1,)), "--batch, --imgsz"),
        (ShapeOptions(batch=(4, 2, 8)), "--batch, --imgsz"),
        (ShapeOptions(batch=(1 << 20,)), "--batch, --imgsz"),
    ],
)  # fmt: skip
def test_shapes_that_the_network_cannot_take(shapes, reason):
    with pytest.raises(OptionsError) as caught:
        shapes.profile(32)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("shapes", "batch", "height", "width"),
    [
        (ShapeOptions(), (1, 1, 1), FIXED, FIXED),
        (ShapeOptions(((480, 640),), (4,)), (4, 4, 4), AxisRange(480, 480, 480), FIXED),
        (
            ShapeOptions(((320, 320), (640, 640), (960, 1280))),
            (1, 1, 1),
            AxisRange(320, 640, 960),
            AxisRange(320, 640, 1280),
        ),
        (ShapeOptions(batch=(1, 4, 16)), (1, 4, 16), FIXED, FIXED),
        (ShapeOptions(dynamic=True), (1, 1, 8), AxisRange(320, 640, 1280), AxisRange(320, 640, 1280)),
        (ShapeOptions(((32, 96),), (16,), dynamic=True), (1, 16, 16), AxisRange(32, 32, 64), AxisRange(64, 96, 192)),
        (ShapeOptions(batch=(2, 4, 6), dynamic=True), (2, 4, 6), AxisRange(320, 640, 1280), AxisRange(320, 640, 1280)),
    ],
)
def test_shapes(shapes, batch, height, width):
    profile = shapes.profile(32)
    assert (profile.batch, profile.height, profile.width) == (AxisRange(*batch), height, width)


@pytest.mark.parametrize(("stride", "side"), [(32, 640), (64, 640), (8, 648)])
def test_the_networks_own_stride_counts(stride, side):
    assert ShapeOptions(((side, side),)).profile(stride).height.opt == side
    with pytest.raises(OptionsError, match=f"stride {stride} "):
        ShapeOptions(((side + 4, side),)).profile(stride)
