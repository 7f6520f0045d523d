"""`y12 --version --verbose`: what a report of a fault needs, and nothing of who reports it or where."""

import getpass
import os
import platform
import socket
from importlib import metadata
from pathlib import Path

import pytest

from y12 import cli
from y12.runtime.cli import about


def told(capsys, *arguments):
    assert cli.main(list(arguments)) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out.splitlines()


@pytest.mark.parametrize("arguments", [("--version", "--verbose"), ("--verbose", "--version")])
def test_it_tells_versions_processor_and_gpu(arguments, capsys):
    lines = told(capsys, *arguments)
    facts = {line.split()[0]: line.split(maxsplit=1)[1] for line in lines[: lines.index("packages")]}
    assert list(facts) == ["y12", "python", "system", "processor", "GPU", "driver"]
    assert facts["y12"] == metadata.version("y12")
    assert facts["python"].endswith(platform.python_version())
    assert f"{len(os.sched_getaffinity(0))} core" in facts["processor"]
    assert f"  numpy=={metadata.version('numpy')}" in lines


def test_packages_of_developers_alone_are_left_out(capsys):
    names = [line.strip().partition("==")[0] for line in told(capsys, "--version", "--verbose") if "==" in line]
    assert "numpy" in names
    assert not {"pytest", "ruff", "mypy"} & set(names)
    assert names == sorted(names, key=str.lower)


def test_it_tells_no_path_and_no_name(capsys, monkeypatch):
    monkeypatch.setattr(platform, "release", lambda: "6.1.0-acme-build7")
    out = "\n".join(told(capsys, "--version", "--verbose"))
    assert "Linux 6.1.0," in out
    assert "/" not in out
    words = set(out.replace(",", " ").split())
    assert not {getpass.getuser(), socket.gethostname(), Path.home().name} & words
    assert out.isascii()


PROCESSORS = [  # an excerpt of /proc/cpuinfo, and what is told of it besides the cores
    ("model name\t: Some CPU @ 2.00GHz\nflags\t\t: fpu sse4_1 avx2 avx512f avx512_vnni\n",
     "Some CPU @ 2.00GHz, {}, sse4_1 avx2 avx512f avx512_vnni"),
    ("processor\t: 0\nFeatures\t: fp asimd asimddp\nCPU part\t: 0xd0c\n", f"{platform.machine()}, {{}}, asimd asimddp"),
    ("", f"{platform.machine()}, {{}}"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), PROCESSORS, ids=["x86", "arm", "unreadable"])
def test_a_processor(text, expected, tmp_path):
    file = tmp_path / "cpuinfo"
    if text:
        file.write_text(text)
    cores = len(os.sched_getaffinity(0))
    assert about._processor(file) == expected.format("1 core" if cores == 1 else f"{cores} cores")


CLOSED, OPEN = "NVIDIA UNIX x86_64 Kernel Module  570.86.10", "NVIDIA UNIX Open Kernel Module for x86_64  580.65.06"
DRIVERS = [
    (f"NVRM version: {CLOSED}  Thu Jan 1 2026\nGCC version: 12\n", "NVIDIA 570.86.10"),
    (f"NVRM version: {OPEN}  Release Build  (dvs@host)\n", "NVIDIA 580.65.06"),
    ("something else\n", "NVIDIA, of a version that it does not tell"),
    (None, "none of NVIDIA's"),
]


@pytest.mark.parametrize(("text", "expected"), DRIVERS)
def test_a_driver(text, expected, tmp_path):
    file = tmp_path / "version"
    if text is not None:
        file.write_text(text)
    assert about._driver(file) == expected


def test_verbose_alone_is_refused_in_one_line(capsys):
    assert cli.main(["--verbose", "inspect"]) == 2
    assert capsys.readouterr() == (
        "",
        "error: --verbose: expected --version with it, found none; do: y12 --version --verbose\n",
    )
