"""Tensors that lie in other files: only in the model's own folder, in files of its own; both halves refuse the rest."""

import os

import numpy as np
import onnx
import pytest
from cost import refused
from onnx import TensorProto, helper

from y12.errors import Y12Error
from y12.exporter.graph.foreign.read import graph_from_file
from y12.runtime.artefact.graph_refusals import check_graph

WEIGHT = np.arange(12, dtype=np.float32)


def external(name="w", **place):
    tensor = onnx.numpy_helper.from_array(WEIGHT, name)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in ({"location": "w.bin", "offset": "0", "length": "48"} | place).items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def model(tensor, where="initializer"):
    weights, nodes, sparse = [], [helper.make_node("Add", ["images", "w"], ["output0"])], []
    if where == "initializer":
        weights.append(tensor)
    elif where == "constant":
        nodes.insert(0, helper.make_node("Constant", [], ["w"], value=tensor))
    elif where == "inner graph":
        body = helper.make_graph([helper.make_node("Identity", ["w_in"], ["w"])], "b", [], [_out("w")], [tensor])
        nodes.insert(0, helper.make_node("If", ["yes"], ["w"], then_branch=body, else_branch=body))
        weights.append(onnx.numpy_helper.from_array(np.array(True), "yes"))
    elif where == "sparse":
        indices = onnx.numpy_helper.from_array(np.arange(12), "i")
        sparse.append(helper.make_sparse_tensor(tensor, indices, [12]))
    graph = helper.make_graph(nodes, "g", [_out("images")], [_out("output0")], weights, sparse_initializer=sparse)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def _out(name):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [12])


@pytest.fixture
def folder(tmp_path):
    """A model's folder, with weights in it and beside it."""
    (tmp_path / "secret.bin").write_bytes(WEIGHT.tobytes())
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "w.bin").write_bytes(WEIGHT.tobytes())
    home = tmp_path / "model"
    (home / "inside").mkdir(parents=True)
    (home / "w.bin").write_bytes(WEIGHT.tobytes())
    (home / "inside" / "w.bin").write_bytes(WEIGHT.tobytes())
    (home / "near.bin").symlink_to("w.bin")
    (home / "far.bin").symlink_to("../secret.bin")
    (home / "door").symlink_to("../elsewhere")
    (home / "circle.bin").symlink_to("circle.bin")
    os.link(tmp_path / "secret.bin", home / "hard.bin")
    return home


BAD = {
    "above": {"location": "../secret.bin"},
    "above by a way around": {"location": "inside/../../secret.bin"},
    "absolute": {"location": "/etc/hostname"},
    "a link": {"location": "far.bin"},
    "a folder that is a link": {"location": "door/w.bin"},
    "a hard link": {"location": "hard.bin"},
    "links in a circle": {"location": "circle.bin"},
    "missing": {"location": "none.bin"},
    "a folder": {"location": "inside"},
    "nothing": {"location": ""},
    "a zero byte": {"location": "w.bin\0"},
    "an address in memory": {"location": "*/_ORT_MEM_ADDR_/*", "offset": "140000000000000"},
    "too long": {"length": "49"},
    "beyond the end": {"offset": "4096"},
    "before the start": {"offset": "-1"},
    "no number": {"offset": "0x10"},
    "a huge number": {"length": "9" * 5000},
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("check", [check_graph, graph_from_file])
def test_data_that_is_not_the_models_own_is_refused(folder, name, check):
    path = folder / "m.onnx"
    path.write_bytes(model(external(**BAD[name])).SerializeToString())
    assert "'w'" in refused(name, lambda: check(path), seconds=1, mib=64)


@pytest.mark.parametrize("where", ["initializer", "constant", "inner graph", "sparse"])
@pytest.mark.parametrize("check", [check_graph, graph_from_file])
def test_wherever_the_tensor_is(folder, where, check):
    path = folder / "m.onnx"
    tensor = external("w_in" if where == "inner graph" else "w", location="../secret.bin")
    path.write_bytes(model(tensor, where).SerializeToString())
    assert "found the location '../secret.bin'" in refused(where, lambda: check(path), seconds=1, mib=64)


@pytest.mark.parametrize(
    "place", [{}, {"location": "inside/w.bin"}, {"location": "near.bin"}, {"offset": "16", "length": "32"}]
)
def test_the_models_own_files_are_read(folder, place):
    path = folder / "m.onnx"
    path.write_bytes(model(external(**place)).SerializeToString())
    check_graph(path)
    if "near.bin" not in place.values() and "offset" not in place:  # ONNX takes no links, and no tensor of another size
        try:
            graph = graph_from_file(path).model.graph
        except Y12Error as error:
            pytest.fail(str(error))
        np.testing.assert_array_equal(onnx.numpy_helper.to_array(graph.initializer[0]), WEIGHT)
