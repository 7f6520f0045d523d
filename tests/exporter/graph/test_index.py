"""Who makes and who reads each tensor."""

import numpy as np
from text_models import model_of, noise

from exporter.graph.index import GraphIndex

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
    return GraphIndex(model_of(text, w=noise(2, 2, 1, 1), ints=np.array([1])).graph)


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


def test_float_tensors_are_found_by_type():
    assert index_of().float_tensors() == {"x", "w", "two", "also", "y", "z", "v", "out"}


def test_types_are_known_where_shapes_are_not():
    text = """(float[B,2,H,W] x) => (out) {
        s = Shape(x) r = Reshape(x, s) h = Cast<to=10>(r) out = Cast<to=1>(h)
    }"""
    assert {"r", "out"} <= index_of(text).float_tensors()
    assert "h" not in index_of(text).float_tensors()
