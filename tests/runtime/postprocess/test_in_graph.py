"""Artefacts whose graph ends in NMS: both forms, what may still be asked for, and what is refused."""

import math
from dataclasses import replace

import numpy as np
import pytest

from y12 import DetectOptions, Runtime
from y12.errors import ArtefactError, ExecutorError, InputError, Y12Error
from y12.runtime.artefact.nms_settings import NmsSettings

MAX_DET = 6
BAKED = DetectOptions(conf=0.3, iou=0.6, max_det=MAX_DET)
PROTOS = np.stack([np.ones((16, 16)), -np.ones((16, 16))]).astype(np.float32)
IMAGE = np.zeros((128, 128, 3), np.uint8)  # scale 0.5, no padding
ROWS = [  # x1 y1 x2 y2 score class
    [8, 8, 24, 16, 0.9, 1],
    [30, 30, 40, 50, 0.6, 0],
    [50, 2, 60, 10, 0.4, 2],
]
ORIENTED = [[16, 12, 16, 8, 0.9, 1], [35, 40, 10, 20, 0.6, 0], [55, 6, 10, 8, 0.4, 2]]
EXTRAS = {  # the task's extras per row, in columns: coefficients, keypoints, angle
    "detect": [[], [], []],
    "segment": [[1, 0], [0, 1], [2, 1]],
    "pose": [[1, 2, 0.5, 3, 4, 1], [5, 6, 0, 7, 8, 1], [0] * 6],
    "obb": [[0], [math.pi / 2], [1]],
    "multitask": [[1, 0, 1, 2, 0.5, 3, 4, 1], [0, 1, 5, 6, 0, 7, 8, 1], [2, 1, 0, 0, 0, 0, 0, 0]],
}
SIZES = {"detect": (0, 0, 0), "segment": (2, 0, 0), "pose": (0, 6, 0), "obb": (0, 0, 1), "multitask": (2, 6, 0)}
MASKED = ("segment", "multitask")
GARBAGE = 12345.0  # in the rows that are not valid


def outputs_of(task, form, rows=None, truncated=0):
    """What the graph gives, with `rows` valid ones first, without the batch axis."""
    rows = 3 if rows is None else rows
    base = ORIENTED if task == "obb" else ROWS
    table = np.full((MAX_DET, 6 + sum(SIZES[task])), GARBAGE, np.float32)
    table[:rows] = np.array([a + b for a, b in zip(base, EXTRAS[task], strict=True)], np.float32)[:rows]
    outputs = {"protos": PROTOS} if task in MASKED else {}
    if form == "packed":
        return outputs | {"detections": table, "num": np.array([rows]), "truncated": np.array([truncated])}
    outputs |= {"num_dets": np.array([rows]), "det_boxes": table[:, :4]}
    outputs |= {"det_scores": table[:, 4], "det_classes": table[:, 5]}
    start = 6
    for name, size in zip(("det_coefficients", "det_keypoints", "det_angles"), SIZES[task], strict=True):
        if size:
            outputs[name] = table[:, start : start + size]
        start += size
    return outputs


@pytest.fixture
def open_runtime(make_onnx, make_manifest, fake_executor):
    """A Runtime whose network gives these outputs."""

    def make(task, form, outputs, options=BAKED, **changes):
        kpt_shape = (2, 3) if task in ("pose", "multitask") else None
        manifest = make_manifest(task=task, nms=NmsSettings(form, 100, options), **{"kpt_shape": kpt_shape} | changes)
        batched = {name: np.asarray(array, np.float32)[None] for name, array in outputs.items()}
        return Runtime(make_onnx(manifest=manifest), fake_executor(lambda blob: batched))

    return make


