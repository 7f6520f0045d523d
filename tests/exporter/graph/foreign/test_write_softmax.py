"""A softmax written by hand becomes one; what is nearly one is left alone."""

import numpy as np
import onnx
import pytest
from text_models import copy_of, model_of, ops, run

from y12.exporter.graph.foreign.softmax import write_softmax

IO = "(float[1,2,3,5] x) => (float[1,2,3,5] y) "
BY_HAND = "{ m = ReduceMax(x, last) d = Sub(x, m) e = Exp(d) s = ReduceSum(e, last) [end] y = Div(e, s) }"
LAST, FIRST = np.array([-1]), np.array([1])


@pytest.mark.parametrize("axis", [-1, 1, 3])
def test_it_becomes_a_softmax(axis):
    original = model_of(IO + BY_HAND, last=np.array([axis]))
    model = copy_of(original)
    assert write_softmax(model).changes == 1
    onnx.checker.check_model(model, full_check=True)
    assert ops(model) == ["Softmax"]
    assert list(model.graph.initializer) == []
    np.testing.assert_allclose(run(model)["y"], run(original)["y"], rtol=0, atol=1e-6)
    assert write_softmax(model).changes == 0


def test_axes_as_an_attribute_as_before_opset_18():
    text = (
        '<ir_version: 8, opset_import: ["" : 17]> tiny '
        + IO
        + BY_HAND.replace("ReduceMax(x, last)", "ReduceMax<axes=[-1]>(x)")
    )
    model = onnx.parser.parse_model(text)
    model.graph.initializer.append(onnx.numpy_helper.from_array(LAST, "last"))
    assert write_softmax(model).changes == 1
    assert ops(model) == ["Softmax"]


def test_what_others_read_stays():
    text = BY_HAND.replace("[end] y =", "[end] p =").replace("}", " y = Add(p, e) }")
    model = model_of(IO + text, last=LAST)
    assert write_softmax(model).changes == 1
    assert sorted(ops(model)) == ["Add", "Exp", "ReduceMax", "Softmax", "Sub"]


@pytest.mark.parametrize(
    "text",
    [
        BY_HAND.replace("ReduceSum(e, last)", "ReduceSum(e, first)"),
        BY_HAND.replace("ReduceMax(x, last)", "ReduceMax(x, both)"),
        BY_HAND.replace("ReduceSum(e, last)", "ReduceSum(e)"),
    ],
)
def test_axes_that_differ_are_refused(text):
    model = model_of(IO + text, last=LAST, first=FIRST, both=np.array([-1, 1]))
    report = write_softmax(model)
    assert report.changes == 0
    assert report.refused == ("end: its maximum and its sum are not both along one and the same axis",)


@pytest.mark.parametrize(
    "text",
    [
        "{ m = ReduceMax(x, last) d = Sub(x, m) e = Exp(d) s = ReduceSum(x, last) y = Div(e, s) }",  # another sum
        "{ r = Relu(x) m = ReduceMax(r, last) d = Sub(x, m) e = Exp(d) s = ReduceSum(e, last) y = Div(e, s) }",
        "{ m = ReduceMax(x, last) d = Sub(x, m) e = Exp(d) s = ReduceSum(e, last) y = Div(s, e) }",
        "{ y = Div(x, x) }",
    ],
)
def test_what_is_none_is_not_even_refused(text):
    model = model_of(IO + text, last=LAST)
    report = write_softmax(model)
    assert (report.changes, report.refused) == (0, ())
