"""The FP16 pass on a whole trained network: every convolution half, the decode FP32."""

import onnx
from text_models import types_of

from y12.exporter.graph.index import GraphIndex
from y12.exporter.precision.cast import cast_to_fp16


def test_every_convolution_computes_in_half(armor):
    types = types_of(armor.typed)
    convs = [n for n in armor.typed.graph.node if n.op_type == "Conv"]
    assert len(convs) > 110
    assert {types[name] for conv in convs for name in (*conv.input, *conv.output)} == {"FLOAT16"}


def test_the_decode_is_fp32_from_its_softmax_on(armor):
    types, graph = types_of(armor.typed), armor.typed.graph
    index = GraphIndex(graph)
    before_last_convs = index.reaching("Conv")
    decode = [n for i, n in enumerate(graph.node) if i not in before_last_convs]
    kinds = {n.op_type for n in decode}
    assert {"Softmax", "ReduceSum", "Sigmoid", "Mul", "Concat", "Cast"} <= kinds
    start = next(i for i, n in enumerate(decode) if n.op_type == "Softmax")
    computing = [
        n for n in decode[start:] if n.op_type not in ("Cast", "Transpose", "Reshape", "Concat", "Split", "Slice")
    ]
    assert len(computing) >= 8
    for node in computing:
        floats = {types[name] for name in (*node.input, *node.output) if types[name].startswith("FLOAT")}
        assert floats == {"FLOAT"}, node.name
    # the scores' sigmoid is FP32 too: nothing behind the convolutions computes in half
    assert {types[n.output[0]] for n in decode if n.op_type in ("Sigmoid", "Softmax")} == {"FLOAT"}


def test_attention_is_half(armor):
    types = types_of(armor.typed)
    products = [n for n in armor.typed.graph.node if n.op_type == "MatMul"]
    assert len(products) == 16
    assert {types[name] for node in products for name in (*node.input, *node.output)} == {"FLOAT16"}


def test_inputs_outputs_and_resize_scales_are_fp32(armor):
    types, graph = types_of(armor.typed), armor.typed.graph
    assert {types[t.name] for t in (*graph.input, *graph.output)} == {"FLOAT"}
    resizes = [n for n in graph.node if n.op_type == "Resize"]
    assert [types[n.input[2]] for n in resizes] == ["FLOAT"] * 2
    assert {types[n.input[0]] for n in resizes} == {"FLOAT16"}


def test_the_border_is_a_handful_of_casts(armor):
    typed, report = armor.cast
    casts = [n for n in typed.graph.node if n.op_type == "Cast"]
    assert report.casts == len(casts) <= 4
    assert len({n.output[0] for n in casts}) == len({n.input[0] for n in casts}) == len(casts)


def test_the_graph_is_sound_and_the_bytes_repeat(armor):
    onnx.checker.check_model(armor.typed, full_check=True)
    assert cast_to_fp16(armor.simplified)[0].SerializeToString() == armor.typed.SerializeToString()
