"""What is done with the passes around quantisation: kept where the scores come out better, dropped aloud where not."""

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from onnx import numpy_helper

from exporter.errors import VerificationError
from exporter.precision.options import CalibrationOptions, ImproveOptions, QuantizeOptions
from exporter.recipe import Int8
from exporter.sensitivity.options import BudgetOptions
from exporter.stages import int8 as stage_module
from exporter.stages.int8 import Int8Images, int8_from_fp32, int8_images
from exporter.verify.images import photos_dir
from exporter.verify.weights import check_weights
from runtime.manifest import Manifest

PHOTOS = sorted(photos_dir().glob("*.jpg"))


@contextmanager
def silent(_stage):
    yield


@pytest.fixture(scope="module")
def network(seeded_n, stages_of, make_profile):
    stages = stages_of(seeded_n.detector, make_profile(96, 96))
    return stages.simplified, Manifest("detect", stages.detector.names, (8, 16, 32), stages.profile, "int8")


def typed_by(network, **changes):
    graph, manifest = network
    options = Int8(photos_dir(), CalibrationOptions("mse"), QuantizeOptions(), **changes)
    return int8_from_fp32(graph, manifest, Int8Images(PHOTOS, []), options, silent)


def test_nothing_is_changed_where_nothing_is_asked_for(network):
    typed = typed_by(network, improve=ImproveOptions(False, "nearest"))
    assert (typed.improved.weights, typed.improved.shifts) == ({}, {})
    assert check_weights(network[0], typed.graph, typed.improved) == len(typed.graph.graph.initializer)


def test_what_makes_the_scores_better_is_kept_and_told(network):
    typed = typed_by(network, improve=ImproveOptions(True, "adaptive"))
    (note,) = [note for note in typed.notes if note.startswith("bias correction and adaptive rounding: ")]
    kept = "went from" in note
    assert kept == bool(typed.improved.shifts) == bool(typed.improved.weights)
    assert kept or "not used" in note
    assert check_weights(network[0], typed.graph, typed.improved) == len(typed.graph.graph.initializer)


def test_what_makes_the_scores_worse_is_dropped_aloud(network, monkeypatch):
    real = stage_module.improve

    def spoilt(*arguments):
        improved = real(*arguments)
        shifts = {name: shift + 3 for name, shift in improved.shifts.items()}
        return replace(improved, graph=stage_module.with_shifted_biases(network[0], shifts), shifts=shifts)

    monkeypatch.setattr(stage_module, "improve", spoilt)
    typed = typed_by(network)
    assert any(note.startswith("bias correction: ") and note.endswith("not used") for note in typed.notes)
    assert typed.improved.shifts == {}
    plain = typed_by(network, improve=ImproveOptions(False, "nearest"))
    assert typed.graph == plain.graph


def test_a_block_that_is_kept_has_the_biases_and_weights_of_fp32(network):
    graph, manifest = network
    kept = frozenset(n.name for n in graph.graph.node if n.op_type == "Conv" and n.name.startswith("/model.4/"))
    options = Int8(
        photos_dir(), CalibrationOptions("mse"), QuantizeOptions(keep=kept), improve=ImproveOptions(True, "adaptive")
    )
    typed = int8_from_fp32(graph, manifest, Int8Images(PHOTOS, []), options, silent)
    stored = {w.name: numpy_helper.to_array(w) for w in typed.graph.graph.initializer}
    given = {w.name: numpy_helper.to_array(w) for w in graph.graph.initializer}
    for node in graph.graph.node:
        if node.name in kept:
            for name in node.input[1:]:
                np.testing.assert_array_equal(stored[f"{name}_fp16"], given[name].astype(np.float16))


def test_images_are_held_out_only_where_the_budget_names_none(tmp_path):
    calibrated = int8_images(Int8(photos_dir()))
    assert (calibrated.calibration, calibrated.held_out) == (PHOTOS, [])
    own = int8_images(Int8(photos_dir(), budget=BudgetOptions(1.0)))
    assert (own.calibration, own.held_out) == (PHOTOS[::2], PHOTOS[1::2])
    named = int8_images(Int8(photos_dir(), budget=BudgetOptions(1.0, tmp_path)))
    assert (named.calibration, named.held_out) == (PHOTOS, [])
    assert int8_images(Int8(photos_dir(), limit=2)).calibration == [PHOTOS[0], PHOTOS[2]]


def test_biases_in_int32_are_audited_to_half_a_step(network):
    """Biases that correction makes small are off by more than a thousandth of the largest, and still right."""
    graph, manifest = network
    options = Int8(photos_dir(), CalibrationOptions("mse", symmetric=False), QuantizeOptions("cpu"))
    typed = int8_from_fp32(graph, manifest, Int8Images(PHOTOS, []), options, silent)
    assert check_weights(graph, typed.graph, typed.improved) == len(typed.graph.graph.initializer)
    bias = next(w for w in typed.graph.graph.initializer if w.name.endswith("_bias_int32"))
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + np.int32(1), bias.name))
    with pytest.raises(VerificationError, match="is not the model's"):
        check_weights(graph, typed.graph, typed.improved)
