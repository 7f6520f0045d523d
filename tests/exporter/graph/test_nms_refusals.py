"""What NMS cannot be appended to is refused in one line."""

import numpy as np
import pytest
from nms_graphs import Raw, packed
from text_models import model_of, noise

from y12.errors import GraphError, InputError
from y12.exporter.graph.nms.nms import Predictions, Rows, predictions_of, with_nms

PLAIN = Predictions(Rows("output0", 0, 4), Rows("output0", 4, 3))


@pytest.mark.parametrize(
    ("task", "rows"),
    [
        ("detect", PLAIN),
        ("segment", Predictions(Rows("output0", 0, 4), Rows("output0", 4, 3), coefficients=Rows("output0", 7, 4))),
        ("pose", Predictions(Rows("output0", 0, 4), Rows("output0", 4, 3), keypoints=Rows("output0", 7, 6))),
        ("obb", Predictions(Rows("output0", 0, 4), Rows("output0", 4, 3), Rows("output0", 7, 1))),
        (
            "multitask",
            Predictions(
                Rows("boxes", 0, 4),
                Rows("scores", 0, 3),
                None,
                Rows("mask_coefficients", 0, 4),
                Rows("keypoints", 0, 6),
            ),
        ),
    ],
)
def test_where_each_task_has_its_predictions(task, rows):
    assert predictions_of(Raw(task).model, task, 3, 6) == rows


def test_rows_whose_number_the_tracer_left_open():
    """As it does where the size of the images is free."""
    nodes = "{ [c] m = Conv(images, w) [f] output0 = Reshape(m, s) }"
    model = model_of(
        f"(float[B, 3, H, W] images) => (float[B, rows, A] output0) {nodes}",
        w=noise(7, 3, 1, 1),
        s=np.array([0, 0, -1]),
    )
    assert predictions_of(model, "detect", 3) == PLAIN
    with pytest.raises(GraphError, match="found output0 of 7 rows"):
        predictions_of(model, "detect", 4)
    unknown = model_of("(float[B, rows, 1, A] images) => (float[B, rows, 1, A] output0) { output0 = Relu(images) }")
    assert predictions_of(unknown, "detect", 3) == PLAIN  # what cannot be known is believed


def test_a_pose_graph_needs_the_number_of_its_values():
    with pytest.raises(GraphError, match="expected a graph for pose with keypoints"):
        predictions_of(Raw("pose").model, "pose", 3)


def test_a_multitask_graph_without_keypoints():
    assert predictions_of(Raw("multitask").model, "multitask", 3).keypoints is None
    with pytest.raises(GraphError, match="expected a raw graph with the outputs boxes, mask_coefficients, protos, sc"):
        with_nms(Raw("multitask").model, packed(), predictions_of(Raw("multitask").model, "multitask", 3))


@pytest.mark.parametrize(
    ("raw", "task", "classes", "message"),
    [
        (Raw(), "classify", 3, "expected one of the tasks detect, segment, pose, obb, multitask, found 'classify'"),
        (Raw(), "detect", 4, r"expected an output output0 \(B, 8, A\) for detect with 4 classes, found output0 of 7"),
        (Raw(), "detect", 2, r"expected an output output0 \(B, 6, A\) for detect with 2 classes, found output0 of 7"),
        (Raw(), "obb", 3, r"output0 \(B, 8, A\) for obb"),
        (Raw(), "pose", 3, r"output0 \(B, 13, A\) for pose"),
        (Raw(), "segment", 3, "expected a graph for segment with coefficients; found none of them"),
        (Raw(), "multitask", 3, r"expected an output boxes \(B, 4, A\) for multitask with 3 classes"),
        (Raw("multitask"), "detect", 3, r"expected an output output0 .* found boxes of 4 rows, scores of 3 rows"),
        (Raw("multitask"), "multitask", 5, r"expected an output scores \(B, 5, A\)"),
    ],
)
def test_a_graph_that_does_not_fit_its_task(raw, task, classes, message):
    with pytest.raises(GraphError, match=message):
        predictions_of(raw.model, task, classes, 6)


@pytest.mark.parametrize(
    ("model", "predictions", "message"),
    [
        (Raw(opset=16).model, PLAIN, "expected a graph of opset 17 to 20, found 16"),
        (Raw(opset=21).model, PLAIN, "expected a graph of opset 17 to 20, found 21"),
        (Raw("multitask").model, PLAIN, "expected a raw graph with the outputs output0, found boxes, key"),
        # the prototypes would be lost
        (Raw("segment").model, PLAIN, "expected a raw graph with the outputs output0, found output0, protos"),
        (Raw(classes=2).model, PLAIN, r"output0 as float32 \(B, 7 or more, A\), found FLOAT \(1, 6, 60\)"),
        (
            model_of("(float16[1,7,9] images) => (float16[1,7,9] output0) { output0 = Relu(images) }"),
            PLAIN,
            r"expected output0 as float32 .* found FLOAT16",
        ),
        (
            model_of("(float[1,7] images) => (float[1,7] output0) { output0 = Relu(images) }"),
            PLAIN,
            r"expected output0 as float32 .* found FLOAT \(1, 7\)",
        ),
        (Raw().with_nms(packed()), PLAIN, "expected a raw graph with the outputs output0, found detections, num, t"),
        (
            model_of(
                '(float[1,7,9] x) => (float[1,7,9] output0) { "nms/best" = Relu(x) output0 = Neg("nms/best") }',
            ),
            PLAIN,
            "has tensors named nms/… already",
        ),
    ],
)
def test_a_graph_that_cannot_have_nms(model, predictions, message):
    with pytest.raises(GraphError, match=message):
        with_nms(model, packed(), predictions)


def test_a_class_that_there_is_not():
    with pytest.raises(InputError, match="expected ids of 0 to 2, found 3"):
        Raw().with_nms(packed(classes=(0, 3)))
