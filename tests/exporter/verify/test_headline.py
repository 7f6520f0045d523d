"""What a verdict says: which limits, what was lost within them, what the images did not show and what was not run."""

from dataclasses import replace

import numpy as np
import pytest

from y12.exporter.verify.compare import Ran, compare
from y12.exporter.verify.headline import headline
from y12.exporter.verify.verify_options import ROUNDED, TOLERANCES, VerifyOptions
from y12.runtime.artefact.output_layout import OutputLayout

HW = (96, 160)
ROWS = [(10 + 19 * (i % 8), 6 + 10 * (i // 8), 16, 8) for i in range(40)]  # boxes apart from each other


def output(rows, scores):
    """Raw predictions (4 + 1, A) of one class."""
    return np.concatenate([np.array(rows, np.float32).T, np.array(scores, np.float32)[None]])


def compared(actual, tolerance, scores=0.9, expected=ROWS):
    reference = output(expected, np.broadcast_to(scores, len(expected)))
    pair = Ran("the model", [{"output0": reference}]), Ran("INT8 ONNX", [{"output0": actual}])
    return compare(*pair, OutputLayout("detect", 1), HW, tolerance, VerifyOptions())


def with_losses(lost, moved_px=0.0):
    """The same predictions, the first few lost and all moved to the right."""
    scores = np.full(len(ROWS), 0.9, np.float32)
    scores[:lost] = 0.01
    return output([(x + moved_px, *rest) for x, *rest in ROWS], scores)


def test_int8_within_its_limits_is_told_with_what_was_lost():
    """Four of forty detections gone and boxes that moved are no equality, whatever the limits allow."""
    comparison = compared(with_losses(4, moved_px=2.5), TOLERANCES["int8"])
    assert (comparison.verdict, comparison.lost, comparison.matched) == ("within its limits", 4, 36)
    verdict = headline([comparison], "", "the model")
    assert verdict == (
        "verified: within its limits of the model: 4 of 40 detections lost (allowed 6), 0 new (allowed 6), "
        "boxes moved by 2.5 px at p95 (allowed 24), INT8 ONNX"
    )
    assert "equal" not in verdict


def test_int8_beyond_its_limits_is_different():
    assert compared(with_losses(7), TOLERANCES["int8"]).failures == ("lost detections 7 of 40, allowed 6",)


def test_int8_that_lost_nothing_is_not_called_equal_either():
    assert "equal" not in headline([compared(with_losses(0), TOLERANCES["int8"])], "", "the model")


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_fp32_and_fp16_are_equal_within_limits_that_stand_beside_the_figures(precision):
    tolerance = TOLERANCES[precision]
    comparison = compared(with_losses(0), tolerance)
    verdict = headline([comparison], "", "the model")
    assert verdict == "verified: equal to the model within tolerance (INT8 ONNX)"
    limits = {f"{s} {name}": limit for name, own in comparison.limits.items() for s, limit in own.items()}
    assert limits == {what: tolerance.shifts[what] for what in limits}
    assert set(limits) == {"median box_px", "p95 box_px", "max box_px", "p95 logit"}
    assert comparison.max_lost == int(tolerance.max_lost * 40)


def test_one_wide_comparison_among_exact_ones_decides_the_words():
    exact, wide = compared(with_losses(0), TOLERANCES["fp16"]), compared(with_losses(1), ROUNDED)
    assert headline([exact, wide], "", "the model").startswith(
        "verified: within its limits of the model: 1 of 40 detections lost (allowed 2)"
    )


@pytest.mark.parametrize(("scores", "seen"), [(0.9, True), (0.26, True), (0.24, False), (0.002, False)])
def test_images_that_show_nothing_the_model_knows_are_told(scores, seen):
    same = output(ROWS, np.broadcast_to(np.float32(scores), len(ROWS)))
    comparison = compared(same, TOLERANCES["fp16"], scores)
    assert (comparison.verdict, comparison.matched) == ("equal within tolerance", 40)
    remark = "; no real object was seen (0 of 40 detections above 0.25): give --images that show some"
    verdict = headline([comparison], "", "the model")
    assert verdict == "verified: equal to the model within tolerance (INT8 ONNX)" + ("" if seen else remark)


def test_an_engine_that_was_not_run_is_in_the_headline():
    comparison = compared(with_losses(0), TOLERANCES["fp16"])
    unrun = headline([comparison], "built, not executed (no GPU)", "the model")
    assert unrun.endswith("(INT8 ONNX); the engine was built, not executed (no GPU)")
    assert ";" not in headline([comparison], "executed in TensorRT-RTX 1.7 (GPU)", "the model")


def test_too_few_detections_say_how_many_and_that_nothing_was_seen():
    nothing = compared(output(ROWS, np.zeros(40)), TOLERANCES["fp16"], scores=0.0)
    assert headline([nothing], "", "the model") == (
        "inconclusive: only 0 matched detections; "
        "no real object was seen (0 of 0 detections above 0.25): give --images that show some"
    )


def test_a_classifier_tells_of_its_scores():
    rows = {"output0": np.array([0.6, 0.2, 0.1, 0.06, 0.04], np.float32)}
    comparison = compare(Ran("m", [rows]), Ran("c", [rows]), None, HW, TOLERANCES["int8"], VerifyOptions())
    assert "logits of the scores moved by 0.00 at p95 (allowed 2)" in headline([comparison], "", "the model")
    unlimited = replace(comparison, limits={name: {} for name in comparison.shifts})
    assert "moved by 0.00 at p95, c" in headline([unlimited], "", "the model")