@pytest.mark.parametrize("form", ["packed", "split"])
@pytest.mark.parametrize("task", SIZES)
def test_reads_both_forms_of_every_task(open_runtime, task, form):
    found = open_runtime(task, form, outputs_of(task, form)).infer(IMAGE)
    assert found.class_name == ["green", "red", "blue"]
    assert found.confidence.tolist() == pytest.approx([0.9, 0.6, 0.4])
    first_two = [[16, 16, 48, 32], [60, 60, 80, 100]]
    if task == "obb":
        assert np.allclose(found.xywhr[:2], [[32, 24, 32, 16, 0], [70, 80, 20, 40, math.pi / 2]], atol=1e-5)
        first_two[1] = [50, 70, 90, 90]  # the second stands on end
    assert np.allclose(found.xyxy[:2], first_two, atol=1e-4)
    if task in MASKED:
        assert found.area.tolist() == [32 * 16, 0, 20 * 16]  # 1, -1 and 2 - 1 everywhere in the box
    if task in ("pose", "multitask"):
        assert found.keypoints[0].tolist() == [[2, 4, 0.5], [6, 8, 1]]
    assert not found.truncated


@pytest.mark.parametrize("form", ["packed", "split"])
@pytest.mark.parametrize("task", SIZES)
def test_nothing_found(open_runtime, task, form):
    found = open_runtime(task, form, outputs_of(task, form, rows=0)).infer(IMAGE)
    assert (len(found), found.as_records(), found.to_coco(0)) == (0, [], [])
    assert (found.masks is not None) == (task in MASKED)
    assert (found.xywhr is not None) == (task == "obb")


def test_truncation_is_told(open_runtime):
    assert open_runtime("detect", "packed", outputs_of("detect", "packed", truncated=1)).infer(IMAGE).truncated
    assert not open_runtime("detect", "split", outputs_of("detect", "split")).infer(IMAGE).truncated


def test_rows_are_put_in_order(open_runtime):
    outputs = outputs_of("pose", "packed")
    outputs["detections"][:3] = outputs["detections"][[2, 0, 1]]
    found = open_runtime("pose", "packed", outputs).infer(IMAGE)
    assert found.class_name == ["green", "red", "blue"]
    assert found.keypoints[0, 0].tolist() == [2, 4, 0.5]


@pytest.mark.parametrize("form", ["packed", "split"])
@pytest.mark.parametrize(
    ("changes", "labels"),
    [
        ({}, [1, 0, 2]),
        ({"conf": 0.5}, [1, 0]),
        ({"max_det": 1}, [1]),
        ({"classes": (0, 2)}, [0, 2]),
        ({"classes": (0, 2), "max_det": 1}, [0]),
        ({"conf": 0.95}, []),
    ],
)
def test_stricter_options_filter_further(open_runtime, form, changes, labels):
    runtime = open_runtime("segment", form, outputs_of("segment", form))
    assert runtime.options == BAKED
    found = runtime.infer(IMAGE, replace(runtime.options, **changes))
    assert found.class_id.tolist() == labels
    assert len(found.mask) == len(labels)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (DetectOptions(), "conf: expected 0.3 or more, found 0.25"),
        (replace(BAKED, conf=0.29), "conf"),
        (replace(BAKED, iou=0.7), "iou: expected 0.6, found 0.7"),
        (replace(BAKED, max_det=7), "max_det: expected 6 or fewer, found 7"),
        (replace(BAKED, agnostic=True), "agnostic: expected False, found True"),
        (replace(BAKED, multi_label=True), "multi_label: expected False"),
        (replace(BAKED, classes=(1, 3)), "ids of 0 to 2, found 3"),
    ],
)
def test_what_is_decided_in_the_graph_cannot_be_changed(open_runtime, options, message):
    runtime = open_runtime("detect", "packed", outputs_of("detect", "packed"))
    with pytest.raises(InputError, match=message) as caught:
        runtime.infer(IMAGE, options)
    assert "\n" not in str(caught.value)
    if "found 3" not in message:
        assert "with conf 0.3, iou 0.6, max_det 6, all classes; export again" in str(caught.value)


