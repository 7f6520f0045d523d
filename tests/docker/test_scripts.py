"""The steps of the images, as scripts: linted, documented, and run where they can be."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

DOCKER = Path(__file__).resolve().parents[2] / "docker"
SCRIPTS = sorted((DOCKER / "scripts").glob("*.sh"))
FOREIGN = {"PATH", "HOME", "PIP_CONSTRAINT", "DEBIAN_FRONTEND"}


def run(name, *arguments, prefix=(), **variables):
    command = [*prefix, "bash", str(DOCKER / "scripts" / name), *arguments]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("Y12_")}
    return subprocess.run(command, env=environment | variables, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: p.name)
def test_shellcheck_finds_nothing(path):
    shellcheck = shutil.which("shellcheck", path=str(Path(sys.executable).parent)) or shutil.which("shellcheck")
    if shellcheck is None:
        pytest.skip("shellcheck is not installed: pip install -e '.[dev]'")
    done = subprocess.run(
        [shellcheck, "--enable=all", "--exclude=SC2250,SC2312", str(path)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: p.name)
def test_scripts_stop_at_an_error_and_say_what_they_take(path):
    text = path.read_text()
    assert text.startswith("#!/usr/bin/env bash\n# ")
    assert "\nset -euo pipefail\n" in text
    assert os.access(path, os.X_OK)
    taken = set(re.findall(r"\$\{([A-Z][A-Z0-9_]*):?-", text))
    assert taken == set(re.findall(r"^#   ([A-Z][A-Z0-9_]*)  ", text, re.MULTILINE))
    assert set(re.findall(r"\$\{?([A-Z][A-Z0-9_]*)(?![A-Za-z0-9_])", text)) <= taken | FOREIGN


@pytest.mark.parametrize("arguments", [(), ("deploy",)])
def test_an_unknown_kind_of_image_is_refused(arguments):
    done = run("install_system.sh", *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("install_system.sh: expected run or build, found '")


@pytest.mark.parametrize("version", ["", "11", "11.4", "latest", "11.4.0.106*", "11.4.0 x"])
def test_a_version_of_tensorrt_that_says_too_little_is_refused(version):
    done = run("install_tensorrt_dev.sh", TENSORRT_VERSION=version)
    assert done.returncode == 2
    assert done.stderr == (
        f"install_tensorrt_dev.sh: expected TENSORRT_VERSION such as 11.4.0.106, found '{version}'\n"
    )


def test_pycuda_without_cuda_is_refused(tmp_path):
    done = run("build_pycuda.sh", CUDA_ROOT=str(tmp_path), WHEELS=str(tmp_path / "wheels"))
    assert done.returncode == 1
    assert done.stderr == (
        f"build_pycuda.sh: expected the CUDA toolkit in CUDA_ROOT, found no {tmp_path}/include/cuda.h\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_the_kernels_are_built(tmp_path):
    pytest.importorskip("cuda.core", reason="cuda-core and NVRTC are not installed: pip install -e '.[gpu]'")
    environment = Path(sys.executable).parents[1]
    done = run("build_kernels.sh", VENV=str(environment), Y12_SMS="120", Y12_KERNELS=str(tmp_path / "kernels"))
    assert done.returncode == 0, done.stderr
    assert all(" sm_120 " in line for line in done.stdout.splitlines()[:-1])
    assert len(list((tmp_path / "kernels").iterdir())) == len(done.stdout.splitlines()) - 1 >= 3


# A Python whose environments have a pip that only tells what it was asked for, and with which pins.
FAKE_PYTHON = """#!/usr/bin/env bash
mkdir -p "$3/bin"
printf '#!/bin/sh\\nexec {python} "$@"\\n' >"$3/bin/python"
cat >"$3/bin/pip" <<'PIP'
#!/usr/bin/env bash
echo "$*" >>{log}
[[ "$*" == *--require-hashes* ]] && exit # pip itself
cp "$PIP_CONSTRAINT" {log}.pins
[[ ! -e {log}.fail ]]
PIP
chmod +x "$3/bin/pip" "$3/bin/python"
"""


def install(folder, **variables):
    """Run install_packages.sh with that pip; give what it did, and what pip was asked for."""
    log, python = folder / "log", folder / "python"
    python.write_text(FAKE_PYTHON.format(python=sys.executable, log=log))
    python.chmod(0o755)
    done = run("install_packages.sh", VENV=str(folder / "venv"), PYTHON=str(python), **variables)
    return done, log.read_text().splitlines()


@pytest.mark.parametrize("index", ["", "https://example.org/whl/cpu", "https://example.org/whl/cu130"])
def test_torch_comes_alone_and_first_from_the_index_that_is_named_and_is_of_its_kind(tmp_path, index):
    torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'y12[export]'")
    done, (*first, last) = install(tmp_path, Y12_EXTRAS="export", TORCH_INDEX=index, WHEELS="/wheels")
    common = "install --quiet --disable-pip-version-check "
    own = first.pop(0)
    assert own.startswith(f"{common}--require-hashes --requirement ")  # pip itself
    assert first == ([f"{common}--no-deps --index-url {index} torch"] if index else [])
    assert "--find-links /wheels" in last
    assert "torch>=2.6" in last.split()
    pins = (tmp_path / "log.pins").read_text()
    assert ("--hash=sha256:" in pins) == ("/cu" not in index)
    assert (" no file's hash is compared\n" in done.stdout) == ("/cu" in index)
    assert "\ntorch==" in pins
    assert "\npycuda==" in pins
    assert ("\nnvidia-cuda-nvrtc==" in pins) == ("/cu" not in index)
    is_for_the_cpu, wrong = torch.version.cuda is None, ""
    if (index.endswith("/cpu") and not is_for_the_cpu) or ("/cu" in index and is_for_the_cpu):
        wrong = "install_packages.sh: expected torch.version.cuda to be "
        assert done.stderr.endswith(f" by TORCH_INDEX, found {torch.version.cuda}; see WHEELS\n")
    assert (done.returncode, done.stderr[: len(wrong)]) == (int(bool(wrong)), wrong)


def test_a_wheel_of_torch_that_is_there_is_taken_and_that_is_said(tmp_path):
    index = "https://example.org/whl/cpu"
    (tmp_path / "torch-2.13.0+cpu-cp311-cp311-linux_x86_64.whl").touch()
    done, asked = install(tmp_path, Y12_EXTRAS="export", TORCH_INDEX=index, WHEELS=str(tmp_path))
    assert asked[1].endswith(f" --no-deps --no-index --find-links {tmp_path} torch")
    assert f"torch is taken from {tmp_path}, {index} is not asked\n" in done.stdout


def test_torch_that_cannot_be_had_is_told_in_a_line(tmp_path):
    (tmp_path / "log.fail").touch()
    done, _ = install(tmp_path, Y12_EXTRAS="export", TORCH_INDEX="https://example.org/whl/cpu")
    assert done.returncode == 1
    assert done.stderr == (
        "install_packages.sh: expected torch at --index-url https://example.org/whl/cpu, got none; "
        "name another TORCH_INDEX, or put its wheel in WHEELS\n"
    )


def test_a_toolkit_that_is_there_is_not_stood_in_for(tmp_path):
    (tmp_path / "include").mkdir()
    (tmp_path / "include" / "cuda.h").write_text("of the toolkit")
    done = run("stand_in_toolkit.sh", CUDA_ROOT=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith(
        f"stand_in_toolkit.sh: expected no toolkit in CUDA_ROOT, found {tmp_path}/include/cuda.h"
    )
    assert [path.name for path in tmp_path.rglob("*.h")] == ["cuda.h"]
