"""Every task's raw outputs to Detections: what is found, what is refused, and nothing found."""

import math

import numpy as np
import pytest

from y12.errors import ArtefactError, ExecutorError, InputError
from y12.runtime.artefact.manifest import TASKS
from y12.runtime.options import DetectOptions
from y12.runtime.preprocess.crop import CentreCrop
from y12.runtime.preprocess.letterbox import Letterbox
from y12.runtime.tasks import default_options, task_for

HALF = Letterbox.fit((100, 128), (64, 64))  # scale 0.5, 7 rows of padding above
PROTOS = np.stack([np.ones((16, 16)), np.tile(np.arange(16) - 8.0, (16, 1))]).astype(np.float32)  # 1, and x - 8
NAMES = ("red", "green", "blue")
BOX, SCORES = (32, 32, 16, 8), (0.1, 0.9, 0.2)  # -> 48, 42, 80, 58 in the image
SETTINGS = {  # what the manifest says, a prediction's extras, and other outputs
    "detect": ({}, [], {}),
    "segment": ({}, [0.0, 1.0], {"protos": PROTOS}),
    "pose": ({"kpt_shape": (2, 3)}, [32, 32, 0.9, 0, 7, 0.2], {}),
    "obb": ({}, [math.pi / 2], {}),
}


def run(make_manifest, task, outputs, options=None, frame=HALF, **changes):
    manifest = make_manifest(task=task, **SETTINGS.get(task, ({},))[0] | changes)
    outputs = {name: np.asarray(array, np.float32) for name, array in outputs.items()}
    return task_for(manifest).decode(outputs, frame, options or default_options(manifest))


def outputs_of(task, *predictions):
    """output0 from (box, scores) per anchor, with the task's extras and other outputs."""
    _, extras, others = SETTINGS[task]
    anchors = [[*box, *scores, *extras] for box, scores in predictions]
    rows = 4 + len(NAMES) + len(extras)
    return {"output0": np.array(anchors, np.float32).reshape(-1, rows).T} | others


def separate(*, masks=True, keypoints=True, anchors=2):
    """A multi-task network's outputs; the second anchor is below the threshold."""
    outputs = {
        "boxes": np.array([BOX, (5, 5, 2, 2)], np.float32).T[:, :anchors],
        "scores": np.array([SCORES, (0.1, 0.1, 0.1)], np.float32).T[:, :anchors],
    }
    if masks:
        outputs |= {"mask_coefficients": np.array([[0, 1], [1, 0]], np.float32).T[:, :anchors], "protos": PROTOS}
    if keypoints:
        outputs["keypoints"] = np.array([[32, 32, 0, 7], [0, 0, 0, 0]], np.float32).T[:, :anchors]
    return outputs


def test_every_task_of_the_manifest_is_served(make_manifest):
    for task in TASKS:
        manifest = make_manifest(task=task, kpt_shape=(17, 3) if task == "pose" else None)
        assert (task_for(manifest).layout is None) == (task == "classify")
        assert task_for(manifest).names == manifest.names


def test_detect(make_manifest):
    found = run(make_manifest, "detect", outputs_of("detect", (BOX, SCORES)))
    assert found.xyxy.tolist() == [[48, 42, 80, 58]]
    assert (found.class_name, found.masks, found.keypoints, found.xywhr) == (["green"], None, None, None)
    assert not found.truncated
    assert not found.whole_image


@pytest.mark.parametrize("name", ["protos", "output1", "anything"])
def test_segment(make_manifest, name):
    outputs = outputs_of("segment", (BOX, SCORES), ((9, 9, 2, 2), (0, 0, 0)))
    outputs[name] = outputs.pop("protos")
    found = run(make_manifest, "segment", outputs)
    assert found.xyxy.tolist() == [[48, 42, 80, 58]]
    expected = np.zeros((1, 100, 128), bool)
    # x - 8 > 0 right of the prototype's pixel 8, whose centre is 8.5 * 4 = 34 in the input and 68 in the image
    expected[0, 42:58, 68:80] = True
    assert np.array_equal(found.mask, expected)


