"""Graphs are brought to one form; what y12 does not take is refused by name before anything runs it."""

import time

import numpy as np
import onnx
import pytest
from attention_graphs import AREA, model_from
from onnx import TensorProto, helper, numpy_helper
from text_models import copy_of, noise, ops, run, weights_of

from y12.errors import GraphError
from y12.exporter.graph.foreign.constants import lift_constants, name_nodes
from y12.exporter.graph.foreign.read import graph_from_file, normalised
from y12.exporter.graph.foreign.sort_nodes import sort_nodes
from y12.exporter.graph.foreign.widen import widen_halves

IO = "(float[1,2,4,4] images) => (float[1,2,4,4] out) "


def parsed(text, opset=18, **weights):
    """As a stranger's file has it: not checked."""
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]> tiny {text}')
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in weights.items())
    return model


def test_nodes_are_sorted_and_keep_their_order_where_they_can():
    sorted_text = IO + "{ [a] y = Relu(images) [b] z = Abs(images) [c] w = Add(y, z) [d] out = Neg(w) }"
    model, expected = parsed(sorted_text), parsed(sorted_text)
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([nodes[3], nodes[0], nodes[2], nodes[1]])
    with pytest.raises(onnx.checker.ValidationError):
        onnx.checker.check_model(model)
    assert sort_nodes(model).changes == 3
    onnx.checker.check_model(model)
    assert [node.name for node in model.graph.node] == ["a", "b", "c", "d"]
    assert sort_nodes(model).changes == 0
    np.testing.assert_array_equal(run(model)["out"], run(expected)["out"])


def test_a_node_waits_for_what_a_graph_inside_of_it_reads():
    body = helper.make_graph(
        [helper.make_node("Identity", ["late"], ["left"])], "body", [], [helper.make_tensor_value_info("left", 1, None)]
    )
    model = parsed(IO + "{ late = Relu(images) out = Neg(late) }")
    branch = helper.make_node("If", ["flag"], ["other"], name="if", then_branch=body, else_branch=body)
    model.graph.node.insert(0, branch)
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "flag"))
    sort_nodes(model)
    assert [node.op_type for node in model.graph.node] == ["Relu", "If", "Neg"]


def test_a_circle_is_refused():
    model = parsed(IO + "{ [a] y = Add(images, z) [b] z = Relu(y) out = Neg(z) }")
    with pytest.raises(GraphError, match="expected nodes without circles, found one around a"):
        sort_nodes(model)


def test_constants_become_initialisers():
    model = parsed(
        IO + "{ k = Constant<value = float[1] {2.0}>() n = Constant<value_ints = [1, 2, 4, 4]>()"
        " f = Constant<value_float = 3.0>() y = Mul(images, k) z = Mul(y, f) out = Reshape(z, n) }"
    )
    expected = run(model)["out"]
    assert lift_constants(model).changes == 3
    assert ops(model) == ["Mul", "Mul", "Reshape"]
    assert {name: array.tolist() for name, array in weights_of(model).items()} == {"k": [2], "n": [1, 2, 4, 4], "f": 3}
    np.testing.assert_array_equal(run(model)["out"], expected)
    assert lift_constants(model).changes == 0


def test_initialisers_are_no_inputs():
    model = parsed(
        "(float[2,2,1,1] w, float[1,2,4,4] images) => (float[1,2,4,4] out) { out = Conv(images, w) }",
        w=noise(2, 2, 1, 1),
    )
    graph = normalised(model).model.graph
    assert [value.name for value in graph.input] == ["images"]


def test_every_node_has_a_name_of_its_own():
    model = parsed(IO + "{ y = Relu(images) [same] z = Relu(y) [same] w = Relu(z) [same_2] out = Relu(w) }")
    name_nodes(model)
    assert [node.name for node in model.graph.node] == ["y", "same", "same_3", "same_2"]
    assert name_nodes(model).changes == 0


def half_model():
    """FP16 in a weight, in a Constant, in what ConstantOfShape fills in, and in what Cast makes."""
    halves = {"w": noise(2, 2, 1, 1).astype(np.float16)}
    model = parsed(
        IO + "{ h = Cast<to=10>(images) y = Conv(h, w) z = Mul(y, k) v = Add(z, f) out = Cast<to=1>(v) }",
        shape=np.array([1]),
        **halves,
    )
    two = numpy_helper.from_array(np.array([2], np.float16), "k")
    model.graph.node.insert(0, helper.make_node("Constant", [], ["k"], value=two))
    model.graph.node.insert(0, helper.make_node("ConstantOfShape", ["shape"], ["f"], value=two))
    return model


