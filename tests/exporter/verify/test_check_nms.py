"""The NMS in a graph is proved against the runtime's own: what is wrong with it is found."""

from dataclasses import replace

import numpy as np
import pytest
from text_models import copy_of

from y12.errors import VerificationError
from y12.exporter.graph.nms.nms import with_nms
from y12.exporter.verify.check_nms import check_nms, compare_after_nms
from y12.exporter.verify.compare import Ran, outputs_of
from y12.exporter.verify.verify_images import load_images
from y12.exporter.verify.verify_options import TOLERANCES, VerifyOptions
from y12.runtime.artefact.manifest import Manifest
from y12.runtime.artefact.nms_settings import NmsSettings
from y12.runtime.artefact.output_layout import OutputLayout, output_layout
from y12.runtime.backends.onnx_runtime import OrtExecutor
from y12.runtime.options import DetectOptions

SETTINGS = NmsSettings("packed", 300, DetectOptions(conf=0.05, iou=0.5, max_det=100))


@pytest.fixture(scope="module")
def small(seeded_n, stages_of, make_profile):
    return stages_of(seeded_n.detector, make_profile(160, 160))


@pytest.fixture(scope="module")
def images():
    return load_images(VerifyOptions(max_images=2), (160, 160), "detect")


def manifest_of(stages, settings=SETTINGS):
    return Manifest("detect", stages.detector.names, (8, 16, 32), stages.profile, nms=settings)


def graph_of(stages, settings=SETTINGS):
    return with_nms(stages.simplified, settings, OutputLayout("detect", 80))


def outputs(graph, images):
    return outputs_of(OrtExecutor(graph.SerializeToString(), "cpu", 1), images, 1)


@pytest.mark.parametrize(
    "settings",
    [
        SETTINGS,
        NmsSettings("split", 300, SETTINGS.options),
        NmsSettings("packed", 20, DetectOptions(conf=0.001, iou=0.5, max_det=20)),  # truncated
        NmsSettings("packed", 300, DetectOptions(conf=0.01, iou=0.3, max_det=5, agnostic=True)),
        NmsSettings("packed", 30, DetectOptions(conf=0.001, max_det=30, classes=tuple(range(0, 80, 2)))),
    ],
)
def test_what_is_right_passes(small, images, settings):
    count = check_nms(
        outputs(small.simplified, images), outputs(graph_of(small, settings), images), manifest_of(small, settings)
    )
    assert count >= 5


WRONG = {
    "iou": DetectOptions(conf=0.05, iou=0.7, max_det=100),
    "conf": DetectOptions(conf=0.06, iou=0.5, max_det=100),
    "agnostic": DetectOptions(conf=0.05, iou=0.5, max_det=100, agnostic=True),
    "classes": DetectOptions(conf=0.05, iou=0.5, max_det=100, classes=tuple(range(79))),
}


@pytest.mark.parametrize("what", WRONG)
def test_another_threshold_in_the_graph_is_found(small, images, what):
    wrong = graph_of(small, NmsSettings("packed", 300, WRONG[what]))
    with pytest.raises(VerificationError, match=r"the NMS in the graph differs from y12's: expected .* detections"):
        check_nms(outputs(small.simplified, images), outputs(wrong, images), manifest_of(small))


@pytest.mark.parametrize(("column", "by", "what"), [(0, 30, "xyxy"), (3, -30, "xyxy"), (4, 1e-3, "confidence")])
def test_a_wrong_column_is_found(small, images, column, by, what):
    after_nms = [{name: array.copy() for name, array in image.items()} for image in outputs(graph_of(small), images)]
    after_nms[1]["detections"][:, column] += by
    with pytest.raises(VerificationError, match=f"differs from y12's in {what} on image 1"):
        check_nms(outputs(small.simplified, images), after_nms, manifest_of(small))


@pytest.mark.parametrize("settings", [SETTINGS, NmsSettings("packed", 20, DetectOptions(conf=0.001, max_det=20))])
def test_peaks_in_the_graph_are_verified_too(small, images, settings):
    manifest = replace(manifest_of(small, settings), localisation="heatmap")  # as if its scores were heatmaps
    layout = output_layout(manifest)
    raw = outputs(small.simplified, images)
    peaks = with_nms(small.simplified, settings, layout)
    assert check_nms(raw, outputs(peaks, images), manifest) >= 5
    with pytest.raises(VerificationError, match="the NMS in the graph differs from y12's"):
        check_nms(raw, outputs(graph_of(small, settings), images), manifest)  # without the peaks
    swapped = with_nms(small.simplified, settings, replace(layout, strides=(32, 16, 8)))
    with pytest.raises(VerificationError, match="the NMS in the graph differs from y12's"):
        check_nms(raw, outputs(swapped, images), manifest)


def test_an_engine_that_ends_in_nms_is_compared_with_the_model(small, images):
    """As with a GPU, where the engine's outputs are all there is; ONNX Runtime's stand in for them."""
    reference = Ran("model", outputs(small.simplified, images))
    final = with_nms(small.typed, SETTINGS, OutputLayout("detect", 80))
    right = Ran("engine", outputs(final, images))
    result = compare_after_nms(reference, right, manifest_of(small), TOLERANCES["fp16"], VerifyOptions())
    assert (result.verdict, result.failures) == ("equal within tolerance", ())
    assert result.matched >= 20
    for wrong, message in (
        (lambda a: a + np.array([9, 0, 9, 0, 0, 0], np.float32), "max box_px"),
        (lambda a: np.where(np.arange(6) == 5, (a + 1) % 80, a), "lost detections"),
        (lambda a: a * np.float32(np.nan), "NaN or infinite values"),
    ):
        changed = Ran("engine", [image | {"detections": wrong(image["detections"])} for image in right.outputs])
        result = compare_after_nms(reference, changed, manifest_of(small), TOLERANCES["fp16"], VerifyOptions())
        assert result.verdict == "different"
        assert any(failure.startswith(message) for failure in result.failures), result.failures


def test_the_graph_is_left_as_it_was(small):
    copy = copy_of(small.simplified)
    graph_of(small)
    assert copy == small.simplified