def test_pose(make_manifest):
    found = run(make_manifest, "pose", outputs_of("pose", (BOX, SCORES)))
    assert found.keypoints.dtype == np.float32
    assert np.allclose(found.keypoints, [[[64, 50, 0.9], [0, 0, 0.2]]])


def test_pose_without_visibility(make_manifest):
    raw = np.array([[*BOX, *SCORES, 32, 32, 70, 7]], np.float32).T
    found = run(make_manifest, "pose", {"output0": raw}, kpt_shape=(2, 2))
    assert found.keypoints.tolist() == [[[64, 50, 1], [140, 0, 1]]]  # a point may lie outside the image


def test_obb(make_manifest):
    found = run(make_manifest, "obb", outputs_of("obb", (BOX, SCORES)))
    assert np.allclose(found.xywhr, [[64, 50, 32, 16, math.pi / 2]])
    assert np.allclose(found.xyxy, [[56, 34, 72, 66]], atol=1e-5)  # upright round the box that stands on end
    assert found.data["xyxyxyxy"].shape == (1, 4, 2)


def test_obb_suppresses_by_probiou_and_clips_the_upright_box(make_manifest):
    raw = [
        [0, 7, 20, 4, 0.9, 0, 0, 0.0],  # reaches out to the left
        [0, 7, 20, 4, 0.8, 0, 0, 0.02],  # nearly the same
        [0, 7, 20, 4, 0.7, 0, 0, 1.5],  # across
        [0, 7, 20, 4, 0.6, 0.7, 0, 0.0],  # another class
    ]
    found = run(make_manifest, "obb", {"output0": np.array(raw, np.float32).T})
    assert found.class_id.tolist() == [0, 0, 1]
    assert found.confidence.tolist() == pytest.approx([0.9, 0.7, 0.7])
    assert found.xyxy[:, :2].min() == 0
    assert found.xywhr[0].tolist() == pytest.approx([0, 0, 40, 8, 0])
    agnostic = run(make_manifest, "obb", {"output0": np.array(raw, np.float32).T}, DetectOptions(agnostic=True))
    assert len(agnostic) == 2


@pytest.mark.parametrize("masks", [False, True])
@pytest.mark.parametrize("keypoints", [False, True])
def test_multitask(make_manifest, masks, keypoints):
    outputs = separate(masks=masks, keypoints=keypoints)
    found = run(make_manifest, "multitask", outputs, kpt_shape=(2, 2) if keypoints else None)
    assert found.xyxy.tolist() == [[48, 42, 80, 58]]
    assert found.class_name == ["green"]
    assert (found.masks is not None, found.keypoints is not None) == (masks, keypoints)
    if masks:
        assert found.area.tolist() == [16 * 12]
    if keypoints:
        assert found.keypoints.tolist() == [[[64, 50, 1], [0, 0, 1]]]


@pytest.mark.parametrize("task", ["segment", "pose", "obb", "detect"])
@pytest.mark.parametrize(
    ("options", "labels"),
    [
        (DetectOptions(conf=0.15), [1]),
        (DetectOptions(conf=0.15, multi_label=True), [1, 2]),
        (DetectOptions(conf=0.15, multi_label=True, agnostic=True), [1]),
        (DetectOptions(conf=0.05, multi_label=True, classes=(0, 2)), [2, 0]),
        (DetectOptions(conf=0.15, classes=(2,)), []),
        (DetectOptions(conf=0.05, multi_label=True, max_det=1), [1]),
    ],
)
def test_options_hold_for_all_tasks(make_manifest, task, options, labels):
    found = run(make_manifest, task, outputs_of(task, (BOX, SCORES)), options)
    assert found.class_id.tolist() == labels
    for part in (found.masks, found.keypoints, found.xywhr):
        assert part is None or len(part) == len(labels)


