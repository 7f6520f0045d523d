"""The network's output to Detections, and the thresholds."""

import json

import numpy as np
import pytest

from tests.runtime.postprocess.one_output import detections_from_output
from y12.errors import ArtefactError, ExecutorError, InputError
from y12.runtime.options import DetectOptions
from y12.runtime.preprocess.letterbox import Letterbox

NAMES = ("cat", "dog")
SQUARE = Letterbox.fit((64, 64), (64, 64))


def output(*columns):
    """(4 + 2, A) from one (x, y, w, h, cat, dog) per anchor."""
    return np.array(columns, np.float32).T.copy()


def test_boxes_scores_and_classes():
    raw = output((20, 30, 10, 4, 0.1, 0.6), (40, 40, 8, 8, 0.9, 0.2), (9, 9, 2, 2, 0.25, 0.2))
    found = detections_from_output(raw, SQUARE, NAMES, DetectOptions())
    assert found.xyxy.tolist() == [[36, 36, 44, 44], [15, 28, 25, 32]]  # best first
    assert found.class_id.tolist() == [0, 1]
    assert found.confidence.tolist() == pytest.approx([0.9, 0.6])  # 0.25 is not above 0.25
    assert (found.xyxy.dtype, found.confidence.dtype) == (np.float32, np.float32)
    assert (found.names, found.image_hw) == (NAMES, (64, 64))


def test_boxes_go_back_to_the_image():
    frame = Letterbox.fit((100, 200), (64, 64))  # scale 0.32, 16 rows of padding above
    found = detections_from_output(output((32, 32, 64, 16, 0.9, 0)), frame, NAMES, DetectOptions())
    assert found.xyxy.tolist() == [[0, 25, 200, 75]]
    assert found.image_hw == (100, 200)


TWO_CLASSES_IN_ONE_PLACE = output((20, 20, 10, 10, 0.9, 0.1), (20, 20, 10, 10, 0.3, 0.8), (50, 50, 4, 4, 0.5, 0.4))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (DetectOptions(), [0, 1, 0]),
        (DetectOptions(agnostic=True), [0, 0]),
        (DetectOptions(classes=(1,)), [1]),  # the third box is a cat first; it does not become a dog
        (DetectOptions(classes=(0, 1)), [0, 1, 0]),
        (DetectOptions(max_det=2), [0, 1]),
        (DetectOptions(conf=0.8), [0]),
        (DetectOptions(conf=1.0), []),
        (DetectOptions(conf=0.05, multi_label=True), [0, 1, 0, 1]),  # 0.9 cat, 0.8 dog, 0.5 cat, 0.4 dog
        (DetectOptions(conf=0.35, multi_label=True, classes=(1,)), [1, 1]),
        (DetectOptions(conf=0.05, multi_label=True, agnostic=True), [0, 0]),
        (DetectOptions(conf=0.05, multi_label=True, max_det=3), [0, 1, 0]),
    ],
)
def test_options(options, expected):
    found = detections_from_output(TWO_CLASSES_IN_ONE_PLACE, SQUARE, NAMES, options)
    assert found.class_id.tolist() == expected


def test_iou_decides_what_overlaps():
    raw = output((20, 20, 10, 10, 0.9, 0), (21, 20, 10, 10, 0.8, 0))  # IoU 9/11
    assert len(detections_from_output(raw, SQUARE, NAMES, DetectOptions(iou=0.81))) == 1
    assert len(detections_from_output(raw, SQUARE, NAMES, DetectOptions(iou=0.82))) == 2


def test_too_many_candidates_keep_the_best(monkeypatch):
    monkeypatch.setattr("y12.runtime.postprocess.candidates.MAX_CANDIDATES", 2)
    raw = output((10, 10, 4, 4, 0.5, 0), (20, 20, 4, 4, 0.9, 0), (30, 30, 4, 4, 0.7, 0))
    found = detections_from_output(raw, SQUARE, NAMES, DetectOptions())
    assert found.confidence.tolist() == pytest.approx([0.9, 0.7])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("row", "column"), [(0, 0), (3, 1), (4, 0), (5, 1)])
def test_refuses_nan_and_infinity_wherever_they_are(bad, row, column):
    raw = output((20, 20, 10, 10, 0.9, 0.1), (20, 20, 10, 10, 0.0, 0.0))
    raw[row, column] = bad
    with pytest.raises(ExecutorError, match="NaN or infinity"):
        detections_from_output(raw, SQUARE, NAMES, DetectOptions())


def test_refuses_an_output_that_does_not_fit_the_names():
    with pytest.raises(ArtefactError, match=r"expected an output \(6, A\) for 2 classes, found \(7, 3\)"):
        detections_from_output(np.zeros((7, 3), np.float32), SQUARE, NAMES, DetectOptions())


def test_refuses_a_class_the_model_does_not_have():
    with pytest.raises(InputError, match="ids of 0 to 1, found 2"):
        detections_from_output(TWO_CLASSES_IN_ONE_PLACE, SQUARE, NAMES, DetectOptions(classes=(0, 2)))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"conf": -0.1}, "conf: expected a number from 0 to 1, found -0.1"),
        ({"conf": float("nan")}, "conf"),
        ({"conf": "0.5"}, "conf"),
        ({"iou": 1.5}, "iou: expected a number from 0 to 1, found 1.5"),
        ({"max_det": 0}, "max_det: expected a whole number from 1"),
        ({"max_det": 2.5}, "max_det"),
        ({"max_det": True}, "max_det"),
        ({"max_det": 30_001}, "max_det"),
        ({"classes": ()}, "classes"),
        ({"classes": [1]}, "classes: expected None or a tuple"),
        ({"classes": (1, -1)}, "classes: expected ids of 0 or more, found -1"),
        ({"classes": (1.0,)}, "classes"),
    ],
)
def test_options_out_of_range_are_refused(values, message):
    with pytest.raises(InputError, match=message):
        DetectOptions(**values)


def test_reference_predictions(shared):
    """The recorded output of a trained detector on its image: one plate, class B5."""
    raw = np.load(shared / "checkpoints/trained/rmArmor-yolov12n.npz")["pred"][0]
    names = tuple(str(i) for i in range(12))
    frame = Letterbox.fit((835, 1689), (640, 640))
    (record,) = detections_from_output(raw, frame, names, DetectOptions()).as_records()
    x1, y1, x2, y2 = record["box_xyxy"]
    # left, top, width, height; the published answer is of the weights before they were rounded to int8
    assert [x1, y1, x2 - x1, y2 - y1] == pytest.approx([1242, 331, 347, 350], abs=4)
    assert record["confidence"] == pytest.approx(0.89, abs=0.01)
    json.dumps(record)


def test_bus(shared):
    raw = np.load(shared / "checkpoints/trained/yolo11n.npz")["pred"][0]
    frame = Letterbox.fit((1080, 810), (640, 640))
    found = detections_from_output(raw, frame, tuple(map(str, range(80))), DetectOptions())
    assert sorted(found.class_id.tolist()) == [0, 0, 0, 0, 5]  # four persons and a bus
