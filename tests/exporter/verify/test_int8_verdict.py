"""What is said of INT8 that lost objects which its limits allow: planted in the graph of a trained network."""

import numpy as np
import pytest
from onnx import helper, numpy_helper
from text_models import copy_of

from y12.exporter.checkpoint.load import detector_from_checkpoint, read_checkpoint
from y12.exporter.source import demo_weights
from y12.exporter.verify.compare import outputs_of
from y12.exporter.verify.verify import VerificationInput, verify
from y12.exporter.verify.verify_images import load_images, scenes_dir
from y12.exporter.verify.verify_options import VerifyOptions
from y12.runtime.artefact.manifest import Manifest
from y12.runtime.backends.onnx_runtime import OrtExecutor

SCENES = VerifyOptions(images=scenes_dir())
HW = (320, 320)


@pytest.fixture(scope="module")
def demo(stages_of, make_profile):
    """The demo model: it finds some thirty shapes in the scenes."""
    return stages_of(detector_from_checkpoint(read_checkpoint(demo_weights())), make_profile(*HW), checked=False)


def without_anchors(graph, anchors, name):
    """The graph with scores of nothing at these anchors."""
    wrong = copy_of(graph)
    (output,) = [one for one in wrong.graph.output if one.name == name]
    factors = np.ones((1, 1, output.type.tensor_type.shape.dim[2].dim_value), np.float32)
    factors[..., anchors] = 0.01
    for node in wrong.graph.node:
        node.output[:] = ["before" if made == name else made for made in node.output]
    wrong.graph.initializer.append(numpy_helper.from_array(factors, "factors"))
    wrong.graph.node.append(helper.make_node("Mul", ["before", "factors"], [name]))
    return wrong


def verdict_of(demo, typed, precision):
    spec = demo.detector.spec
    manifest = Manifest(spec.task, demo.detector.names, spec.strides, demo.profile, precision, kpt_shape=spec.kpt_shape)
    inputs = VerificationInput(demo.detector, None, demo.simplified, typed, typed, None, manifest)
    return verify(inputs, SCENES)


def test_two_objects_that_are_lost_are_in_the_verdict_on_int8(demo):
    graph = OrtExecutor(demo.simplified.SerializeToString(), "cpu")
    scores = outputs_of(graph, load_images(SCENES, HW, "multitask"), 1)[0]["scores"]
    anchors = np.flatnonzero(scores.max(axis=0) > 0.25)
    assert len(anchors) >= 2
    best = anchors[np.argsort(-scores.max(axis=0)[anchors])]
    lost = 0
    for count in range(1, len(best) + 1):  # until NMS of the model's own names two of them
        found = verdict_of(demo, without_anchors(demo.simplified, best[:count], "scores"), "int8")
        (comparison,) = found.comparisons
        lost = comparison.lost
        if lost >= 2:
            break
    assert lost == 2
    assert comparison.detections >= 20
    assert comparison.verdict == "within its limits"
    assert found.verdict.startswith(
        f"verified: within its limits of the model: 2 of {comparison.detections} detections lost "
        f"(allowed {int(0.15 * comparison.detections)}), {comparison.new} new"
    )
    assert "equal" not in found.verdict
    assert "no real object was seen" not in found.verdict


def test_the_same_graph_is_not_called_equal_in_int8_and_is_in_fp32(demo):
    assert "equal" not in verdict_of(demo, demo.simplified, "int8").verdict
    assert verdict_of(demo, demo.simplified, "fp32").verdict.startswith("verified: equal to the model within tolerance")
