"""The wheel, and environments with its extras outside the checkout; `make test-wheel` asks for these tests.

They download what a user downloads, gigabytes where torch is in it, so that the ordinary suite leaves them out.
"""

import glob
import os
from pathlib import Path

import pytest

from tests.wheel.environments import Environment, Environments, build, torch_wheel

collect_ignore_glob = [] if os.environ.get("Y12_TEST_WHEEL") == "1" else ["test_*.py"]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """The wheel that $Y12_WHEEL names, or one of this checkout."""
    if given := os.environ.get("Y12_WHEEL"):
        (found,) = glob.glob(given)
        return Path(found)
    return build(tmp_path_factory.mktemp("wheel"), "--wheel")


SIZES = pytest.StashKey[dict[str, int]]()


def pytest_terminal_summary(terminalreporter, config):
    """Return how large each environment was."""
    for extras, mebibytes in config.stash.get(SIZES, {}).items():
        terminalreporter.write_line(f"{mebibytes:6} MiB  [{extras}]")


@pytest.fixture(scope="session")
def environments(request, wheel, tmp_path_factory):
    """Make an environment with some extras, once a session."""
    torch = torch_wheel(tmp_path_factory.mktemp("torch"))
    made = Environments(wheel, torch, tmp_path_factory.mktemp("environments"))
    yield made
    request.config.stash[SIZES] = {extras: one.mebibytes() for extras, one in made.made.items()}


@pytest.fixture(scope="session")
def scenes(environments):
    """Eight drawn scenes with labels, made where there is no torch."""
    val: Environment = environments["val"]
    folder = val.home / "scenes"
    done = val.run("python", "-m", "y12.exporter.train.shapes", folder, "--images", "40", "--imgsz", "128")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def demo(environments):
    """What an export of the demo model to an engine leaves, verified, in an environment that is told no more."""
    env: Environment = environments["export,rtx"]
    done = env.run("y12-export", "--format", "engine", "--half", "--imgsz", "320", "--output", env.home / "demo")
    assert done.returncode == 0, done.stderr
    assert "verdict      verified" in done.stdout
    return env.home / "demo"
