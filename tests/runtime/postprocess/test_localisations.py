"""Heatmaps' peaks and anchors' objectness, against loops, and what the manifest says of them."""

import json
from dataclasses import replace
from time import perf_counter

import numpy as np
import pytest

from y12.errors import ArtefactError, ExecutorError
from y12.runtime.artefact.manifest import AxisRange, InputProfile, Manifest
from y12.runtime.artefact.output_layout import output_layout
from y12.runtime.options import DetectOptions
from y12.runtime.postprocess.boxes import decode_boxes
from y12.runtime.postprocess.candidates import peaks_only
from y12.runtime.postprocess.predictions import predictions_from
from y12.runtime.preprocess.letterbox import Letterbox

LEVELS = ((6, 10), (3, 5))
HW = (48, 80)


def manifest_of(localisation, task="detect", nc=3, strides=(8, 16)):
    one = AxisRange(1, 1, 1)
    profile = InputProfile(one, *(AxisRange(side, side, side) for side in HW))
    return Manifest(task, tuple(f"c{i}" for i in range(nc)), strides, profile, localisation=localisation)


def decoded(outputs, manifest, options, frame=None):
    return decode_boxes(outputs, frame or Letterbox.fit(HW, HW), options, output_layout(manifest), manifest.names)


def peaks_in_a_loop(scores, levels):
    kept, start = np.zeros_like(scores), 0
    for h, w in levels:
        for c in range(len(scores)):
            level = scores[c, start : start + h * w].reshape(h, w)
            for y in range(h):
                for x in range(w):
                    around = level[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]
                    if level[y, x] == around.max():
                        kept[c, start + y * w + x] = level[y, x]
        start += h * w
    return kept


@pytest.mark.parametrize("least", [0.0, 0.5])
@pytest.mark.parametrize("levels", [LEVELS, ((1, 1), (1, 7), (5, 1)), ((2, 2),)])
def test_peaks_are_the_largest_of_their_neighbours(levels, least, rng):
    scores = rng.integers(1, 9, (3, sum(h * w for h, w in levels))).astype(np.float32) / 9  # many equal ones
    expected = peaks_in_a_loop(scores, levels)
    np.testing.assert_array_equal(peaks_only(scores, levels, least), np.where(scores > least, expected, 0))


def test_levels_and_classes_do_not_touch():
    """Neither a row's end and the next one's beginning, nor two levels, nor two classes are neighbours."""
    scores = np.zeros((2, 18), np.float32)
    scores[0, [2, 3]] = 0.5, 0.6  # the end of row 0 and the beginning of row 1
    scores[0, [8, 9]] = 0.7, 0.8  # the last cell of level 0 and the first of level 1
    scores[1, 2] = 0.9
    kept = peaks_only(scores, ((3, 3), (3, 3)))
    assert [tuple(map(int, at)) for at in np.argwhere(kept)] == [(0, 2), (0, 3), (0, 8), (0, 9), (1, 2)]


def heatmap_output(rng, nc=3, cells=75):
    output = rng.random((4 + nc, cells)).astype(np.float32)
    output[:2] *= 48
    output[2:4] = 2 + output[2:4]  # too small to overlap much
    return output


@pytest.mark.parametrize("task", ["detect", "segment"])
def test_a_heatmap_is_decoded_to_its_peaks(rng, task):
    output = heatmap_output(rng)
    outputs = {"output0": output}
    if task == "segment":
        outputs["output0"] = np.concatenate([output, rng.random((2, 75), np.float32)])
        outputs["protos"] = rng.random((2, 12, 20)).astype(np.float32)
    found = decoded(outputs, manifest_of("heatmap", task), DetectOptions(conf=0.3, iou=1.0))
    peaks = peaks_in_a_loop(output[4:], LEVELS)
    at = np.flatnonzero(peaks.max(axis=0) > 0.3)
    order = at[np.argsort(-peaks[:, at].max(axis=0), kind="stable")]
    np.testing.assert_array_equal(found.confidence, peaks[:, order].max(axis=0))
    np.testing.assert_array_equal(found.class_id, peaks[:, order].argmax(axis=0))
    assert 10 < len(found) < 60
    plain = decoded(outputs, manifest_of("distances", task), DetectOptions(conf=0.3, iou=1.0))
    assert len(plain) > len(found)


def test_two_labels_of_one_cell_are_both_peaks():
    output = np.zeros((7, 75), np.float32)
    output[:4, 12] = 20, 20, 8, 8
    output[4:, 12] = 0.9, 0.8, 0.1
    options = DetectOptions(conf=0.3, multi_label=True)
    manifest = manifest_of("heatmap")
    found = decoded({"output0": output}, manifest, options)
    assert found.class_id.tolist() == [0, 1]


