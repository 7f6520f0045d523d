"""Simplification reports what it did, and stops the export where it failed or changed the result."""

import os

import numpy as np
import onnx
import onnxsim
import pytest
from text_models import copy_of, model_of, noise, ops, run

from y12.errors import GraphError
from y12.exporter.graph import simplify as module
from y12.exporter.graph.passes import PassReport
from y12.exporter.graph.simplify import check_same_result, quiet_native_output, relative_difference, simplify

TEXT = """(float[1,3,32,32] images) => (float[1,4,32,32] output0) {
    [same] i = Identity(images)
    [also] j = Identity(i)
    [c] y = Conv(j, w, bias)
    [cut] a, b = Split<axis=1>(y, sizes)
    [r] positive = Relu(a)
    [join] output0 = Concat<axis=1>(b, positive)
}"""


@pytest.fixture
def graph():
    return model_of(TEXT, w=noise(4, 3, 1, 1), bias=noise(4), sizes=np.array([1, 3]))


@pytest.fixture
def profile(make_profile):
    return make_profile(32, 32)


def test_what_each_pass_did_is_reported(graph, profile):
    simplified, report = simplify(graph, profile)
    changes = {p.name: p.changes for p in report.passes}
    assert list(changes) == ["onnxsim", *(own.__name__ for own in module.OWN_PASSES)]
    assert (changes["onnxsim"], changes["sum_expectations"], changes["split_convs"]) == (2, 0, 1)
    assert (report.nodes_before, report.nodes_after) == (6, len(simplified.graph.node))
    assert report.difference < 1e-6
    assert "Split" not in ops(simplified)


def test_without_the_check_nothing_is_run_and_the_report_says_so(graph, profile, monkeypatch):
    monkeypatch.setattr(module, "OrtExecutor", None)  # what runs a graph
    checked, report = simplify(graph, profile, check=False)
    assert report.difference is None
    assert report.words.endswith("; not run to compare")
    monkeypatch.undo()
    same, report = simplify(graph, profile)
    assert report.words.endswith(f"; same result to {report.difference:.1e}")
    assert checked.SerializeToString() == same.SerializeToString()


def test_the_given_graph_stays_as_it_was(graph, profile):
    serialized = graph.SerializeToString(deterministic=True)
    simplify(graph, profile)
    assert graph.SerializeToString(deterministic=True) == serialized


def raises(model):
    raise IndexError("no such node")


def changes_the_result(model):
    bias = next(w for w in model.graph.initializer if onnx.numpy_helper.to_array(w).ndim == 1)
    bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) + np.float32(1e-3), bias.name))
    return PassReport("changes_the_result", 1)


def breaks_the_graph(model):
    del model.graph.node[0]
    return PassReport("breaks_the_graph", 1)


def renames_the_output(model):
    model.graph.output[0].name = "other"
    model.graph.node[-1].output[0] = "other"
    return PassReport("renames_the_output", 1)


def changes_the_shape(model):
    model.graph.node[-1].output[0] = "whole"
    flat = onnx.helper.make_node("Flatten", ["whole"], ["output0"], axis=1)
    model.graph.node.append(flat)
    model.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("output0", 1, [1, 4096]))
    return PassReport("changes_the_shape", 1)


def gives_nan(model):
    model.graph.node[-1].output[0] = "whole"
    model.graph.node.append(onnx.helper.make_node("Sqrt", ["whole"], ["output0"]))
    return PassReport("gives_nan", 1)


FAULTS = [
    (raises, r"the pass raises failed after onnxsim, sum_expectations, split_convs.* \(no such node\); --no-simplify"),
    (
        breaks_the_graph,
        "the pass breaks_the_graph failed after onnxsim, sum_expectations, split_convs(?s:.*); --no-simplify",
    ),
    (changes_the_result, "simplification changed the result: expected .* at most 0.0001, found 0.0007"),
    (renames_the_output, r"simplification changed the outputs from \['output0'\] to \['other'\]"),
    (changes_the_shape, "simplification changed the result.*found inf"),
    (gives_nan, "simplification changed the result.*found nan"),
]


@pytest.mark.parametrize(("fault", "message"), FAULTS)
def test_a_fault_in_a_pass_stops_the_export(graph, profile, monkeypatch, fault, message):
    monkeypatch.setattr(module, "OWN_PASSES", (*module.OWN_PASSES, fault))
    with pytest.raises(GraphError, match=message):
        simplify(graph, profile)


def test_a_fault_of_onnxsim_stops_the_export(profile):
    unsound = onnx.ModelProto()
    with pytest.raises(GraphError, match=r"onnxsim failed .*; --no-simplify leaves it out"):
        simplify(unsound, profile)


def test_a_graph_that_cannot_be_run_stops_the_export(graph, profile):
    other = copy_of(graph)
    other.graph.node[2].op_type = "NoSuchOperator"
    with pytest.raises(GraphError, match="simplification left a graph that cannot be run"):
        check_same_result(graph, other, profile)


