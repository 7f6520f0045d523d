"""Heatmaps and anchors compared by what they detect."""

import numpy as np
import pytest

from y12.exporter.verify.compare import Ran, compare
from y12.exporter.verify.verify_options import Tolerance, VerifyOptions
from y12.runtime.artefact.output_layout import OutputLayout

HW = (64, 96)
STRICT = Tolerance({"median box_px": 0.02, "p95 logit": 0.01}, max_lost=0.0)
FAR_APART = {(1, 1, 0): 0.9, (1, 8, 1): 0.8, (5, 1, 2): 0.7, (6, 10, 0): 0.6}


def compared(expected, actual, localisation):
    layout = OutputLayout("detect", 3, None, localisation, (8,))
    ran = (Ran(name, [{"output0": array}]) for name, array in (("model", expected), ("candidate", actual)))
    return compare(*ran, layout, HW, STRICT, VerifyOptions(min_matched=1))


def heatmap(scores):
    """(4 + 3, 96) of a map of 8 x 12 cells, from {(row, column, class): score}; boxes about the cells' centres."""
    y, x = np.divmod(np.arange(96), 12)
    array = np.zeros((7, 96), np.float32)
    array[:2], array[2:4] = np.stack([x, y]) * 8 + 4, 20
    for (row, column, class_id), score in scores.items():
        array[4 + class_id, row * 12 + column] = score
    return array


def test_either_of_two_neighbours_may_be_the_peak():
    expected = heatmap(FAR_APART | {(5, 5, 1): 0.5, (5, 6, 1): 0.4999})
    actual = heatmap(FAR_APART | {(5, 5, 1): 0.4999, (5, 6, 1): 0.5})
    result = compared(expected, actual, "heatmap")
    assert (result.verdict, result.lost, result.new, result.matched) == ("equal within tolerance", 0, 0, 5)


@pytest.mark.parametrize("swapped", [False, True])
def test_a_peak_that_only_one_has_is_lost_or_new(swapped):
    pair = heatmap(FAR_APART | {(5, 5, 1): 0.5}), heatmap(FAR_APART)
    result = compared(*(pair[::-1] if swapped else pair), "heatmap")
    assert (result.lost, result.new, result.verdict) == (int(not swapped), int(swapped), "different")


def test_what_is_no_peak_is_not_compared():
    """Of each object only its centre is: the cells about it, here of scores quite apart, are not."""
    around = {(5, 5, 1): 0.5, (5, 6, 1): 0.4, (4, 5, 1): 0.3}
    assert compared(heatmap(around), heatmap(around | {(5, 6, 1): 0.1}), "heatmap").matched == 1


def test_anchors_are_compared_by_objectness_times_class():
    expected = np.insert(heatmap(FAR_APART), 4, 0.9, axis=0)
    actual = np.insert(heatmap(FAR_APART), 4, 0.8, axis=0)
    actual[5:] *= np.float32(0.9 / 0.8)
    assert compared(expected, actual, "anchors").verdict == "equal within tolerance"
    actual[4, 13] = 0.5
    assert compared(expected, actual, "anchors").verdict == "different"
