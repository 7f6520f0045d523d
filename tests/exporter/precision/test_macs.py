"""MACs counted by hand."""

import numpy as np
import pytest
from text_models import model_of, noise

from y12.errors import GraphError
from y12.exporter.precision.macs import layer_macs, mac_shares, macs_of
from y12.runtime.artefact.manifest import AxisRange, InputProfile


def profile(height, width=None, batch=1):
    return InputProfile(*(AxisRange(size, size, size) for size in (batch, height, width or height)))


CASES = [
    # 4 x 4 x 4 outputs of 3 x 3 x 3 products each
    ("{ [c] y = Conv<pads=[1,1,1,1]>(x, w) }", "float[1,4,4,4]", {"w": (4, 3, 3, 3)}, {"c": 4 * 16 * 27}),
    # the stride: a quarter of the outputs; the bias multiplies nothing
    (
        "{ [c] y = Conv<pads=[1,1,1,1], strides=[2,2]>(x, w, b) }",
        "float[1,4,2,2]",
        {"w": (4, 3, 3, 3), "b": (4,)},
        {"c": 4 * 4 * 27},
    ),
    # three groups of one channel: each of the 6 outputs per place sees one channel
    ("{ [c] y = Conv<group=3>(x, w) }", "float[1,6,4,4]", {"w": (6, 1, 1, 1)}, {"c": 6 * 16}),
    # each of the 3 x 16 inputs is multiplied with 5 x 2 x 2 weights
    ("{ [c] y = ConvTranspose<strides=[2,2]>(x, w) }", "float[1,5,8,8]", {"w": (3, 5, 2, 2)}, {"c": 3 * 16 * 20}),
    (
        "{ [c] y = ConvTranspose<strides=[2,2], group=3>(x, w) }",
        "float[1,6,8,8]",
        {"w": (3, 2, 2, 2)},
        {"c": 3 * 16 * 8},
    ),
    # (3, 4, 4) x (4, 7): 84 sums of 4 products
    ("{ [m] y = MatMul(x, w) }", "float[1,3,4,7]", {"w": (4, 7)}, {"m": 3 * 4 * 7 * 4}),
    ("{ [m] y = MatMul(x, w) }", "float[1,3,4]", {"w": (4,)}, {"m": 3 * 4 * 4}),
    # one that has no name goes by that of its output; what is no product does not count
    ("{ r = Relu(x) y = MatMul(r, w) }", "float[1,3,4,7]", {"w": (4, 7)}, {"y": 336}),
]


@pytest.mark.parametrize(("body", "output", "weights", "counts"), CASES)
def test_counted_by_hand(body, output, weights, counts):
    model = model_of(f"(float[1,3,4,4] x) => ({output} y) {body}", **{n: noise(*s) for n, s in weights.items()})
    assert macs_of(model, profile(4)) == counts


def test_free_axes_are_taken_as_the_profile_is_tuned_for():
    text = "(float[batch,3,height,width] x) => (float[batch,4,h,w] y) { [c] y = Conv<strides=[2,2]>(x, w) }"
    model = model_of(text, w=noise(4, 3, 2, 2))
    spans = InputProfile(AxisRange(1, 2, 4), AxisRange(4, 8, 16), AxisRange(4, 12, 16))
    assert macs_of(model, spans) == {"c": 2 * 4 * 4 * 6 * 12}
    assert macs_of(model, profile(4)) == {"c": 4 * 4 * 12}
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"  # it stays as it was


# The second size of the reshape comes from a sum over the input, which inference does not follow.
COMPUTED = """(float[batch,3,height,width] x) => (float[a,b] y) {
    m = ReduceMax<keepdims=0>(x)
    n = Cast<to=7>(m)
    one = Constant<value = int64[1] {1}>()
    two = Constant<value = int64[1] {4}>()
    k = Reshape(n, one)
    rows = Add(k, two)
    less = Constant<value = int64[1] {-1}>()
    shape = Concat<axis=0>(rows, less)
    r = Reshape(x, shape)
    [m] y = MatMul(r, w)
}"""


def test_a_graph_that_computes_shapes_is_run():
    """Of a gray image the sum is as if nothing were added: 4 rows of 3 x 4 x 4 / 4 values, times 5 columns."""
    model = model_of(COMPUTED, w=noise(12, 5))
    assert macs_of(model, profile(4)) == {"m": 4 * 5 * 12}


def test_what_cannot_be_run_is_refused():
    model = model_of(COMPUTED, w=noise(13, 5))
    with pytest.raises(GraphError, match=r"the MACs of the graph cannot be counted: .*MatMul"):
        macs_of(model, profile(4))


def test_an_unsimplified_network_has_as_many_macs_as_the_simplified_one(seeded_n, stages_of, make_profile):
    stages = stages_of(seeded_n.detector, make_profile(64, 64, sides=2), checked=False)
    traced = macs_of(stages.traced, stages.profile)
    simplified = macs_of(stages.simplified, stages.profile)
    assert len(simplified) > 90
    both = traced.keys() & simplified.keys()
    assert len(both) > 80
    assert {name: traced[name] for name in both} == {name: simplified[name] for name in both}


def test_a_layer_is_a_convolution_or_an_attention_and_no_other_product():
    """16 places of 4 channels: two products of 16 x 16 x 4 are one attention; the last product is no layer."""
    text = """(float[1,3,4,4] x) => (float[1,16,2] y) {
        [c] a = Conv(x, w)
        flat = Constant<value = int64[3] {1, 4, 16}>()
        k = Reshape(a, flat)
        q = Transpose<perm=[0,2,1]>(k)
        [m1] s = MatMul(q, k)
        [sm] p = Softmax<axis=-1>(s)
        [m2] o = MatMul(p, q)
        [m3] y = MatMul(o, v)
    }"""
    model = model_of(text, w=noise(4, 3, 1, 1), v=noise(4, 2))
    assert layer_macs(model, profile(4)) == {"c": 4 * 16 * 3, "sm": 2 * 16 * 16 * 4}


def test_shares():
    shares = mac_shares({"a": 1, "b": 2, "c": 5, "d": 100}, ["a", "b", "c"])
    assert shares == {"a": 0.125, "b": 0.25, "c": 0.625}
    assert list(shares) == ["a", "b", "c"]
    assert mac_shares({}, []) == {}
    assert np.isclose(sum(shares.values()), 1)
