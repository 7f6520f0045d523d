"""From an FP32 graph to an INT8 graph: which images are used, and that the audit of weights takes what comes out."""

from contextlib import contextmanager

import numpy as np
import pytest
from onnx import numpy_helper

from y12.errors import VerificationError
from y12.exporter.export_config import Int8Options
from y12.exporter.int8 import Int8Images, int8_from_fp32, int8_images
from y12.exporter.precision.mixed.budget_options import BudgetOptions
from y12.exporter.precision.quantization_options import CalibrationOptions, QuantizeOptions
from y12.exporter.verify.verify_images import photos_dir
from y12.exporter.verify.weights import check_weights
from y12.runtime.artefact.manifest import Manifest

PHOTOS = sorted(photos_dir().glob("*.jpg"))


@contextmanager
def silent(_stage):
    yield


@pytest.fixture(scope="module")
def network(seeded_n, stages_of, make_profile):
    stages = stages_of(seeded_n.detector, make_profile(96, 96))
    return stages.simplified, Manifest("detect", stages.detector.names, (8, 16, 32), stages.profile, "int8")


def test_a_block_that_is_kept_has_the_biases_and_weights_of_fp32(network):
    graph, manifest = network
    convolutions = frozenset(n.name for n in graph.graph.node if n.op_type == "Conv" and n.name.startswith("/model.4/"))
    options = Int8Options(photos_dir(), CalibrationOptions("mse"), QuantizeOptions(keep=convolutions))
    typed = int8_from_fp32(graph, manifest, Int8Images(PHOTOS, []), options, silent)
    stored = {w.name: numpy_helper.to_array(w) for w in typed.graph.graph.initializer}
    fp32 = {w.name: numpy_helper.to_array(w) for w in graph.graph.initializer}
    for node in graph.graph.node:
        if node.name in convolutions:
            for name in node.input[1:]:
                np.testing.assert_array_equal(stored[f"{name}_fp16"], fp32[name].astype(np.float16))


def test_images_are_held_out_only_where_the_budget_names_none(tmp_path, monkeypatch):
    monkeypatch.setattr("y12.exporter.int8.LEAST_IMAGES", 2)
    calibrated = int8_images(Int8Options(photos_dir()))
    assert (calibrated.calibration, calibrated.held_out) == (PHOTOS, [])
    own = int8_images(Int8Options(photos_dir(), budget=BudgetOptions(1.0)))
    assert (own.calibration, own.held_out) == (PHOTOS[::2], PHOTOS[1::2])
    named = int8_images(Int8Options(photos_dir(), budget=BudgetOptions(1.0, tmp_path)))
    assert (named.calibration, named.held_out) == (PHOTOS, [])
    assert int8_images(Int8Options(photos_dir(), limit=2)).calibration == [PHOTOS[0], PHOTOS[2]]


def test_biases_in_int32_are_audited_to_half_a_step(network):
    graph, manifest = network
    options = Int8Options(photos_dir(), CalibrationOptions("mse", symmetric=False), QuantizeOptions("cpu"))
    typed = int8_from_fp32(graph, manifest, Int8Images(PHOTOS, []), options, silent)
    assert check_weights(graph, typed.graph) == len(typed.graph.graph.initializer)
    bias = next(w for w in typed.graph.graph.initializer if w.name.endswith("_bias_int32"))
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + np.int32(1), bias.name))
    with pytest.raises(VerificationError, match="is not the model's"):
        check_weights(graph, typed.graph)


def test_images_found_elsewhere_than_their_data_yaml_says_are_told(tmp_path):
    (tmp_path / "train").symlink_to(photos_dir())
    (tmp_path / "data.yaml").write_text("train: ../train\n")
    images = int8_images(Int8Options(tmp_path / "data.yaml"))
    assert len(images.calibration) == len(PHOTOS)
    assert "'../train' is not there" in images.notes[0]
    assert int8_images(Int8Options(photos_dir())).notes == ()
