"""`make resolve`: a pin that contradicts another is found, and no index is not taken for a contradiction."""

import os
import socket
import subprocess
import sys

import pytest

from tests.conftest import ROOT

SCRIPT = ROOT / "scripts" / "resolve.py"


def resolve(*arguments):
    return subprocess.run([sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, check=False)


@pytest.fixture
def closed_port():
    """A port of this machine where nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def test_no_index_is_told_apart(closed_port):
    done = resolve("--index", f"http://127.0.0.1:{closed_port}/simple")
    assert done.returncode == 3
    assert done.stdout.startswith(f"no index answers: expected one at http://127.0.0.1:{closed_port}/simple, found: ")
    assert done.stdout.count("\n") == 1


# The pin with which `make demo` failed wherever pip had PyPI alone: torch's build for CUDA asks for 13.0.88.
@pytest.mark.exhaustive  # asks the index for a minute; what it looks for, `make resolve` tells in every CI run
@pytest.mark.parametrize("pin", ["nvidia-cuda-nvrtc==13.5.37"])
def test_a_pin_that_torch_contradicts_is_found(pin, tmp_path):
    name = pin.partition("==")[0]
    pins = (ROOT / "constraints.txt").read_text().splitlines()
    planted = tmp_path / "constraints.txt"
    planted.write_text("\n".join(pin if line.startswith(name) else line for line in pins) + "\n")
    done = resolve("--python", "3.11", "--pins", str(planted))
    if done.returncode == 3:
        if os.environ.get("Y12_REQUIRE_INDEX") == "1":
            pytest.fail(f"$Y12_REQUIRE_INDEX is set, but {done.stdout}")
        pytest.skip(done.stdout.strip())
    assert done.returncode == 1, done.stdout + done.stderr
    bad = [line for line in done.stdout.splitlines() if line.startswith("does not resolve: ")]
    assert all("no pins" not in line and "+cpu" not in line for line in bad), bad
    assert any("cuda-toolkit" in line and "nvidia-cuda-nvrtc" in line for line in done.stdout.splitlines()), done.stdout
    assert len(bad) >= 2
