"""Which ranges are taken: by the scores of the best places, against the equation written out."""

from dataclasses import replace

import numpy as np
import pytest
from text_models import model_of, noise

from y12.exporter.precision.calibration.method_choice import ScoreError, best_ranges
from y12.exporter.precision.ranges import Range, Ranges
from y12.exporter.verify.verify_images import photos_dir
from y12.runtime.artefact.manifest import AxisRange, InputProfile, Manifest
from y12.runtime.backends.onnx_runtime import OrtExecutor
from y12.runtime.preprocess.images import image_from
from y12.runtime.preprocess.letterbox import blob_from
from y12.runtime.tasks import fit_for

PHOTOS = sorted(photos_dir().glob("*.jpg"))
MANIFEST = Manifest("detect", ("a", "b"), (8,), InputProfile(AxisRange(1, 1, 1), *[AxisRange(32, 32, 32)] * 2))
CONV = noise(6, 3, 8, 8) * 0.2
TEXT = """(float[1,3,32,32] images) => (float[1,6,16] output0) {
    y = Conv<kernel_shape=[8,8], strides=[8,8]>(images, w)
    s = Sigmoid(y)
    output0 = Reshape(s, shape)
}"""


def network(factor=1.0, offset=0.0):
    """A detector of 16 places whose scores are spoilt by a factor on its weights."""
    return model_of(TEXT, w=(CONV * factor + np.float32(offset)).astype(np.float32), shape=np.array([1, 6, 16]))


def score_error(graph, typed, images, manifest):
    return ScoreError(graph, images, manifest).of(typed)


def written_out(graph, typed):
    """The equation, image by image and place by place."""
    means = []
    for path in PHOTOS:
        fitted, _ = fit_for("detect")(image_from(path), (32, 32))
        reference, quantized = (
            OrtExecutor(g.SerializeToString(), "cpu").run(blob_from([fitted]))["output0"][0] for g in (graph, typed)
        )
        shifts = []
        for anchor in range(16):
            best = int(reference[4:, anchor].argmax())
            a, b = (float(np.clip(o[4 + best, anchor], 1e-6, 1 - 1e-6)) for o in (reference, quantized))
            shifts.append(abs(np.log(b / (1 - b)) - np.log(a / (1 - a))))
        means.append(np.mean(shifts))
    return float(np.mean(means))


@pytest.mark.parametrize(("factor", "offset"), [(1.0, 0.0), (0.8, 0.0), (1.0, 0.01)])
def test_the_error_is_that_of_the_equation(factor, offset):
    error = score_error(network(), network(factor, offset), PHOTOS, MANIFEST)
    assert error == pytest.approx(written_out(network(), network(factor, offset)), rel=1e-5, abs=1e-7)
    assert (error == 0) == (factor == 1.0 and offset == 0.0)


@pytest.mark.parametrize(("spoilt", "counts"), [(slice(100, None), False), (slice(0, 1), True)])
def test_only_the_best_hundred_anchors_count(spoilt, counts):
    wide = replace(MANIFEST, profile=InputProfile(AxisRange(1, 1, 1), *[AxisRange(96, 96, 96)] * 2))
    text = (
        TEXT.replace("32,32", "96,96").replace("[1,6,16]", "[1,6,144]").replace("= Reshape(s, shape)", "= Add(t, at)")
    )
    text = text.replace("s = Sig", "r = Reshape(y, shape) s = Sig").replace("Sigmoid(y)", "Sigmoid(r) t = Identity(s)")
    weights = {"w": CONV, "shape": np.array([1, 6, 144])}
    graph = model_of(text, **weights, at=np.zeros((1, 6, 144), np.float32))
    fitted, _ = fit_for("detect")(image_from(PHOTOS[0]), (96, 96))
    scores = OrtExecutor(graph.SerializeToString(), "cpu").run(blob_from([fitted]))["output0"][0, 4:].max(axis=0)
    shift = np.zeros((1, 6, 144), np.float32)
    shift[..., np.argsort(-scores)[spoilt]] = -0.01
    assert (score_error(graph, model_of(text, **weights, at=shift), PHOTOS[:1], wide) > 0) == counts


def candidates():
    return [Ranges({"y": Range(-1.0, 1.0)}, name, 4) for name in ("first", "second", "third")]


@pytest.mark.parametrize(
    ("factors", "chosen"),
    [
        ((0.9, 0.5, 0.99), "third"),
        ((0.9, 0.5, 0.4), "first"),
        ((0.9, 0.904, 0.4), "first"),  # better by less than chance
        ((0.5, 0.9, 0.904), "second"),  # the first is clearly worse, the third better by less than chance
    ],
)
def test_the_first_is_taken_that_no_other_is_clearly_better_than(factors, chosen):
    tried = candidates()
    graphs = {ranges.method: network(factor) for ranges, factor in zip(tried, factors, strict=True)}
    calls = []
    measure = ScoreError(network(), PHOTOS, MANIFEST)
    best = best_ranges(measure, lambda ranges: graphs[ranges.method], tried, lambda *call: calls.append(call))
    assert best.method == chosen
    assert best.notes[-1].startswith(f"{chosen} chosen")
    assert "taken is the first that no other betters by 5 % or more" in best.notes[-1]
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_a_classifiers_best_classes_are_compared():
    text = """(float[1,3,32,32] images) => (float[1,6] output0) {
        y = Conv<kernel_shape=[8,8], strides=[8,8]>(images, w)
        m = GlobalAveragePool(y)
        f = Flatten(m)
        output0 = Softmax(f)
    }"""
    manifest = Manifest("classify", tuple("abcdef"), (), MANIFEST.profile)
    graph, other = model_of(text, w=CONV), model_of(text, w=CONV * 0.5)
    assert score_error(graph, graph, PHOTOS, manifest) == 0
    assert score_error(graph, other, PHOTOS, manifest) > 0