@pytest.mark.parametrize(
    ("classes", "message"),
    [(None, None), ((0,), None), ((0, 2), None), ((1,), r"classes: expected some of \(0, 2\), found \(1,\)")],
)
def test_classes_that_were_left_out(open_runtime, classes, message):
    baked = replace(BAKED, classes=(0, 2), agnostic=True)
    outputs = outputs_of("detect", "packed")
    runtime = open_runtime("detect", "packed", outputs, baked)
    if message is None:
        assert len(runtime.infer(IMAGE, replace(baked, classes=classes))) == {None: 3, (0,): 1, (0, 2): 2}[classes]
        return
    with pytest.raises(InputError, match=message) as caught:
        runtime.infer(IMAGE, replace(baked, classes=classes))
    assert "classes (0, 2), agnostic" in str(caught.value)


@pytest.mark.parametrize(
    ("task", "form", "changes", "error", "message"),
    [
        ("detect", "packed", {"num": None}, ArtefactError, "named num"),
        ("detect", "packed", {"truncated": None}, ArtefactError, "named truncated"),
        ("detect", "packed", {"detections": np.zeros((5, 6))}, ArtefactError, r"\(6, 6\), found \(5, 6\)"),
        ("detect", "packed", {"detections": np.zeros((6, 8))}, ArtefactError, r"\(6, 6\), found \(6, 8\)"),
        ("detect", "packed", {"num": np.array([7])}, ExecutorError, "from 0 to 6 in the output num, found 7"),
        ("detect", "packed", {"num": np.array([-1])}, ExecutorError, "found -1"),
        ("detect", "packed", {"num": np.array([1.5])}, ExecutorError, "found 1.5"),
        ("detect", "packed", {"num": np.array([np.nan])}, ExecutorError, "found nan"),
        ("detect", "packed", {"num": np.array([1, 2])}, ArtefactError, r"num \(1,\), found \(2,\)"),
        ("detect", "packed", {"num": np.array([4])}, ArtefactError, "class ids of 0 to 2, found 0 to 12345"),
        ("detect", "packed", {"detections": np.full((6, 6), np.nan)}, ExecutorError, "NaN"),
        ("detect", "packed", {"detections": np.full((6, 6), 0.5)}, ArtefactError, "class ids .* found 0.5"),
        ("detect", "packed", {"detections": np.full((6, 6), -1.0)}, ArtefactError, "found -1"),
        ("detect", "packed", {"detections": np.full((6, 6), 1e30)}, ArtefactError, "class ids .* found 1e\\+30"),
        ("segment", "packed", {"protos": None}, ArtefactError, "protos"),
        ("segment", "packed", {"protos": PROTOS[:1]}, ArtefactError, r"\(6, 7\), found \(6, 8\)"),
        ("segment", "split", {"det_coefficients": None}, ArtefactError, "named det_coefficients"),
        ("pose", "split", {"det_keypoints": np.zeros((6, 4))}, ArtefactError, r"\(6, 6\), found \(6, 4\)"),
        ("obb", "split", {"det_angles": None}, ArtefactError, "named det_angles"),
        ("detect", "split", {"det_scores": np.zeros((6, 1))}, ArtefactError, r"det_scores \(6,\)"),
        ("detect", "split", {"num_dets": None}, ArtefactError, "named num_dets"),
        ("detect", "split", {"det_classes": np.full(6, 3.0)}, ArtefactError, "class ids"),
    ],
)
def test_outputs_that_make_no_sense_are_refused(open_runtime, task, form, changes, error, message):
    outputs = {k: v for k, v in (outputs_of(task, form) | changes).items() if v is not None}
    with pytest.raises(error, match=message) as caught:
        open_runtime(task, form, outputs).infer(IMAGE)
    assert isinstance(caught.value, Y12Error)
    assert "\n" not in str(caught.value)
