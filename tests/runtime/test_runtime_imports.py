"""What `import runtime` may load, and what it exports."""

import subprocess
import sys
from pathlib import Path

import runtime

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
import runtime
loaded = {name.partition(".")[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)
print(sorted(name for name in loaded if not name.startswith("_")))
"""


def run(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_every_module_imports_without_heavy_packages():
    assert int(run(EVERY_MODULE)) >= 20


def test_runtime_loads_numpy_only():
    assert run(THIRD_PARTIES) == "['numpy', 'runtime']"


def test_all_is_what_is_exported():
    public = {n for n, v in vars(runtime).items() if not n.startswith("_") and getattr(v, "__module__", None)}
    assert public == set(runtime.__all__)
    assert runtime.__all__ == sorted(runtime.__all__)
    assert all(getattr(runtime, name).__module__.startswith("runtime.") for name in runtime.__all__)
