"""NMS in the graph gives what greedy NMS in numpy gives, on ONNX Runtime."""

import numpy as np
import onnx
import pytest
from nms_graphs import EXTRAS, MASKS, Raw, clustered, expected, found, layout_of, overlaps, packed, split
from onnx import TensorProto, helper, numpy_helper
from text_models import copy_of, run

from y12.exporter.graph.nms.nms import with_nms

SETTINGS = {
    "plain": packed(),
    "agnostic": packed(agnostic=True),
    "two classes": packed(classes=(0, 2)),
    "one class, agnostic": packed(classes=(1,), agnostic=True),
    "high threshold": packed(conf=0.9),
    "every score": packed(conf=0.0),
    "nothing passes": packed(conf=1.0),
    "no overlap allowed": packed(iou=0.0),
    "every overlap allowed": packed(iou=1.0),
    "small iou": packed(iou=0.1),
    "one row": packed(max_det=1),
    "as many rows as candidates": packed(candidates=60, max_det=60),
    "truncated": packed(candidates=25),
    "truncated to the rows": packed(candidates=20, max_det=20),
    "more candidates than anchors": packed(candidates=600, max_det=20),
    "more rows than anchors": packed(candidates=600, max_det=300),
}


def assert_equal(raw, settings, rows):
    outputs = found(raw, settings, rows)
    for name, wanted in expected(raw, settings, rows).items():
        np.testing.assert_array_equal(outputs[name], wanted, err_msg=name)
    return outputs


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("task", ["detect", "obb"])
def test_it_equals_greedy_nms(task, settings):
    raw = Raw(task, batch=3)
    for seed in range(6):
        assert_equal(raw, settings, clustered(raw, settings, batch=3, seed=seed))


def test_the_cases_are_worth_testing():
    raw, settings = Raw(batch=3), packed()
    rows = clustered(raw, settings, batch=3)
    numbers = expected(raw, settings, rows)["num"]
    assert (numbers > 5).all()
    assert (numbers < 20).any()  # less than max_det: NMS decides, not the limit
    assert len(np.unique(numbers)) > 1
    assert (expected(raw, packed(candidates=25), rows)["truncated"] == 1).all()


@pytest.mark.parametrize("seed", range(5))
def test_thousands_of_candidates(seed):
    raw, settings = Raw(classes=5, anchors=1500), packed(candidates=1024, max_det=300)
    outputs = assert_equal(raw, settings, clustered(raw, settings, anchors=1500, seed=seed))
    assert outputs["truncated"] == 1


@pytest.mark.parametrize("task", ["detect", "obb"])
@pytest.mark.parametrize("agnostic", [False, True])
def test_among_equal_scores_the_lower_anchor_and_the_lower_class_come_first(task, agnostic):
    raw, settings = Raw(task, batch=2), packed(agnostic=agnostic, candidates=40)
    for seed in range(4):
        rows = clustered(raw, settings, batch=2, seed=seed)
        scores = rows[:, 4:7]
        scores[:] = np.round(scores * 4) / 4
        assert_equal(raw, settings, rows)


def boxes_of(*xyxy, scores=None, classes=1):
    """Predictions (1, 4 + nc, A) of boxes by their corners; falling scores of the first class unless given."""
    corners = np.array(xyxy, np.float32).T
    rows = np.zeros((4 + classes, len(xyxy)), np.float32)
    rows[:2], rows[2:4] = (corners[:2] + corners[2:]) / 2, corners[2:] - corners[:2]
    rows[4] = np.linspace(0.9, 0.5, len(xyxy)) if scores is None else scores
    return rows[None]


def number(settings, rows):
    raw = Raw(classes=rows.shape[1] - 4, anchors=rows.shape[2])
    return int(assert_equal(raw, settings, rows)["num"].item())


SMALL = [
    # in this order: what, boxes, scores, options, how many are kept
    ("the same box again and again", [(0, 0, 4, 4)] * 5, None, {}, 1),
    ("equal boxes, equal scores", [(0, 0, 4, 4)] * 5, 0.5, {}, 1),
    ("boxes without area are left alone", [(3, 3, 3, 3)] * 2, None, {}, 2),
    ("a line inside a box", [(0, 0, 4, 4), (1, 1, 1, 3)], None, {"iou": 0.0}, 2),
    ("crossed corners have no area", [(4, 4, 0, 0)] * 2, None, {}, 2),
    ("sides crossed in one direction neither", [(4, 0, 0, 4)] * 2, None, {}, 2),
    ("an IoU of exactly the threshold keeps", [(0, 0, 2, 1), (0, 0, 1, 1)], None, {"iou": 0.5}, 2),
    ("just above it suppresses", [(0, 0, 2, 1), (0, 0, 1.0001, 1)], None, {"iou": 0.5}, 1),
    ("boxes that touch do not overlap", [(0, 0, 2, 2), (2, 0, 4, 2)], None, {"iou": 0.0}, 2),
    ("a score of exactly the threshold is out", [(0, 0, 2, 2), (9, 9, 11, 11)], [0.5, 0.25], {"conf": 0.25}, 1),
    ("one box", [(0, 0, 2, 2)], None, {}, 1),
    ("a suppressed box suppresses nobody", [(0, 0, 9, 9), (3, 0, 12, 9), (6, 0, 15, 9)], None, {"iou": 0.4}, 2),
]


