"""Options of a command line become the parts of an ExportConfig; what contradicts is refused."""

from pathlib import Path

import pytest

from y12.errors import OptionsError
from y12.exporter.config_parts import int8_of, nms_of, precision_of, verify_of
from y12.exporter.precision.mixed.budget_options import BudgetOptions
from y12.exporter.verify.verify_options import VerifyOptions


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: precision_of(half=True, int8=True), "choose one of --half and --int8"),
        (lambda: verify_of(Path(), wanted=False, allow_inconclusive=False), "--no-verify contradicts --images"),
        (lambda: verify_of(None, wanted=False, allow_inconclusive=True), "--no-verify contradicts"),
        (lambda: nms_of({"conf": 0.0}, {}, wanted=False), "are of --nms: add it"),
        (lambda: nms_of({}, {"form": "split"}, wanted=False), "are of --nms: add it"),
        (lambda: nms_of({}, {"candidates": 3841}, wanted=True), "--nms: expected 1 <= max_det <= candidates <= 3840"),
        (lambda: int8_of("a.pt", "int8", None, {"calib_limit": 9}), "need --calib: add it"),
        (lambda: int8_of("a.safetensors", "int8", None, {"calib_limit": 9}), "need --calib: add it"),
        (lambda: int8_of("a.safetensors", "fp16", None, {"max_drop": 1.0}), "need --calib: add it"),
        (lambda: int8_of("a.pt", "int8", Path(), {"max_drop_data": Path()}), "add --max-drop, or drop it"),
    ],
)
def test_contradictions_are_refused(make, reason):
    with pytest.raises(OptionsError) as caught:
        make()
    assert reason in str(caught.value)


def test_what_nothing_is_said_of_is_left_out():
    assert nms_of({}, {}, wanted=False) is None
    assert verify_of(None, wanted=False, allow_inconclusive=False) is None
    assert int8_of("a.pt", "fp32", None, {}) is None


def test_what_is_said_arrives():
    nms = nms_of({"conf": 0.5, "agnostic": True}, {"form": "split", "candidates": 400}, wanted=True)
    assert (nms.form, nms.candidates, nms.options.conf, nms.options.agnostic) == ("split", 400, 0.5, True)
    assert verify_of(Path("a"), wanted=True, allow_inconclusive=True) == VerifyOptions(
        Path("a"), allow_inconclusive=True
    )
    asked = {
        "calib_method": "l3",
        "calib_limit": 7,
        "max_drop": 0.5,
        "max_drop_data": Path("d"),
        "int8_attention": True,
    }
    int8 = int8_of("a.pt", "int8", Path("i"), asked)
    assert (int8.images, int8.limit, int8.calibration.method, int8.calibration.symmetric) == (Path("i"), 7, "l3", True)
    assert (int8.quantize.target, int8.quantize.attention) == ("trt", True)
    assert int8.budget == BudgetOptions(0.5, Path("d"))
    assert not int8_of("a.pt", "int8", Path("i"), {}, "cpu").calibration.symmetric
    assert int8_of("a.safetensors", "int8", None, {}).images is None  # the ranges are in the file


@pytest.mark.parametrize(("max_det", "candidates"), [(300, 1024), (2000, 2000)])
def test_more_objects_than_the_usual_candidates_take_more_of_them(max_det, candidates):
    assert nms_of({"max_det": max_det}, {}, wanted=True).candidates == candidates
