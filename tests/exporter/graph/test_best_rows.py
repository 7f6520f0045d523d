"""The choice of the best rows in a graph, against a choice in numpy, and the proof that looks for a wrong one."""

import numpy as np
import onnx
import pytest
from nms_graphs import EXTRAS, Raw, layout_of
from text_models import run

from y12.errors import GraphError, VerificationError
from y12.exporter.graph.best_rows import MAX_ROWS, row_count, with_best_rows
from y12.exporter.verify.check_best_rows import check_best_rows, compare_best_rows
from y12.exporter.verify.compare import Ran
from y12.exporter.verify.verify_options import TOLERANCES, VerifyOptions
from y12.runtime.artefact.manifest import AxisRange, InputProfile, Manifest
from y12.runtime.artefact.nms_settings import end_to_end


def predictions(raw, batch=1, anchors=60, seed=0):
    rows = np.random.Generator(np.random.PCG64(seed)).random((batch, raw.rows, anchors), dtype=np.float32)
    rows[:, :4] *= 100
    return rows


def expected(raw, rows, count):
    """All anchors with all classes, the best first."""
    scores = rows[4 : 4 + raw.classes]
    order = np.argsort(-scores.ravel(), kind="stable")[:count]
    label, anchor = np.divmod(order, rows.shape[1])
    xy, wh = rows[:2, anchor].T, rows[2:4, anchor].T
    columns = (
        xy - wh / 2,
        xy + wh / 2,
        scores[label, anchor][:, None],
        label[:, None],
        rows[4 + raw.classes :, anchor].T,
    )
    return np.concatenate(columns, 1)


def chosen(raw, rows, count):
    return run(with_best_rows(raw.model, layout_of(raw.task, raw.classes), count), rows[:, :, None])["output0"]


@pytest.mark.parametrize("opset", [17, 20])
@pytest.mark.parametrize("task", ["detect", "segment"])
def test_the_best_of_all_scores_are_the_rows(task, opset):
    raw = Raw(task, opset=opset)
    rows = predictions(raw)
    actual = chosen(raw, rows, 40)
    assert actual.shape == (1, 40, 6 + EXTRAS[task])
    np.testing.assert_allclose(actual[0], expected(raw, rows[0], 40), rtol=0, atol=1e-4)
    labels = actual[0, :, 5]
    assert set(labels) == {0, 1, 2}
    boxes = actual[0, :, :4].round(3).tolist()
    assert len({tuple(box) for box in boxes}) < 40  # an anchor may be several rows, of different classes


@pytest.mark.parametrize(("batch", "anchors"), [(1, 40), (3, 57)])
def test_batch_and_anchors_may_be_free(batch, anchors):
    raw = Raw("segment", batch="N", anchors="A")
    rows = predictions(raw, batch, anchors, seed=3)
    actual = chosen(raw, rows, 40)
    for one, image in zip(actual, rows, strict=True):
        np.testing.assert_allclose(one, expected(raw, image, 40), rtol=0, atol=1e-4)


def test_it_has_the_form_that_other_exporters_write():
    """A row's class is what is left of an index of TopK: by that readers know such graphs."""
    model = with_best_rows(Raw("segment").model, layout_of("segment", 3), 20)
    makers = {name: node for node in model.graph.node for name in node.output}
    last = makers["output0"]
    assert (last.op_type, model.graph.output[0].name, model.graph.output[1].name) == ("Concat", "output0", "protos")
    steps, name = [], last.input[2]
    while not steps or steps[-1] != "TopK":
        node = makers[name]
        steps.append(node.op_type)
        at = list(node.output).index(name)
        name = node.input[0]
    assert (steps, at) == (["Cast", "Unsqueeze", "Mod", "TopK"], 1)
    onnx.checker.check_model(model, full_check=True)


