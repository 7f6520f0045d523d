"""INT8 for ONNX Runtime's CPU kernels: what is quantised, and that it really computes in integers, exactly."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from text_models import model_of, noise, run, weights_of

from y12.exporter.precision.qdq import cpu as qdq_cpu
from y12.exporter.precision.qdq.qdq import QuantizeOptions, quantize, tensors_to_calibrate
from y12.exporter.precision.ranges import Range, Ranges
from y12.runtime.backends.onnx_runtime import import_onnxruntime

onnxruntime = import_onnxruntime()  # what it makes of a graph, the executor does not tell

CPU = QuantizeOptions("cpu")
IO = "(float[1,4,8,8] x) => (float[1,C,H,W] out)"
WEIGHTS = {name: noise(4, 4, 1, 1, seed=i) for i, name in enumerate("wuvs")} | {
    "b": noise(4),
    "up": noise(4, 4, 2, 2),
    "depth": noise(4, 1, 3, 3),
    "wide": noise(4, 8, 1, 1),
    "scales": np.array([1, 1, 2, 2], np.float32),
}
IMAGE = np.abs(noise(1, 4, 8, 8))  # an image is 0 to 1
SILU = "[a] y = Conv(x, w, b) g = Sigmoid(y) z = Mul(y, g) "

# nodes, tensors to calibrate, tensors with a pair, operators of the graph that ONNX Runtime makes of it
PLACES = {
    "a SiLU is quantised at each of its steps; the sigmoid's range is known": (
        SILU + "[b] out = Conv(z, u)",
        ["y", "z", "out"],
        ["x", "y", "g", "z"],
        ["QLinearConv", "QLinearSigmoid", "QLinearMul", "QLinearConv"],
    ),
    "a residual sum and a concatenation": (
        SILU + "[b] p = Conv(z, u) q = Add(z, p) c = Concat<axis=1>(z, q) [d] out = Conv(c, wide)",
        ["y", "z", "p", "q", "c", "out"],
        ["x", "y", "g", "z", "p", "q", "c"],
        ["QLinearConv", "QLinearSigmoid", "QLinearMul", "QLinearConv", "QLinearAdd", "QLinearConcat", "QLinearConv"],
    ),
    "what moves data has its input's grid": (
        SILU + "m = MaxPool<kernel_shape=[3,3], pads=[1,1,1,1], strides=[1,1]>(z)"
        ' r = Resize<mode="nearest">(m, , scales) [b] out = Conv(r, u)',
        ["y", "z", "out"],
        ["x", "y", "g", "z", "m", "r"],
        ["QLinearConv", "QLinearSigmoid", "QLinearMul", "QLinearConv", "MaxPool", "Resize"],
    ),
    "what has no integer kernel computes in FP32, and is quantised where a convolution reads it": (
        SILU + "t = Tanh(z) [b] out = Conv(t, u)",
        ["y", "z", "t", "out"],
        ["x", "y", "g", "z", "t"],
        ["QLinearConv", "QLinearSigmoid", "QLinearMul", "Tanh", "QLinearConv"],
    ),
    "depthwise": (
        "[a] y = Conv(x, w) [b] p = Conv<group=4, pads=[1,1,1,1]>(y, depth) [c] out = Conv(p, u)",
        ["y", "p", "out"],
        ["x", "y", "p"],
        ["QLinearConv"] * 3,
    ),
}
"""A name of the graph's output stands for the last convolution's, which is quantised where a softmax follows."""


def graph_of(nodes, **more):
    """`out` is a distribution's bins; a softmax makes it one."""
    nodes = nodes.replace("out = ", "bins = ") + " out = Softmax<axis=1>(bins)"
    read = nodes.replace("(", " ").replace(")", " ").replace(",", " ").split()
    return model_of(f"{IO} {{ {nodes} }}", **{n: w for n, w in (WEIGHTS | more).items() if n in read})


def quantized(model, low=-3.0, high=3.0):
    return quantize(model, Ranges({n: Range(low, high) for n in tensors_to_calibrate(model, CPU)}, "given", 1), CPU)