def test_a_half_graph_is_widened_and_told():
    original = half_model()
    graph = normalised(copy_of(original))
    onnx.checker.check_model(graph.model, full_check=True)
    assert TensorProto.FLOAT16 not in {w.data_type for w in graph.model.graph.initializer}
    assert graph.notes[0].startswith("its weights are FP16")
    np.testing.assert_array_equal(weights_of(graph.model)["w"], weights_of(original)["w"].astype(np.float32))
    np.testing.assert_allclose(run(graph.model)["out"], run(original)["out"], rtol=0, atol=2e-3)
    assert widen_halves(graph.model).changes == 0


def test_inputs_and_outputs_of_half_precision_are_widened_too():
    model = parsed("(float16[1,2,4,4] images) => (float16[1,2,4,4] out) { out = Relu(images) }")
    assert normalised(model).notes
    assert [v.type.tensor_type.elem_type for v in (*model.graph.input, *model.graph.output)] == [TensorProto.FLOAT] * 2


@pytest.mark.parametrize("opset", [11, 12, 16])
def test_old_opsets_are_converted_and_told(opset):
    text = IO + "{ s = ReduceSum<axes=[1], keepdims=1>(images) out = Mul(images, s) }"
    if opset > 12:
        text = text.replace("<axes=[1], keepdims=1>(images)", "<keepdims=1>(images, one)")
    weights = {"one": np.array([1])} if opset > 12 else {}
    original = parsed(text, opset, **weights)
    helper.set_model_props(original, {"stride": "32"})
    graph = normalised(copy_of(original))
    onnx.checker.check_model(graph.model, full_check=True)
    assert [o.version for o in graph.model.opset_import] == [17]
    assert graph.notes == (f"its opset {opset} was converted to 17",)
    assert {p.key: p.value for p in graph.model.metadata_props} == {"stride": "32"}
    np.testing.assert_allclose(run(graph.model)["out"], run(original)["out"], rtol=1e-6)


def test_an_opset_is_raised_to_what_is_asked_for():
    original = parsed(IO + "{ out = Relu(images) }", 17)
    assert normalised(copy_of(original), 19).model.opset_import[0].version == 19
    assert normalised(copy_of(original), 13).model.opset_import[0].version == 17


@pytest.mark.parametrize("opset", [17, 19, 22])
def test_newer_opsets_stay(opset):
    graph = normalised(parsed(IO + "{ out = Relu(images) }", opset))
    assert (graph.notes, graph.model.opset_import[0].version) == ((), opset)


def test_an_input_of_another_name_is_renamed_and_told():
    model = parsed("(float[1,2,4,4] data) => (float[1,2,4,4] out) { y = Relu(data) out = Add(y, data) }")
    graph = normalised(model)
    onnx.checker.check_model(graph.model, full_check=True)
    assert graph.notes == ("its input 'data' is called images in what was made of it",)
    assert graph.model.graph.node[1].input == ["y", "images"]


def written(tmp_path, model):
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    return tmp_path / "net.onnx"


def refused(path):
    started = time.perf_counter()
    with pytest.raises(GraphError) as caught:
        graph_from_file(path)
    assert time.perf_counter() - started < 1
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


def loop(rounds, nested=False):
    """A graph with a loop of so many rounds (None: as many as an input says)."""
    inner = [helper.make_node("Identity", ["keep"], ["left"]), helper.make_node("Relu", ["state"], ["next"])]
    if nested:
        branch = helper.make_graph(
            [helper.make_node("Relu", ["state"], ["b"])], "b", [], [helper.make_tensor_value_info("b", 1, None)]
        )
        inner[1] = helper.make_node("If", ["keep"], ["next"], then_branch=branch, else_branch=branch)
    body = helper.make_graph(
        inner,
        "body",
        [helper.make_tensor_value_info(*v) for v in (("i", 7, []), ("keep", 9, []), ("state", 1, [1, 2, 4, 4]))],
        [helper.make_tensor_value_info(*v) for v in (("left", 9, []), ("next", 1, [1, 2, 4, 4]))],
    )
    model = parsed(IO + "{ [l] s = Shape<start=0, end=1>(images) out = Relu(images) }")
    count = "s" if rounds is None else "rounds"
    model.graph.node.append(
        helper.make_node("Loop", [count, "", "images"], ["looped"], name="round and round", body=body)
    )
    if rounds is not None:
        model.graph.initializer.append(numpy_helper.from_array(np.array(rounds), "rounds"))
    return model


