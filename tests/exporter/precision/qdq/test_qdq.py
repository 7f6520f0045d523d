"""INT8 for TensorRT: which convolutions are quantised, where the pairs stand, and what they compute."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from text_models import copy_of, model_of, noise, ops, run, types_of, weights_of

from y12.errors import GraphError, OptionsError
from y12.exporter.precision.qdq.qdq import QuantizeOptions, quantize, tensors_to_calibrate
from y12.exporter.precision.ranges import Range, Ranges

IO = "(float[1,4,8,8] x) => (float[1,C,H,W] out)"
WEIGHTS = {name: noise(4, 4, 1, 1, seed=i) for i, name in enumerate("wuvst")} | {
    "depth": noise(4, 1, 3, 3),
    "half": noise(4, 2, 1, 1),
    "up": noise(4, 4, 2, 2),
    "wide": noise(4, 8, 1, 1),
    "bias": noise(4),
}
# The first convolution is spared, which leaves every kind of reason to be seen.
SPARED = QuantizeOptions(image=False)
LAST, IMAGE = "last before the decode", "reads the image, of whose 256 levels int8 has 128"

# nodes (x is the image), the tensors that get a pair, why a convolution is left
PLACES = {
    "a chain": ("[a] y = Conv(x, w) [b] z = Conv(y, u) [c] out = Conv(z, v)", ["y"], {"a": IMAGE, "c": LAST}),
    "one pair for all readers": (
        "[a] y = Conv(x, w) [b] p = Conv(y, u) [c] q = Conv(y, v) z = Add(p, q) [d] out = Conv(z, s)",
        ["y"],
        {"a": IMAGE, "d": LAST},
    ),
    "a residual sum stays as it is but where a convolution reads it": (
        "[a] y = Conv(x, w) [b] p = Conv(y, u) z = Add(y, p) [c] q = Conv(z, v) r = Add(z, q) [d] out = Conv(r, s)",
        ["y", "z"],
        {"a": IMAGE, "d": LAST},
    ),
    "a concatenation is quantised once, its parts are not": (
        "[a] y = Conv(x, w) [b] p = Conv(y, u) z = Concat<axis=1>(y, p) [c] q = Conv(z, wide) [d] out = Conv(q, s)",
        ["y", "z"],
        {"a": IMAGE, "d": LAST},
    ),
    "depthwise and grouped": (
        "[a] y = Conv(x, w) [b] p = Conv<group=4, pads=[1,1,1,1]>(y, depth) [c] q = Conv<group=2>(p, half)"
        " [d] out = Conv(q, s)",
        ["y", "p"],
        {"a": IMAGE, "d": LAST},
    ),
    "every branch has its last one, behind what only moves data too": (
        "[a] y = Conv(x, w) [b] p = Conv(y, u) [c] q = Conv(p, v) [d] r = Conv(y, s) z = Concat<axis=1>(q, r)"
        " t0 = Transpose<perm=[0,1,3,2]>(z) out = Sigmoid(t0)",
        ["y"],
        {"a": IMAGE, "c": LAST, "d": LAST},
    ),
    "a transposed convolution stays": (
        "[a] y = Conv(x, w) [b] p = ConvTranspose<strides=[2,2]>(y, up) [c] q = Conv(p, u) [d] out = Conv(q, v)",
        ["p"],
        {"a": IMAGE, "b": "there is no integer kernel for transposed convolutions", "d": LAST},
    ),
    "computed weights": (
        "[a] y = Conv(x, w) n = Sigmoid(u) [b] p = Conv(y, n) [c] q = Conv(p, v) [d] out = Conv(q, s)",
        ["p"],
        {"a": IMAGE, "b": "its weights are computed", "d": LAST},
    ),
    "a computed bias": (
        "[a] y = Conv(x, w) n = Sigmoid(bias) [b] p = Conv(y, u, n) [c] q = Conv(p, v) [d] out = Conv(q, s)",
        ["p"],
        {"a": IMAGE, "b": "its bias is computed", "d": LAST},
    ),
    "no bias, and one": (
        "[a] y = Conv(x, w, bias) [b] p = Conv(y, u, bias) [c] q = Conv(p, v) [d] out = Conv(q, s, bias)",
        ["y", "p"],
        {"a": IMAGE, "d": LAST},
    ),
}


def graph_of(nodes, **more):
    read = nodes.replace("(", " ").replace(")", " ").replace(",", " ").split()
    return model_of(f"{IO} {{ {nodes} }}", **{n: w for n, w in (WEIGHTS | more).items() if n in read})


def ranges_of(model, options=SPARED, high=8.0):
    return Ranges({name: Range(-1.0, high) for name in tensors_to_calibrate(model, options)}, "given", 1)


def quantized(model, options=SPARED, high=8.0):
    return quantize(model, ranges_of(model, options, high), options)


def producer_of(model, name):
    return next(n for n in model.graph.node if name in n.output)


@pytest.mark.parametrize("case", PLACES)
def test_places(case):
    nodes, tensors, left = PLACES[case]
    graph = graph_of(nodes)
    assert tensors_to_calibrate(graph, SPARED) == tuple(tensors)
    typed, report = quantized(graph)
    pairs = [n.name.removeprefix("quantize/") for n in typed.graph.node if n.op_type == "QuantizeLinear"]
    assert pairs == tensors
    assert dict(report.left) == left
    convs = [n for n in typed.graph.node if n.op_type in ("Conv", "ConvTranspose")]
    assert (report.convolutions, report.quantized, report.pairs) == (len(convs), len(convs) - len(left), len(pairs))
    for conv in convs:
        sources = {producer_of(typed, name).op_type for name in conv.input[:2] if name not in weights_of(typed)}
        assert (sources == {"DequantizeLinear"}) == (conv.name not in left), conv.name


@pytest.mark.parametrize("case", PLACES)
def test_scales_are_symmetric_weights_are_int8_and_the_rest_is_half(case):
    typed, report = quantized(graph_of(PLACES[case][0]))
    types, weights = types_of(typed), weights_of(typed)
    for node in typed.graph.node:
        if node.op_type == "QuantizeLinear":
            assert (weights[node.input[2]].dtype, weights[node.input[2]].tolist()) == (np.int8, 0)
            assert (weights[node.input[1]].dtype, weights[node.input[1]].shape) == (np.float16, ())
            assert weights[node.input[1]] == np.float16(8 / 127)
        if node.op_type == "Conv":
            assert {types[name] for name in (*node.input, *node.output)} == {"FLOAT16"}
            if node.name not in report.left:
                (integers, scales) = producer_of(typed, node.input[1]).input
                assert (types[integers], types[scales]) == ("INT8", "FLOAT16")
                assert weights[scales].shape == (4,)
                assert all(name in weights for name in node.input[2:])  # a bias is not quantised
    assert {types[t.name] for t in (*typed.graph.input, *typed.graph.output)} == {"FLOAT"}


def test_names_say_what_they_belong_to_and_are_unique():
    typed, _ = quantized(graph_of(PLACES["no bias, and one"][0]))
    names = [n.name for n in typed.graph.node if n.name]
    assert len(names) == len(set(names))
    assert {"quantize/y", "dequantize/y", "dequantize/u"} <= set(names)
    assert {"u_int8", "u_scale", "y_scale", "int8_zero_point"} <= set(weights_of(typed))
    assert not {"u", "u_fp16"} & set(weights_of(typed))


def test_weights_are_rounded_from_fp32_not_from_half():
    weight = WEIGHTS["u"].copy()
    weight[0, :, 0, 0] = [127, 64.501, 0, -3.4]  # in steps of 1; FP16 has 64.5, which rounds to 64
    typed, _ = quantized(graph_of(PLACES["a chain"][0], u=weight))
    assert weights_of(typed)["u_int8"][0].ravel().tolist() == [127, 65, 0, -3]


def test_the_result_is_that_of_integers_to_the_bit():
    weight = np.random.Generator(np.random.PCG64(3)).integers(-127, 128, (4, 4, 1, 1)).astype(np.float32) / 128
    weight[:, 0] = 127 / 128
    eye = np.eye(4, dtype=np.float32).reshape(4, 4, 1, 1)
    graph = graph_of(PLACES["a chain"][0], w=eye, u=weight, v=eye)
    options = SPARED
    typed, _ = quantize(graph, Ranges({"y": Range(-127 / 64, 0.0)}, "given", 1), options)
    image = (noise(1, 4, 8, 8) * 3).astype(np.float16).astype(np.float32)
    steps = np.clip(np.rint(image[0].reshape(4, -1) * 64), -128, 127)  # |x| up to 3, of which 127/64 is kept
    sums = (weight.reshape(4, 4) * 128) @ steps
    actual = run(typed, image)["out"][0].reshape(4, -1)  # of which ONNX Runtime rounds to FP16 what it likes
    np.testing.assert_array_equal(actual.astype(np.float16), (sums / (64 * 128)).astype(np.float16))
    assert (np.abs(image) > 2).any()


def test_the_result_is_near_that_of_fp32():
    graph = graph_of(PLACES["a residual sum stays as it is but where a convolution reads it"][0])
    expected, actual = run(graph)["out"], run(quantized(graph, high=6.0)[0])["out"]
    assert 0 < np.abs(actual - expected).max() < 0.05 * np.abs(expected).max()


def test_a_convolution_is_kept_by_name():
    typed, report = quantized(
        graph_of(PLACES["no bias, and one"][0]), QuantizeOptions(image=False, keep=frozenset({"b"}))
    )
    assert report.left["b"] == "kept by name"
    assert ops(typed).count("QuantizeLinear") == 1


@pytest.mark.parametrize(("group", "reason"), [(4, "depthwise, whose input"), (2, None)])
def test_depthwise_convolutions_are_left_on_request(group, reason):
    weights = noise(4, 4 // group, 1, 1)
    graph = graph_of(f"[a] y = Conv(x, w) [b] p = Conv<group={group}>(y, d) [c] out = Conv(p, v)", d=weights)
    assert "b" not in quantized(graph)[1].left
    left = quantized(graph, replace(SPARED, depthwise=False))[1].left
    assert left.get("b", "").startswith(reason) if reason else "b" not in left


def test_the_image_is_quantised_where_asked_for_with_a_known_range():
    options = QuantizeOptions()
    typed, report = quantized(graph_of(PLACES["a chain"][0]), options)
    assert set(report.left) == {"c"}
    assert weights_of(typed)["x_fp16_scale"] == np.float16(1 / 127)


def test_a_weight_that_two_convolutions_share_is_stored_once():
    typed, _ = quantized(graph_of("[a] y = Conv(x, w) [b] p = Conv(y, u) [c] q = Conv(p, u) [d] out = Conv(q, v)"))
    assert [name for name in weights_of(typed) if name.endswith("_int8")] == ["u_int8"]


def test_a_weight_that_a_left_convolution_reads_too_exists_in_both_forms():
    typed, _ = quantized(graph_of("[a] y = Conv(x, w) [b] p = Conv(y, w) [c] out = Conv(p, w)"))
    assert {"w_int8", "w_fp16"} <= set(weights_of(typed))


def test_the_given_graph_stays_as_it_was_and_the_bytes_repeat():
    graph = graph_of(PLACES["depthwise and grouped"][0])
    copy = copy_of(graph)
    first, second = (quantized(graph)[0].SerializeToString() for _ in range(2))
    assert first == second
    assert graph == copy


@pytest.mark.parametrize("target", ["trt", "cpu"])
def test_a_quantised_graph_is_refused(target):
    options = QuantizeOptions(target)
    typed, _ = quantized(graph_of(PLACES["a chain"][0]), options)
    with pytest.raises(GraphError, match=r"quantised already \((Q|Deq)\w+ \w*quantize/"):
        quantize(typed, Ranges({}, "given", 1), options)


@pytest.mark.parametrize(("target", "opset"), [("trt", 18), ("cpu", 12)])
def test_an_old_graph_is_refused(target, opset):
    graph = graph_of(PLACES["a chain"][0])
    graph.opset_import[0].version = opset
    with pytest.raises(GraphError, match=rf"for {target} needs opset {opset + 1} or newer, found {opset}"):
        tensors_to_calibrate(graph, QuantizeOptions(target))


def test_a_missing_range_is_refused_by_name():
    with pytest.raises(GraphError, match="no range was calibrated for 'y'"):
        quantize(graph_of(PLACES["a chain"][0]), Ranges({}, "given", 1), SPARED)


def test_a_range_beyond_half_is_refused_by_name():
    with pytest.raises(GraphError, match=r"'y' ranges to 1e\+07, whose INT8 scale FP16 cannot hold"):
        quantized(graph_of(PLACES["a chain"][0]), high=1e7)


def test_options_are_refused_at_construction():
    with pytest.raises(OptionsError, match="expected one of trt, cpu, found 'gpu'"):
        QuantizeOptions("gpu")
    with pytest.raises(OptionsError, match="INT8 attention is for TensorRT"):
        QuantizeOptions("cpu", attention=True)


def test_an_unknown_name_to_keep_is_refused_with_the_nearest():
    options = QuantizeOptions(keep=frozenset({"conv_1"}))
    with pytest.raises(OptionsError, match="no convolution 'conv_1'; did you mean 'conv1'"):
        tensors_to_calibrate(graph_of("[conv1] y = Conv(x, w) [b] out = Conv(y, u)"), options)


def test_every_graph_passes_the_checker():
    for nodes, _, _ in PLACES.values():
        for target in ("trt", "cpu"):
            onnx.checker.check_model(quantized(graph_of(nodes), QuantizeOptions(target))[0], full_check=True)


ATTENTION = (
    "[a] a0 = Conv(x, w) [b] u0 = Conv(a0, u) flat = Reshape(u0, tokens) k = Transpose<perm=[0,2,1]>(flat)"
    " [s] scores = MatMul(flat, k) [m] p = Softmax<axis=-1>(scores) [y] y0 = MatMul(p, flat) y1 = Reshape(y0, map)"
    " [c] v0 = Conv(y1, v) [d] out = Conv(v0, s)"
)
SHAPES = {"tokens": np.array([1, 4, 64]), "map": np.array([1, 4, 8, 8])}


def test_attention_is_quantised_on_request_before_its_products_and_behind():
    graph = graph_of(ATTENTION, **SHAPES)
    options = QuantizeOptions(attention=True)
    assert tensors_to_calibrate(graph, options) == ("a0", "flat", "k", "y0", "y1")
    typed, report = quantized(graph, options)
    assert report.attentions == 1
    for product, inputs in (("s", ["flat", "k"]), ("y", ["p", "flat"])):
        node = next(n for n in typed.graph.node if n.name == product)
        assert list(node.input) == [f"{name}_dequantized" for name in inputs]
    assert weights_of(typed)["p_scale"] == np.float16(1 / 127)
    assert producer_of(typed, "y1").input[0] == "y0_dequantized"
    assert producer_of(typed, "k").input[0] == "flat"  # what is no product reads the tensor itself
    image = noise(1, 4, 8, 8)
    expected, actual = run(graph, image)["out"], run(typed, image)["out"]
    assert 0 < np.abs(actual - expected).max() < 0.1 * np.abs(expected).max()


def test_attention_that_is_not_there_or_cannot_fuse_is_refused():
    with pytest.raises(OptionsError, match="expected a model with attention, found none"):
        quantized(graph_of(PLACES["a chain"][0]), QuantizeOptions(attention=True))
    free = graph_of(ATTENTION, **SHAPES)
    free.graph.input[0].type.tensor_type.shape.dim[3].dim_param = "W"
    with pytest.raises(OptionsError, match="found a free height or width"):
        quantized(free, QuantizeOptions(attention=True))
