"""Which output holds what, for every task and box format; and outputs that do not fit it."""

from itertools import product

import pytest

from y12.errors import ArtefactError
from y12.runtime.artefact.manifest import LOCALISATIONS
from y12.runtime.artefact.output_layout import OutputLayout, Rows, output_layout

M, KPT_SHAPE = 4, (2, 3)
ADDED = {  # the outputs beside the rows of boxes and scores: name, rows
    "detect": {},
    "segment": {"coefficients": M},
    "pose": {"keypoints": 6},
    "obb": {"angles": 1},
}


def layout_of(task, box_format="distances", kpt_shape=KPT_SHAPE):
    return OutputLayout(task, 3, kpt_shape if task in ("pose", "multitask") else None, box_format, (8, 16))


@pytest.mark.parametrize(("task", "box_format"), list(product(ADDED, LOCALISATIONS)))
def test_rows_of_one_output_follow_each_other(task, box_format):
    layout = layout_of(task, box_format)
    objectness = {"objectness": 1} if box_format == "anchors" else {}
    expected, first = {}, 0
    for name, count in ({"boxes": 4} | objectness | {"scores": 3} | ADDED[task]).items():
        expected[name] = Rows("output0", first, count)
        first += count
    shapes = {"output0": (first, 75)} | ({"protos": (M, 12, 20)} if task == "segment" else {})
    assert layout.rows_in(shapes) == (expected, 75)
    assert layout.levels_hw((48, 80), 75) == (((6, 10), (3, 5)) if box_format == "heatmap" else None)


@pytest.mark.parametrize(("masks", "keypoints"), list(product((False, True), repeat=2)))
def test_outputs_of_their_own_are_there_or_not(masks, keypoints):
    layout = layout_of("multitask", kpt_shape=KPT_SHAPE if keypoints else None)
    expected = {"boxes": Rows("boxes", 0, 4), "scores": Rows("scores", 0, 3)}
    shapes = {"boxes": (4, 9), "scores": (3, 9)}
    if masks:
        shapes |= {"mask_coefficients": (M, 9), "protos": (M, 2, 2)}
        expected["coefficients"] = Rows("mask_coefficients", 0, M)
    if keypoints:
        shapes["keypoints"] = (6, 9)
        expected["keypoints"] = Rows("keypoints", 0, 6)
    assert layout.rows_in(shapes) == (expected, 9)


def test_the_manifest_says_all_of_it(make_manifest):
    manifest = make_manifest(task="segment", localisation="heatmap")
    expected = OutputLayout("segment", len(manifest.names), None, "heatmap", manifest.strides)
    assert output_layout(manifest) == expected
    assert output_layout(make_manifest(task="classify")) is None
    with pytest.raises(ArtefactError, match=r"expected one of the tasks detect, segment, .*, found 'classify'"):
        OutputLayout("classify", 3)


SEPARATE = {"boxes": (4, 9), "scores": (3, 9), "mask_coefficients": (M, 9), "protos": (M, 2, 2), "keypoints": (6, 9)}


@pytest.mark.parametrize(
    ("task", "shapes", "message"),
    [
        ("detect", {}, "expected a network output named output0, found none"),
        ("detect", {"boxes": (7, 9)}, "expected a network output named output0, found boxes"),
        ("detect", {"output0": ()}, r"expected an output \(7, A\) for 3 classes, found \(\)"),
        ("detect", {"output0": (8, 9)}, r"expected an output \(7, A\) for 3 classes, found \(8, 9\)"),
        ("detect", {"output0": (7, 3, 3)}, r"for 3 classes, found \(7, 3, 3\)"),
        ("pose", {"output0": (7, 9)}, r"\(13, A\) for 3 classes, 6 keypoint values, found"),
        ("obb", {"output0": (7, 9)}, r"\(8, A\) for 3 classes, 1 angle, found"),
        (
            "segment",
            {"output0": (11, 9)},
            r"expected a network output protos \(M, Hp, Wp\) beside the boxes, found out",
        ),
        ("segment", {"output0": (10, 9), "protos": (M, 2, 2)}, r"\(11, A\) for 3 classes, 4 mask coefficients, found"),
        ("segment", {"output0": (11, 9), "protos": (M, 0, 2)}, r"expected a network output protos"),
        ("segment", {"output0": (11, 9), "a": (M, 2, 2), "b": (M, 2, 2)}, r"expected a network output protos"),
        ("multitask", SEPARATE | {"scores": (4, 9)}, r"expected an output scores \(3, 9\), found \(4, 9\)"),
        ("multitask", SEPARATE | {"keypoints": (6, 8)}, r"expected an output keypoints \(6, 9\), found \(6, 8\)"),
        ("multitask", {"boxes": (4, 9), "scores": (3, 9)}, "expected a network output named keypoints"),
    ],
)
def test_outputs_that_do_not_fit(task, shapes, message):
    with pytest.raises(ArtefactError, match=message):
        layout_of(task).rows_in(shapes)


def test_what_the_manifest_or_the_network_does_not_have():
    no_protos = {name: shape for name, shape in SEPARATE.items() if name != "protos"}
    with pytest.raises(ArtefactError, match="expected no output mask_coefficients, as the network has no protos"):
        layout_of("multitask").rows_in(no_protos)
    with pytest.raises(ArtefactError, match="expected no output keypoints, as the manifest has no kpt_shape"):
        layout_of("multitask", kpt_shape=None).rows_in(SEPARATE)


def test_levels_that_are_not_the_anchor_points():
    with pytest.raises(ArtefactError, match=r"expected 75 cells at strides \(8, 16\) of an input of 48x80, found 60"):
        layout_of("detect", "heatmap").levels_hw((48, 80), 60)
