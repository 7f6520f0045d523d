"""The runtime image's installation, run into a folder: it works without torch, and its check finds what is wrong."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docker.test_scripts import run
from y12.runtime.cli.prebuild import prebuild
from y12.runtime.kernels.sources import kernel_names

pytestmark = pytest.mark.slow
USER = ("unshare", "--user", "--map-user=10001", "--map-group=10001")  # root is an ordinary user in there
IMPORTED = "import sys, y12.runtime.session, cv2, cuda.core; print(*sorted({'torch', 'onnx'} & set(sys.modules)))"


pytestmark = pytest.mark.exhaustive  # an environment of its own takes half a minute; .ci/run has them


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """What the stages `packages`, `y12` and `kernels` make, without TensorRT and pycuda."""
    folder = tmp_path_factory.mktemp("image")
    variables = {"VENV": str(folder / "venv"), "PYTHON": sys.executable, "KEEP_PIP": "0"}
    done = run("install_packages.sh", Y12_EXTRAS="gpu", Y12_WITHOUT="nvidia-cuda-nvrtc", **variables)
    assert done.returncode == 0, done.stderr
    done = run("install_y12.sh", **variables)
    assert done.returncode == 0, done.stderr
    assert list(prebuild((89,), folder / "kernels"))
    return folder


def writable(path, yes):
    """Let the owner write to everything in a folder, or nobody."""
    for name in [path, *path.rglob("*")]:
        if not name.is_symlink():
            name.chmod(name.stat().st_mode | 0o200 if yes else name.stat().st_mode & ~0o222)


def check(image, prefix=None, kernels="kernels"):
    if prefix is None:
        prefix = USER if os.getuid() == 0 else ()
    if prefix and subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode:
        pytest.skip("user namespaces are not allowed here")
    return run("check_runtime.sh", prefix=prefix, VENV=str(image / "venv"), Y12_KERNELS=str(image / kernels))


def python(image, code, **variables):
    command = [str(image / "venv" / "bin" / "python"), "-c", code]
    return subprocess.run(
        command, cwd="/", env={"PATH": "/usr/bin:/bin"} | variables, capture_output=True, text=True, check=False
    )


def test_the_runtime_needs_neither_torch_nor_pip(image):
    done = python(image, IMPORTED)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr
    for module in ("torch", "onnx", "pip", "setuptools", "onnxruntime"):
        assert "ModuleNotFoundError" in python(image, f"import {module}").stderr


def test_y12_is_installed_as_a_wheel(image):
    done = python(image, "import y12; print(y12.__file__)")
    assert Path(done.stdout.strip()).is_relative_to(image / "venv")


def test_kernels_are_found_without_nvrtc(image):
    code = "from y12.runtime.kernels.nvrtc import compile_cubin; from y12.runtime.kernels.sources import *; "
    code += "print(sum(len(compile_cubin(kernel_source(name), SM)) > 1000 for name in kernel_names()))"
    kernels = {"Y12_KERNELS": str(image / "kernels"), "HOME": "/nonexistent"}
    assert python(image, code.replace("SM)", "89)"), **kernels).stdout.strip() == str(len(kernel_names()))
    done = python(image, code.replace("SM)", "86)"), **kernels)
    assert "has no code of a kernel for this GPU" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("y12.errors.MissingPackageError: ")


def test_the_health_check_says_in_one_line_that_there_is_no_gpu(image):
    code = "import ctypes, sys\nfrom y12.runtime.cli.health import main\nsys.exit(main([]))"
    done = python(image, code, Y12_KERNELS=str(image / "kernels"))
    if done.returncode == 0:
        assert done.stdout.startswith("healthy: ")
        return
    assert done.stderr.startswith("error: expected an NVIDIA driver")
    assert len(done.stderr.splitlines()) == 1


def test_the_image_is_accepted(image):
    writable(image, yes=False)
    try:
        done = check(image)
    finally:
        writable(image, yes=True)
    assert done.returncode == 0, done.stderr
    assert f"no torch, {len(kernel_names())} compiled kernels" in done.stdout


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be root")
def test_root_is_refused(image):
    done = check(image, prefix=())
    assert done.returncode == 1
    assert done.stderr == "check_runtime.sh: expected an ordinary user, found root\n"


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (None, "cannot be written to by"),
        ("torch", "expected no torch in the image, found it"),
        ("cv2", "expected cv2 in the image"),
        ("kernels", "expected the code of every kernel in"),
    ],
)
def test_an_image_that_is_not_as_it_should_be_is_refused(image, damage, complaint):
    (packages,) = (image / "venv" / "lib").glob("python*/site-packages")
    away, empty = image / "away", image / "none"
    empty.mkdir(exist_ok=True)
    if damage == "torch":
        (packages / "torch.py").write_text("")
    if damage == "cv2":
        shutil.move(packages / "cv2", away)
    writable(image, yes=damage is None)
    try:
        done = check(image, kernels="none" if damage == "kernels" else "kernels")
    finally:
        writable(image, yes=True)
        (packages / "torch.py").unlink(missing_ok=True)
        if away.exists():
            shutil.move(away, packages / "cv2")
    assert done.returncode == 1
    assert complaint in done.stderr.splitlines()[-1]
