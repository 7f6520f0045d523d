"""The set-up of `make`: what it lacks is said in one line, and a set-up that failed leaves no environment behind."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.conftest import ROOT

SCRIPT = ROOT / "scripts" / "set_up.py"
# What a machine's settings would add to the index that a test names.
ELSEWHERE = {"PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": "", "PIP_EXTRA_INDEX_URL": "", "TORCH_INDEX": ""}
CLOSED = "http://127.0.0.1:9/simple"


def set_up(folder, python=sys.executable, **variables):
    command = [str(python), str(SCRIPT), str(folder), "dev"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    return subprocess.run(
        command, capture_output=True, text=True, env={**environment, **ELSEWHERE, **variables}, check=False
    )


def refused(done, folder, beginning, remedy):
    """The one line, and nothing that the next `make` could take for an environment."""
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stderr.startswith(f"set-up: expected {beginning}"), done.stderr
    assert remedy in done.stderr
    assert done.stderr.count("\n") == 1
    assert not folder.exists()


def old_python():
    """Any Python before 3.11 on the PATH, or where pyenv keeps them."""
    named = [shutil.which(f"python3.{minor}") for minor in (10, 9, 8)]
    for path in [*named, *map(str, Path.home().glob(".pyenv/versions/3.*/bin/python3"))]:
        if path and subprocess.run([path, "-c", "import sys; assert (3, 8) <= sys.version_info < (3, 11)"],
                                   capture_output=True, check=False).returncode == 0:  # fmt: skip
            return path
    return pytest.skip("no Python 3.8, 3.9 or 3.10 is here")


def test_a_python_that_is_too_old(tmp_path):
    folder = tmp_path / "venv"
    refused(set_up(folder, old_python()), folder, "Python 3.11 or later, found 3.", "do: make PYTHON=")


def test_a_python_without_ensurepip(tmp_path):
    """A real Python whose standard library lacks what Debian keeps in python3-venv."""
    standard = Path(sysconfig.get_path("stdlib"))
    lacking = tmp_path / "lib" / standard.name
    lacking.mkdir(parents=True)
    for entry in standard.iterdir():
        if entry.name not in ("ensurepip", "site-packages"):
            (lacking / entry.name).symlink_to(entry)
    folder = tmp_path / "venv"
    done = set_up(folder, Path(sys.executable).resolve(), PYTHONHOME=str(tmp_path))
    refused(done, folder, "Python's modules venv and ensurepip, found no ensurepip in", "apt-get install python3-venv")


def test_no_index(tmp_path):
    folder = tmp_path / "venv"
    done = set_up(folder, PIP_INDEX_URL=CLOSED)
    refused(done, folder, "a package index that answers for torch, found none", "PIP_INDEX_URL")


@pytest.mark.exhaustive
def test_an_index_of_torch_that_was_asked_for_is_not_replaced(tmp_path):
    folder = tmp_path / "venv"
    done = set_up(folder, TORCH_INDEX=CLOSED)
    refused(done, folder, f"a package index that answers for torch from {CLOSED}, found none", "do: ")
    assert done.stdout == ""


@pytest.mark.exhaustive
def test_an_environment_that_was_left_half_made_is_made_anew(tmp_path):
    folder = tmp_path / "venv"
    folder.mkdir()
    (folder / "being-made").touch()
    (folder / "lib").mkdir()
    refused(set_up(folder, PIP_INDEX_URL=CLOSED), folder, "a package index", "do: ")


def test_an_environment_that_was_there_stays(tmp_path):
    folder = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    (folder / "mine").touch()
    assert set_up(folder, PIP_INDEX_URL=CLOSED).returncode == 1
    assert (folder / "mine").exists()
    assert not (folder / "installed").exists()


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 8 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"a small disk cannot be mounted: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk(small_disk):
    """Pip itself does not fit: the disk is full before torch's size is looked at."""
    folder = small_disk / "venv"
    refused(set_up(folder), folder, "disk for a virtual environment, found none left", "do: free some")


@pytest.mark.exhaustive
def test_a_disk_that_is_too_small_for_torch(tmp_path, small_disk):
    """A CPU build, offered from a folder, is refused before it is downloaded to a disk that cannot hold it."""
    folder = tmp_path / "venv"
    torch = next(line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.startswith("torch=="))
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    name = f"torch-{torch.partition('==')[2]}+cpu-{tag}-{tag}-linux_x86_64.whl"
    page = tmp_path / "simple" / "torch"
    page.mkdir(parents=True)
    (page / "index.html").write_text(f'<a href="{name}">{name}</a>')
    done = set_up(folder, PIP_INDEX_URL=(tmp_path / "simple").as_uri(), TMPDIR=str(small_disk))
    refused(done, folder, "0.7 GB of free disk at", "do: free some")
    assert "+cpu, as pip is set up to find it" in done.stdout
