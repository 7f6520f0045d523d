"""What counts as a rounding of tokens, and what is left of a graph without it."""

import numpy as np
import onnx
import pytest

from y12.exporter.graph.token_rounding import token_roundings, without_token_rounding
from y12.runtime.backends.onnx_runtime import OrtExecutor

GRAPH = """
<ir_version: 9, opset_import: ["" : {opset}]>
g (float[1,3,4,4] images) => (float[1,3,4,4] output0)
<float levels = {{{levels}}}, float least = {{{least}}}, int64[1] axes = {{{axis}}},
 float[3,3,1,1] w = {{1,0,0,0,1,0,0,0,1}}>
{{
    sizes = Abs ({sized})
    largest = ReduceMax {reduced}
    share = Div (largest, levels)
    step = Clip ({limits})
    codes = Div ({divided}, {divisor})
    whole = Round (codes)
    rounded = Mul ({factors})
    output0 = Conv (rounded, w)
}}
"""
FIELDS = {
    "opset": 20,
    "levels": "127.0",
    "least": "0.00006103515625",
    "axis": 1,
    "reduced": "(sizes, axes)",
    "sized": "images",
    "limits": "share, least",
    "divided": "images",
    "divisor": "step",
    "factors": "whole, step",
}


def graph(**changes):
    return onnx.parser.parse_model(GRAPH.format(**FIELDS | changes))


@pytest.mark.parametrize(
    "changes",
    [{}, {"factors": "step, whole"}, {"axis": -1}, {"opset": 17, "reduced": "<axes = [1]> (sizes)"}],
)
def test_a_rounding_is_found_and_cut_out(changes):
    model = graph(**changes)
    assert token_roundings(model) == {"rounded": "images"}
    cut = without_token_rounding(model)
    assert [node.input[0] for node in cut.graph.node if node.op_type == "Conv"] == ["images"]
    assert token_roundings(cut) == {}
    assert token_roundings(model) == {"rounded": "images"}  # the given graph stays as it is
    images = np.random.Generator(np.random.PCG64(0)).random((1, 3, 4, 4), dtype=np.float32)
    assert np.array_equal(OrtExecutor(cut.SerializeToString(), "cpu").run(images)["output0"], images)


@pytest.mark.parametrize(
    "changes",
    [
        {"levels": "128.0"},
        {"least": "0.0"},
        {"axis": 2},
        {"reduced": "(images, axes)"},  # of the values, not of their sizes
        {"divided": "sizes"},  # steps of another tensor
        {"limits": "share, least, levels"},
        {"divisor": "largest"},
        {"factors": "whole, largest"},
        {"factors": "codes, step"},  # not rounded
        {"factors": "images, step"},
    ],
)
def test_what_is_not_just_that_is_left_to_be_compared(changes):
    model = graph(**changes)
    assert token_roundings(model) == {}
    assert without_token_rounding(model).graph == model.graph
