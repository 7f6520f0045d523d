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
    for package in ("runtime", "exporter")
    for path in sorted((ROOT / package).rglob("*.py"))
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
    assert "runtime/trt.py" in VENDOR_FILES
    seen = set.union(*(check(TREES[name]).seen for name in VENDOR_FILES if name.startswith("runtime/")))
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


HEAD = "def f(trt: ModuleType, log: 'tensorrt.ILogger', b: 'tensorrt.Builder', c: 'tensorrt.IBuilderConfig'):\n"
GOOD = {
    "module function": "trt.nptype(trt.DataType.HALF)",
    "constructed": "p: tensorrt.OnnxParser = trt.OnnxParser(b.create_network(), log)\n p.parse(b'', path='')",
    "keyword": "b.create_network(flags=1)",
    "property set": "c.profiling_verbosity = trt.ProfilingVerbosity.DETAILED",
    "guarded by if": "if hasattr(trt.BuilderFlag, 'FP8'):\n  c.set_flag(trt.BuilderFlag.FP8)",
    "guarded by and": "return hasattr(c, 'num_compute_capabilities') and c.num_compute_capabilities",
    "guarded by a conditional": "return trt.BuilderFlag.FP8 if hasattr(trt.BuilderFlag, 'FP8') else None",
    "guarded by leaving": "if not hasattr(c, 'build_route'):\n  return\n return c.build_route",
    "guarded in a comprehension": "[trt.BuilderFlag.FP8 for _ in 'a' if hasattr(trt.BuilderFlag, 'FP8')]",
    "one guard for names that came together": (
        "if hasattr(trt, 'ComputeCapability'):\n  c.num_compute_capabilities = 1"
    ),
    "guarded by the opposite": "if hasattr(c, 'build_route'):\n  pass\n else:\n  c.int8_calibrator = None",
    "from a function that says what it returns": (
        "n = make(b)\n return n.name\ndef make(b) -> 'tensorrt.INetworkDefinition': ..."
    ),
    "default given": "getattr(c, 'num_compute_capabilities', 0)",
    "computed enum member": "c.set_flag(getattr(trt.BuilderFlag, 'TF' + '32'))",
    "nested class": "trt.ILogger.Severity.VERBOSE.name",
    "override": "class L(trt.ILogger):\n  def log(self, severity, msg): pass",
    "module through an attribute": "bindings.trt.Runtime(log).deserialize_cuda_engine(b'')",
}
BAD = {
    "wrong class": ("trt.Bilder(log)", "Bilder is in none of 10.16, 11.4, rtx-1.7"),
    "wrong method": ("b.create_netwerk()", "Builder.create_netwerk is in none"),
    "wrong property": ("return c.workspace", "IBuilderConfig.workspace is in none"),
    "removed property, set": ("c.max_workspace_size = 1", "IBuilderConfig.max_workspace_size is in none"),
    "read-only property, set": ("c.num_optimization_profiles = 1", "cannot be set"),
    "wrong enum member": ("c.set_flag(trt.BuilderFlag.FP99)", "BuilderFlag.FP99 is in none"),
    "too few arguments": ("b.build_serialized_network(b.create_network())", "does not fit"),
    "too many arguments": ("b.create_builder_config(1)", "does not fit Builder.create_builder_config"),
    "wrong keyword": ("b.create_network(flag=1)", "does not fit Builder.create_network of 10.16"),
    "constructor's arguments": ("trt.OnnxParser(b.create_network())", "does not fit OnnxParser.__init__"),
    "not constructible": ("trt.IBuilderConfig()", "not made by calling the class"),
    "no guard": (
        "c.set_flag(trt.BuilderFlag.FP8)",
        "BuilderFlag.FP8 is not in 11.4, rtx-1.7: put it under hasattr",
    ),
    "guard of another name": (
        "if hasattr(trt, 'ComputeCapability'):\n  trt.BuilderFlag.FP8",
        "put it under hasattr",
    ),
    "guard that never holds": ("if hasattr(trt, 'Bilder'):\n  trt.Bilder(log)", "Bilder is in none"),
    "second branch of a conditional": ("return 1 if b else b.nome", "Builder.nome is in none"),
    "guard in the wrong branch": (
        "if hasattr(trt.BuilderFlag, 'FP8'):\n  pass\n else:\n  trt.BuilderFlag.FP8",
        "under",
    ),
    "guard does not reach on": (
        "if hasattr(trt.BuilderFlag, 'FP8'):\n  pass\n trt.BuilderFlag.FP8",
        "put it under",
    ),
    "no annotation": ("n = b.create_network()\n return n.name", "unknown vendor object 'n'"),
    "hidden by Any": ("n: Any = b.create_network()\n return n.name", "unknown vendor object 'n'"),
    "parameter of type Any": ("def g(n: Any): return n.num_layers", "unknown vendor object 'n'"),
    "field without annotation": ("self.n = b.create_network()", "unknown vendor object 'n'"),
    "wrong annotation": (
        "n: tensorrt.ITensor = b.create_network()",
        "the record says tensorrt.INetworkDefinition",
    ),
    "starred": ("b.create_network(*[1])", "spell the arguments out"),
    "computed name": ("getattr(b, 'create_' + 'network')()", "spell the attribute's name out"),
    "chained": ("b.create_network().nome", "INetworkDefinition.nome is in none"),
    "in a with": ("with b.create_network().nome: pass", "INetworkDefinition.nome is in none"),
    "in an except": ("try: pass\n except ValueError:\n  b.nome()", "Builder.nome is in none"),
    "in an f-string": ("f'{b.nome}'", "Builder.nome is in none"),
    "override's arguments": ("class L(trt.ILogger):\n  def log(self, msg): pass", "overrides"),
    "class not recorded": ("b.get_plugin_registry().plugin_creator_list", "is in none"),
}


@pytest.mark.parametrize("body", GOOD.values(), ids=GOOD)
def test_sound_code_has_no_problems(body: str) -> None:
    assert check(ast.parse(f"{HEAD} {body}\n")).problems == []


@pytest.mark.parametrize(("body", "message"), BAD.values(), ids=BAD)
def test_a_planted_mistake_is_found(body: str, message: str) -> None:
    problems = check(ast.parse(f"{HEAD} {body}\n")).problems
    assert any(message in problem for problem in problems), problems
