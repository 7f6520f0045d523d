"""What `import y12` may load, and what it exports."""

import subprocess
import sys
from pathlib import Path

import pytest

from y12 import runtime

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "onnx", "onnxruntime", "tensorrt", "tensorrt_rtx", "cuda", "cv2", "PIL", "exporter")
EVERY_MODULE = f"""
import sys
for name in {HEAVY!r}:
    sys.modules[name] = None  # `import name` now raises ModuleNotFoundError
import importlib, pkgutil, runtime
names = [m.name for m in pkgutil.walk_packages(runtime.__path__, "runtime.")]
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
try:
    main(["--help"])
except SystemExit as end:
    assert end.code == 0
"""


@pytest.mark.parametrize(
    ("code", "loaded"), [("import y12", "runtime"), ("from y12 import *\nRuntime", "numpy runtime")]
)
def test_runtime_loads_numpy_only_and_that_when_it_is_used(code, loaded):
    assert run(THIRD_PARTIES.format(code=code)) == loaded


@pytest.mark.parametrize("command", ["infer", "bench", "inspect"])
def test_help_does_not_wait_for_numpy(command):
    code = THIRD_PARTIES.format(code=HELP.format(module=f"y12.runtime.cli.{command}"))
    assert run(code).splitlines()[-1] == "runtime"


def test_all_is_what_is_exported():
    assert runtime.__all__ == sorted(runtime.__all__)
    assert set(runtime.__all__) <= set(dir(runtime))
    for name in runtime.__all__:
        thing = getattr(runtime, name)
        assert (thing.__name__, thing.__module__.partition(".")[0]) == (name, "runtime")
        assert vars(runtime)[name] is thing  # the second time it is there
    with pytest.raises(AttributeError, match="module 'runtime' has no attribute 'Runtimes'"):
        _ = runtime.Runtimes
