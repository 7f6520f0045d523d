"""A row for every layer that computes, whatever the precision is, with and without an engine."""

import pytest
from text_models import model_of, noise

from y12.exporter.engine.inspect import EngineFacts
from y12.exporter.precision.qdq.qdq import QdqReport
from y12.exporter.report.layers import LayerRow, layer_rows
from y12.runtime.artefact.manifest import AxisRange, InputProfile

AXIS = AxisRange(4, 4, 4)
# 4 outputs x 16 places x 3, 1 product of (16 x 4) x (4 x 16), one of (16 x 16) x (16 x 4), 2 x 16 x 4
GRAPH = """(float[1,3,4,4] x) => (float[1,2,4,4] y) {
    [c0] a = Conv(x, w0)
    shape = Constant<value = int64[3] {1, 4, 16}>()
    k = Reshape(a, shape)
    q = Transpose<perm=[0,2,1]>(k)
    [m1] s = MatMul(q, k)
    [sm] p = Softmax<axis=-1>(s)
    [m2] o = MatMul(p, q)
    t = Transpose<perm=[0,2,1]>(o)
    back = Constant<value = int64[4] {1, 4, 4, 4}>()
    z = Reshape(t, back)
    [c2] y = Conv(z, w2)
}"""
NAMES = {  # which the text form cannot spell
    "c0": "/model.0/conv/Conv",
    "m1": "/model.1/attn/MatMul",
    "sm": "/model.1/attn/Softmax",
    "m2": "/model.1/attn/MatMul_1",
    "c2": "/model.2/Conv",
}
MACS = {"/model.0/conv/Conv": 192, "/model.2/Conv": 128, "/model.1/attn/Softmax": 2 * 16 * 16 * 4}
LEFT = {"/model.2/Conv": "last before the decode"}


@pytest.fixture(scope="module")
def graph():
    model = model_of(GRAPH, w0=noise(4, 3, 1, 1), w2=noise(2, 4, 1, 1))
    for node in model.graph.node:
        node.name = NAMES.get(node.name, node.name)
    return model


PROFILE = InputProfile(AxisRange(1, 1, 1), AXIS, AXIS)


def facts(convolutions, unfused=()):
    return EngineFacts(3, 0, {}, convolutions, {}, (), 1, 1 - len(unfused), unfused)


def quantised(target="trt", attentions=0):
    return QdqReport(target, 1, 2, 1, LEFT, attentions=attentions)


CASES = [  # precision, quantization, the graph's precisions of the first, the last one and the attention
    ("fp32", None, ["fp32", "fp32", "fp32"]),
    ("fp16", None, ["fp16", "fp16", "fp16"]),
    ("int8", quantised(), ["int8", "fp16", "fp16"]),
    ("int8", quantised("cpu"), ["int8", "fp32", "fp32"]),
    ("int8", quantised(attentions=1), ["int8", "fp16", "int8"]),
]


@pytest.mark.parametrize(("precision", "quantization", "expected"), CASES)
def test_precisions_and_shares(graph, precision, quantization, expected):
    rows = layer_rows(graph, PROFILE, precision, quantization, None)
    assert [row.name for row in rows] == list(MACS)
    assert [(row.block, row.operator) for row in rows] == [
        ("model.0", "Conv"),
        ("model.2", "Conv"),
        ("model.1", "Attention"),
    ]
    assert [row.graph for row in rows] == expected
    assert [row.macs for row in rows] == pytest.approx([macs / sum(MACS.values()) for macs in MACS.values()])
    assert sum(row.macs for row in rows) == pytest.approx(1)
    assert {row.engine for row in rows} == {""}


@pytest.mark.parametrize(("precision", "quantization", "expected"), CASES)
def test_a_row_that_is_not_as_asked_for_says_why(graph, precision, quantization, expected):
    for row in layer_rows(graph, PROFILE, precision, quantization, None):
        assert bool(row.why) == (row.graph != precision)
    if quantization is not None:
        assert layer_rows(graph, PROFILE, precision, quantization, None)[1].why == "last before the decode"
        assert expected[1] == {"trt": "fp16", "cpu": "fp32"}[quantization.target]


def test_reasons_of_attention(graph):
    (*_, for_trt), (*_, for_cpu) = (layer_rows(graph, PROFILE, "int8", quantised(t), None) for t in ("trt", "cpu"))
    assert for_trt.why == "in INT8 with --int8-attention only"
    assert for_cpu.why == "there is no INT8 attention for ONNX Runtime"


def test_what_the_engine_computes_in(graph):
    inside = facts({"/model.0/conv/Conv": "int8", "/model.2/Conv": "fp16"})
    assert [row.engine for row in layer_rows(graph, PROFILE, "int8", quantised(), inside)] == ["int8", "fp16", "fused"]
    inside = facts({"/model.0/conv/Conv": "fp32"}, unfused=("/model.1/attn/Softmax",))
    rows = layer_rows(graph, PROFILE, "int8", quantised(), inside)
    assert [row.engine for row in rows] == ["fp32", "unknown", "not fused"]
    assert [row.graph for row in rows] == ["int8", "fp16", "fp16"]  # of the graph, whatever the engine made of it


def test_of_one_convolution():
    model = model_of("(float[1,3,4,4] x) => (float[1,4,4,4] y) { y = Conv(x, w) }", w=noise(4, 3, 1, 1))
    assert layer_rows(model, PROFILE, "fp16", None, None) == (LayerRow("y", "y", "Conv", 1.0, "fp16"),)


def test_a_network_without_convolutions_has_no_rows():
    model = model_of("(float[1,3,4,4] x) => (float[1,3,4,4] y) { y = Relu(x) }")
    assert layer_rows(model, PROFILE, "fp32", None, None) == ()
