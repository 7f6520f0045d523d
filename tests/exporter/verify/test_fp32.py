"""What an FP32 artefact may differ by where the model amplifies rounding: as much on every processor, and no more."""

import numpy as np
import onnx
import pytest

from y12.errors import VerificationError
from y12.exporter.checkpoint.load import detector_from_checkpoint, read_checkpoint
from y12.exporter.verify import verify_images
from y12.exporter.verify.differences import Comparison
from y12.exporter.verify.fp32 import loosened, nudged
from y12.exporter.verify.verify import VerificationInput, verify
from y12.exporter.verify.verify_options import TOLERANCES, Tolerance, VerifyOptions
from y12.runtime.artefact.manifest import Manifest

LIMITS = {"p95 box_px": 0.1, "max box_px": 1.0, "p95 logit": 0.01, "p95 mask": 0.02}
MOVEMENTS = {  # statistic, of what -> limit
    "none": ({}, 0, LIMITS, 0.0),
    "less than the limits": ({"box_px": (0.004, 0.04), "logit": (0.0004, 1.0)}, 0, LIMITS, 0.0),
    "boxes move": ({"box_px": (0.01, 0.2)}, 0, LIMITS | {"p95 box_px": 0.2, "max box_px": 4.0}, 0.0),
    "detections come and go": ({"logit": (0.01, 0.1)}, 2, LIMITS | {"p95 logit": 0.2}, 0.4),
}


@pytest.mark.parametrize("movement", MOVEMENTS)
def test_limits_follow_the_models_own_movement(movement):
    shifts, lost, limits, max_lost = MOVEMENTS[movement]
    shifts = {name: {"median": 0.0, "p95": p95, "max": most} for name, (p95, most) in shifts.items()}
    own = Comparison("model", "model", 1, 100, 50, 100, lost, 1 if lost else 0, shifts, {}, 0, 0, "different", ())
    tolerance = loosened(Tolerance(LIMITS, 0.0, conf=0.01), own)
    assert tolerance.shifts == pytest.approx(limits)
    assert (tolerance.max_lost, tolerance.conf) == (pytest.approx(max_lost), 0.01)


def test_a_nudge_is_the_least_that_fp32_notices():
    blob = np.random.default_rng(0).random((3, 8, 8), dtype=np.float32)
    (image,) = nudged((verify_images.TestImage("a", blob),))
    steps = (image.blob.view(np.int32) - blob.view(np.int32))[blob > 0]
    assert image.name == "a"
    assert 1 <= steps.min() <= steps.max() <= 4


@pytest.fixture(scope="module")
def unstable(shared, stages_of, make_profile):
    """The published network without training: two of y12's photographs move its boxes by tenths of a pixel."""
    file = shared / "checkpoints/untrained/yolov12n-turbo.pt"
    return stages_of(detector_from_checkpoint(read_checkpoint(file)), make_profile(256, 416), checked=False)


def verified(stages, typed):
    spec = stages.detector.spec
    manifest = Manifest(spec.task, stages.detector.names, spec.strides, stages.profile)
    inputs = VerificationInput(stages.detector, None, stages.simplified, typed, typed, None, manifest)
    return verify(inputs, VerifyOptions(max_images=2))


def test_a_processor_that_rounds_otherwise_does_not_refuse_an_unstable_model(unstable, monkeypatch):
    """A limit of a hundredth stands for a processor that is a hundred times as unlucky: 0.04 px were found at p95."""
    monkeypatch.setitem(TOLERANCES, "fp32", Tolerance({"p95 box_px": 1e-3, "p95 logit": 1e-4}, 0.0))
    verification = verified(unstable, unstable.simplified)
    (comparison,) = verification.comparisons
    assert "astronaut.jpg" in verification.unstable_images
    assert comparison.shifts["box_px"]["p95"] > 1e-3
    assert comparison.verdict == "equal within tolerance"


def test_a_wrong_graph_of_an_unstable_model_is_refused(unstable):
    wrong = onnx.ModelProto.FromString(unstable.simplified.SerializeToString())
    wrong.graph.node[-1].output[0] = "right"
    factor = onnx.numpy_helper.from_array(np.float32(1.5), "factor")
    wrong.graph.initializer.append(factor)
    wrong.graph.node.append(onnx.helper.make_node("Mul", ["right", "factor"], ["output0"]))
    with pytest.raises(VerificationError, match=r"FP32 ONNX .* differs from the model: .*lost detections"):
        verified(unstable, wrong)
