"""Rows of objects that another exporter's graph gives: what is found in them, and which options have no effect."""

import warnings
from dataclasses import replace

import numpy as np
import pytest

from tests.foreign_graphs import EXTRAS, NAMES, Ends, foreign_model, raw_of
from tests.runtime.postprocess.one_output import detections_from_output
from y12 import DetectOptions, Runtime
from y12.errors import ArtefactError, ExecutorError
from y12.runtime.artefact.nms_settings import NmsSettings, end_to_end
from y12.runtime.artefact.output_layout import OutputLayout
from y12.runtime.postprocess.candidates import picked_from_predictions
from y12.runtime.postprocess.in_graph import picked_from_graph
from y12.runtime.postprocess.predictions import predictions_from
from y12.runtime.preprocess.letterbox import Letterbox

IMAGE = np.zeros((64, 64, 3), np.uint8)
KPT_SHAPE = (2, 3)


def expected_of(ends, options):
    """What the runtime picks of the raw predictions."""
    layout = OutputLayout(ends.task, len(NAMES), KPT_SHAPE if ends.task == "pose" else None)
    outputs = {"output0": raw_of(ends)} | (
        {"protos": np.zeros((4, 16, 16), np.float32)} if ends.task == "segment" else {}
    )
    return picked_from_predictions(predictions_from(outputs, layout, (64, 64)), options)


@pytest.fixture
def open_graph(tmp_path):
    opened = []

    def make(ends):
        path = tmp_path / "given.onnx"
        path.write_bytes(foreign_model(ends).SerializeToString())
        opened.append(Runtime(path))
        return opened[-1]

    yield make
    for runtime in opened:
        runtime.close()


KINDS = [("raw", 5), ("end2end", 5), ("end2end", 30), ("nms", 5), ("nms", 60)]


@pytest.mark.parametrize(
    ("kind", "rows", "task"),  # the graphs' NMS is one of upright boxes
    [(*kind, task) for kind in KINDS for task in EXTRAS if (kind[0], task) != ("nms", "obb")],
)
def test_all_kinds_find_what_the_raw_predictions_hold(open_graph, kind, rows, task):
    ends = Ends(kind, task, rows=rows)
    runtime = open_graph(ends)
    found = runtime.infer(IMAGE)
    own = runtime.options
    expected = expected_of(ends, own)
    assert 0 < len(found) == len(expected.scores) <= (300 if kind == "raw" else rows)
    np.testing.assert_allclose(found.confidence, expected.scores, atol=1e-6)
    np.testing.assert_array_equal(found.class_id, expected.class_ids)
    boxes = found.xywhr if task == "obb" else found.xyxy
    expected_boxes = expected.boxes if task == "obb" else np.clip(expected.boxes, 0, 64)
    if task == "obb":  # width is the longer side
        boxes, expected_boxes = boxes[:, :2], expected_boxes[:, :2]
    np.testing.assert_allclose(boxes, expected_boxes, atol=1e-3)
    if task == "pose":
        np.testing.assert_allclose(found.keypoints.reshape(len(found), -1), expected.keypoints, atol=1e-3)
    assert (found.masks is not None) == (task == "segment")


def test_more_rows_than_there_are_objects_are_padding(open_graph):
    ends = Ends("nms", rows=60)
    with pytest.warns(UserWarning, match="conf 0: the graph has left out"):
        found = open_graph(ends).infer(IMAGE, DetectOptions(conf=0.0, max_det=60))
    assert 0 < len(found) < 60
    assert found.confidence.min() > 0.25


TOLD = [
    ("nms", {}, []),
    ("nms", {"conf": 0.1}, ["conf 0.1: the graph has left out all up to 0.25"]),
    ("nms", {"conf": 0.4, "max_det": 2, "classes": (0, 1)}, []),
    ("nms", {"max_det": 6}, ["max_det 6: the graph gives 5 rows at most"]),
    ("nms", {"iou": 0.5}, ["iou 0.5 has no effect: NMS is in the graph, with iou 0.7"]),
    ("nms", {"agnostic": True}, ["agnostic has no effect: NMS is in the graph, with iou 0.7"]),
    ("nms", {"multi_label": True}, ["multi_label has no effect: NMS is in the graph, with iou 0.7"]),
    ("end2end", {}, []),
    ("end2end", {"conf": 0.0}, []),
    ("end2end", {"iou": 0.5, "max_det": 300}, ["max_det 300: the graph gives 5 rows at most", "iou 0.5 has no effect"]),
]


@pytest.mark.parametrize(("kind", "changes", "told"), TOLD)
def test_options_without_effect_are_told_and_the_others_hold(open_graph, kind, changes, told):
    ends = Ends(kind)
    runtime = open_graph(ends)
    options = replace(runtime.options, **changes)
    notes = runtime.notes_on(options)
    assert len(notes) == len(told)
    assert all(note.startswith(start) for note, start in zip(notes, told, strict=True))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = runtime.infer(IMAGE, options)
    assert [str(warning.message) for warning in caught] == list(notes)
    own = expected_of(ends, runtime.artefact.manifest.nms.options)
    kept = (own.scores > options.conf) & np.isin(own.class_ids, options.classes or range(3))
    np.testing.assert_allclose(found.confidence, own.scores[kept][: options.max_det], atol=1e-6)


def test_own_options_are_the_usual_ones_and_what_the_graph_has(open_graph):
    assert open_graph(Ends("end2end", rows=30)).options == DetectOptions(0.25, 1.0, 30, multi_label=True)
    assert open_graph(Ends("nms", rows=500)).options == DetectOptions(0.25, 0.7, 300)


ROWS = np.array([[1, 2, 30, 40, 0.9, 1], [0, 0, 0, 0, 0, 0]], np.float32)


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        (ROWS[:, :5], ArtefactError, r"expected an output output0 \(2 or fewer, 6\), found \(2, 5\)"),
        (np.repeat(ROWS, 2, 0), ArtefactError, r"found \(4, 6\)"),
        (ROWS[0], ArtefactError, r"found \(6,\)"),
        (ROWS * np.nan, ExecutorError, "NaN"),
        (
            ROWS + np.array([0, 0, 0, 0, 515.1, 0]),
            ExecutorError,
            "expected scores from 0 to 1 from the network, found 0 to 516",
        ),
        (ROWS - [0, 0, 0, 0, 0.5, 0], ExecutorError, "found -0.5 to 0.4"),
        (ROWS + np.array([0, 0, 0, 0, 0, 3]), ArtefactError, "class ids of 0 to 2, found 3 to 4"),
    ],
)
def test_rows_that_make_no_sense_are_refused(rows, error, message):
    nms = NmsSettings("rows", 2, DetectOptions(max_det=2))
    with pytest.raises(error, match=message):
        picked_from_graph({"output0": rows.astype(np.float32)}, OutputLayout("detect", 3), nms, nms.options)


@pytest.mark.parametrize("score", [516.0, -0.01])
def test_raw_scores_that_are_none_are_refused(score):
    output0 = np.full((7, 4), 0.5, np.float32)
    output0[5, 2] = score
    with pytest.raises(ExecutorError, match="expected scores from 0 to 1 from the network, found"):
        detections_from_output(output0, Letterbox.fit((64, 64), (64, 64)), NAMES, DetectOptions())


def test_end_to_end_has_no_nms():
    settings = end_to_end(300)
    assert settings.is_rows
    assert settings.is_end_to_end
    assert not replace(settings, options=replace(settings.options, iou=0.7)).is_end_to_end
    with pytest.raises(ArtefactError, match="max_det <= candidates <= 30000"):
        NmsSettings("rows", 30_001, DetectOptions())