@pytest.mark.parametrize("task", ["detect", "segment", "pose", "obb", "multitask"])
@pytest.mark.parametrize("anchors", [0, 1])
def test_nothing_found(make_manifest, task, anchors):
    if task == "multitask":
        outputs = separate(anchors=anchors) | {"scores": np.zeros((3, anchors), np.float32)}
        found = run(make_manifest, task, outputs, kpt_shape=(2, 2))
    else:
        found = run(make_manifest, task, outputs_of(task, *[(BOX, (0, 0, 0))] * anchors))
    assert (len(found), found.xyxy.shape, found.class_name) == (0, (0, 4), [])
    assert (found.masks is not None) == (task in ("segment", "multitask"))
    assert found.mask is None or found.mask.shape == (0, 100, 128)
    assert (found.keypoints is not None) == (task in ("pose", "multitask"))
    assert (found.xywhr is not None) == (task == "obb")
    assert "xyxyxyxy" not in found.data or found.data["xyxyxyxy"].shape == (0, 4, 2)
    assert found.as_records() == found.to_coco(1) == []
    assert found[[]].image_hw == (100, 128)


def replaced(outputs, **changes):
    """The outputs with some replaced, or taken away where None."""
    return {name: array for name, array in (outputs | changes).items() if array is not None}


WRONG = np.zeros((4, 2), np.float32)


@pytest.mark.parametrize(
    ("task", "changes", "manifest", "message"),
    [
        ("detect", {"output0": None}, {}, "named output0, found none"),
        ("detect", {}, {"names": ("a",)}, r"\(5, A\) for 1 classes, found \(7, 1\)"),
        ("segment", {"protos": None}, {}, r"protos \(M, Hp, Wp\) beside the boxes, found output0 \(9, 1\)"),
        ("segment", {"protos": PROTOS[:1]}, {}, r"\(8, A\) for 3 classes, 1 mask coefficients, found \(9, 1\)"),
        ("segment", {"protos": PROTOS[0]}, {}, r"protos \(M, Hp, Wp\)"),
        ("segment", {"protos": None, "a": PROTOS, "b": PROTOS}, {}, r"protos \(M, Hp, Wp\)"),  # which one?
        ("segment", {"protos": PROTOS[:, :0]}, {}, r"protos \(M, Hp, Wp\)"),
        ("segment", {}, {"names": ("a", "b")}, r"\(8, A\) for 2 classes, 2 mask coefficients"),
        ("pose", {}, {"kpt_shape": (2, 2)}, r"\(11, A\) for 3 classes, 4 keypoint values, found \(13, 1\)"),
        ("pose", {}, {"kpt_shape": (17, 3)}, r"51 keypoint values"),
        ("obb", {"output0": np.zeros((7, 3))}, {}, r"\(8, A\) for 3 classes, 1 angle, found \(7, 3\)"),
        ("multitask", {"boxes": None}, {}, "named boxes"),
        ("multitask", {"boxes": np.zeros((5, 2))}, {}, r"boxes \(4, 2\), found \(5, 2\)"),
        ("multitask", {"scores": np.zeros((3, 4))}, {}, r"scores \(3, 2\), found \(3, 4\)"),
        ("multitask", {"mask_coefficients": None}, {}, "named mask_coefficients"),
        ("multitask", {"mask_coefficients": np.zeros((5, 2))}, {}, r"mask_coefficients \(2, 2\), found \(5, 2\)"),
        ("multitask", {"protos": None}, {}, "no output mask_coefficients, as the network has no protos"),
        ("multitask", {}, {"kpt_shape": None}, "no output keypoints, as the manifest has no kpt_shape"),
        ("multitask", {}, {"kpt_shape": (2, 3)}, r"keypoints \(6, 2\), found \(4, 2\)"),
        ("multitask", {"keypoints": None}, {}, "named keypoints"),
    ],
)
def test_contradictions_are_refused(make_manifest, task, changes, manifest, message):
    outputs = separate() if task == "multitask" else outputs_of(task, (BOX, SCORES))
    settings = {"kpt_shape": (2, 2)} if task == "multitask" else {}
    with pytest.raises(ArtefactError, match=message) as caught:
        run(make_manifest, task, replaced(outputs, **changes), **settings | manifest)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize(
    ("task", "name"),
    [(task, "output0") for task in SETTINGS]
    + [("segment", "protos"), ("multitask", "protos"), ("multitask", "boxes"), ("multitask", "scores")]
    + [("multitask", "mask_coefficients"), ("multitask", "keypoints")],
)
def test_nan_and_infinity_are_refused(make_manifest, task, name, bad):
    outputs = separate() if task == "multitask" else outputs_of(task, (BOX, SCORES))
    outputs[name] = outputs[name].copy()
    outputs[name][(-1,) * outputs[name].ndim] = bad
    settings = {"kpt_shape": (2, 2)} if task == "multitask" else {}
    with pytest.raises(ExecutorError, match="NaN or infinity"):
        run(make_manifest, task, outputs, **settings)


