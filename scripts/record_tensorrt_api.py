"""Write down what TensorRT's Python bindings offer, from a wheel without its libraries.

    pip install --no-deps --target bindings 'tensorrt-cu13-bindings==11.4.*'
    python scripts/record_tensorrt_api.py bindings tests/vendor/tensorrt_api/11.4.json

The wheel's extension wants libnvinfer and its sisters when it is imported, but calls nothing of them until an
object is made. So empty libraries with their names and entry points are compiled (a C compiler is needed) and
loaded first. The record holds only classes that an engine builder or executor could use.
"""

import argparse
import ctypes
import importlib
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import Any

MODULES = ("tensorrt_bindings", "tensorrt_rtx_bindings")
CLASSES = (
    *("Builder", "IBuilderConfig", "INetworkDefinition", "IOptimizationProfile", "OnnxParser", "ParserError"),
    *("Runtime", "ICudaEngine", "IExecutionContext", "IRuntimeConfig", "IHostMemory", "EngineInspector"),
    *("ILogger", "Logger", "ILayer", "ITensor", "Dims", "ITimingCache", "BuilderFlag", "MemoryPoolType"),
    *("NetworkDefinitionCreationFlag", "OnnxParserFlag", "ProfilingVerbosity", "DataType", "TensorIOMode"),
    *("TensorFormat", "TensorLocation", "LayerInformationFormat", "LayerType", "HardwareCompatibilityLevel"),
    *("ComputeCapability", "EngineValidity", "EngineInvalidityDiagnostics", "EngineCapability"),
    *("PreviewFeature", "TacticSource", "ExecutionContextAllocationStrategy", "CudaGraphStrategy"),
    *("EngineStat", "ILogger.Severity"),
)
FUNCTIONS = ("nptype", "volume", "get_builder_plugin_registry", "init_libnvinfer_plugins")
NEEDED = re.compile(rb"\0(lib(?:nv|tensorrt)[a-z_]+\.so\.\d+)(?=\0)")
ENTRY_POINTS = (
    *("createInferBuilder_INTERNAL", "createInferRefitter_INTERNAL", "createInferRuntime_INTERNAL"),
    *("createNvOnnxParser_INTERNAL", "createNvOnnxParserRefitter_INTERNAL", "getNvOnnxParserVersion"),
    *("getBuilderPluginRegistry", "getPluginRegistry", "initLibNvInferPlugins"),
)
Record = dict[str, Any]


def record(module: ModuleType) -> Record:
    """Describe the module: classes with methods, properties and members, and functions."""
    present = [name for name in CLASSES if hasattr(module, name.partition(".")[0])]
    return {
        "version": module.__version__,
        "classes": {name: _record_class(attrgetter(name)(module)) for name in present},
        "functions": {name: _overloads(getattr(module, name)) for name in FUNCTIONS if hasattr(module, name)},
    }


def _record_class(owner: type) -> Record:
    """Describe one class; `methods` maps a name to its overloads, `properties` to [type, settable]."""
    entry: Record = {"methods": {}, "properties": {}, "members": list(getattr(owner, "__members__", ()))}
    for name in dir(owner):
        value = getattr(owner, name, None)
        if (name.startswith("_") and name != "__init__") or name in entry["members"]:
            continue
        if isinstance(value, property):
            returns = _overloads(value.fget)[0]["returns"] if value.fget else ""
            entry["properties"][name] = [returns, value.fset is not None]
        elif callable(value) and not isinstance(value, type):
            entry["methods"][name] = _overloads(value)
        else:
            entry["members"].append(name)  # a nested class, such as ILogger.Severity, or a constant
    if entry["methods"].get("__init__", [{}])[0].get("arguments") == ["*args", "**kwargs"]:
        del entry["methods"]["__init__"]  # pybind11's own, which refuses to make one
    return entry


def _overloads(function: Callable[..., object]) -> list[Record]:
    """Read the overloads from a pybind11 docstring, or from a Python function's own signature."""
    code = getattr(function, "__code__", None)
    if code is not None:
        names = code.co_varnames[: code.co_argcount]
        return [_overload(", ".join(names), "")]
    doc = function.__doc__ or ""
    name = re.escape(getattr(function, "__name__", ""))
    lines = re.findall(rf"^(?:\d+\. )?(?:{name})?\((.*)\) -> (.*)$", doc, re.MULTILINE)
    return [_overload(*line) for line in lines or [("*args, **kwargs", "")]]


def _overload(arguments: str, returns: str) -> Record:
    """Turn "self: A, x: int, y: int = 0" into names, the number required, and the type returned."""
    parsed = [part for part in _split(arguments) if part not in ("/", "*")]
    if parsed and re.match(r"self\b|arg0: tensorrt|this\b", parsed[0]):
        parsed = parsed[1:]
    names = [re.split(r"[:=]", part)[0].strip() for part in parsed]
    required = sum("=" not in re.sub(r"<[^>]*>", "", part) for part in parsed if not part.startswith("*"))
    return {"arguments": names, "required": required, "returns": _short(returns)}


def _split(arguments: str) -> list[str]:
    """Split at the commas outside of brackets."""
    parts, depth = [""], 0
    for character in arguments:
        depth += (character in "([{<") - (character in ")]}>")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts if part.strip()]


def _short(annotation: str) -> str:
    return re.sub(r"\btensorrt(_rtx)?_bindings\.tensorrt(_rtx)?\.", "", annotation.strip())


def load_without_libraries(folder: Path) -> ModuleType:
    """Import the bindings that lie in `folder`, with empty libraries in place of the vendor's."""
    extension = next((path for name in MODULES for path in (folder / name).glob("*.so")), None)
    if extension is None:
        raise SystemExit(f"expected {' or '.join(MODULES)} in {folder}, found neither: see --help")
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch, "empty.c")
        source.write_text("\n".join(f"void *{name}(void) {{ return 0; }}" for name in ENTRY_POINTS))
        for needed in sorted(set(NEEDED.findall(extension.read_bytes()))):
            library = Path(scratch, needed.decode())
            name = f"-Wl,-soname,{library.name}"
            subprocess.run(["cc", "-shared", "-fPIC", name, "-o", library, source], check=True)
            ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
    sys.path.insert(0, str(folder))
    return importlib.import_module(extension.parent.name)


def main() -> None:
    """Record the bindings in a folder."""
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_written)
    parser.add_argument("folder", type=Path, help="what pip installed the bindings into")
    parser.add_argument("output", type=Path, help="the .json to write")
    options = parser.parse_args()
    found = record(load_without_libraries(options.folder))
    options.output.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
