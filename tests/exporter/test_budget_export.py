"""Whole exports with a budget and with accuracy, of a trained network on photographs it was not trained on."""

import json
import re
import shutil
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

import y12.exporter.int8
from y12 import Runtime
from y12.errors import BudgetError, DatasetError, OptionsError
from y12.exporter.export_config import ExportConfig, Int8Options, ShapeOptions
from y12.exporter.export_pipeline import export
from y12.exporter.int8 import int8_images
from y12.exporter.precision.mixed.budget_options import BudgetOptions
from y12.exporter.precision.quantization_options import CalibrationOptions, QuantizeOptions
from y12.runtime.artefact.manifest import Manifest
from y12.runtime.options import DetectOptions
from y12.text import percent

SMALL, TINY = (ShapeOptions(imgsz=((side, side),)) for side in (320, 160))


@contextmanager
def silent(_stage):
    yield


@pytest.fixture(autouse=True)
def _few_objects_may_tell_much(monkeypatch):
    """What one object more would be is tested where the rule is: tests/exporter/precision/mixed."""
    monkeypatch.setattr("y12.exporter.precision.mixed.budget._OBJECTS_MORE", 0)


@pytest.fixture(scope="module")
def photos(shared, tmp_path_factory):
    """Eight photographs with labels in `all`, and four more in `more`; each folder has a data.yaml."""
    source, folder = shared / "datasets" / "coco128", tmp_path_factory.mktemp("photos")
    files = sorted((source / "images" / "val2017").glob("*.jpg"))
    for name, chosen in (("all", files[:8]), ("more", files[8:12])):
        for kind in ("images", "labels"):
            (folder / name / kind).mkdir(parents=True)
        for file in chosen:
            shutil.copy(file, folder / name / "images")
            label = source / "labels" / "val2017" / f"{file.stem}.txt"
            if label.is_file():
                shutil.copy(label, folder / name / "labels")
        text = (source / "coco128.yaml").read_text()
        text = text.replace("images/train2017", "images").replace("images/val2017", "images")
        (folder / name / "data.yaml").write_text(text)
    return folder


@pytest.fixture
def unlabelled(photos, tmp_path):
    """The photographs alone."""
    return shutil.copytree(photos / "all" / "images", tmp_path / "plain")


@pytest.fixture
def make_config(shared, tmp_path):
    """An export with INT8 and a budget, at a small size."""

    def make(calib, max_drop, data=None, target="trt", **changes):
        budget = None if max_drop is None else BudgetOptions(max_drop, data)
        calibration = CalibrationOptions("max", symmetric=target == "trt")  # no choice of ranges, which costs seconds
        int8 = Int8Options(calib, calibration, QuantizeOptions(target), budget)
        values = {"precision": "int8", "int8": int8, "shapes": SMALL, "verify": None, "output": tmp_path / "out"}
        return ExportConfig(str(shared / "checkpoints" / "trained" / "yolo11n.pt"), **(values | changes))

    return make


@pytest.fixture(autouse=True)
def few_images_do(monkeypatch):
    """So few photographs tell nothing about a model, and all about what is made of a budget, in seconds."""
    monkeypatch.setattr(y12.exporter.int8, "LEAST_IMAGES", 2)


def left_in(folder):
    return list(folder.iterdir()) if folder.exists() else []


def names_in(report, kind):
    return [row.name for row in report.layers if row.graph == kind and row.operator != "Attention"]


