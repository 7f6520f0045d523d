"""The calls that y12/runtime/gpu/cuda.py makes of cuda-core fit what is installed: nothing else here can make them."""

import ast
import importlib
import inspect
from operator import attrgetter
from pathlib import Path

import pytest

core = pytest.importorskip("cuda.core", exc_type=ImportError)
CUDA = Path(__file__).parents[2] / "y12" / "runtime" / "gpu" / "cuda.py"
SELF = object()

# module, name, positional arguments, keywords
CALLS = [
    ("cuda.core", "Device", (0,), {}),
    ("cuda.core", "Device.get_all_devices", (), {}),
    ("cuda.core", "Device.set_current", (SELF,), {}),
    ("cuda.core", "Device.create_stream", (SELF,), {}),
    ("cuda.core", "Device.allocate", (SELF, 1), {"stream": None}),
    ("cuda.core", "Stream.sync", (SELF,), {}),
    ("cuda.core", "Stream.close", (SELF,), {}),
    ("cuda.core", "Stream.create_graph_builder", (SELF,), {}),
    ("cuda.core", "EventOptions", (), {"timing_enabled": True}),
    ("cuda.core", "Stream.record", (SELF,), {"options": None}),
    ("cuda.core", "Event.sync", (SELF,), {}),
    ("cuda.core", "Buffer.from_handle", (1, 2), {}),
    ("cuda.core", "Buffer.copy_from", (SELF, None), {"stream": None}),
    ("cuda.core", "Buffer.copy_to", (SELF, None), {"stream": None}),
    ("cuda.core", "Buffer.close", (SELF, None), {}),
    ("cuda.core", "LegacyPinnedMemoryResource.allocate", (SELF, 1), {}),
    ("cuda.core", "ObjectCode.from_cubin", (b"",), {}),
    ("cuda.core", "ObjectCode.get_kernel", (SELF, "name"), {}),
    ("cuda.core", "launch", (None, None, None, 1, 2), {}),
    ("cuda.core.graph", "GraphBuilder.begin_building", (SELF,), {"mode": "relaxed"}),
    ("cuda.core.graph", "GraphBuilder.end_building", (SELF,), {}),
    ("cuda.core.graph", "GraphBuilder.complete", (SELF,), {}),
    ("cuda.core.graph", "GraphBuilder.close", (SELF,), {}),
    ("cuda.core.graph", "Graph.launch", (SELF, None), {}),
    ("cuda.core.graph", "Graph.close", (SELF,), {}),
    ("cuda.core.utils", "StridedMemoryView.from_any_interface", (None,), {"stream_ptr": -1}),
]
PROPERTIES = {
    "cuda.core.Device": ("name", "compute_capability", "device_id"),
    "cuda.core.Stream": ("handle",),
    "cuda.core.Buffer": ("handle",),
    "cuda.core.utils.StridedMemoryView": ("ptr", "shape", "strides", "dtype", "device_id", "is_device_accessible"),
}


@pytest.mark.parametrize(("module", "name", "arguments", "keywords"), CALLS, ids=[call[1] for call in CALLS])
def test_a_call_fits(module, name, arguments, keywords):
    found = attrgetter(name)(importlib.import_module(module))
    if not inspect.isclass(found):  # a compiled class tells no signature
        inspect.signature(found).bind(*arguments, **keywords)


def test_launch_configurations_take_a_grid_and_a_block():
    config = core.LaunchConfig(grid=(2, 3), block=(4,))
    assert (tuple(config.grid)[:2], tuple(config.block)[:1]) == ((2, 3), (4,))


@pytest.mark.parametrize("owner", PROPERTIES)
def test_properties_are_there(owner):
    module, _, name = owner.rpartition(".")
    assert all(hasattr(getattr(importlib.import_module(module), name), wanted) for wanted in PROPERTIES[owner])


def test_the_tables_hold_every_call_that_is_made_of_the_driver():
    """What is called on `core`, a stream, a buffer, a builder or a graph in y12/runtime/gpu/cuda.py."""
    called = {
        node.func.attr
        for node in ast.walk(ast.parse(CUDA.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        for owner in [ast.unparse(node.func.value)]
        if owner.split(".")[-1] in ("core", "_core", "stream", "_stream", "device", "_graph", "builder", "_buffer")
        or owner.startswith(("self.core", "gpu.core", "self._buffer("))
    }
    known = {name.rpartition(".")[2] for _, name, _, _ in CALLS} | {"LaunchConfig", "LegacyPinnedMemoryResource"}
    assert called - known - {"pinned"} == set()
    assert len(called) > 12
