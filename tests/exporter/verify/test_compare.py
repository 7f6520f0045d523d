"""Two outputs compared by what they detect: what counts as a difference and what does not."""

import numpy as np
import pytest

from y12.errors import VerificationError
from y12.exporter.verify.compare import Ran, compare
from y12.exporter.verify.verify_options import TOLERANCES, Tolerance, VerifyOptions
from y12.runtime.artefact.manifest import AxisRange, InputProfile, Manifest
from y12.runtime.artefact.output_layout import output_layout

HW = (64, 96)
PROFILE = InputProfile(*(AxisRange(side, side, side) for side in (1, *HW)))
LIMITS = {"median box_px": 0.02, "p95 box_px": 0.05, "max box_px": 1.0, "p95 logit": 0.01}
STRICT = Tolerance(LIMITS, max_lost=0.0)
LOOSE_LIMITS = {"median box_px": 0.25, "p95 box_px": 1.0, "max box_px": 4.0, "p95 logit": 0.1}
LOOSE = Tolerance(LOOSE_LIMITS, max_lost=0.3)


def output(*rows, nc=3):
    """(4 + nc, A) from rows (x, y, w, h, {class: score})."""
    array = np.zeros((4 + nc, len(rows)), np.float32)
    for anchor, (*box, scores) in enumerate(rows):
        array[:4, anchor] = box
        for class_id, score in scores.items():
            array[4 + class_id, anchor] = score
    return array


A, B = (20, 20, 16, 16, {0: 0.9}), (70, 40, 20, 20, {1: 0.8})
C, D, E = (20, 50, 10, 12, {2: 0.7}), (50, 20, 8, 10, {0: 0.6}), (84, 10, 10, 8, {1: 0.5})
FIVE = (A, B, C, D, E)


def manifest_of(task="detect", names=("a", "b", "c"), kpt_shape=None):
    return Manifest(task, names, (8,), PROFILE, kpt_shape=kpt_shape)


def compared(expected, actual, tolerance=STRICT, manifest=None, **options):
    """Compare outputs, one an image: `output0`, or all of them by name."""
    manifest = manifest or manifest_of()
    model, candidate = (
        [image if isinstance(image, dict) else {"output0": image} for image in images] for images in (expected, actual)
    )
    return compare(
        Ran("model", model),
        Ran("candidate", candidate),
        output_layout(manifest),
        HW,
        tolerance,
        VerifyOptions(**({"min_matched": 1} | options)),
    )


def moved(row, dx=0.0, scores=None):
    return (row[0] + dx, *row[1:4], scores or row[4])


SAME = [
    (FIVE, FIVE),
    # boxes whose overlap lies on the NMS threshold: the reference drops the second, the candidate keeps it
    (
        (*FIVE, (20, 17.2, 16, 16, {0: 0.899})),
        (*FIVE, (20, 17.15, 16, 16, {0: 0.899})),
    ),
    # two anchors of one object change places by their scores
    (
        (*FIVE[1:], (20, 20, 16, 16, {0: 0.9}), (20, 20.5, 16, 16, {0: 0.8999})),
        (*FIVE[1:], (20, 20, 16, 16, {0: 0.8999}), (20, 20.5, 16, 16, {0: 0.9})),
    ),
    # two classes of nearly the same score change places
    ((*FIVE[1:], moved(A, scores={0: 0.7, 2: 0.699})), (*FIVE[1:], moved(A, scores={0: 0.699, 2: 0.7}))),
    # a score just above the threshold falls just below it
    ((*FIVE, (40, 40, 8, 8, {0: 0.001002})), (*FIVE, (40, 40, 8, 8, {0: 0.000998}))),
    ((*FIVE, (40, 40, 8, 8, {0: 0.000998})), (*FIVE, (40, 40, 8, 8, {0: 0.001002}))),
    # boxes that fill the image are cut to the same box at several anchors, whose scores differ
    (
        (*FIVE, (48, 32, 200, 200, {0: 0.3}), (48, 32, 220, 220, {1: 0.9, 0: 0.8})),
        (*FIVE, (48, 32, 200.1, 200, {0: 0.3}), (48, 32, 220, 220, {1: 0.9, 0: 0.8})),
    ),
]