@pytest.mark.parametrize(("rounds", "nested"), [(None, False), (3841, False), (10, True)])
def test_loops_are_refused_by_name(tmp_path, rounds, nested):
    message = refused(written(tmp_path, loop(rounds, nested)))
    assert "expected no loops but those of y12's own NMS (at most 3840 rounds, without graphs inside)" in message
    assert "found a Loop (node round and round)" in message


def test_a_loop_as_in_y12s_own_nms_is_read(tmp_path):
    assert "Loop" in ops(graph_from_file(written(tmp_path, loop(3840))).model)


def test_custom_operators_are_refused_by_name(tmp_path):
    model = parsed(IO + "{ [mine] out = com.example.Fused(images) }")
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    assert "found the custom operator 'com.example::Fused' (node mine)" in refused(written(tmp_path, model))


def test_functions_are_refused_by_name(tmp_path):
    model = parsed(IO + "{ out = Relu(images) }")
    function = helper.make_function(
        "local", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 18)]
    )
    model.functions.append(function)
    assert "expected plain operators, found the function 'Twice'" in refused(written(tmp_path, model))


def test_two_inputs_are_refused_by_name(tmp_path):
    model = parsed("(float[1,2,4,4] images, float[1,2,4,4] other) => (float[1,2,4,4] out) { out = Add(images, other) }")
    assert "expected one input, images (B, 3, H, W), found 2: images, other" in refused(written(tmp_path, model))


def external(tmp_path, location, offset=0, length=16):
    """A graph whose weight lies in another file."""
    model = parsed(IO + "{ out = Conv(images, w) }")
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2, 2, 1, 1], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        tensor.external_data.add(key=key, value=str(value))
    model.graph.initializer.append(tensor)
    folder = tmp_path / "model"
    folder.mkdir()
    return written(folder, model)


def test_weights_beside_the_file_are_read(tmp_path):
    path = external(tmp_path, "net.data", offset=4)
    values = np.arange(5, dtype=np.float32)
    (path.parent / "net.data").write_bytes(values.tobytes())
    np.testing.assert_array_equal(weights_of(graph_from_file(path).model)["w"].ravel(), values[1:])


@pytest.mark.parametrize("location", ["../secret.data", "{secret}", "link.data", "folder/../../secret.data", ""])
def test_weights_outside_of_the_folder_are_refused(tmp_path, location):
    secret = tmp_path / "secret.data"
    secret.write_bytes(bytes(16))
    path = external(tmp_path, location.format(secret=secret))
    (path.parent / "link.data").symlink_to(secret)
    (path.parent / "folder").mkdir()
    message = refused(path)
    assert "'w': expected its data in the model's folder, found the location" in message


@pytest.mark.parametrize(
    ("name", "offset", "reason"),
    [
        ("other.data", 0, "'w': expected its data in 'net.data' beside the .onnx, found no file"),
        ("net.data", 4, "'w': expected 16 bytes at 4 of 'net.data', which has 16; copy it again"),
        ("net.data", -4, "'w': expected 16 bytes at -4 of 'net.data'"),
        ("net.data", "x", "'w': where its data lie cannot be read"),
    ],
)
def test_weights_that_are_not_there_are_refused(tmp_path, name, offset, reason):
    path = external(tmp_path, "net.data", offset)
    (path.parent / name).write_bytes(bytes(16))
    assert reason in refused(path)


def test_what_is_fine_is_left_alone(tmp_path):
    model = model_from(AREA)
    model.graph.input[0].name = "images"
    for node in model.graph.node:
        node.input[:] = ["images" if name == "x" else name for name in node.input]
    name_nodes(model)
    graph = graph_from_file(written(tmp_path, model))
    assert graph.notes == ()
    assert graph.model.SerializeToString() == model.SerializeToString()