@pytest.mark.exhaustive  # with labels it is as in the test of all that is measured
def test_a_budget_on_images_held_out_of_a_folder(make_config, photos, tmp_path):
    config = make_config(photos / "all" / "images", 0.2, shapes=TINY)
    images = int8_images(config.int8)
    assert len(images.calibration) == len(images.held_out) == 4
    assert not set(images.calibration) & set(images.held_out)
    report = export(config, silent).report
    budget = report.budget
    assert budget.images == 4
    assert budget.data == "images, 4 images held out from calibration"
    assert report.calibration.startswith("4 images")
    assert (budget.max_drop, budget.truth, budget.measure) == (0.2, "detections of FP32", "boxes AP50-95")
    assert any("AP by labels cannot tell 0.2 points from 4 images" in note for note in report.notes)
    assert any("labels found beside the images" in note for note in report.notes)
    assert budget.chosen.drop <= budget.chosen.high <= 0.2
    assert budget.chosen in budget.curve
    macs = [point.int8_macs for point in budget.curve]
    assert macs == sorted(macs, reverse=True)
    assert macs[-1] == 0
    assert {block.name for block in budget.blocks} == set(budget.curve[-1].fp16_blocks)
    # what was chosen is what was made
    fp16_layers = {
        row.name for row in report.layers if row.block in budget.chosen.fp16_blocks and row.operator != "Attention"
    }
    assert fp16_layers <= set(names_in(report, "fp16"))
    reasons = {row.why for row in report.layers if row.name in fp16_layers}
    assert reasons <= {"kept out of INT8 by --max-drop", "last before the decode"}
    in_int8 = sum(row.macs for row in report.layers if row.graph == "int8")
    assert in_int8 == pytest.approx(budget.chosen.int8_macs)
    assert len(names_in(report, "int8")) == report.quantization.quantized
    assert (tmp_path / "out" / "yolo11n_int8.curve.svg").read_text().startswith("<?xml")


@pytest.mark.exhaustive
def test_where_nothing_keeps_to_it_one_line_says_so_and_nothing_is_left(make_config, unlabelled, tmp_path):
    """Calibrated on darkness INT8 spoils the early blocks, each by itself; the others are kept by name."""
    (tmp_path / "dark").mkdir()
    cv2.imwrite(str(tmp_path / "dark" / "dark.png"), np.zeros((160, 160, 3), np.uint8))
    plain = make_config(None, None, precision="fp32", int8=None, shapes=TINY, output=tmp_path / "fp32")
    early = ("model.1", "model.2", "model.3", "model.4")
    rows = export(plain, silent).report.layers
    keep = frozenset(row.name for row in rows if row.block not in early and row.operator != "Attention")
    config = make_config(tmp_path / "dark", 0.4, data=unlabelled, shapes=TINY)
    int8 = replace(config.int8, quantize=QuantizeOptions("trt", keep))
    with pytest.raises(BudgetError) as caught:
        export(replace(config, int8=int8), silent)
    said = str(caught.value)
    assert said.startswith("--max-drop 0.4: FP16 is the better choice here, use --half")
    assert "points on plain, 8 images (detections of FP32), and with INT8 for" in said
    assert "\n" not in said
    assert left_in(tmp_path / "out") == []


def test_everything_that_is_measured_is_in_what_is_made(make_config, photos, tmp_path):
    """An engine with NMS in it would fix its confidence; here the runtime chooses it."""
    pytest.importorskip("tensorrt_rtx")
    data = photos / "all" / "data.yaml"
    config = make_config(photos / "more" / "images", 10, data=data, val=data, format="engine")
    result = export(config, silent)
    report, out = result.report, tmp_path / "out"
    assert {path.name for path in out.iterdir()} == {
        f"yolo11n_int8.{suffix}"
        for suffix in ("engine", "engine.json", "onnx", "curve.svg", "report.html", "report.json", "provenance.json")
    }
    assert {Path(file).name for file in report.files} == {path.name for path in out.iterdir()}
    accuracy = report.accuracy
    assert [score.precision for score in accuracy.scores] == ["fp32", "fp16", "int8"]
    fp32, fp16, _ = (score.figures["boxes AP50-95"] for score in accuracy.scores)
    assert fp32 > 0.2
    assert fp16 == pytest.approx(fp32, abs=0.01)
    budget = report.budget
    assert (accuracy.data, accuracy.images) == (budget.data, budget.images)
    lost = 100 * (fp32 - accuracy.scores[-1].figures["boxes AP50-95"])
    by_labels = budget.chosen.losses[0]
    assert by_labels.truth == accuracy.truth == "labels"
    assert lost == pytest.approx(by_labels.points, abs=1e-6)  # the same graph on the same images
    # the table is in the report, the sidecar, the engine's name and the graph's metadata
    manifests = [
        Manifest.from_json((out / "yolo11n_int8.engine.json").read_text()),
        Manifest.from_json(
            next(p.value for p in onnx.load(out / "yolo11n_int8.onnx").metadata_props if p.key == "y12")
        ),
    ]
    assert report.thresholds is not None
    assert report.thresholds.data == "8 images, labels"
    assert [manifest.thresholds for manifest in manifests] == [report.thresholds] * 2
    assert Manifest.from_network_name(manifests[0].to_network_name()) == manifests[0]
    written = json.loads((out / "yolo11n_int8.report.json").read_text())
    assert written["budget"]["chosen"]["drop"] == budget.chosen.drop
    page = (out / "yolo11n_int8.report.html").read_text()
    for name in accuracy.worst:
        assert name in page
    assert shares_told(report, page, (out / "yolo11n_int8.curve.svg").read_text()) == {percent(written["macs"]["int8"])}
    with Runtime(out / "yolo11n_int8.onnx") as runtime:
        keeps(runtime, report.thresholds, photos)