def test_other_graphs_are_refused():
    with pytest.raises(GraphError, match="expected boxes in one output output0, found a graph for multitask"):
        with_best_rows(Raw("multitask").model, layout_of("multitask", 3), 20)
    with pytest.raises(GraphError, match="expected at most 3840 rows, which TensorRT can choose, found 5000"):
        with_best_rows(Raw("detect").model, layout_of("detect", 3), 5000)


def test_a_small_image_has_as_many_rows_as_anchors():
    sides = AxisRange(64, 96, 128)
    assert row_count(InputProfile(AxisRange(1, 1, 1), sides, sides), (8, 16, 32)) == 64 + 16 + 4
    assert row_count(InputProfile(AxisRange(1, 1, 1), AxisRange(640, 640, 640), sides), (8, 16, 32)) == MAX_ROWS


MANIFEST = Manifest("segment", ("a", "b", "c"), (8,), InputProfile(*[AxisRange(8, 8, 8)] * 3), nms=end_to_end(300))


def looked_at():
    """Predictions whose best two scores are equal, and the rows that the graph chooses of them."""
    raw = Raw("segment")
    rows = predictions(raw)
    rows[0, 4, 7] = rows[0, 5, 9] = 1.5
    return {"output0": rows[0], "protos": np.zeros((4, 1, 60), np.float32)}, chosen(raw, rows, 30)[0]


def test_right_rows_pass_also_where_equal_ones_change_places():
    predicted, rows = looked_at()
    swapped = rows[[1, 0, *range(2, 30)]]
    assert check_best_rows([predicted] * 2, [{"output0": rows}, {"output0": swapped}], MANIFEST) == 60


@pytest.mark.parametrize(
    ("place", "problem"),
    [
        ((0, 4), "expected the largest scores"),
        ((29, 4), "expected the largest scores"),
        ((0, 2), "row 0 is no prediction's"),
        ((29, 3), "row 29 is no prediction's"),
        ((5, 5), "row 5 is no prediction's"),
        ((7, 9), "row 7 is no prediction's"),
    ],
)
def test_a_wrong_value_is_noticed(place, problem):
    predicted, rows = looked_at()
    rows[place] += 0.1 if place[1] != 5 else 1
    with pytest.raises(VerificationError, match=problem):
        check_best_rows([predicted], [{"output0": rows}], MANIFEST)


@pytest.mark.parametrize(
    ("order", "problem"),
    [
        ([0, 0, *range(2, 30)], "row 1 is no prediction's, or one that was there before"),
        (range(29, -1, -1), "expected the largest scores"),
    ],
)
def test_a_row_twice_and_a_wrong_order_are_noticed(order, problem):
    predicted, rows = looked_at()
    with pytest.raises(VerificationError, match=problem):
        check_best_rows([predicted], [{"output0": rows[list(order)]}], MANIFEST)


def compared(change):
    """An engine's rows beside the predictions of the model, both as their executors give them."""
    predicted, rows = looked_at()
    change(rows)
    reference, candidate = Ran("the model", [predicted]), Ran("an engine", [{"output0": rows}])
    return compare_best_rows(reference, candidate, MANIFEST, TOLERANCES["fp16"], VerifyOptions(max_det=20))


def moved(rows):
    rows[:, :4] += 30


def without_the_best(rows):
    rows[:5, 4] = 0
    rows[:] = rows[np.argsort(-rows[:, 4], kind="stable")]
    rows[25:, :4] += 1000


@pytest.mark.parametrize(
    ("change", "verdict"),
    [(lambda _rows: None, "equal within tolerance"), (moved, "different"), (without_the_best, "different")],
)
def test_an_engines_rows_are_matched_with_the_models(change, verdict):
    comparison = compared(change)
    assert comparison.verdict == verdict, comparison.failures
    assert comparison.detections == 20
    if verdict == "different":
        assert comparison.lost or comparison.failures
    else:
        assert (comparison.matched, comparison.lost, comparison.new) == (20, 0, 0)


def test_numbers_that_are_none_are_counted():
    def broken(rows):
        rows[3, 1] = np.nan

    assert compared(broken).failures == ("NaN or infinite values 1, allowed 0",)
