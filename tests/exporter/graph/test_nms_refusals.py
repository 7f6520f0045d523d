"""What NMS cannot be appended to is refused in one line."""

import numpy as np
import pytest
from nms_graphs import Raw, layout_of, packed
from text_models import model_of, noise

from y12.errors import GraphError, InputError
from y12.exporter.graph.nms.nms import rows_of, with_nms
from y12.runtime.artefact.output_layout import OutputLayout, Rows

PLAIN = OutputLayout("detect", 3)
BOXES = {"boxes": Rows("output0", 0, 4), "scores": Rows("output0", 4, 3)}


@pytest.mark.parametrize(
    ("task", "rows"),
    [
        ("detect", BOXES),
        ("segment", BOXES | {"coefficients": Rows("output0", 7, 4)}),
        ("pose", BOXES | {"keypoints": Rows("output0", 7, 6)}),
        ("obb", BOXES | {"angles": Rows("output0", 7, 1)}),
        (
            "multitask",
            {
                "boxes": Rows("boxes", 0, 4),
                "scores": Rows("scores", 0, 3),
                "coefficients": Rows("mask_coefficients", 0, 4),
                "keypoints": Rows("keypoints", 0, 6),
            },
        ),
    ],
)
def test_where_each_task_has_its_predictions(task, rows):
    assert rows_of(Raw(task).model, layout_of(task, 3)) == rows


def test_rows_whose_number_the_tracer_left_open():
    """As it does where the size of the images is free."""
    nodes = "{ [c] m = Conv(images, w) [f] output0 = Reshape(m, s) }"
    model = model_of(
        f"(float[B, 3, H, W] images) => (float[B, rows, A] output0) {nodes}",
        w=noise(7, 3, 1, 1),
        s=np.array([0, 0, -1]),
    )
    assert rows_of(model, PLAIN) == BOXES
    with pytest.raises(GraphError, match="found output0 of 7 rows"):
        rows_of(model, OutputLayout("detect", 4))
    unknown = model_of("(float[B, rows, 1, A] images) => (float[B, rows, 1, A] output0) { output0 = Relu(images) }")
    assert rows_of(unknown, PLAIN) == BOXES  # what cannot be known is believed


def test_a_multitask_graph_without_keypoints():
    without = OutputLayout("multitask", 3)
    with pytest.raises(
        GraphError, match="with the outputs boxes, mask_coefficients, protos, scores, found boxes, keyp"
    ):
        rows_of(Raw("multitask").model, without)
    model = Raw("multitask").model
    del model.graph.output[[output.name for output in model.graph.output].index("keypoints")]
    assert list(rows_of(model, without)) == ["boxes", "scores", "coefficients"]


@pytest.mark.parametrize(
    ("raw", "task", "classes", "message"),
    [
        (Raw(), "detect", 4, r"expected an output output0 \(B, 8, A\) for detect with 4 classes, found output0 of 7"),
        (Raw(), "detect", 2, r"expected an output output0 \(B, 6, A\) for detect with 2 classes, found output0 of 7"),
        (Raw(), "obb", 3, r"output0 \(B, 8, A\) for obb"),
        (Raw(), "pose", 3, r"output0 \(B, 13, A\) for pose"),
        (Raw(), "segment", 3, "expected a graph for segment with an output protos, found none"),
        (Raw(), "multitask", 3, "expected a raw graph with the outputs boxes, keypoints, scores, found output0"),
        (
            Raw("multitask"),
            "detect",
            3,
            "expected a raw graph with the outputs output0, found boxes, keypoints, mask_c",
        ),
        (Raw("multitask"), "multitask", 5, r"expected an output scores \(B, 5, A\)"),
    ],
)
def test_a_graph_that_does_not_fit_its_task(raw, task, classes, message):
    with pytest.raises(GraphError, match=message):
        rows_of(raw.model, layout_of(task, classes))


@pytest.mark.parametrize(
    ("model", "layout", "message"),
    [
        (Raw(opset=16).model, PLAIN, "expected a graph of opset 17 to 20, found 16"),
        (Raw(opset=21).model, PLAIN, "expected a graph of opset 17 to 20, found 21"),
        (Raw("multitask").model, PLAIN, "expected a raw graph with the outputs output0, found boxes, key"),
        # the prototypes would be lost
        (Raw("segment").model, PLAIN, "expected a raw graph with the outputs output0, found output0, protos"),
        (
            Raw(classes=2).model,
            PLAIN,
            r"expected an output output0 \(B, 7, A\) for detect with 3 classes, found output0 of 6",
        ),
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
def test_a_graph_that_cannot_have_nms(model, layout, message):
    with pytest.raises(GraphError, match=message):
        with_nms(model, packed(), layout)


def test_a_class_that_there_is_not():
    with pytest.raises(InputError, match="expected ids of 0 to 2, found 3"):
        Raw().with_nms(packed(classes=(0, 3)))