@pytest.mark.parametrize(("expected", "actual"), SAME)
def test_what_is_no_difference(expected, actual):
    result = compared([output(*expected)], [output(*actual)])
    assert (result.verdict, result.failures) == ("equal within tolerance", ())
    assert (result.lost, result.new, result.non_finite) == (0, 0, 0)
    assert result.matched == result.detections >= 5


SHIFTED = ["median box_px", "p95 box_px", "max box_px", "lost", "new"]

# expected, found, lost, new, failures
DIFFERENT = [
    (FIVE, (*FIVE[:4], (84, 10, 10, 8, {1: 0.0})), 1, 0, ["lost detections 1 of 5, allowed 0"]),
    ((*FIVE[:4], (84, 10, 10, 8, {1: 0.0})), FIVE, 0, 1, ["new detections 1, allowed 0"]),
    # a box elsewhere is lost, and new
    (FIVE, (*FIVE[:4], moved(E, dx=-40)), 1, 1, ["lost detections", "new detections"]),
    # another class
    (FIVE, (*FIVE[:4], moved(E, scores={2: 0.5})), 1, 1, ["lost detections", "new detections"]),
    # less than half the score
    (FIVE, (*FIVE[:4], moved(E, scores={1: 0.2})), 1, 0, ["lost detections"]),
    # all boxes moved by three pixels
    (FIVE, tuple(moved(row, 3) for row in FIVE), 1, 1, SHIFTED),
    # one of five moved
    (FIVE, (moved(A, 0.3), *FIVE[1:]), 0, 0, ["p95 box_px 0.24"]),
    # scores moved
    (FIVE, (moved(A, scores={0: 0.89}), *FIVE[1:]), 0, 0, ["p95 logit"]),
]


@pytest.mark.parametrize(("expected", "actual", "lost", "new", "failures"), DIFFERENT)
def test_what_is_a_difference(expected, actual, lost, new, failures):
    result = compared([output(*expected)], [output(*actual)])
    assert result.verdict == "different"
    assert (result.lost, result.new) == (lost, new)
    assert len(result.failures) == len(failures)
    for text, beginning in zip(result.failures, failures, strict=True):
        assert text.startswith(beginning)


def test_the_numbers():
    actual = output(moved(A, 0.5), moved(B, 0.25), moved(C, scores={2: 0.75}), D, E)
    result = compared([output(*FIVE)], [actual], LOOSE)
    assert (result.images, result.detections, result.above_threshold, result.matched) == (1, 5, 5, 5)
    assert result.shifts["box_px"] == pytest.approx({"median": 0.0, "p95": 0.45, "max": 0.5}, abs=1e-5)
    assert result.shifts["score"] == pytest.approx({"median": 0.0, "p95": 0.04, "max": 0.05}, abs=1e-5)
    assert result.shifts["logit"]["max"] == pytest.approx(np.log(0.75 / 0.25) - np.log(0.7 / 0.3), abs=1e-4)
    assert (result.reference, result.candidate) == ("model", "candidate")


def test_images_add_up_and_one_bad_image_is_enough():
    good, bad = output(*FIVE), output(*FIVE[:4], (84, 10, 10, 8, {1: 0.0}))
    result = compared([good, good, good], [good, bad, good])
    assert (result.images, result.detections, result.matched, result.lost) == (3, 15, 14, 1)
    assert result.verdict == "different"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("index", [(0, 0), (6, 3)])