def optimised(model, path: Path):
    """What ONNX Runtime makes of a graph."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath, options.log_severity_level = str(path), 4
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [n.op_type.replace("Nhwc", "") for n in onnx.load(path).graph.node]


@pytest.mark.parametrize("case", PLACES)
def test_places(case, tmp_path):
    nodes, calibrated, pairs, integer = PLACES[case]
    graph = graph_of(nodes)
    assert tensors_to_calibrate(graph, CPU) == tuple(n.replace("out", "bins") for n in calibrated)
    typed, report = quantized(graph)
    assert {n.name for n in typed.graph.node if n.op_type == "QuantizeLinear"} == {
        f"quantize/{name}" for name in [*pairs, "bins"]
    }
    convs = [n for n in typed.graph.node if n.op_type == "Conv"]
    assert (report.target, report.quantized, report.convolutions, dict(report.left)) == (
        "cpu", len(convs), len(convs), {}
    )  # fmt: skip
    optimised_ops = optimised(typed, tmp_path / "optimised.onnx")
    aside = {"QuantizeLinear", "DequantizeLinear", "Softmax", "Transpose"}
    assert sorted(op for op in optimised_ops if op not in aside) == sorted(integer)


def test_what_moves_data_shares_its_inputs_scale():
    typed, _ = quantized(graph_of(PLACES["what moves data has its input's grid"][0]))
    steps = {n.input[1] for n in typed.graph.node if n.name in ("quantize/z", "quantize/m", "quantize/r")}
    assert steps == {"z_scale"}


def test_a_concatenation_s_parts_share_its_grid_and_are_copied():
    """Whichever of them a convolution reads: here the sum's parts have 8 bits by themselves, and 7 with the others."""
    nodes = SILU + "[b] p = Conv(z, u) m = Add(z, p) c = Concat<axis=1>(z, m) [d] out = Conv(c, wide)"
    graph = graph_of(nodes)
    ranges = {n: Range(-1.0, 1.0) for n in tensors_to_calibrate(graph, CPU)} | {"m": Range(-2.0, 0.5)}
    typed, _ = quantize(graph, Ranges(ranges, "given", 1), CPU)
    weights = weights_of(typed)
    for name in "zmc":
        assert (weights[f"{name}_scale"], weights[f"{name}_zero_point"]) == (np.float32(3 / 127), 85)
    assert weights["p_scale"] == np.float32(2 / 255)


