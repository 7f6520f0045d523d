"""FP16 as a property of the graph: which tensor has which type, and what is refused."""

import numpy as np
import onnx
import pytest
from text_models import copy_of, model_of, noise, ops, run, types_of, weights_of

from y12.errors import GraphError
from y12.exporter.precision.cast import cast_to_fp16

IO = "(float[1,3,8,8] x) => (float[1,B,H,W] out)"
W, B = noise(4, 3, 1, 1), noise(4, seed=1)

# graph, weights, the FP16 tensors, number of casts
TYPES = [
    # half inside, the decode after the last convolution in FP32
    (IO + "{ y = Conv(x, w, b) r = Sigmoid(y) out = Mul(r, r) }", {}, {"x_fp16", "w_fp16", "b_fp16", "y"}, 2),
    # a node between two convolutions is half
    (
        IO + "{ y = Conv(x, w) s = Sigmoid(y) z = Mul(y, s) v = Conv(z, u) out = Sigmoid(v) }",
        {"u": noise(2, 4, 1, 1)},
        {"x_fp16", "w_fp16", "u_fp16", "y", "s", "z", "v"},
        2,
    ),
    # data that is only moved after the last convolution waits for its cast
    (
        IO + "{ y = Conv(x, w) t = Transpose<perm=[0,1,3,2]>(y) out = Sigmoid(t) }",
        {},
        {"x_fp16", "w_fp16", "y", "t"},
        2,
    ),
    # a node that moves FP32 data stays FP32
    (
        IO + "{ y = Conv(x, w) s = Sigmoid(y) t = Transpose<perm=[0,1,3,2]>(s) out = Sigmoid(t) }",
        {},
        {"x_fp16", "w_fp16", "y"},
        2,
    ),
    # two halves of different precision meet: a Concat of both is FP32
    (
        IO + "{ y = Conv(x, w) s = Sigmoid(y) out = Concat<axis=1>(y, s) }",
        {},
        {"x_fp16", "w_fp16", "y"},
        2,
    ),
    # the output is made in half: its name stays FP32
    (IO + "{ out = Conv(x, w) }", {}, {"x_fp16", "w_fp16", "out_half"}, 2),
    # read by both regions, and several times: one cast
    (
        IO + "{ y = Conv(x, w) p = Sigmoid(y) q = Tanh(y) r = Relu(y) z = Add(p, q) out = Add(z, r) }",
        {},
        {"x_fp16", "w_fp16", "y"},
        2,
    ),
    (
        "(float[1,3,8,8] x) => (float[1,4,8,8] out, float[1,4,8,8] other)"
        "{ y = Conv(x, w) out = Sigmoid(y) s = Relu(y) other = Conv(s, u) }",
        {"u": noise(4, 4, 1, 1)},
        {"x_fp16", "w_fp16", "u_fp16", "y", "s", "other_half"},
        3,
    ),
    # the input is read by several half nodes and by an FP32 one: one cast
    (
        IO + "{ y = Conv(x, w) z = Conv(x, v) a = Add(y, z) m = ReduceMax(x) out = Mul(a, m) }",
        {"v": noise(4, 3, 1, 1, seed=5)},
        {"x_fp16", "w_fp16", "v_fp16", "y", "z"},
        3,
    ),
    # scales of a Resize are FP32 by ONNX's rules, whatever the data is
    (
        IO + "{ r = Resize<mode='nearest'>(x, , scales) out = Conv(r, w) }".replace("'", '"'),
        {"scales": np.array([1, 1, 2, 2], np.float32)},
        {"x_fp16", "w_fp16", "r", "out_half"},
        2,
    ),
    # a weight that both regions read exists in both types
    (
        IO + "{ y = Conv(x, w) s = Mul(y, k) z = Conv(s, u) out = Mul(z, k) }",
        {"u": noise(4, 4, 1, 1), "k": noise(1, 4, 1, 1)},
        {"x_fp16", "w_fp16", "u_fp16", "k_fp16", "y", "s", "z"},
        2,
    ),
    # Cast nodes inside: an integer becomes half there, FP32 in the decode
    (
        IO + "{ n = Shape<start=1, end=2>(x) f = Cast<to=1>(n) m = Mul(x, f) y = Conv(m, w) g = Cast<to=1>(n)"
        " out = Mul(y, g) }",
        {},
        {"x_fp16", "w_fp16", "f", "m", "y"},
        2,
    ),
    # constants in nodes
    (
        IO + "{ c = Constant<value = float[1] {0.5}>() m = Mul(x, c) y = Conv(m, w) out = Mul(y, c) }",
        {},
        {"x_fp16", "w_fp16", "c_fp16", "m", "y"},
        2,
    ),
    (
        IO + "{ c = Constant<value_float = 0.5>() m = Mul(x, c) out = Conv(m, w) }",
        {},
        {"x_fp16", "w_fp16", "c_fp16", "m", "out_half"},
        2,
    ),
    # operators that make FP32 whatever they read
    (
        IO + "{ c = ConstantOfShape<value = float[1] {0.5}>(shape) m = Mul(x, c) out = Conv(m, w) }",
        {"shape": np.array([1, 3, 1, 1])},
        {"x_fp16", "w_fp16", "c_fp16", "m", "out_half"},
        3,
    ),
]


