"""The expectation over bins without a softmax: the same numbers, and only where no power can overflow."""

import numpy as np
import pytest
from text_models import model_of, noise, ops, run, weights_of

from y12.exporter.graph.index import GraphIndex
from y12.exporter.graph.passes import replace_nodes
from y12.exporter.precision.qdq.bins import expectations_of

BINS = np.arange(8, dtype=np.float32).reshape(1, 8, 1, 1)
HEAD = """t = Transpose<perm=[0,2,1,3]>(x) p = Softmax<axis=1>(t) w = Mul(p, bins)
    out = ReduceSum<keepdims=1>(w, axes)"""


def head(text=HEAD, **weights):
    read = {"bins": BINS, "axes": np.array([1])} | weights
    return model_of(
        f"(float[N,4,8,5] x) => (float[A,B,C,D] out) {{ {text} }}", **{n: w for n, w in read.items() if n in text}
    )


def rewritten(model, largest=40.0):
    replacements = expectations_of(GraphIndex(model.graph), lambda tensor: largest if tensor == "x" else np.inf)
    replace_nodes(model.graph, dict(replacements), [])
    return model


@pytest.mark.parametrize("largest", [1.0, 80.0])
def test_the_result_is_that_of_the_softmax(largest):
    x = noise(3, 4, 8, 5) * np.float32(largest)
    x[0, 0], x[0, 1] = largest, -largest  # all bins at one end of the range
    expected, actual = run(head(), x)["out"], run(rewritten(head(), largest), x)["out"]
    assert actual.shape == (3, 1, 4, 5)
    np.testing.assert_allclose(actual, expected, rtol=2e-5, atol=1e-6)


def test_no_softmax_is_left():
    model = rewritten(head())
    expected = ["Constant"] * 3 + ["Reshape", "Concat", "Exp", "MatMul", "Split", "Div", "Transpose"]
    assert ops(model) == expected
    assert set(weights_of(model)) == {"bins"}  # the model's own, which an audit can find there


LEFT = {
    "a range too large for powers": (HEAD, 80.1),
    "an unknown range": (HEAD, np.inf),
    "a softmax of another axis": (HEAD.replace("Softmax<axis=1>", "Softmax<axis=2>"), 40.0),
    "another order of axes": (HEAD.replace("0,2,1,3", "0,2,3,1"), 40.0),
    "a sum over another axis": (HEAD.replace("axes)", "places)"), 40.0),
    "values that differ by side": (HEAD.replace("bins", "sides"), 40.0),
    "probabilities that others read": (HEAD.replace("out =", "sums =") + " out = Add(sums, p)", 40.0),
    "weighted bins that others read": (HEAD.replace("out =", "sums =") + " out = Add(sums, w)", 40.0),
}


@pytest.mark.parametrize("case", LEFT)
def test_what_is_left(case):
    text, largest = LEFT[case]
    model = head(text, places=np.array([3]), sides=np.ones((1, 8, 4, 1), np.float32))
    replacements = expectations_of(GraphIndex(model.graph), lambda tensor: largest if tensor == "x" else np.inf)
    assert replacements == {}