@pytest.mark.parametrize(("boxes", "scores", "options", "kept"), [c[1:] for c in SMALL], ids=[c[0] for c in SMALL])
def test_small_cases(boxes, scores, options, kept):
    assert number(packed(**options), boxes_of(*boxes, scores=scores)) == kept


def test_rotated_boxes_without_a_side_overlap_as_if_they_had_one():
    """As in y12.runtime.results.oriented: two equal lines are one object; two that lie apart are not."""
    raw = Raw("obb", classes=1, anchors=4)
    rows = np.array([[50, 50, 90, 90], [50] * 4, [0, 0, 30, 30], [20, 20, 0, 0], [0.9, 0.8, 0.7, 0.6], [1, 1, 2, 2]])
    assert assert_equal(raw, packed(), rows[None].astype(np.float32))["num"].item() == 2


def test_far_apart_rotated_boxes_do_not_overlap_by_more_than_0():
    """Gaussians have no end, but float64 has: their IoU rounds to 0."""
    raw = Raw("obb", classes=1, anchors=3)
    rows = np.array([[50, 250, 60], [50] * 3, [20] * 3, [20] * 3, [0.9, 0.8, 0.7], [1] * 3], np.float32)
    assert assert_equal(raw, packed(iou=0.0), rows[None])["num"].item() == 2


def test_equal_rotated_boxes_do_not_overlap_by_more_than_1():
    rng = np.random.Generator(np.random.PCG64(0))
    rows = np.repeat(rng.random((1, 6, 30), dtype=np.float32) * 100 + 1, 2, axis=2)
    rows[:, 4] = np.linspace(0.9, 0.5, 60)
    outputs = assert_equal(Raw("obb", classes=1), packed(max_det=60, iou=1.0), rows)
    assert outputs["num"].item() == 60


def test_exactly_max_det_boxes_and_one_more():
    apart = [(20 * i, 0, 20 * i + 9, 9) for i in range(21)]
    assert number(packed(max_det=20), boxes_of(*apart[:20])) == 20
    assert number(packed(max_det=20), boxes_of(*apart)) == 20


@pytest.mark.parametrize(("passing", "truncated"), [(29, 0), (30, 0), (31, 1), (40, 1)])
def test_truncation_is_told(passing, truncated):
    scores = np.where(np.arange(40) < passing, 0.5, 0.1)
    rows = boxes_of(*[(20 * i, 0, 20 * i + 9, 9) for i in range(40)], scores=scores, classes=2)
    raw = Raw(classes=2, anchors=40)
    assert assert_equal(raw, packed(candidates=30), rows)["truncated"].item() == truncated
    # what is filtered out takes no place
    assert assert_equal(raw, packed(candidates=30, classes=(1,)), rows)["truncated"].item() == 0


def chain(length):
    """Boxes each of which overlaps the one before it and the one after it by 0.8, and no other by 0.7 or more."""
    return boxes_of(*[(10 * i, 0, 10 * i + 90, 90) for i in range(length)])


