"""16-bit images that hold 12 bits: what the exporter reads of them where it is told so."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tiny_data import ScriptedBox, ScriptedExecutor

from y12.exporter.cli.export import Export, config_of
from y12.exporter.cli.tune import TuneOrder, _job
from y12.exporter.evaluate.evaluate_options import ValOptions
from y12.exporter.evaluate.evaluation_set import open_evaluation_set
from y12.exporter.evaluate.graph_results import detections_of, outcome_of
from y12.exporter.evaluate.run import validate
from y12.exporter.plots.pictures import pairs_of
from y12.exporter.precision.calibration.activations import activations
from y12.exporter.train.examples.class_folders import ClassSource, class_folders
from y12.exporter.train.examples.options import DataOptions
from y12.exporter.train.examples.sources import UserSource
from y12.exporter.train.examples.user import training_data
from y12.exporter.verify.verify_images import load_images
from y12.exporter.verify.verify_options import VerifyOptions
from y12.runtime.artefact.manifest import AxisRange, InputProfile, Manifest

CAT = "0 0.5 0.5 0.5 0.5"
WHITE, DARK = 4095 / 4096 * 256, 4095 // 256  # by 12 bits, by 16
BY_BITS = [(12, 255), (None, DARK)]


@pytest.fixture
def data(make_yolo):
    """A data set whose one image is white, in 12 of its 16 bits."""
    path = make_yolo({"a": CAT}, yaml="train: images/val\nnames: [cat, dog]")
    (image,) = path.parent.rglob("*.png")
    cv2.imwrite(str(image), np.full((64, 64, 3), 4095, np.uint16))
    return path


def image_in(folder: Path) -> Path:
    (image,) = folder.rglob("*.png")
    return image


@pytest.mark.parametrize(("bits", "level"), BY_BITS)
def test_what_is_verified_and_calibrated_on(data, bits, level):
    image = image_in(data.parent)
    (verified,) = load_images(VerifyOptions(image, bits=bits), (64, 64), "detect")
    assert verified.blob.max() * 255 == pytest.approx(level)
    side = AxisRange(64, 64, 64)
    shape = [1, 3, 64, 64]
    graph = helper.make_graph(
        [helper.make_node("Identity", ["images"], ["seen"])],
        "nothing",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("seen", TensorProto.FLOAT, shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    profile = InputProfile(AxisRange(1, 1, 1), side, side)
    ((_, values),) = activations(model, ["seen"], [image], "detect", profile, lambda _, values: values, bits)
    assert values["seen"].max() * 255 == pytest.approx(level)


@pytest.mark.parametrize(("bits", "level"), BY_BITS)
def test_what_is_evaluated_on_and_drawn(make_artefact, data, bits, level):
    executor = ScriptedExecutor([[ScriptedBox(1, 0.9, (16, 16, 48, 48))]])
    made = validate(make_artefact(), data, ValOptions(bits=bits), executor=executor, study=True)
    assert executor.images[0].max() * 255 == pytest.approx(level)
    (pair,) = pairs_of(made.study)
    drawn = cv2.imdecode(np.frombuffer(pair.labelled, np.uint8), cv2.IMREAD_COLOR)
    assert np.abs(drawn[2:6, -6:-2].astype(int) - level).max() <= 3


def seeing() -> onnx.ModelProto:
    """One box whose score for a cat is what the image's pixels are."""
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], axes=[1, 2, 3], keepdims=1),
        helper.make_node("Reshape", ["mean", "column"], ["score"]),
        helper.make_node("Mul", ["score", "zero"], ["no"]),
        helper.make_node("Add", ["no", "box"], ["boxes"]),
        helper.make_node("Concat", ["boxes", "score", "no"], ["output0"], axis=1),
    ]
    weights = {"column": np.array([1, 1, 1]), "zero": np.zeros(1, np.float32)}
    weights["box"] = np.array([32, 32, 32, 32], np.float32).reshape(1, 4, 1)
    graph = helper.make_graph(
        nodes,
        "seeing",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 64, 64])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, [1, 6, 1])],
        [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@pytest.mark.parametrize(("bits", "level"), BY_BITS)
def test_what_graphs_are_compared_on(data, bits, level):
    side = AxisRange(64, 64, 64)
    manifest = Manifest("detect", ("cat", "dog"), (32,), InputProfile(AxisRange(1, 1, 1), side, side))
    images = open_evaluation_set(data, "detect", manifest.names, None)
    outcome = outcome_of(seeing(), manifest, replace(images, bits=bits))
    assert outcome.results[0]["score"] * 255 == pytest.approx(level, abs=0.1)
    (found,) = detections_of(seeing(), manifest, [image_in(data.parent)], bits)
    assert len(found) == (level == 255)


@pytest.mark.parametrize(("bits", "level"), BY_BITS)
def test_what_is_trained_on(data, tmp_path, bits, level):
    labelled = training_data(data, "detect", DataOptions(bits=bits))
    assert UserSource(labelled, 64).example(0, 0, 0).image.max() == level
    folder = tmp_path / "classes" / "train" / "cat"
    folder.mkdir(parents=True)
    image_in(data.parent).rename(folder / "a.png")
    by_class = class_folders(tmp_path / "classes", DataOptions(bits=bits))
    assert ClassSource(by_class, 64).example(0, 0, 0).image.max() == level


def test_the_commands_hand_it_on(tmp_path):
    asked = config_of(Export(model="best.pt", int8=True, calib=tmp_path, bits=12))
    assert (asked.bits, asked.verify.bits, asked.int8.calibration.bits) == (12, 12, 12)
    assert config_of(Export(model="best.pt", bits=12)).verify.bits == 12
    job = _job(TuneOrder(data=tmp_path / "data.yaml", model="yolov12n", bits=12))
    assert job.choice.bits == 12
