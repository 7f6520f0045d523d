"""A full report: a real small INT8 export, and beside it what measuring would have added."""

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import onnx
import pytest

from y12.exporter.evaluate.results import Accuracy, BlockCost, Budget, CurvePoint, Loss, Score, Speed
from y12.exporter.export_config import ExportConfig, Int8Options, ShapeOptions
from y12.exporter.export_pipeline import export
from y12.exporter.graph.attention import attentions_of
from y12.exporter.precision.calibration.calibrate import CalibrationOptions
from y12.exporter.precision.qdq.qdq import QuantizeOptions
from y12.exporter.report.layers import LayerRow
from y12.exporter.report.pictures import picture_from
from y12.exporter.verify.verify_images import photos_dir
from y12.exporter.verify.verify_options import VerifyOptions
from y12.runtime.preprocess.images import image_from
from y12.runtime.results.detections import Detections
from y12.runtime.thresholds import ConfidenceTable, ShiftRow

THRESHOLDS = ConfidenceTable(
    "fp32",
    "128 images, labels",
    (ShiftRow(0.05, 0.0388, 0.0431), ShiftRow(0.25, 0.2208, 0.2317), ShiftRow(0.5, None, 0.4619)),
)


@contextmanager
def silent(_stage):
    yield


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """The report of an INT8 engine of the seeded yolov12n, as the export gives it, and its graph."""
    folder = tmp_path_factory.mktemp("report")
    photos = photos_dir()
    config = ExportConfig(
        "yolov12n",
        random_weights=True,
        format="engine",
        precision="int8",
        int8=Int8Options(photos, CalibrationOptions("max", symmetric=True), QuantizeOptions("trt")),
        shapes=ShapeOptions(imgsz=((96, 96),)),
        verify=VerifyOptions(images=photos, allow_inconclusive=True),
        output=folder,
    )
    report = export(config, silent).report
    return report, onnx.load(folder / "yolov12n_int8.onnx")


def layers_of(report, graph) -> tuple[LayerRow, ...]:
    """Rows of all convolutions and attentions; the MACs are by position, so that no two shares are alike."""
    left = report.quantization.left
    named = [(n.name, n.op_type) for n in graph.graph.node if n.op_type in ("Conv", "ConvTranspose")]
    named += [(attention.softmax, "Attention") for attention in attentions_of(graph)]
    total = sum(range(1, len(named) + 1))
    rows = []
    for i, (name, kind) in enumerate(named, start=1):
        precision = "fp16" if name in left or kind == "Attention" else "int8"
        engine = "fused" if kind == "Attention" else "fp32" if i == 1 else precision
        block = name.strip("/").split("/")[0]
        rows.append(LayerRow(name, block, kind, i / total, precision, engine, left.get(name, "")))
    return tuple(sorted(rows, key=lambda row: int(row.block.split(".")[1])))


def division(fp16_blocks, int8_macs, drop) -> CurvePoint:
    """One that loses a little less of agreement than by labels, where that is less sure."""
    by_labels = Loss("boxes AP50-95", "labels", drop + 0.11, drop - 0.86, drop + 1.08)
    agreement = Loss("boxes AP50-95", "detections of FP32", drop, drop - 0.06, drop + 0.07)
    losses = by_labels, agreement
    return CurvePoint(tuple(fp16_blocks), int8_macs, losses, agreement.points, agreement.low, agreement.high)


def budget_of(layers) -> Budget:
    """A curve over every second block, the most costly first; two divisions keep to the limit."""
    names = list(dict.fromkeys(row.block for row in layers))[1:-1:2]
    blocks = tuple(
        BlockCost(name, 3 + i, 0.02 + 0.003 * i, round(1.1 / (i + 1) ** 1.3 - 0.02, 4)) for i, name in enumerate(names)
    )
    drops = (2.314, 1.221, 0.748, 0.431, 0.357, 0.212)
    curve = [division(names[:i], 0.973 - 0.061 * i, drop) for i, drop in enumerate(drops)]
    curve.append(division(names, 0.0, 0.004))
    truth = "detections of FP32"
    return Budget(0.5, "the folder 'held-out'", 96, 700, truth, "boxes AP50-95", 1.94, blocks, tuple(curve), curve[3])


@pytest.fixture(scope="session")
def report(exported):
    """The export's report with every section filled; no figure occurs twice by chance."""
    real, graph = exported
    layers = layers_of(real, graph)
    scores = (
        Score("fp32", {"boxes AP50-95": 0.40613, "boxes AP50": 0.56127, "boxes AP75": 0.43871}),
        Score("fp16", {"boxes AP50-95": 0.40634, "boxes AP50": 0.56118, "boxes AP75": 0.43871}),
        Score("int8", {"boxes AP50-95": 0.40182, "boxes AP50": 0.55702, "boxes AP75": 0.43190}),
    )
    worst = {"chelsea.jpg": 0.6124, "coffee.jpg": 0.7713}
    speed = (
        Speed("FP32 ONNX in ONNX Runtime 1.31.1 (CPU)", 21.437, 23.018, 64),
        Speed("INT8 ONNX in ONNX Runtime 1.31.1 (CPU)", 12.806, 13.559, 64),
    )
    return replace(
        real,
        layers=layers,
        accuracy=Accuracy("coco128.yaml, split val", 128, "labels", scores, worst),
        budget=budget_of(layers),
        thresholds=THRESHOLDS,
        speed=speed,
    )


def found(*rows) -> Detections:
    """Detections of (x1, y1, x2, y2, confidence, class id)."""
    table = np.array(rows, np.float32).reshape(-1, 6)
    return Detections(table[:, :4], table[:, 4], table[:, 5].astype(np.int64), ("cat", "cup"), (300, 451))


@pytest.fixture(scope="session")
def pictures():
    """Two of the photographs with boxes on them, one fewer on the right."""
    photos = [image_from(photos_dir() / name) for name in ("chelsea.jpg", "coffee.jpg")]
    full, less = found((90, 20, 380, 280, 0.91, 0), (10, 10, 80, 90, 0.4, 1)), found((94, 25, 372, 281, 0.83, 0))
    captions = ("agreement 0.612.", "agreement 0.771.")
    names = ("chelsea.jpg", "coffee.jpg")
    return [picture_from(p, n, full, less, c) for p, n, c in zip(photos, names, captions, strict=True)]