@pytest.mark.parametrize("groups", [1, 2, 4, 8])
def test_a_few_groups_are_written_as_one(groups, monkeypatch):
    """The products with zeros change nothing."""
    graph = model_of(
        "(float[1,16,8,8] x) => (float[1,16,8,8] out)"
        f" {{ y = Conv(x, w) z = Conv<group={groups}, pads=[1,1,1,1]>(y, u, b) out = Softmax<axis=2>(z) }}",
        w=noise(16, 16, 1, 1), u=noise(16, 16 // groups, 3, 3, seed=1), b=noise(16, seed=2),
    )  # fmt: skip
    ranges = Ranges({"y": Range(-12.0, 12.0), "z": Range(-40.0, 40.0)}, "given", 1)
    typed, _ = quantize(graph, ranges, CPU)
    (conv,) = (n for n in typed.graph.node if n.output[0] == "z")
    group = next((a.i for a in conv.attribute if a.name == "group"), 1)
    assert group == (1 if groups <= 4 else groups)
    monkeypatch.setattr(qdq_cpu, "_FEW_GROUPS", 1)
    as_they_were, _ = quantize(graph, ranges, CPU)
    assert sum(n.op_type == "Conv" for n in as_they_were.graph.node) == 2
    for made in (typed, as_they_were):
        made.graph.output[0].name = "z_dequantized"
    x = np.abs(noise(1, 16, 8, 8))
    np.testing.assert_array_equal(run(typed, x)["z_dequantized"], run(as_they_were, x)["z_dequantized"])


def test_a_convolution_reads_seven_bits_and_others_have_eight():
    """Two products of 8 bits by 8 bits overflow the 16 bits that processors without VNNI add them up in."""
    typed, _ = quantized(graph_of(SILU + "[b] out = Conv(z, u)"), -1.0, 3.0)
    weights = weights_of(typed)
    assert (weights["z_scale"], weights["z_zero_point"]) == (np.float32(4 / 127), 32)
    assert (weights["y_scale"], weights["y_zero_point"]) == (np.float32(4 / 255), 64)
    assert (weights["g_scale"], weights["g_zero_point"]) == (np.float32(1 / 255), 0)
    assert (weights["x_scale"], weights["x_zero_point"]) == (np.float32(1 / 127), 0)


def test_the_largest_products_do_not_overflow():
    ones = np.ones((16, 16, 1, 1), np.float32)
    text = "(float[1,16,8,8] x) => (float[1,16,8,8] out) { y = Conv(x, w) z = Conv(y, u) out = Softmax<axis=2>(z) }"
    graph = model_of(text, w=ones, u=ones)
    typed, _ = quantize(graph, Ranges({"y": Range(0.0, 16.0), "z": Range(0.0, 256.0)}, "given", 1), CPU)
    typed.graph.output[0].name = "z_dequantized"
    np.testing.assert_allclose(run(typed, np.ones((1, 16, 8, 8), np.float32))["z_dequantized"], 256, rtol=2e-3)


def test_the_result_is_that_of_integers_to_the_bit():
    """Steps of powers of two, so that nothing but the rounding to a grid rounds."""
    weight = np.random.Generator(np.random.PCG64(3)).integers(-127, 128, (4, 4, 1, 1)).astype(np.float32) / 128
    weight[:, 0] = 127 / 128
    bias = np.float32([0.5, -0.25, 0.375, 0])
    graph = graph_of(
        "[a] y = Conv(x, w) [b] out = Conv(y, u, b)", w=np.eye(4).reshape(4, 4, 1, 1).astype("f"), u=weight, b=bias
    )
    ranges = {"x": Range(-63 / 64, 1.0), "y": Range(-63 / 64, 1.0), "bins": Range(-126 / 32, 129 / 32)}
    typed, _ = quantize(graph, Ranges(ranges, "given", 1), CPU)
    typed.graph.output[0].name = "bins_dequantized"
    image = noise(1, 4, 8, 8)
    steps = np.clip(np.rint(image[0].reshape(4, -1) * 64), -63, 192)
    sums = (weight.reshape(4, 4) * 128) @ steps + (bias * 64 * 128).reshape(4, 1)
    expected = np.clip(np.rint(sums / (64 * 128) * 32), -126, 129) / 32
    np.testing.assert_array_equal(run(typed, image)["bins_dequantized"][0].reshape(4, -1), expected)


def test_a_bias_that_its_grid_cannot_hold_widens_the_grid():
    tiny = WEIGHTS["u"] * np.float32([1, 1e-7, 1, 0]).reshape(4, 1, 1, 1)
    graph = graph_of("[a] y = Conv(x, w) [b] out = Conv(y, u, b)", u=tiny, b=np.float32([1, 2, -3, 2.5]))
    typed, _ = quantized(graph, -4.0, 4.0)
    weights = weights_of(typed)
    steps = weights["u_bias_scale"].astype(float)
    assert (np.abs(weights["u_bias_int32"] * steps - [1, 2, -3, 2.5]) <= 0.5 * steps + 1e-6).all()


# A decode without a softmax: coordinates and scores, whose convolutions are not to lose precision.
ENDS = SILU + "[b] p = Conv(z, u) [d] q = Conv(p, v) out = Sigmoid(q)"


def test_the_outputs_of_the_last_convolutions_stay_fp32():
    read = {n: w for n, w in WEIGHTS.items() if n in "wbuv"}
    graph = model_of(f"{IO} {{ {ENDS} }}", **read)
    typed, report = quantized(graph)
    last = next(n for n in typed.graph.node if n.name == "d")
    assert (report.quantized, last.op_type) == (3, "ConvInteger")
    assert "quantize/q" not in {n.name for n in typed.graph.node}
    expected, actual = run(graph, IMAGE)["out"], run(typed, IMAGE)["out"]
    assert 0 < np.abs(actual - expected).max() < 0.05


def test_an_exact_convolution_pads_with_zeros_and_needs_no_bias():
    text = f"{IO} {{ [a] y = Conv(x, w) [d] q = Conv<pads=[1,1,1,1], strides=[2,2]>(y, k) out = Tanh(q) }}"
    graph = model_of(text, w=WEIGHTS["w"], k=noise(4, 4, 3, 3))
    expected, actual = run(graph, IMAGE)["out"], run(quantized(graph)[0], IMAGE)["out"]
    assert 0 < np.abs(actual - expected).max() < 0.2


def test_few_last_convolutions_among_many_stay_fp32():
    chain = "".join(f"t{i} = Conv({'x' if i == 0 else f't{i - 1}'}, w) " for i in range(40))
    ends = "[d] p = Conv(t39, u) [e] q = Conv(t39, v) [f] r = Conv(t39, s) a = Add(p, q) out = Add(a, r)"
    graph = model_of(f"{IO} {{ {chain} {ends} }}", **{n: WEIGHTS[n] for n in "wuvs"})
    typed, report = quantized(graph)
    assert list(report.left) == ["d", "t0"]  # 2 of 43 are 5 %, of which the image's convolution is one
    assert report.left["d"] == "last before the decode"
    assert report.left["t0"].startswith("reads the image")
    assert (report.quantized, report.convolutions) == (41, 43)
    kinds = {n.name: n.op_type for n in typed.graph.node}
    assert [kinds[name] for name in "def"] == ["Conv", "ConvInteger", "ConvInteger"]


HEAD = """[s] p = Conv(t39, u) [b] q = Conv(t39, v) [e] r = Conv(m, u) [f] o = Conv(m, v)
    c = Concat<axis=1>(q, p) d = Concat<axis=1>(o, r) i = Reshape(c, flat) j = Reshape(d, flat)
    k = Concat<axis=2>(i, j) bins, scores = Split<axis=1>(k, halves)
    n = Softmax<axis=1>(bins) l = Sigmoid(scores) out = Concat<axis=1>(n, l)"""


def head_of(more="", convolutions=40):
    """A chain of convolutions and a head of two levels, `m` the smaller one, whose scores `s` and `e` make."""
    chain = "".join(f"[c{i}] t{i} = Conv({'x' if i == 0 else f't{i - 1}'}, w) " for i in range(convolutions))
    tail = f"m = MaxPool<kernel_shape=[2,2], strides=[2,2]>(t39) {more} {HEAD}"
    text = chain + tail.replace("t39", f"t{convolutions - 1}")
    weights = {"flat": np.array([1, 8, -1]), "halves": np.array([4, 4])} | {n: WEIGHTS[n] for n in "wuv"}
    return model_of(
        f"(float[1,4,8,8] x) => (float[1,C,P] out) {{ {text} }}", **weights, **({"up": WEIGHTS["up"]} if more else {})
    )


def test_scores_are_told_from_distances_by_their_channels():
    """A softmax is reachable from each of the head's convolutions, since all are concatenated; two it does not read."""
    _, report = quantized(head_of(convolutions=56))
    assert set(report.left) == {"s", "e", "c0"}  # 3 of 60 are 5 %
    assert report.quantized == 57


def test_of_scores_those_of_the_larger_map_are_spared_first():
    """A transposed convolution, which has no integer kernel, takes one of the two places."""
    typed, report = quantized(head_of("z = ConvTranspose<strides=[2,2]>(t39, up)"))
    kinds = {n.name: n.op_type for n in typed.graph.node}
    assert (report.left["s"], kinds["s"], kinds["e"]) == ("last before the decode", "Conv", "ConvInteger")


def test_the_convolution_that_reads_the_image_is_spared_before_smaller_maps():
    _, report = quantized(head_of())
    assert set(report.left) == {"s", "c0"}  # 2 of 44
    assert report.left["c0"].startswith("reads the image")


def test_a_gather_takes_integers():
    text = "[a] y = Conv(x, w) [b] p = Conv(y, u) g = Gather<axis=1>(p, first) t = Tanh(p) h = Gather<axis=1>(t, first)"
    graph = model_of(
        f"{IO} {{ {text} z = Add(g, h) [d] q = Conv(z, v) out = Softmax<axis=1>(q) }}",
        first=np.array([2, 0, 1, 3]), **{n: WEIGHTS[n] for n in "wuv"},
    )  # fmt: skip
    typed, _ = quantized(graph, -6.0, 6.0)
    (taken,) = (n for n in typed.graph.node if "g_taken" in n.output)
    assert (taken.op_type, taken.input[0]) == ("Gather", "p_quantized")
    expected, actual = run(graph, IMAGE)["out"], run(typed, IMAGE)["out"]
    assert 0 < np.abs(actual - expected).max() < 0.1


def test_what_a_silu_makes_0_of_takes_no_levels():
    """z has steps of 4 / 127, of which x sigmoid(x) is less than a half below x = -6."""
    typed, _ = quantized(graph_of(SILU + "[b] out = Conv(z, u)"), -1.0, 3.0)
    assert weights_of(typed)["y_scale"] == np.float32(4 / 255)
    typed, _ = quantized(graph_of(SILU + "[b] out = Conv(z, u)"), -9.0, 3.0)
    scale, zero_point = weights_of(typed)["y_scale"], weights_of(typed)["y_zero_point"]
    low = -float(scale) * zero_point
    step = 12 / 127
    assert low / (1 + np.exp(-low)) == pytest.approx(-step / 2, rel=0.1)
    assert float(scale) * (255 - zero_point) == pytest.approx(3.0, abs=float(scale))


def test_what_another_node_reads_too_keeps_its_range():
    typed, _ = quantized(graph_of(SILU + "t = Add(y, z) [b] out = Conv(t, u)"), -9.0, 3.0)
    assert weights_of(typed)["y_scale"] == np.float32(12 / 255)


def test_both_targets_have_the_same_integers_for_weights():
    graph = graph_of(SILU + "[b] p = Conv(z, u) [d] out = Conv(p, v)")
    trt = QuantizeOptions(image=True)
    ranges = Ranges(dict.fromkeys(["y", "z", "p", "bins"], Range(-1.0, 3.0)), "given", 1)
    cpu_weights, trt_weights = (weights_of(quantize(graph, ranges, options)[0]) for options in (CPU, trt))
    for name in ("w", "u"):
        np.testing.assert_array_equal(cpu_weights[f"{name}_int8"], trt_weights[f"{name}_int8"])
        np.testing.assert_array_equal(cpu_weights[f"{name}_scale"], trt_weights[f"{name}_scale"].astype(np.float32))
