"""Every TensorRT name the executor and the engine builder use exists in each release they are meant for.

Full TensorRT can be executed only with a GPU, so the interfaces of 10.16, 11.4 and RTX 1.7 are recorded
(scripts/record_tensorrt_api.py) and the sources are held against them, name by name and argument by argument.
`vendor_calls` tells the rules that the sources keep to make this possible.
"""

import ast
import importlib.util
import json
from pathlib import Path

import pytest
from vendor_api import RUNTIME_RECORDS, Api, recorded_apis, runtime_classes
from vendor_calls import Checker
from vendor_source import mentions_vendor, vendor_returns

ROOT = Path(__file__).parents[2]
APIS = recorded_apis()
TREES = {
    path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
    for path in sorted((ROOT / "y12").rglob("*.py"))
}
RETURNS = vendor_returns(TREES.values())
VENDOR_FILES = [name for name, tree in TREES.items() if mentions_vendor(tree)]


def check(tree: ast.Module, apis: list[Api] = APIS) -> Checker:
    checker = Checker(apis, returns={**RETURNS, **vendor_returns([tree])})
    checker.check(tree)
    return checker


@pytest.mark.parametrize("name", VENDOR_FILES)
def test_every_use_of_tensorrt_is_in_the_records(name: str) -> None:
    assert check(TREES[name]).problems == []


def test_the_executor_is_among_the_files_and_its_calls_are_seen() -> None:
    assert "y12/runtime/backends/tensorrt/executor.py" in VENDOR_FILES
    seen = set.union(*(check(TREES[name]).seen for name in VENDOR_FILES if name.startswith("y12/runtime/")))
    assert {"Runtime.__init__()", "Runtime.deserialize_cuda_engine()"} <= seen
    assert {"IExecutionContext.set_input_shape()", "IExecutionContext.execute_async_v3()"} <= seen
    assert {"IExecutionContext.set_device_memory()", "IExecutionContext.is_stream_capturable()"} <= seen
    assert {"IRuntimeCache.deserialize()", "IRuntimeCache.serialize()"} <= seen


def test_the_records_are_of_the_releases_they_are_named_after() -> None:
    versions = {api.name: api.record["version"] for api in APIS}
    assert sorted(versions) == ["10.16", "11.4", "rtx-1.7"]
    more = json.loads(RUNTIME_RECORDS.read_text())
    assert {name: record["version"] for name, record in more.items()} == versions
    assert all(version.startswith(name.removeprefix("rtx-")) for name, version in versions.items())


def test_the_installed_rtx_bindings_offer_what_was_recorded() -> None:
    tensorrt_rtx = pytest.importorskip("tensorrt_rtx")
    spec = importlib.util.spec_from_file_location("recorder", ROOT / "scripts" / "record_tensorrt_api.py")
    assert spec is not None
    assert spec.loader is not None
    recorder = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recorder)
    record, more = recorder.record(tensorrt_rtx), runtime_classes(tensorrt_rtx, recorder)
    both = {**record, "classes": {**record["classes"], **more["classes"]}}
    installed = Api("installed", json.loads(json.dumps(both)))
    for name in VENDOR_FILES:
        assert check(TREES[name], [*APIS, installed]).problems == [], name
    recorded = next(api for api in APIS if api.name == "rtx-1.7")
    if installed.record["version"] == recorded.record["version"]:
        assert installed.record == recorded.record
