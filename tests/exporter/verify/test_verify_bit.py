"""A network whose activations are rounded inside is proved exactly without that rounding, and then with it."""

import copy

import numpy as np
import pytest
from onnx import numpy_helper
from text_models import copy_of

from y12.errors import VerificationError
from y12.exporter.graph.token_rounding import token_roundings
from y12.exporter.model.blocks.bit import bit_layers
from y12.exporter.model.build import seeded_detector
from y12.exporter.model.network_yaml import spec_from_yaml
from y12.exporter.verify.verify import VerificationInput, verify
from y12.exporter.verify.verify_options import VerifyOptions
from y12.runtime.artefact.manifest import Manifest

ROWS = {
    "nc": 80,
    "bit": True,
    "scales": {"n": [1.0, 1.0, 64]},
    "backbone": [
        [-1, 1, "Conv", [16, 3, 4], {"bit": False}],
        [-1, 2, "RELAN", [32, 2]],
        [-1, 1, "AreaAttn", [64, 4]],
        [-1, 1, "SepConv7x7", [64, 2]],
    ],
    "head": [[[2, 3], 1, "BitDetect", ["nc"]]],
}
ONE_PHOTO = VerifyOptions(max_images=1)


@pytest.fixture(scope="module")
def tiny(stages_of, make_profile):
    return stages_of(seeded_detector(spec_from_yaml(ROWS, "tiny.yaml", "tiny bit")), make_profile(160, 160))


def verified(stages, precision="fp32", simplified=None, typed=None, detector=None, original=None):
    spec, simplified = stages.detector.spec, stages.simplified if simplified is None else simplified
    typed = (simplified if precision == "fp32" else stages.typed) if typed is None else typed
    manifest = Manifest(spec.task, stages.detector.names, spec.strides, stages.profile, precision)
    model = None if original is not None else detector or stages.detector
    return verify(VerificationInput(model, original, simplified, typed, typed, None, manifest), ONE_PHOTO)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_an_honest_export_passes_both_comparisons(tiny, precision):
    report = verified(tiny, precision)
    exact, real = report.comparisons
    assert "without its rounding of activations" in exact.candidate
    assert "without" not in real.candidate
    assert [c.verdict for c in report.comparisons] == ["equal within tolerance", "within its limits"]
    assert report.verdict.startswith(f"verified: within its limits of the model: {real.lost} of {real.detections} ")
    assert exact.shifts["box_px"]["max"] < (1e-2 if precision == "fp32" else 0.5)
    assert real.matched >= 20
    assert report.unstable_images == []


def test_a_given_graph_with_rounding_is_verified_in_the_same_way(tiny):
    exact, real = verified(tiny, "fp16", original=tiny.traced).comparisons
    assert exact.shifts["box_px"]["max"] < 0.5
    assert real.verdict == "within its limits"


def with_levels(graph, levels):
    """Another number of levels in the first rounding."""
    wrong = copy_of(graph)
    (first, *_) = token_roundings(graph)
    nodes = {node.output[0]: node for node in wrong.graph.node}
    step = nodes[nodes[first].input[1]]
    share = nodes[step.input[0]]
    share.input[1] = "levels"
    wrong.graph.initializer.append(numpy_helper.from_array(np.float32(levels).reshape(()), "levels"))
    return wrong


def with_a_weight_turned_over(graph):
    """One of a weight's numbers with the other sign."""
    wrong = copy_of(graph)
    (weight,) = [w for w in wrong.graph.initializer if w.name.endswith("m.0.attn.proj.1.weight")]
    values = numpy_helper.to_array(weight).copy()
    values.flat[np.flatnonzero(values)[0]] *= -1
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    return wrong


@pytest.mark.parametrize("fault", [lambda g: with_levels(g, 126), with_a_weight_turned_over])
def test_what_the_rounding_would_hide_is_seen_without_it(tiny, fault):
    with pytest.raises(VerificationError, match="the traced FP32 graph is not the model"):
        verified(tiny, simplified=fault(tiny.simplified))


def test_a_model_with_one_code_turned_over_is_another(tiny):
    other = copy.deepcopy(tiny.detector)
    weight = bit_layers(other)[-1].weight
    weight.data.flatten()[weight.abs().argmax()] *= -1
    with pytest.raises(VerificationError, match="the traced FP32 graph is not the model"):
        verified(tiny, detector=other)


def test_a_rounding_that_gives_far_too_few_levels_is_refused_in_the_typed_graph(tiny):
    with pytest.raises(VerificationError, match="FP32 ONNX"):
        verified(tiny, typed=with_levels(tiny.simplified, 1))