def test_one_value_that_is_not_finite_is_a_difference(value, index):
    actual = output(*FIVE)
    actual[index] = value
    for outputs in ([actual], [output(*FIVE), actual]):
        result = compared([output(*FIVE)] * len(outputs), outputs)
        assert (result.verdict, result.non_finite) == ("different", 1)
        assert result.failures[-1].startswith("NaN or infinite values 1")


def test_a_model_that_is_not_finite_is_an_error():
    broken = output(*FIVE)
    broken[2, 1] = np.nan
    with pytest.raises(VerificationError, match="model itself gives NaN or infinity"):
        compared([broken], [output(*FIVE)])


def test_other_shapes_are_an_error():
    with pytest.raises(VerificationError, match=r"shapes \{'output0': \(7, 5\)\}, found \{'output0': \(7, 4\)\}"):
        compared([output(*FIVE)], [output(*FIVE[:4])])


@pytest.mark.parametrize(("rows", "verdict"), [(FIVE, "equal within tolerance"), (FIVE[:4], "inconclusive")])
def test_fewer_than_five_matched_detections_are_inconclusive(rows, verdict):
    result = compared([output(*rows)], [output(*rows)], min_matched=VerifyOptions().min_matched)
    assert result.verdict == verdict


def test_nothing_detected_is_inconclusive_and_a_constant_output_is_different():
    nothing, something = np.zeros((7, 5), np.float32), output(*FIVE)
    assert compared([nothing], [nothing]).verdict == "inconclusive"
    assert compared([something], [nothing]).verdict == "different"
    assert compared([nothing], [something]).verdict == "different"


def test_scores_of_two_classes_that_changed_places_are_a_difference():
    expected = output(*FIVE)
    actual = expected[[0, 1, 2, 3, 5, 4, 6]]
    result = compared([expected], [actual], TOLERANCES["fp16"])
    assert (result.verdict, result.lost, result.new) == ("different", 4, 4)


def test_the_fp16_limits_allow_no_more_than_the_readme_promises():
    """Half a pixel and a hundredth of a score at 0.9, on the median object."""
    limits = TOLERANCES["fp16"].shifts
    assert limits["median box_px"] <= 0.5
    assert 0.9 * 0.1 * limits["p95 logit"] <= 0.01