def shares_told(report, page, curve):
    """Every share of the artefact's MACs that is told to be in INT8, as it stands there."""
    terminal, highlight = "\n".join(report.summary()), r"of the MACs in INT8</dt><dd>([^<]*)</dd>"
    places = [
        (terminal, r"MACs: (.*?) INT8"),
        (terminal, r"(\S+ %) of the MACs in INT8; kept"),
        (page, highlight),
        (page, r'<b data-precision="int8">([^<]*)</b>'),
        (page, r'<b data-is="macs">([^<]*)</b>'),
        (page, r"chosen: (.*?) of the MACs"),
        (curve, r"chosen: (.*?) of the MACs"),
    ]
    found = [re.findall(pattern, text) for text, pattern in places]
    assert [len(shares) for shares in found] == [1] * len(places)
    return {share for shares in found for share in shares}


def keeps(runtime, table, photos):
    """Detections with keep are those above the table's own confidence."""
    lowest, highest = table.interval("recall")
    conf = (lowest + highest) / 2
    image = sorted((photos / "all" / "images").iterdir())[0]
    with_keep = runtime.infer(image, DetectOptions(conf=conf, keep="recall"))
    own = runtime.infer(image, DetectOptions(conf=table.conf_for(conf, "recall")))
    assert with_keep.confidence.tolist() == own.confidence.tolist()


def test_accuracy_of_fp32_and_of_fp16(make_config, photos, tmp_path):
    for precision in ("fp32", "fp16"):
        data = photos / "more" / "images"
        config = make_config(None, None, precision=precision, int8=None, val=data, shapes=TINY)
        report = export(config, silent).report
        assert [score.precision for score in report.accuracy.scores] == ["fp32", "fp16"][: 1 + (precision == "fp16")]
        assert report.accuracy.truth == "labels"
        assert (report.thresholds is None) == (precision == "fp32")
        assert report.budget is None


@pytest.mark.exhaustive
def test_for_onnx_runtime_without_labels(make_config, unlabelled):
    """The remainder is FP32: with every block kept nothing is lost."""
    report = export(make_config(unlabelled, 40, target="cpu", shapes=TINY), silent).report
    budget = report.budget
    assert budget.truth == "detections of FP32"
    assert budget.curve[-1].drop == pytest.approx(0, abs=1e-6)
    assert any("points are of agreement with FP32" in note for note in report.notes)
    assert {row.graph for row in report.layers} <= {"int8", "fp32"}
    assert len(report.speed) == 2


def test_labels_that_do_not_fit_are_refused_before_anything_is_made(make_config, photos, tmp_path):
    data = tmp_path / "data.yaml"
    data.write_text(f"path: {photos / 'more'}\nval: images\nnames: [cat, dog]\n")
    with pytest.raises(DatasetError, match=r"data.yaml"):
        export(make_config(None, None, precision="fp16", int8=None, val=data), silent)
    assert left_in(tmp_path / "out") == []


def test_too_few_images_for_a_budget_are_refused_before_calibration(make_config, photos, monkeypatch, tmp_path):
    monkeypatch.undo()  # few images do not
    with pytest.raises(
        OptionsError, match=r"--max-drop: expected at least 32 images .* found 4 \(every second one of 8"
    ):
        export(make_config(photos / "all" / "images", 0.2), silent)

    def calibrate(*_arguments):
        raise AssertionError("calibrated first")

    monkeypatch.setattr(y12.exporter.int8, "calibrate", calibrate)
    with pytest.raises(OptionsError, match=r"--max-drop: expected at least 32 .* found 4 \(images, 4 images\)"):
        export(make_config(photos / "all" / "images", 0.2, data=photos / "more" / "images"), silent)
    assert left_in(tmp_path / "out") == []
