"""Every package of the images has one version, in one of two files."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
HELPER = DOCKER / "scripts" / "requirements.py"


def pins(path):
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line) for line in lines)
    return {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}


COMMON, IMAGES = pins(ROOT / "constraints.txt"), pins(DOCKER / "constraints.txt")


def test_no_package_has_two_pins():
    assert set(COMMON) & set(IMAGES) == set()


def test_every_pin_has_the_hashes_of_its_files():
    lines = (DOCKER / "hashes.txt").read_text().splitlines()
    hashed = {}
    for line in lines:
        pin, *hashes = line.split(" ")
        assert hashes
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", one) for one in hashes)
        name, version = pin.split("==")
        hashed[canonicalize_name(name)] = version
    assert hashed == COMMON | IMAGES, "make hashes"


def asked(*arguments):
    return subprocess.run([sys.executable, str(HELPER), *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("extras", "without"),
    [
        ("export,val,gpu,rtx,tensorrt", ""),
        ("gpu,pycuda,rtx,tensorrt", "nvidia-cuda-nvrtc"),
        ("gpu,serve,ort,rtx,tensorrt", "nvidia-cuda-nvrtc"),
        ("gpu", ""),
    ],
)
def test_everything_an_image_installs_is_pinned_within_what_y12_accepts(extras, without):
    done = asked(extras, without)
    assert done.returncode == 0, done.stderr
    wanted = [Requirement(line) for line in done.stdout.splitlines()]
    assert {"numpy", "pillow", "opencv-python-headless"} < {requirement.name for requirement in wanted}
    for requirement in wanted:
        name = canonicalize_name(requirement.name)
        assert requirement.specifier.contains((COMMON | IMAGES)[name]), name
    assert without not in {requirement.name for requirement in wanted}


def test_what_builds_y12_is_pinned():
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    assert set(build) <= set(IMAGES)


def test_the_flavours_of_tensorrt_are_all_pinned_alike():
    assert len({version for name, version in IMAGES.items() if name.startswith("tensorrt")}) == 1
    assert len({version for name, version in COMMON.items() if name.startswith("tensorrt")}) == 1


def test_the_headers_are_of_the_version_that_builds_engines():
    text = (DOCKER / "cpp.Dockerfile").read_text()
    assert re.findall(r"^ARG TENSORRT_VERSION=(.+)$", text, re.MULTILINE) == [IMAGES["tensorrt"]]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), PROJECT["dependencies"]),
        (("",), PROJECT["dependencies"]),
        (("pycuda",), [*PROJECT["dependencies"], "pycuda"]),
        (("gpu", "nvidia-cuda-nvrtc,numpy"), [*PROJECT["dependencies"][1:], "cuda-core>=0.7"]),
    ],
)
def test_requirements_are_those_of_pyproject(arguments, expected):
    lines = asked(*arguments).stdout.splitlines()
    assert lines[: len(expected)] == expected
    assert len(lines) == len(set(lines))


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("gpu,rxt",), "Y12_EXTRAS: expected some of ort, .*, found 'rxt'"),
        (("gpu", "nvrtc"), "Y12_WITHOUT: expected some of numpy, .*, found 'nvrtc'"),
    ],
)
def test_what_is_not_there_is_refused(arguments, complaint):
    done = asked(*arguments)
    assert done.returncode == 1
    assert re.fullmatch(complaint + "\n", done.stderr)
