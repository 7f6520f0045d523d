"""What importing y12 and asking for help may load, and which way imports point."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("torch", "onnx", "onnxruntime", "onnxsim", "tensorrt", "tensorrt_rtx", "cuda", "safetensors", "yaml", "rich")
HEAVY += ("numpy", "cv2", "PIL")
PROBE = """
import sys
{code}
print(" ".join(sorted(set({heavy!r}) & set(sys.modules))))
"""


def loaded(code: str) -> list[str]:
    """Which heavy packages a fresh interpreter has loaded after some code."""
    code = PROBE.format(code=code, heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1].split()


HELP = """
from {module} import main
assert main(["--help"]) == 0
"""


@pytest.mark.parametrize(
    "module",
    [
        "y12.exporter.cli.export",
        "y12.exporter.cli.tune",
        "y12.exporter.cli.val",
        "y12.cli",
        "y12.runtime.cli.infer",
        "y12.runtime.cli.bench",
        "y12.runtime.cli.inspect",
        "y12.serve.cli",
        "y12.bundle.cli",
        "y12.bundle.triton.cli",
        "y12.bundle.web.cli",
        "y12.bundle.deepstream.cli",
    ],
)
def test_help_loads_nothing_heavy(module):
    assert loaded(HELP.format(module=module)) == []


@pytest.mark.parametrize(
    "module",
    [
        "y12.exporter",
        "y12.errors",
        "y12.exporter.export_config",
        "y12.exporter.cli.export",
        "y12.exporter.verify.verify_options",
    ],
)
def test_modules_that_only_describe_load_nothing_heavy(module):
    assert loaded(f"import {module}") == []


def test_the_probe_sees_what_is_loaded():
    assert "onnx" in loaded("import y12.exporter.graph.index")


def test_a_wrong_command_line_is_refused_before_anything_heavy_is_loaded():
    code = "from y12.exporter.cli.export import main\nassert main(['--half', '--int8']) == 1"
    assert loaded(code) == []


FACES = [ROOT / "y12" / face / "__init__.py" for face in ("", "exporter", "runtime")]  # lazy names, and a refusal


@pytest.mark.parametrize("path", sorted(set((ROOT / "y12").rglob("__init__.py")) - set(FACES)), ids=str)
def test_stage_packages_hold_a_docstring_only(path):
    body = ast.parse(path.read_text()).body
    assert len(body) == 1
    assert ast.get_docstring(ast.Module(body, []))


def test_import_contracts_hold():
    lint = shutil.which("lint-imports", path=str(Path(sys.executable).parent)) or shutil.which("lint-imports")
    if lint is None:
        pytest.skip("import-linter is not installed: pip install -e '.[dev]'")
    done = subprocess.run([lint, "--no-cache"], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout
    assert ", 0 broken" in done.stdout