def case(text, weights):
    used = {"w": W, "b": B} | weights
    read = text.replace("(", " ").replace(")", " ").replace(",", " ").split()
    return model_of(text, **{name: array for name, array in used.items() if name in read})


@pytest.mark.parametrize(("text", "weights", "half", "casts"), TYPES)
def test_types(text, weights, half, casts):
    graph = case(text, weights)
    typed, report = cast_to_fp16(graph)
    onnx.checker.check_model(typed, full_check=True)
    types = types_of(typed)
    assert {name for name, dtype in types.items() if dtype == "FLOAT16"} == half
    assert {types[t.name] for t in (*typed.graph.input, *typed.graph.output)} == {"FLOAT"}
    assert [o.name for o in typed.graph.output] == [o.name for o in graph.graph.output]
    assert report.casts == casts
    halves = [n for n in typed.graph.node if n.op_type != "Cast" and half & set(n.output)]
    assert report.half_nodes >= len(halves)
    assert report.half_nodes + report.float_nodes + casts <= len(typed.graph.node)


@pytest.mark.parametrize(("text", "weights", "half", "casts"), TYPES)
def test_results_are_those_of_fp32_to_half_precision(text, weights, half, casts):
    graph = case(text, weights)
    expected, actual = run(graph), run(cast_to_fp16(graph)[0])
    for name in expected:
        scale = max(1.0, float(np.abs(expected[name]).max()))
        np.testing.assert_allclose(actual[name], expected[name], rtol=0, atol=4e-3 * scale)
    assert any((actual[name] != expected[name]).any() for name in expected)  # it did compute in FP16


def test_a_graph_without_convolutions_stays_as_it_is():
    graph = model_of(IO + "{ y = Relu(x) out = Softmax<axis=1>(y) }")
    typed, report = cast_to_fp16(graph)
    assert ops(typed) == ["Relu", "Softmax"]
    assert (report.half_nodes, report.float_nodes, report.casts) == (0, 2, 0)
    assert "FLOAT16" not in types_of(typed).values()


def test_an_output_that_is_read_inside_too_is_made_once():
    text = "(float[1,3,8,8] x) => (float[1,4,8,8] mid, float[1,4,8,8] out) { mid = Conv(x, w) out = Conv(mid, u) }"
    typed, _ = cast_to_fp16(model_of(text, w=W, u=noise(4, 4, 1, 1)))
    onnx.checker.check_model(typed, full_check=True)
    assert ops(typed) == ["Cast", "Conv", "Conv", "Cast", "Cast"]
    assert [o.name for o in typed.graph.output] == ["mid", "out"]
    assert types_of(typed)["mid_half"] == "FLOAT16"


def test_the_given_graph_stays_as_it_was():
    graph = case(*TYPES[0][:2])
    serialized = graph.SerializeToString(deterministic=True)
    cast_to_fp16(graph)
    assert graph.SerializeToString(deterministic=True) == serialized


def test_the_same_graph_gives_the_same_bytes():
    graph = case(*TYPES[1][:2])
    assert cast_to_fp16(graph)[0].SerializeToString() == cast_to_fp16(copy_of(graph))[0].SerializeToString()


def test_weights_are_rounded_to_nearest_and_unused_ones_go():
    typed, _ = cast_to_fp16(model_of(IO + "{ out = Conv(x, w) }", w=W, unused=noise(7)))
    weights = weights_of(typed)
    assert list(weights) == ["w_fp16"]
    np.testing.assert_array_equal(weights["w_fp16"], W.astype(np.float16))


def with_value(value):
    weight = W.copy()
    weight[1, 2] = value
    return weight


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (65505.0, r"'w' holds 65505, which FP16 \(at most 65504\) cannot; export in FP32"),
        (-1e6, r"'w' holds 1e\+06, which FP16"),
        (np.inf, "'w' holds inf, which FP16"),
        (np.nan, "'w' holds nan, which FP16"),
    ],
)
def test_a_weight_that_does_not_fit_is_refused_by_name(value, message):
    with pytest.raises(GraphError, match=message):
        cast_to_fp16(model_of(IO + "{ out = Conv(x, w) }", w=with_value(value)))


@pytest.mark.parametrize("value", [65504.0, -65504.0, 1e-8])
def test_a_weight_that_fits_is_not_refused(value):
    cast_to_fp16(model_of(IO + "{ out = Conv(x, w) }", w=with_value(value)))


def test_a_large_number_in_the_decode_is_no_weight_of_the_half_part():
    typed, _ = cast_to_fp16(model_of(IO + "{ y = Conv(x, w) out = Mul(y, big) }", w=W, big=np.float32([1e6])))
    assert types_of(typed)["big"] == "FLOAT"