@pytest.mark.parametrize("length", [2, 3, 7, 601, 900])
def test_long_chains_of_suppression(length):
    """Every second box survives, which takes a step for each box: the first ones decide about the last."""
    raw, settings = Raw(anchors=length, classes=1), packed(candidates=1000, max_det=500)
    outputs = assert_equal(raw, settings, chain(length))
    assert outputs["num"].item() == (length + 1) // 2
    np.testing.assert_array_equal(outputs["detections"][0, : (length + 1) // 2, 0], np.arange(0, 10 * length, 20))


def test_few_steps_would_not_do_for_a_chain():
    raw = Raw(anchors=601, classes=1)
    suppresses = np.tril(overlaps(raw, chain(601)[0]) > 0.7, k=-1)  # (judged, suppressor)
    assert (suppresses.sum(axis=1)[1:] == 1).all()
    keep, steps = np.ones(601, bool), 0
    while not np.array_equal(keep, after := ~(suppresses & keep).any(axis=1)):
        keep, steps = after, steps + 1
    assert steps == 600  # and one to see that nothing changes
    np.testing.assert_array_equal(keep, np.arange(601) % 2 == 0)


def test_a_chain_in_one_image_does_not_disturb_another():
    raw, settings = Raw(anchors=301, classes=1, batch=3), packed(candidates=301, max_det=301)
    rows = np.concatenate([chain(301), boxes_of(*[(0, 0, 9, 9)] * 301), chain(301)[:, :, ::-1]])
    outputs = assert_equal(raw, settings, rows)
    np.testing.assert_array_equal(outputs["num"][:, 0], [151, 1, 151])


def test_the_order_in_which_topk_gives_candidates_does_not_matter():
    """TensorRT promises none among equal scores."""
    raw, settings = Raw(), packed()
    rows = clustered(raw, settings)
    rows[:, 4:7] = np.round(rows[:, 4:7] * 4) / 4
    model = raw.with_nms(settings)
    order = np.random.Generator(np.random.PCG64(0)).permutation(60)
    nodes = []
    for node in copy_of(model).graph.node:
        nodes.append(node)
        if node.op_type == "TopK" and node.input[0] == "nms/all_scores":
            given = list(node.output)
            node.output[:] = [f"{name}_sorted" for name in given]
            nodes += [helper.make_node("Gather", [f"{name}_sorted", "order"], [name], axis=2) for name in given]
    assert len(nodes) == len(model.graph.node) + 2
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.append(numpy_helper.from_array(order, "order"))
    outputs = run(model, rows[:, :, None])
    for name, wanted in expected(raw, settings, rows).items():
        np.testing.assert_array_equal(outputs[name], wanted, err_msg=name)


@pytest.mark.parametrize("opset", [17, 18, 19, 20])
@pytest.mark.parametrize("task", EXTRAS)
def test_each_task_carries_along_what_belongs_to_a_box(task, opset):
    raw, settings = Raw(task, batch=2, opset=opset), packed()
    rows = clustered(raw, settings, batch=2)
    outputs = assert_equal(raw, settings, rows)
    assert outputs["detections"].shape == (2, 20, 6 + EXTRAS[task])
    assert outputs["num"].min() > 3
    assert ("protos" in outputs) == (task in ("segment", "multitask"))
    if "protos" in outputs:
        np.testing.assert_array_equal(outputs["protos"][:, :, 0], rows[:, :MASKS])


@pytest.mark.parametrize("task", EXTRAS)
def test_split_holds_the_same_as_packed(task):
    raw = Raw(task, batch=2)
    rows = clustered(raw, split(), batch=2)
    outputs = found(raw, split(), rows)
    wanted = expected(raw, packed(), rows)
    names = {
        "detect": [],
        "segment": ["det_coefficients"],
        "pose": ["det_keypoints"],
        "obb": ["det_angles"],
        "multitask": ["det_coefficients", "det_keypoints"],
    }[task]
    protos = ["protos"] if task in ("segment", "multitask") else []
    assert list(outputs) == ["num_dets", "det_boxes", "det_scores", "det_classes", *names, *protos]
    np.testing.assert_array_equal(outputs["num_dets"], wanted["num"])
    columns = [outputs[name].reshape(2, 20, -1) for name in list(outputs)[1 : 4 + len(names)]]
    np.testing.assert_array_equal(np.concatenate(columns, axis=2), wanted["detections"])


@pytest.mark.parametrize("task", ["detect", "obb", "multitask"])
@pytest.mark.parametrize("anchors", [1, 7, 60, 200])
def test_free_batch_and_anchors(task, anchors):
    raw, settings = Raw(task, batch="B", anchors="A"), packed(candidates=50)
    for batch in (1, 4):
        assert_equal(raw, settings, clustered(raw, settings, batch=batch, anchors=anchors, seed=batch))


def declared(graph):
    """The outputs as text, such as "FLOAT(1, 20, 6) detections"."""
    texts = []
    for output in graph.output:
        tensor = output.type.tensor_type
        sizes = ", ".join(str(dim.dim_value or dim.dim_param) for dim in tensor.shape.dim)
        texts.append(f"{TensorProto.DataType.Name(tensor.elem_type)}({sizes}) {output.name}")
    return texts


def test_the_outputs_are_declared_as_they_are():
    assert declared(Raw("obb", batch="B").with_nms(packed()).graph) == [
        "FLOAT(B, 20, 7) detections",
        "INT32(B, 1) num",
        "INT32(B, 1) truncated",
    ]
    assert declared(Raw("detect", batch=2, anchors="A").with_nms(split()).graph) == [
        "INT32(2, 1) num_dets",
        "FLOAT(2, 20, 4) det_boxes",
        "FLOAT(2, 20) det_scores",
        "INT32(2, 20) det_classes",
    ]


@pytest.mark.parametrize("form", [packed, split])
@pytest.mark.parametrize("task", EXTRAS)
def test_shape_inference_finds_the_declared_shapes(task, form):
    model = Raw(task, batch=2).with_nms(form())
    onnx.checker.check_model(model, full_check=True)
    wanted = declared(model.graph)
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    assert declared(onnx.shape_inference.infer_shapes(model, strict_mode=True).graph) == wanted


def test_names_and_the_given_graph():
    given = Raw("multitask").model
    before = given.SerializeToString()
    model = with_nms(given, packed(), layout_of("multitask", 3))
    assert given.SerializeToString() == before
    added = model.graph.node[len(given.graph.node) :]
    assert list(model.graph.node[: len(given.graph.node)]) == list(given.graph.node)
    loop = next(node for node in added if node.op_type == "Loop")
    names = [node.name for node in (*added, *loop.attribute[0].g.node)]
    assert all(name.startswith("nms/") for name in names)
    assert len(set(names)) == len(names)
    weights = {w.name for w in given.graph.initializer}
    assert all(w.name.startswith("nms/") for w in model.graph.initializer if w.name not in weights)
