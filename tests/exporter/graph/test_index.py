"""Who makes and who reads each tensor."""

import pytest
from text_models import model_of, noise

from y12.exporter.graph.index import GraphIndex, silu_nodes

TEXT = """(float[1,2,4,4] x) => (float[1,2,4,4] out, int64[4] size) {
    [k] two = Constant<value = float[1] {2.0}>()
    [f] also = Constant<value_float = 3.0>()
    [a] y = Conv(x, w)
    [b] z = Mul(y, two)
    [c] v = Conv(z, w)
    [d] out = Mul(v, v)
    [e] size = Shape(z)
}"""


def index_of(text=TEXT):
    return GraphIndex(model_of(text, w=noise(2, 2, 1, 1)).graph)


def test_producers_and_consumers():
    index = index_of()
    assert index.producer == {"two": 0, "also": 1, "y": 2, "z": 3, "v": 4, "out": 5, "size": 6}
    assert index.consumers["z"] == [4, 6]
    assert index.consumers["v"] == [5, 5]  # read twice by one node
    assert index.consumers["out"] == []


def test_constants_are_initializers_and_constant_nodes():
    index = index_of()
    assert index.constant("w").shape == (2, 2, 1, 1)
    assert index.constant("two").tolist() == [2.0]
    assert index.constant("y") is None
    assert index.constant("x") is None
    assert index.constant("no such tensor") is None


def test_reaching_gives_the_nodes_before_the_last_convolution():
    assert index_of().reaching("Conv") == {0, 2, 3, 4}
    assert index_of().reaching("Softmax") == set()


def test_outputs_leave_the_graph():
    assert index_of().outputs == {"out", "size"}


@pytest.mark.parametrize(
    ("body", "nodes"),
    [
        ("s = Sigmoid(x) y = Mul(x, s)", (0, 1)),
        ("s = Sigmoid(x) y = Mul(s, x)", (0, 1)),
        ("s = Tanh(x) y = Mul(x, s)", ()),
        ("r = Relu(x) s = Sigmoid(r) y = Mul(x, s)", ()),
        ("s = Sigmoid(x) y = Add(x, s)", ()),
        ("y = Mul(x, x)", ()),
        ("s = Sigmoid(x) y = Conv(x, w, b)", ()),  # three inputs
    ],
)
def test_silu(body, nodes):
    text = "(float[1,2,4,4] x) => (float[1,2,4,4] y) {" + body + "}"
    index = GraphIndex(model_of(text, w=noise(2, 2, 1, 1), b=noise(2)).graph)
    assert silu_nodes(index, len(index.graph.node) - 1) == nodes