SEEN = CentreCrop.fit((100, 200), (64, 64))
SEVEN = {"names": tuple("abcdefg"), "strides": ()}
PROBABILITIES = [0.0, 0.3, 0.1, 0.25, 0.05, 0.2, 0.1]


@pytest.mark.parametrize(
    ("options", "labels"),
    [
        (None, [1, 3, 5, 2, 6]),  # the best five; of equals the first
        (DetectOptions(), [1]),  # conf given: above 0.25
        (DetectOptions(conf=0.15), [1, 3, 5]),
        (DetectOptions(conf=0), [1, 3, 5, 2, 6]),  # never more than five
        (DetectOptions(conf=0, max_det=2), [1, 3]),
        (DetectOptions(conf=0, classes=(0, 2, 4)), [2, 4, 0]),
        (DetectOptions(conf=0.9), []),
    ],
)
def test_classify(make_manifest, options, labels):
    found = run(make_manifest, "classify", {"output0": PROBABILITIES}, options, SEEN, **SEVEN)
    assert found.class_id.tolist() == labels
    assert found.confidence.tolist() == pytest.approx([PROBABILITIES[i] for i in labels])
    assert found.xyxy.tolist() == [[50, 0, 150, 100]] * len(labels)
    assert found.whole_image
    assert found.image_hw == (100, 200)


@pytest.mark.parametrize(
    ("output0", "options", "error", "message"),
    [
        ([0.5, 0.5], None, ArtefactError, r"expected an output \(7,\) for 7 classes, found \(2,\)"),
        ([PROBABILITIES], None, ArtefactError, r"found \(1, 7\)"),
        ([np.nan] * 7, None, ExecutorError, "NaN"),
        (PROBABILITIES, DetectOptions(classes=(7,)), InputError, "ids of 0 to 6, found 7"),
    ],
)
def test_classify_refuses(make_manifest, output0, options, error, message):
    with pytest.raises(error, match=message):
        run(make_manifest, "classify", {"output0": output0}, options, SEEN, **SEVEN)


@pytest.mark.parametrize(
    ("checkpoint", "task", "labels", "manifest"),
    [
        ("yolo11n-seg", "segment", [0, 0, 0, 0, 5], {}),
        ("yolov8n-pose", "pose", [0, 0, 0, 0], {"names": ("person",), "kpt_shape": (17, 3)}),
    ],
)
def test_recorded_outputs_of_trained_models(make_manifest, shared, checkpoint, task, labels, manifest):
    """A street with four persons and a bus: masks and keypoints lie within the boxes."""
    recorded = np.load(shared / f"checkpoints/trained/{checkpoint}.npz")
    outputs = {"output0": recorded["pred"][0]}
    if task == "segment":
        outputs["output1"] = recorded["proto"][0]
    frame = Letterbox.fit((1080, 810), (640, 640))
    found = run(make_manifest, task, outputs, None, frame, **{"names": tuple(map(str, range(80)))} | manifest)
    assert sorted(found.class_id.tolist()) == labels
    width_height = found.xyxy[:, 2:] - found.xyxy[:, :2]
    if task == "segment":
        share = found.area / width_height.prod(axis=1)
        assert ((share > 0.25) & (share < 0.8)).all()  # of the box; the bus stands partly behind the persons
    else:
        sure = found.keypoints[..., 2] > 0.5
        inside = (found.keypoints[..., :2] > found.xyxy[:, None, :2] - 5) & (
            found.keypoints[..., :2] < found.xyxy[:, None, 2:] + 5
        )
        assert inside.all(axis=2)[sure].all()
        nose, ankles = found.keypoints[:3, 0, 1], found.keypoints[:3, 15:, 1]
        assert (ankles > nose[:, None] + 100).all()  # they stand
