"""Which tensors a tensor's channels come from, by graphs whose branches only the channels tell apart."""

import numpy as np
import pytest
from text_models import model_of

from y12.exporter.graph.index import GraphIndex
from y12.exporter.precision.qdq.channels import ChannelSources

BOTH = "a = Tanh(x) b = Relu(x) "  # 4 and 4 channels
INTS = {
    "two": [2], "four": [4], "six": [6], "end": [2**63 - 1], "back": [-4], "one": [1], "zero": [0],
    "halves": [4, 4], "flat": [1, 8, 36], "bins": [1, 2, 4, 36], "pixels": [1, 288], "step": [2], "axis2": [2],
}  # fmt: skip
CUT = "c = Concat<axis=1>(a, b) "

# nodes that make `out` of a (Tanh) and b (Relu), each (1,4,6,6) → what out is made of
CASES = {
    "a concatenation is of both": (CUT + "out = Tanh(c)", {"a", "b"}),
    "a slice of the first's channels": (CUT + "out = Slice(c, zero, four, one)", {"a"}),
    "a slice from behind": (CUT + "out = Slice(c, back, end, one)", {"b"}),
    "a slice over the border": (CUT + "out = Slice(c, two, six, one)", {"a", "b"}),
    "a slice of other axes": (CUT + "out = Slice(c, zero, four, axis2)", {"a", "b"}),
    "a slice with a step is not followed": (CUT + "out = Slice(c, four, end, one, step)", {"a", "b"}),
    "a slice of a slice": (CUT + "d = Slice(c, two, end, one) out = Slice(d, two, six, one)", {"b"}),
    "a split's first": (CUT + "out, d = Split<axis=1>(c, halves)", {"a"}),
    "a split's second": (CUT + "d, out = Split<axis=1>(c, halves)", {"b"}),
    "a split counted from behind": (CUT + "d, out = Split<axis=-3>(c, halves)", {"b"}),
    "a split along another axis": (CUT + "d, out = Split<axis=2, num_outputs=2>(c)", {"a", "b"}),
    "a concatenation along another axis": ("c = Concat<axis=2>(a, b) out = Slice(c, zero, two, one)", {"a", "b"}),
    "the places made one axis": (CUT + "d = Reshape(c, flat) e, out = Split<axis=1>(d, halves)", {"b"}, "A,C,P"),
    "levels, as a head has them": (
        CUT + "d = Reshape(c, flat) e = Concat<axis=2>(d, d) f, g = Split<axis=1>(e, halves) out = Softmax<axis=1>(g)",
        {"b"}, "A,C,P",
    ),
    "element by element": (CUT + "d = Sigmoid(c) e = Mul(c, d) f, out = Split<axis=1>(e, halves)", {"b"}),
    "the channels made two axes: not followed": (
        CUT + "d = Reshape(c, bins) out = Slice(d, zero, one, one)", {"a", "b"},
    ),
    "the channels lost: not followed": (
        CUT + "d = Reshape(c, pixels) out = Slice(d, zero, four, one)", {"a", "b"}, "A,C",
    ),
    "the places moved": (
        CUT + "d = Transpose<perm=[0,1,3,2]>(c) out = Slice(d, zero, four, one)", {"a"},
    ),
    "the channels moved: not followed": (
        CUT + "d = Transpose<perm=[0,2,1,3]>(c) out = Slice(d, zero, four, one)", {"a", "b"},
    ),
    "what mixes channels: not followed": (CUT + "d = Softmax<axis=1>(c) out = Slice(d, zero, four, one)", {"a", "b"}),
}  # fmt: skip


def sources_of(text, dims="A,C,H,W"):
    read = text.replace("(", " ").replace(")", " ").replace(",", " ").split()
    weights = {name: np.array(values, np.int64) for name, values in INTS.items() if name in read}
    model = model_of(f"(float[1,4,6,6] x) => (float[{dims}] out) {{ {text} }}", **weights)
    return ChannelSources(model, GraphIndex(model.graph)).nearest("out", {"a", "b"}.__contains__)


@pytest.mark.parametrize("case", CASES)
def test_the_nearest_sources(case):
    text, expected, *dims = CASES[case]
    assert sources_of(BOTH + text, *dims) == expected


def test_the_graphs_input_is_a_source():
    assert sources_of("y = Sigmoid(x) out = Tanh(y)") == {"x"}


@pytest.mark.parametrize(
    ("batch", "sizes", "same"), [("1", [1, 8, 18], True), ("B", [0, 8, -1], True), ("1", [2, 8, 9], False)]
)
def test_the_same_batch(batch, sizes, same):
    model = model_of(
        f"(float[{batch},4,6,6] x) => (float[A,C,P] y) {{ out = Reshape(x, sizes) y = Tanh(out) }}",
        sizes=np.array(sizes, np.int64),
    )
    assert ChannelSources(model, GraphIndex(model.graph)).same_batch("x", "out") is same
