"""Graphs that never end, and those that a library would take for ever to load: stopped, or refused unloaded."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from cost import refused
from onnx import TensorProto, helper

from y12 import Runtime
from y12.errors import ExecutorError, InputError
from y12.exporter.graph.foreign.read import graph_from_file
from y12.runtime.artefact.graph_refusals import check_graph
from y12.runtime.artefact.manifest import ONNX_KEY, AxisRange, InputProfile, Manifest
from y12.runtime.backends.onnx_runtime import OrtExecutor

BIN = Path(sys.executable).parent
FLOAT, INT, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
MANIFEST = Manifest(
    task="detect", names=("a",), strides=(8, 16, 32), profile=InputProfile(*[AxisRange(n, n, n) for n in (1, 64, 64)])
)
BLACK, WHITE = np.zeros((64, 64, 3), np.uint8), np.full((64, 64, 3), 255, np.uint8)


def value(name, kind, shape=()):
    return helper.make_tensor_value_info(name, kind, shape)


def counting_body(extra=()):
    nodes = [
        *extra,
        helper.make_node("Identity", ["go"], ["go_on"]),
        helper.make_node("Add", ["sum", "one"], ["sum_on"]),
    ]
    inputs = [value("i", INT), value("go", BOOL), value("sum", FLOAT)]
    return helper.make_graph(nodes, "body", inputs, [value("go_on", BOOL), value("sum_on", FLOAT)])


LOOPS = {  # the inputs of a Loop that goes on as long as its picture is bright
    "no bound": ["", "bright", "zero"],
    "a bound of 2^62": ["many", "bright", "zero"],
}


def loop_model(name):
    """Return a detector that finds one object in a dark picture, and none ever in a bright one."""
    box = np.array([32, 32, 16, 8, 0.9], np.float32).reshape(1, 5, 1)
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], keepdims=0),
        helper.make_node("Greater", ["mean", "half"], ["bright"]),
        helper.make_node("Loop", LOOPS[name], ["sum"], body=counting_body()),
        helper.make_node("Mul", ["sum", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "box"], ["output0"]),
    ]
    weights = {
        "half": np.float32(0.5),
        "zero": np.float32(0),
        "one": np.float32(1),
        "many": np.int64(1 << 62),
        "box": box,
    }
    graph = helper.make_graph(
        nodes,
        "loop",
        [value("images", FLOAT, [1, 3, 64, 64])],
        [value("output0", FLOAT, [1, 5, 1])],
        [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, {ONNX_KEY: MANIFEST.to_json()})
    return model


@pytest.fixture(params=LOOPS)
def loop(request, tmp_path):
    path = tmp_path / "loop.onnx"
    onnx.save(loop_model(request.param), path)
    return path


def test_a_run_has_a_deadline_and_the_runtime_lives_on(loop):
    with Runtime(loop, timeout=0.3) as runtime:
        for _ in range(2):
            message = refused("loop", lambda: runtime.infer(WHITE), seconds=1.5, mib=64)
            assert "within the timeout of 0.3 s" in message
            assert len(runtime.infer(BLACK)) == 1
        found = runtime.stream([BLACK, BLACK, WHITE, BLACK])
        assert [len(next(found)) for _ in range(2)] == [1, 1]
        with pytest.raises(ExecutorError, match="was stopped"):
            next(found)
        assert len(runtime.infer(BLACK)) == 1


def test_a_stream_that_is_closed_stops_its_run(loop):
    with Runtime(loop) as runtime:
        found = runtime.stream([BLACK, WHITE, WHITE])
        assert len(next(found)) == 1
        began = time.monotonic()
        found.close()
        assert time.monotonic() - began < 5
        assert len(runtime.infer(BLACK)) == 1


def test_one_run_that_is_stopped_leaves_the_others(loop):
    with Runtime(loop, timeout=1.0) as runtime:
        ended = []
        other = threading.Thread(
            target=lambda: ended.append(refused("loop", lambda: runtime.infer(WHITE), seconds=9, mib=64))
        )
        other.start()
        while other.is_alive():
            assert len(runtime.infer(BLACK)) == 1
        assert "was stopped" in ended[0]


@pytest.mark.parametrize(("name", "words"), [("INT", ["y12-infer"]), ("TERM", ["y12-bench"])])
def test_a_command_heeds_its_signals_while_the_network_runs(tmp_path, name, words):
    path, image = tmp_path / "loop.onnx", tmp_path / "white.png"
    onnx.save(loop_model("no bound"), path)
    from PIL import Image

    Image.fromarray(WHITE).save(image)
    arguments = [str(image)] if words == ["y12-infer"] else ["--image", str(image)]
    with subprocess.Popen(
        [BIN / words[0], path, *arguments],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    ) as command:
        threading.Timer(20, command.kill).start()
        assert "on ONNX Runtime" in command.stderr.readline()  # it is open; the run begins
        time.sleep(0.5)
        os.kill(command.pid, getattr(signal, f"SIG{name}"))
        assert command.communicate() == ("", "")
    assert command.returncode == 130


class Stuck:
    """An executor that cannot be stopped, as an engine."""

    description = "stuck"

    def __init__(self):
        self.end = threading.Event()

    def run(self, images):
        assert self.end.wait(20)
        return {"output0": np.zeros((1, 5, 1), np.float32)}

    def close(self):
        pytest.fail("closed while it runs")


def test_what_cannot_be_stopped_closes_the_runtime(tmp_path):
    path = tmp_path / "loop.onnx"
    onnx.save(loop_model("no bound"), path)
    stuck = Stuck()
    with Runtime(path, stuck, timeout=0.1) as runtime:
        with pytest.raises(ExecutorError, match="could not be stopped, and the runtime is closed"):
            runtime.infer(BLACK)
        with pytest.raises(ExecutorError, match="found one that is closed"):
            runtime.infer(BLACK)
    stuck.end.set()


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), 1e9])
def test_a_timeout_is_a_time(loop, timeout):
    with pytest.raises(InputError, match="timeout: expected seconds"):
        Runtime(loop, timeout=timeout)


def function(name, calls, domain="f"):
    nodes = [helper.make_node(calls, ["x"], ["h"], domain=domain), helper.make_node(calls, ["h"], ["y"], domain=domain)]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("f", 1)]
    return helper.make_function("f", name, ["x"], ["y"], nodes, opsets)


def plain(nodes, functions=(), opsets=(), weights=()):
    graph = helper.make_graph(
        nodes, "g", [value("images", FLOAT, [1, 3, 64, 64])], [value("output0", FLOAT, [1, 3, 64, 64])], list(weights)
    )
    wanted = [helper.make_opsetid("", 17), *(helper.make_opsetid(domain, 1) for domain in opsets)]
    model = helper.make_model(graph, functions=list(functions), opset_imports=wanted, ir_version=9)
    helper.set_model_props(model, {ONNX_KEY: MANIFEST.to_json()})
    return model


def branch(node):
    body = helper.make_graph([node], "then", [], [value("output0", FLOAT, None)])
    return helper.make_node("If", ["yes"], ["output0"], then_branch=body, else_branch=body)


YES = onnx.numpy_helper.from_array(np.array(True), "yes")
CUSTOM = helper.make_node("Custom", ["images"], ["output0"], domain="my.ops")
REFUSED = {
    "a function": plain(
        [helper.make_node("F0", ["images"], ["output0"], domain="f")], [function("F0", "Relu", "")], ["f"]
    ),
    "nested functions": plain(
        [helper.make_node("F60", ["images"], ["output0"], domain="f")],
        [function("F0", "Relu", ""), *(function(f"F{i}", f"F{i - 1}") for i in range(1, 61))],
        ["f"],
    ),
    "a function that nobody calls": plain(
        [helper.make_node("Relu", ["images"], ["output0"])], [function("F", "Relu", "")]
    ),
    "a custom operator": plain([CUSTOM], opsets=["my.ops"]),
    "a custom operator inside": plain([branch(branch(CUSTOM))], opsets=["my.ops"], weights=[YES]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_functions_and_custom_operators_are_refused_unloaded(tmp_path, name):
    path = tmp_path / "x.onnx"
    path.write_bytes(REFUSED[name].SerializeToString())
    message = refused(name, lambda: Runtime(path), seconds=1, mib=64)
    assert (
        "found the function" in message
        if "function" in name
        else "found the custom operator 'my.ops::Custom'" in message
    )
    refused(name, lambda: graph_from_file(path), seconds=2, mib=64)


def test_a_graph_in_two_parts_is_looked_at_whole(tmp_path):
    """Protobuf joins the parts of a message that comes twice."""
    path = tmp_path / "x.onnx"
    good = plain([helper.make_node("Relu", ["images"], ["output0"])]).SerializeToString()
    path.write_bytes(REFUSED["a custom operator"].SerializeToString() + good)
    assert "custom operator" in refused("parts", lambda: check_graph(path), seconds=1, mib=64)


ALLOWED = {
    "a domain that nobody uses": plain([helper.make_node("Relu", ["images"], ["output0"])], opsets=["my.ops"]),
    "of ONNX Runtime": plain(
        [helper.make_node("QuickGelu", ["images"], ["output0"], domain="com.microsoft")], opsets=["com.microsoft"]
    ),
    "y12's loop": loop_model("a bound of 2^62"),
}


@pytest.mark.parametrize("name", ALLOWED)
def test_what_onnx_runtime_has_is_run(tmp_path, name):
    path = tmp_path / "x.onnx"
    path.write_bytes(ALLOWED[name].SerializeToString())
    check_graph(path)
    assert OrtExecutor(path, "cpu").description.startswith("ONNX Runtime")