def test_the_sizes_of_the_levels_follow_from_the_input():
    manifest, outputs = manifest_of("heatmap"), {"output0": np.zeros((7, 75), np.float32)}
    assert predictions_from(outputs, output_layout(manifest), HW).peaks_of == LEVELS
    with pytest.raises(ArtefactError, match=r"expected 62 cells at strides \(8, 16, 32\) of an input of 48x64, fou"):
        predictions_from(outputs, output_layout(replace(manifest, strides=(8, 16, 32))), (48, 64))
    with pytest.raises(ArtefactError, match=r"expected 60 cells at strides \(8, 16\) of an input of 48x64, found 75"):
        predictions_from(outputs, output_layout(manifest), (48, 64))


def test_anchors_score_objectness_times_class():
    columns = [
        (20, 20, 8, 8, 0.5, 0.9, 0.2, 0.1),  # 0.45
        (60, 20, 8, 8, 0.9, 0.1, 0.8, 0.1),  # 0.72
        (20, 40, 8, 8, 0.9, 0.2, 0.1, 0.2),  # 0.18
        (60, 40, 8, 8, 0.2, 0.1, 0.1, 1.0),  # 0.2
    ]
    outputs = {"output0": np.array(columns, np.float32).T}
    found = decoded(outputs, manifest_of("anchors"), DetectOptions())
    assert found.class_id.tolist() == [1, 0]
    np.testing.assert_allclose(found.confidence, [0.72, 0.45], rtol=1e-6)
    np.testing.assert_allclose(found.xyxy, [[56, 16, 64, 24], [16, 16, 24, 24]])


def test_anchors_of_a_segmentation():
    output = np.arange(10, dtype=np.float32).reshape(10, 1) / 10
    outputs = {"output0": output, "protos": np.ones((2, 12, 20), np.float32)}
    found = predictions_from(outputs, output_layout(manifest_of("anchors", "segment")), HW)
    np.testing.assert_allclose(found.scores[:, 0], [0.4 * 0.5, 0.4 * 0.6, 0.4 * 0.7], rtol=1e-6)
    np.testing.assert_allclose(found.coefficients[:, 0], [0.8, 0.9])


@pytest.mark.parametrize("rows", [7, 9])
def test_an_output_of_another_number_of_rows_is_refused(rows):
    with pytest.raises(ArtefactError, match="does not fit its network"):
        predictions_from({"output0": np.zeros((rows, 4), np.float32)}, output_layout(manifest_of("anchors")), HW)


@pytest.mark.parametrize("localisation", ["heatmap", "anchors"])
def test_nan_is_refused(localisation):
    output = np.zeros((7 + (localisation == "anchors"), 75), np.float32)
    output[4, 3] = np.nan
    with pytest.raises(ExecutorError, match="found NaN or infinity"):
        predictions_from({"output0": output}, output_layout(manifest_of(localisation)), HW)


def test_the_manifest_says_it_only_where_it_is_not_plain():
    assert "localisation" not in json.loads(manifest_of("distances").to_json())
    for localisation in ("distances", "heatmap", "anchors"):
        manifest = manifest_of(localisation, "segment")
        assert Manifest.from_json(manifest.to_json()) == manifest
        assert Manifest.from_network_name(manifest.to_network_name()) == manifest


@pytest.mark.parametrize(
    ("task", "localisation"),
    [("detect", "corners"), ("detect", None), ("detect", ["heatmap"]), ("obb", "heatmap"), ("classify", "anchors")],
)
def test_another_localisation_is_refused(task, localisation):
    text = manifest_of("distances").to_json()
    data = json.loads(text) | {"task": task, "localisation": localisation}
    reason = "must be one of distances, heatmap, anchors" if isinstance(localisation, str) else "as a text of at most"
    with pytest.raises(ArtefactError, match=f"localisation {reason}"):
        Manifest.from_json(json.dumps(data))


@pytest.mark.parametrize("localisation", ["heatmap", "anchors"])
def test_it_is_quick(localisation, rng):
    """A few milliseconds for 8400 anchor points of 80 classes; the limit leaves room for a machine that is busy."""
    output = rng.random((84 + (localisation == "anchors"), 8400)).astype(np.float32)
    output[4:] **= 60
    manifest = manifest_of(localisation, nc=80, strides=(8, 16, 32))
    frame, times = Letterbox.fit((640, 640), (640, 640)), []
    for _ in range(5):
        start = perf_counter()
        decoded({"output0": output}, manifest, DetectOptions(conf=0.9), frame)
        times.append(perf_counter() - start)
    assert min(times) < 0.1
