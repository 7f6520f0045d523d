"""Moving numbers does what ONNX Runtime does to elements."""

import numpy as np
import onnx
import pytest
from each import each
from text_models import model_of

from y12.exporter.graph.foreign.moves import MOVES, Trial, moved, trials_of
from y12.exporter.graph.index import GraphIndex
from y12.runtime.backends.onnx_runtime import OrtExecutor

SHAPE = (2, 3, 4, 6)
CASES = {  # the node, its constants
    "Identity": ("y = Identity(x)", {}),
    "Reshape": ("y = Reshape(x, a)", {"a": [2, -1, 4]}),
    "Reshape that copies": ("y = Reshape(x, a)", {"a": [0, 0, -1]}),
    "Transpose": ("y = Transpose<perm=[3,0,2,1]>(x)", {}),
    "Transpose without perm": ("y = Transpose(x)", {}),
    "Split by sizes": ("y, z = Split<axis=3>(x, a)", {"a": [2, 4]}),
    "Split evenly": ("y, z = Split<axis=-1, num_outputs=2>(x)", {}),
    "Split of unequal parts": ("y, z = Split<axis=1, num_outputs=2>(x)", {}),
    "Slice": ("y = Slice(x, a, b, c)", {"a": [1, 2], "b": [3, 100], "c": [1, -1]}),
    "Slice from the end": ("y = Slice(x, a, b, c)", {"a": [-2], "b": [9223372036854775807], "c": [3]}),
    "Slice in steps": ("y = Slice(x, a, b, c, d)", {"a": [0], "b": [6], "c": [3], "d": [2]}),
    "Slice without axes": ("y = Slice(x, a, b)", {"a": [1, 0], "b": [2, 2]}),
    "Unsqueeze and Squeeze": ("w = Unsqueeze(x, a) y = Squeeze(w, b)", {"a": [0, 3], "b": [3]}),
    "Gather one": ("y = Gather<axis=1>(x, a)", {"a": 2}),
    "Gather some": ("y = Gather<axis=3>(x, a)", {"a": [5, 0]}),
    "Flatten": ("y = Flatten<axis=2>(x)", {}),
}


def test_it_is_what_onnx_runtime_does():
    def check(case):
        body, constants = case
        outputs = "float y, float z" if "z = " in body else "float y"
        text = f"(float[2,3,4,6] x) => ({outputs}) {{ {body} }}"
        model = onnx.parser.parse_model('<ir_version: 9, opset_import: ["" : 20]> tiny ' + text)
        arrays = {name: np.array(value, np.int64) for name, value in constants.items()}
        model.graph.initializer.extend(onnx.numpy_helper.from_array(a, name) for name, a in arrays.items())
        for output in model.graph.output:
            output.type.tensor_type.ClearField("shape")
        numbers = {"x": np.arange(np.prod(SHAPE)).reshape(SHAPE)}
        trial = Trial(GraphIndex(model.graph), {}, {})
        for node in model.graph.node:
            numbers |= dict(zip(node.output, moved(node, numbers[node.input[0]], trial), strict=True))
        expected = OrtExecutor(model.SerializeToString(), "cpu").run(numbers["x"].astype(np.float32))
        for name, array in expected.items():
            np.testing.assert_array_equal(numbers[name], array)

    each(CASES.items(), check)


def test_every_move_is_tried():
    tried = {
        part.split("(")[0].split("<")[0].split(" = ")[-1] for body, _ in CASES.values() for part in body.split(") ")
    }
    assert tried == set(MOVES)


@pytest.mark.parametrize(
    ("node", "constants"),
    [
        ("y = Relu(x)", {}),  # no move
        ("y = Reshape(x, a)", {"a": [5, -1]}),  # does not fit
        ("y = Slice(x, a, b, c, d)", {"a": [5], "b": [0], "c": [3], "d": [-1]}),  # backwards
        ("y = Reshape(x, unknown)", {}),
    ],
)
def test_what_cannot_be_told_is_not(node, constants):
    text = f'<ir_version: 9, opset_import: ["" : 20]> tiny (float[2,3,4,6] x) => (float y) {{ {node} }}'
    model = onnx.parser.parse_model(text)
    model.graph.initializer.extend(
        onnx.numpy_helper.from_array(np.array(value, np.int64), name) for name, value in constants.items()
    )
    assert moved(model.graph.node[0], np.arange(144).reshape(SHAPE), Trial(GraphIndex(model.graph), {}, {})) is None


def test_a_fixed_graph_is_looked_at_at_its_own_shape():
    model = model_of(
        "(float[1,3,8,8] x) => (float[1,3,4,4] y) { c = MaxPool<kernel_shape=[2,2], strides=[2,2]>(x) y = Relu(c) }"
    )
    (trial,) = trials_of(GraphIndex(model.graph), model, ["c"])
    assert trial.shapes == {"c": (1, 3, 4, 4)}


def test_free_axes_are_looked_at_at_two_shapes():
    model = onnx.parser.parse_model(
        """<ir_version: 9, opset_import: ["" : 20]> tiny (float[B,3,H,96] x) => (float y) {
        c = MaxPool<kernel_shape=[2,2], strides=[2,2]>(x) s = Shape<start=0, end=2>(c) n = Concat<axis=0>(s, rest)
        y = Reshape(c, n) }"""
    )
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([-1]), "rest"))
    first, second = trials_of(GraphIndex(model.graph), model, ["c"])
    assert (first.shapes, second.shapes) == ({"c": (2, 3, 128, 48)}, {"c": (1, 3, 160, 48)})
    assert (first.value("n").tolist(), second.value("n").tolist()) == ([2, 3, -1], [1, 3, -1])
    assert first.value("rest").tolist() == [-1]
    assert first.value("x") is None