def test_one_wrong_box_of_many_is_a_difference():
    rows = [(10 + 19 * (i % 5), 6 + 8 * (i // 5), 16, 6, {0: 0.9}) for i in range(30)]
    wrong = [moved(row, 4.5 if i == 17 else 0.0) for i, row in enumerate(rows)]
    result = compared([output(*rows)], [output(*wrong)], Tolerance(LOOSE_LIMITS, max_lost=1.0))
    assert result.failures == ("max box_px 4.5, allowed 4",)


def with_rows(*extras):
    """FIVE with the same further rows, (E,), at every anchor."""
    return np.concatenate([output(*FIVE), np.repeat(np.array(extras, np.float32)[:, None], len(FIVE), 1)])


POSE = manifest_of("pose", kpt_shape=(2, 3))
POINTS = (10, 20, 0.9, 30, 40, 0.8)


@pytest.mark.parametrize(
    ("points", "shift"),
    [
        ((10, 20, 0.9, 30, 40, 0.8), 0),
        ((10, 23, 0.9, 30, 40, 0.8), 3),  # y of the first
        ((10, 20, 0.9, 28, 41, 0.8), 2),  # x of the second: the larger of its two shifts
        ((10, 20, 0.9, 30, 40, 0.1), 0),  # visibility is no place
    ],
)
def test_keypoints(points, shift):
    tolerance = Tolerance({"p95 keypoint_px": 1.0}, max_lost=0.0)
    result = compared([with_rows(*POINTS)], [with_rows(*points)], tolerance, POSE)
    assert result.shifts["keypoint_px"]["max"] == pytest.approx(shift)
    assert (result.verdict == "different") == (shift > 1)


def test_keypoints_that_cannot_be_seen_do_not_count():
    hidden = (10, 20, 0.4, 30, 40, 0.8)
    result = compared([with_rows(*hidden)], [with_rows(90, 90, *hidden[2:])], manifest=POSE)
    assert result.shifts["keypoint_px"]["max"] == 0
    flat = manifest_of("pose", kpt_shape=(3, 2))  # without visibilities every point counts
    result = compared([with_rows(*hidden)], [with_rows(90, *hidden[1:])], manifest=flat)
    assert result.shifts["keypoint_px"]["max"] == 80


def test_angles():
    tolerance = Tolerance({"p95 angle_deg": 1.0}, max_lost=0.0)
    same, turned = with_rows(0.5), with_rows(0.5 + np.deg2rad(2))
    oriented = manifest_of("obb")
    assert compared([same], [same], tolerance, oriented).verdict == "equal within tolerance"
    result = compared([same], [turned], tolerance, oriented)
    assert result.shifts["angle_deg"]["median"] == pytest.approx(2, abs=1e-4)
    assert result.failures == ("p95 angle_deg 2, allowed 1",)


@pytest.mark.parametrize(
    ("columns", "loss"),
    [(24, 0), (16, 0), (14, 0.25), (12, 0.5), (8, 1)],  # of the prototypes' 24 columns, those that belong to masks
)
def test_masks_are_compared_inside_the_boxes(columns, loss):
    """One object of 32 px, which are the prototypes' columns 8 to 15; the candidate's mask may end earlier."""
    boxes = output((48, 32, 32, 16, {0: 0.9}))
    outputs = np.concatenate([boxes, np.ones((1, 1), np.float32)])
    full, part = np.ones((1, 16, 24), np.float32), -np.ones((1, 16, 24), np.float32)
    part[..., :columns] = 1
    tolerance = Tolerance({"p95 mask": 0.1}, max_lost=0.0)
    model, candidate = ({"output0": outputs, "protos": protos} for protos in (full, part))
    result = compared([model], [candidate], tolerance, manifest_of("segment"))
    assert result.shifts["mask"]["max"] == pytest.approx(loss)
    assert (result.verdict == "different") == (loss > 0.1)


def test_every_output_of_several_tasks_is_compared():
    multitask = manifest_of("multitask", kpt_shape=(2, 3))
    raw = with_rows(*POINTS)
    outputs = {"boxes": raw[:4], "scores": raw[4:7], "keypoints": raw[7:]}
    outputs |= {"mask_coefficients": np.ones((1, 5), np.float32), "protos": np.ones((1, 16, 24), np.float32)}
    assert compared([outputs], [outputs], TOLERANCES["fp32"], multitask).verdict == "equal within tolerance"
    for name in outputs:
        changed = outputs | {name: -outputs[name]}
        assert compared([outputs], [changed], TOLERANCES["fp16"], multitask).verdict == "different", name


CLASSES = manifest_of("classify", names=tuple("abcdefgh"))
PROBABILITIES = np.array([0.4, 0.2, 0.15, 0.1, 0.05, 0.04, 0.03, 0.03], np.float32)


@pytest.mark.parametrize(
    ("actual", "verdict", "lost", "new"),
    [
        (PROBABILITIES, "equal within tolerance", 0, 0),
        (PROBABILITIES[[0, 1, 2, 3, 5, 4, 6, 7]], "different", 0, 0),  # the fifth and the sixth change places
        (PROBABILITIES[[7, 1, 2, 3, 4, 5, 6, 0]], "different", 1, 1),
        (np.full(8, 0.125, np.float32), "different", 1, 1),
    ],
)
def test_classifiers(actual, verdict, lost, new):
    result = compared([PROBABILITIES], [actual], TOLERANCES["fp16"], CLASSES)
    assert (result.verdict, result.lost, result.new, result.detections) == (verdict, lost, new, 5)
    assert result.above_threshold == 1