# sin(7000 x), the factor at once or as 70 times 100: what x and the products are rounded by is amplified.
STEEP = "(float[1,3,32,32] images) => (float[1,3,32,32] output0) { LINES y = Sin(b) output0 = Add(y, off) }"


@pytest.mark.parametrize(("off", "stops"), [(0.0, False), (0.01, False), (0.1, True)])
def test_a_graph_that_amplifies_rounding_may_round_otherwise_and_no_more(profile, off, stops):
    original = model_of(STEEP.replace("LINES", "b = Mul(images, whole)"), whole=np.float32(7000), off=np.float32(0))
    parts = "a = Mul(images, one) b = Mul(a, other)"
    divided = model_of(STEEP.replace("LINES", parts), one=np.float32(70), other=np.float32(100), off=np.float32(off))
    if stops:
        with pytest.raises(GraphError, match=r"expected a relative difference of at most 0\.0[34]\d*, found 0\.1"):
            check_same_result(original, divided, profile)
    else:
        assert 2e-4 < check_same_result(original, divided, profile) < 0.02  # beyond 1e-4, within 20 movements


SIZES = ["Shape(images)", "Constant<value = int64[4] {1, 3, 32, 32}>()"]
SCALED = """(float[B,3,H,W] images) => (float[B,3,H,W] output0) {
    s = SIZE f = Cast<to=1>(s) m = ReduceSum<keepdims=0>(f) output0 = Mul(images, m)
}"""
TURNED = "(float[B,3,H,W] images) => (float[B,3,H,W] output0) { output0 = Slice(images, first, last, axis, step) }"


def test_a_size_that_became_a_constant_is_found(make_profile):
    original, other = (model_of(SCALED.replace("SIZE", size)) for size in SIZES)
    assert check_same_result(original, other, make_profile(32, 32)) == 0.0
    with pytest.raises(GraphError, match="simplification changed the result"):
        check_same_result(original, other, make_profile(32, 32, sides=2))


def test_images_of_a_batch_that_change_places_are_found(make_profile):
    whole = {"first": [0], "last": [9], "axis": [0], "step": [1]}
    turned = {"first": [-1], "last": [-9], "axis": [0], "step": [-1]}
    original, other = (model_of(TURNED, **{k: np.array(v) for k, v in s.items()}) for s in (whole, turned))
    assert check_same_result(original, other, make_profile(32, 32)) == 0.0
    for batch in ((1, 1, 8), (4, 4, 4)):
        with pytest.raises(GraphError, match="simplification changed the result"):
            check_same_result(original, other, make_profile(32, 32, batch=batch))


DIFFERENCES = [
    # a channel is compared with its own largest value, and with 0.005 where that is less
    ([[[100.0, 1.0]], [[0.5, 0.0]]], [[[101.0, 1.0]], [[0.5, 0.0]]], 0.01),
    ([[[100.0, 1.0]], [[0.5, 0.0]]], [[[100.0, 1.0]], [[0.5, 0.25]]], 0.5),
    ([[[100.0, 1.0]], [[0.5, 0.0]]], [[[100.0, 1.0]], [[0.5, 0.0]]], 0.0),
    ([[[100.0, 1.0]], [[2e-7, 0.0]]], [[[100.0, 1.0]], [[2e-7, 2e-7]]], 4e-5),
    ([[[100.0, 1.0]], [[0.0, 0.0]]], [[[100.0, 1.0]], [[0.0, 0.0]]], 0.0),
]


@pytest.mark.parametrize(("expected", "actual", "difference"), DIFFERENCES)
def test_relative_difference(expected, actual, difference):
    expected, actual = (np.array([e], np.float32).reshape(1, 2, 2) for e in (expected, actual))
    assert relative_difference(expected, actual) == pytest.approx(difference, abs=1e-7)


def test_other_shapes_differ_without_bound():
    assert relative_difference(np.zeros((1, 2, 3), np.float32), np.zeros((1, 2, 4), np.float32)) == float("inf")


def test_native_output_is_hidden_and_comes_back(capfd):
    with quiet_native_output():
        os.write(1, b"hidden\n")
        os.write(2, b"hidden\n")
    os.write(1, b"shown\n")
    os.write(2, b"shown too\n")
    assert capfd.readouterr() == ("shown\n", "shown too\n")


def test_native_output_comes_back_after_an_error(capfd):
    open_before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(KeyboardInterrupt), quiet_native_output():
        raise KeyboardInterrupt
    os.write(1, b"shown\n")
    assert capfd.readouterr().out == "shown\n"
    assert len(os.listdir("/proc/self/fd")) == open_before


def test_onnxsim_prints_nothing(graph, profile, capfd):
    simplify(graph, profile)
    assert capfd.readouterr() == ("", "")


def test_the_result_is_onnxsims_where_no_pass_matches(profile):
    model = model_of(
        "(float[1,3,32,32] images) => (float[1,3,32,32] output0) { i = Identity(images) output0 = Relu(i) }"
    )
    simplified, _ = simplify(model, profile)
    assert ops(simplified) == ops(onnxsim.simplify(model)[0]) == ["Relu"]
    assert list(run(simplified)) == ["output0"]
