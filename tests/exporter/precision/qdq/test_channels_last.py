"""Reshapes with the channels last: the same numbers to the bit, and nothing else rewritten."""

import numpy as np
import pytest
from text_models import model_of, noise, ops, run

from y12.exporter.graph.index import GraphIndex
from y12.exporter.graph.passes import replace_nodes
from y12.exporter.precision.qdq.channels import ChannelSources
from y12.exporter.precision.qdq.channels_last import channels_last

SIZES = {
    "taken": [1, 3, 2, 4, 2, 18], "whole": [1, 24, 6, 6], "rest": [-1, 3, 2, 4, 1, 36], "merged": [2, 12, 6, 6],
    "mixed": [1, 48, 18], "copied": [0, 0, 36], "pairs": [1, 4, 6, 6, 6], "shuffled": [1, 24, 6, 6],
}  # fmt: skip
TAKEN = "y = Conv(x, w) r = Reshape(y, taken) t = Transpose<perm=[1,0,4,2,5,3]>(r) "
CASES = {
    "queries, keys and values out of a map": (
        TAKEN + "u = Tanh(t) a = Transpose<perm=[1,0,3,5,2,4]>(u) m = Reshape(a, whole) out = Conv(m, w)",
        ["Conv", "Transpose", "Reshape", "Transpose", "Tanh", "Transpose", "Reshape", "Transpose", "Conv"],
    ),
    "with an axis of 1 and one that is worked out": (
        "y = Conv(x, w) r = Reshape(y, rest) t = Transpose<perm=[0,2,4,1,5,3]>(r) u = Tanh(t) "
        "a = Transpose<perm=[0,3,1,5,2,4]>(u) m = Reshape(a, whole) out = Conv(m, w)",
        ["Conv", "Transpose", "Reshape", "Transpose", "Tanh", "Transpose", "Reshape", "Transpose", "Conv"],
    ),
    "a channel shuffle, whose transpose both could take": (
        "y = Conv(x, w) r = Reshape(y, pairs) t = Transpose<perm=[0,2,1,3,4]>(r) m = Reshape(t, shuffled) "
        "out = Conv(m, w)",
        ["Conv", "Transpose", "Reshape", "Transpose", "Reshape", "Conv"],
    ),
}  # fmt: skip


def graph_of(text):
    read = text.replace("(", " ").replace(")", " ").replace(",", " ").split()
    weights = {name: np.array(sizes, np.int64) for name, sizes in SIZES.items() if name in read}
    return model_of(f"(float[1,24,6,6] x) => (float[A,C,H,W] out) {{ {text} }}", w=noise(24, 24, 1, 1) / 5, **weights)


def rewritten(model, convs=("y",)):
    index = GraphIndex(model.graph)
    replacements = channels_last(index, ChannelSources(model, index), set(convs))
    replace_nodes(model.graph, dict(replacements), [])
    return model


@pytest.mark.parametrize("case", CASES)
def test_the_same_numbers_in_another_order(case):
    text, expected = CASES[case]
    model = rewritten(graph_of(text))
    assert [op for op in ops(model) if op != "Constant"] == expected
    np.testing.assert_array_equal(run(model)["out"], run(graph_of(text))["out"])


TAIL = " out = Conv(m, w)"
LEFT = {
    "what no integer convolution wrote": TAKEN.replace("Conv(x, w)", "Tanh(x)") + "m = Reshape(t, whole)" + TAIL,
    "no convolution follows": TAKEN + "out = Reshape(t, whole)",
    "a batch that becomes channels":
        "y = Conv(x, w) r = Reshape(y, merged) t = Transpose<perm=[0,2,3,1]>(r) m = Reshape(t, whole)" + TAIL,
    "no transpose": "y = Conv(x, w) r = Reshape(y, taken) t = Tanh(r) m = Reshape(t, whole)" + TAIL,
    "sizes that refer to axes by their places":
        "y = Conv(x, w) r = Reshape(y, copied) t = Transpose<perm=[0,2,1]>(r) u = Reshape(t, whole) m = Tanh(u)" + TAIL,
    "channels that are no axes of their own":
        "y = Conv(x, w) r = Reshape(y, mixed) t = Transpose<perm=[0,2,1]>(r) u = Reshape(t, whole) m = Tanh(u)" + TAIL,
    "two readers": TAKEN + "u = Reshape(t, whole) v = Reshape(r, whole) m = Add(u, v)" + TAIL,
}  # fmt: skip


@pytest.mark.parametrize("case", LEFT)
def test_what_is_left(case):
    text = LEFT[case]
    convs = () if "integer" in case else ("y",)
    assert ops(rewritten(graph_of(text), convs)) == ops(graph_of(text))


def test_an_axis_of_1_behind_the_channels_is_one_of_places():
    """Among the channels it makes ONNX Runtime's transpose nine times as slow."""
    model = rewritten(graph_of(CASES["with an axis of 1 and one that is worked out"][0]))
    assert GraphIndex(model.graph).constant("t_sizes").tolist() == [-1, 1, 36, 3, 2, 4]
