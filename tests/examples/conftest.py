"""examples/cpp, compiled once against the stand-in for CUDA and TensorRT."""

import shutil
import subprocess

import numpy as np
import pytest

from tests.examples.cpp_program import SOURCE, STUB, Run

FLAGS = ["-std=c++17", "-O0", "-g", "-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-Wno-sign-conversion", "-Werror"]


@pytest.fixture
def rng():
    return np.random.default_rng(12)


@pytest.fixture(scope="session")
def program(tmp_path_factory):
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("g++ is not installed")
    path = tmp_path_factory.mktemp("cpp") / "detect"
    sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover"]
    command = [compiler, *FLAGS, *sanitizers, "-isystem", str(STUB), str(SOURCE), "-o", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return path


@pytest.fixture
def run(program, tmp_path):
    return Run(program, tmp_path)
