"""Write a stub file of TensorRT's Python bindings, for mypy, from a wheel without its libraries.

    pip install --no-deps --target bindings 'tensorrt-cu13-bindings==11.4.*'
    python scripts/stub_tensorrt.py bindings tests/vendor/stubs/11.4

The wheel's extension wants libnvinfer and its sisters when it is imported, but calls nothing of them until an
object is made. So empty libraries with their names and entry points are compiled (a C compiler is needed) and
loaded first. mypy's stubgen reads the signatures from the docstrings; what they leave out stands below. The stub is
`tensorrt/__init__.pyi`, with one class that the bindings do not have: `Module`, the type of the module itself.
"""

import argparse
import ctypes
import importlib
import inspect
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType, ModuleType

from mypy.stubdoc import FunctionSig
from mypy.stubgenc import DocstringSignatureGenerator, InspectionStubGenerator
from mypy.stubutil import FunctionContext, SignatureGenerator

EXTENSIONS = ("tensorrt_bindings.tensorrt", "tensorrt_rtx_bindings.tensorrt_rtx")
NEEDED = re.compile(rb"\0(lib(?:nv|tensorrt)[a-z_]+\.so\.\d+)(?=\0)")
ENTRY_POINTS = (
    *("createInferBuilder_INTERNAL", "createInferRefitter_INTERNAL", "createInferRuntime_INTERNAL"),
    *("createNvOnnxParser_INTERNAL", "createNvOnnxParserRefitter_INTERNAL", "getNvOnnxParserVersion"),
    *("getBuilderPluginRegistry", "getPluginRegistry", "initLibNvInferPlugins"),
)
# These answer None where they fail, which their docstrings do not say.
NONE_ON_FAILURE = ("build_serialized_network", "create_execution_context")
SAYS_NONE = re.compile(r":returns:[^\n]*\bNone\b")
# Any sequence of sizes is taken where the docstring says Dims.
DIMS = "Dims | collections.abc.Sequence[typing.SupportsInt]"
# What Python finds without a method of that name: by the buffer protocol, and by __getitem__.
UNNAMED = {
    "IHostMemory": "def __buffer__(self, flags: int, /) -> memoryview: ...",
    "Dims": "def __iter__(self) -> collections.abc.Iterator[int]: ...",
}
OF_EVERY_OBJECT = r"^ +(?:def __(?:eq|ne|hash)__\(self(?:, other: object)?\)|__entries:).*\n"
HEADER = '''"""TensorRT's bindings, release {version}: written by scripts/stub_tensorrt.py from their docstrings."""
# mypy: disable-error-code="assignment, misc, no-redef, no-untyped-def, override, overload-cannot-match, type-arg"

import tensorrt
from typing_extensions import Never
'''


class _Signatures(DocstringSignatureGenerator):
    """The docstrings' signatures, with C++ names as Python's, Dims as what is taken for them, and None where it is."""

    def get_function_sig(self, default_sig: FunctionSig, ctx: FunctionContext) -> list[FunctionSig] | None:
        ctx.docstring = _in_python(ctx.docstring or "")
        found = super().get_function_sig(default_sig, ctx)
        if not found:
            return found
        if ctx.name in NONE_ON_FAILURE or SAYS_NONE.search(ctx.docstring):
            found = [sig._replace(ret_type=f"{sig.ret_type} | None") for sig in found]
        for sig in found:
            _repair(sig)
        return found

    def get_property_type(self, default_type: str | None, ctx: FunctionContext) -> str | None:
        ctx.docstring = _in_python(ctx.docstring or "")
        return super().get_property_type(default_type, ctx)


def _in_python(doc: str) -> str:
    """Return the docstring with Python's names of classes in place of C++'s."""
    doc = re.sub(r"\bnv(?:infer1|onnxparser)::(?:\w+::)*", "", doc)
    return re.sub(r"\bI(?=(?:ParserError|Builder)\b)", "", doc)


def _repair(sig: FunctionSig) -> None:
    required = False
    for argument in reversed(sig.args):
        argument.default &= not required  # C++ takes what is required after what is not; Python does not
        required |= not argument.default and not argument.name.startswith("*")
        if argument.type and argument.type.rpartition(".")[2] == "Dims":
            argument.type = DIMS


class _Generator(InspectionStubGenerator):
    def get_sig_generators(self) -> list[SignatureGenerator]:
        return [_Signatures()]


def stub(bindings: ModuleType) -> str:
    """Return the stub file of the bindings: the package, with its extension loaded."""
    name = next(name for name in EXTENSIONS if name in sys.modules)
    generator = _Generator(name, [name])
    generator.generate_module()
    body = generator.output()
    body = re.sub(r"^\w+: DataType\n", "", body, flags=re.MULTILINE)  # `bool` hides the type; they are Module's
    body = re.sub(r"(?<=__members__: ClassVar\[)dict(?=\].*\n +\w+: ClassVar\[([\w.]+)\])", r"dict[str, \1]", body)
    body = re.sub(OF_EVERY_OBJECT, "", body, flags=re.MULTILINE)
    # pybind11's own __init__, which refuses to make one
    body = body.replace("def __init__(self, *args, **kwargs)", "def __init__(self, not_made_by_calling: Never, /)")
    for name, method in UNNAMED.items():
        body = body.replace(f"\nclass {name}:\n", f"\nclass {name}:\n    {method}\n")
    functions = re.findall(r"^def (\w+)\((.*)$", body, flags=re.MULTILINE)
    module = [f"    def {name}({f'self, {rest}'.replace(', )', ')')}" for name, rest in functions]
    module += _module(bindings)
    return HEADER.format(version=bindings.__version__) + body + "\n".join(["", "class Module:", *module, ""])


def _module(bindings: ModuleType) -> Iterator[str]:
    """The lines of class Module but for the extension's functions."""
    yield "    __version__: str"
    for name, value in sorted(vars(bindings).items()):
        if isinstance(value, type):
            yield f"    {name}: type[tensorrt.{name}]"
        elif isinstance(value, FunctionType):
            arguments = ", ".join(f"{argument}: Any" for argument in inspect.signature(value).parameters)
            yield f"    def {name}(self, {arguments}) -> Any: ..."
        elif type(value).__name__ == "DataType":
            yield f"    {name}: tensorrt.DataType"


def load_without_libraries(folder: Path) -> ModuleType:
    """Import the bindings that lie in `folder`, with empty libraries in place of the vendor's."""
    packages = [name.partition(".")[0] for name in EXTENSIONS]
    extension = next((path for name in packages for path in (folder / name).glob("*.so")), None)
    if extension is None:
        raise SystemExit(f"expected {' or '.join(packages)} in {folder}, found neither: see --help")
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
    """Write the stub of the bindings in a folder."""
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_written)
    parser.add_argument("folder", type=Path, help="what pip installed the bindings into")
    parser.add_argument("output", type=Path, help="the folder to write tensorrt/__init__.pyi into")
    options = parser.parse_args()
    target: Path = options.output / "tensorrt" / "__init__.pyi"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(stub(load_without_libraries(options.folder)), encoding="utf-8")


if __name__ == "__main__":
    main()
