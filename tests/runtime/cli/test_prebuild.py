"""Kernels compiled beforehand: what is in the folder, and that reading them needs no compiler."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from y12.errors import ExecutorError
from y12.installing import install_command
from y12.runtime.cli.prebuild import compute_capabilities, main, prebuild
from y12.runtime.kernels.cache import PREBUILT_VARIABLE
from y12.runtime.kernels.nvrtc import nvrtc_version
from y12.runtime.kernels.sources import SMS, kernel_names

ROOT = Path(__file__).resolve().parents[3]
needs_nvrtc = pytest.mark.skipif(
    importlib.util.find_spec("cuda") is None, reason="cuda-core and NVRTC are not installed: pip install -e '.[gpu]'"
)
# What the container does: code is taken where neither cuda-core nor NVRTC can be imported.
WITHOUT_COMPILER = """
import sys
for name in ("cuda", "cuda.core", "cuda.bindings"):
    sys.modules[name] = None
from y12.runtime.kernels.nvrtc import compile_cubin
from y12.runtime.kernels.sources import kernel_names, kernel_source
print(sum(len(compile_cubin(kernel_source(name), {sm})) for name in kernel_names()))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prebuilt") / "opt" / "kernels"
    return folder, list(prebuild((89, 120), folder))


def code_size(folder, sm, home):
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_COMPILER.format(sm=sm)],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "XDG_CACHE_HOME": str(home), PREBUILT_VARIABLE: str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


@needs_nvrtc
def test_every_kernel_for_every_generation_asked_for(folder):
    folder, built = folder
    assert [(one.name, one.sm) for one in built] == [(name, sm) for name in kernel_names() for sm in (89, 120)]
    assert {one.path for one in built} == set(folder.iterdir())
    assert all(one.path.stat().st_mode & 0o777 == 0o644 for one in built)
    assert folder.stat().st_mode & 0o005 == 0o005  # the container's user is not who filled it


@needs_nvrtc
@pytest.mark.parametrize("sm", [89, 120])
def test_reading_them_needs_no_compiler_and_no_cache(folder, sm, tmp_path):
    folder, built = folder
    done = code_size(folder, sm, tmp_path)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == sum(one.path.stat().st_size - 32 for one in built if one.sm == sm)
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []


@needs_nvrtc
def test_another_generation_is_told_and_needs_the_compiler(folder, tmp_path):
    done = code_size(folder[0], 86, tmp_path)
    assert done.returncode == 1
    assert "has no code of a kernel for this GPU" in done.stderr
    assert "needs the package" in done.stderr.splitlines()[-1]


@needs_nvrtc
def test_the_command_tells_each_file(tmp_path, capsys):
    assert main(["--sm", "86,80,86", "--output", str(tmp_path / "k")]) == 0
    *lines, total = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [[n, f"sm_{sm}"] for n in kernel_names() for sm in (80, 86)]
    sizes = [path.stat().st_size for path in (tmp_path / "k").iterdir()]
    assert total == f"{len(sizes)} files, {sum(sizes)} bytes by NVRTC {nvrtc_version()} in {tmp_path / 'k'}"


@needs_nvrtc
def test_a_generation_nvrtc_does_not_know_is_refused(tmp_path, capsys):
    assert main(["--sm", "997", "--output", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: NVRTC could not compile a kernel for SM 997")
    assert len(error.splitlines()) == 1


@needs_nvrtc
def test_a_folder_that_cannot_be_written_is_refused(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["--sm", "80", "--output", str(tmp_path / "file")]) == 1
    assert "expected a folder to write to" in capsys.readouterr().err


def test_without_the_compiler_it_says_what_to_install(tmp_path):
    code = "import sys; sys.modules['cuda'] = None\nfrom y12.runtime.cli.prebuild import main\n"
    code += "sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "--output", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.strip().endswith(
        f"needs the package 'nvidia-cuda-nvrtc' of y12's extra [gpu], which is not installed: {install_command('gpu')}"
    )


@pytest.mark.parametrize(("text", "expected"), [("89", (89,)), ("120,75", (75, 120)), ("86,86", (86,))])
def test_compute_capabilities(text, expected):
    assert compute_capabilities(text) == expected


@pytest.mark.parametrize("text", ["", "8.9", "sm_89", "74", "75,", "1000", "-89"])
def test_compute_capabilities_are_refused(text, capsys):
    assert main([f"--sm={text}", "--output", "nowhere"]) == 2
    assert "expected compute capabilities such as 75,89 (8.9)" in capsys.readouterr().err


def test_the_default_is_every_generation():
    assert SMS == (75, 80, 86, 89, 90, 100, 120)


def test_a_kernel_that_is_not_in_the_code_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("y12.runtime.cli.prebuild.nvrtc_cubin", lambda source, sm: b"\x7fELF")
    with pytest.raises(ExecutorError, match="in the compiled code, found none"):
        list(prebuild((80,), tmp_path))
    assert list(tmp_path.iterdir()) == []
