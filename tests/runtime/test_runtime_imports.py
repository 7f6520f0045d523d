"""What `import y12` may load, and what it exports."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import y12

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "onnx", "onnxruntime", "tensorrt", "tensorrt_rtx", "cuda", "cv2", "PIL", "y12.exporter")
EVERY_MODULE = f"""
import sys
for name in {HEAVY!r}:
    sys.modules[name] = None  # `import name` now raises ModuleNotFoundError
import importlib, pkgutil, y12.runtime
names = [m.name for m in pkgutil.walk_packages(y12.runtime.__path__, "y12.runtime.")]
for name in names:
    importlib.import_module(name)
print(len(names))
"""
THIRD_PARTIES = """
import sys
before = set(sys.modules)
{code}
loaded = set(name.partition(".")[0] for name in set(sys.modules) - before) - set(sys.stdlib_module_names)
print(*sorted(name for name in loaded if not name.startswith("_")))
"""


def run(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_every_module_imports_without_heavy_packages():
    assert int(run(EVERY_MODULE)) >= 20


HELP = """
from {module} import main
assert main(["--help"]) == 0
"""


@pytest.mark.parametrize(("code", "loaded"), [("import y12", "y12"), ("from y12 import Runtime", "numpy y12")])
def test_runtime_loads_numpy_only_and_that_when_it_is_used(code, loaded):
    assert run(THIRD_PARTIES.format(code=code)) == loaded


@pytest.mark.parametrize("command", ["infer", "bench", "inspect"])
def test_help_does_not_wait_for_numpy(command):
    code = THIRD_PARTIES.format(code=HELP.format(module=f"y12.runtime.cli.{command}"))
    assert run(code).splitlines()[-1] == "click shellingham typer y12"


def test_all_is_what_is_exported():
    assert y12.__all__ == sorted(y12.__all__)
    assert set(y12.__all__) <= set(dir(y12))
    for name in set(y12.__all__) - {"__version__"}:
        thing = getattr(y12, name)
        if name == "models":
            assert thing.__name__ == "y12.models"
        else:
            assert (thing.__name__, thing.__module__.partition(".")[0]) == (name, "y12")
        assert vars(y12)[name] is thing  # the second time it is there
    assert y12.__version__ == version("y12")
    with pytest.raises(AttributeError, match="module 'y12' has no attribute 'Runtimes'"):
        _ = y12.Runtimes


@pytest.mark.parametrize("half", ["exporter", "runtime"])
def test_a_half_of_it_refuses_another_name(half):
    """The links at the top of a checkout are for people: imported through them, every class would exist twice."""
    done = subprocess.run(
        [sys.executable, "-c", f"import {half}"], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"ImportError: expected `import y12.{half}`, found `import {half}`")
