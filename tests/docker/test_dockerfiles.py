"""The Dockerfiles, as far as they can be checked without a Docker engine."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docker.dockerfiles import DOCKER, DOCKERFILES, ROOT, commands, copied, lineage, stages

STAGES = [(path, stage) for path in DOCKERFILES for stage in stages(path)]
FINAL = [(path, stages(path)[-1]) for path in DOCKERFILES]


def ids(value):
    return getattr(value, "stem", None) or getattr(value, "name", None)


def test_there_are_three():
    assert [path.name for path in DOCKERFILES] == ["cpp.Dockerfile", "export.Dockerfile", "runtime.Dockerfile"]


@pytest.mark.parametrize("path", DOCKERFILES, ids=ids)
def test_hadolint_finds_nothing(path):
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed: pip install -e '.[dev]'")
    done = subprocess.run([hadolint, str(path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(("path", "stage"), STAGES, ids=ids)
def test_base_images_are_of_one_version(path, stage):
    if any(stage.base == other.name for other in stages(path)):
        return
    assert re.fullmatch(r"nvidia/cuda:13\.0\.1-(base|devel)-ubuntu24\.04", stage.base)


@pytest.mark.parametrize(("path", "stage"), STAGES, ids=ids)
def test_what_is_copied_is_there_and_in_the_build_context(path, stage):
    ignore = (ROOT / ".dockerignore").read_text().split("\n")
    allowed = {line[1:] for line in ignore if line.startswith("!")}
    assert "*" in ignore
    for source, _ in copied(stage):
        assert (ROOT / source).exists()
        assert source.partition("/")[0] in allowed


@pytest.mark.parametrize(("path", "stage"), STAGES, ids=ids)
def test_what_comes_from_a_stage_was_made_there(path, stage):
    named = {other.name: other for other in stages(path)}
    for rest in stage.all("COPY"):
        match = re.match(r"--from=(\S+) (\S+) \S+$", rest)
        if match:
            made = [
                value
                for part in lineage(named[match[1]], list(named.values()))
                for v, _ in commands(part)
                for value in v.values()
            ]
            assert match[2] in made


@pytest.mark.parametrize(("path", "stage"), STAGES, ids=ids)
def test_every_step_is_a_script_that_was_copied_with_the_variables_it_knows(path, stage):
    here = [part for ancestor in lineage(stage, stages(path)) for part in copied(ancestor)]
    scripts = {target.rstrip("/") + "/" + Path(source).name: source for source, target in here}
    for variables, words in commands(stage):
        if words[0] in ("useradd", "install", "rm"):
            continue
        assert words[0] in scripts
        script = (ROOT / scripts[words[0]]).read_text()
        assert [name for name in variables if f"#   {name} " not in script] == []


@pytest.mark.parametrize(("path", "stage"), STAGES, ids=ids)
def test_nothing_of_y12_is_copied_before_what_it_needs_is_installed(path, stage):
    """Else a change of a line of y12 would install everything again."""
    words = [(name, rest) for part in reversed(lineage(stage, stages(path))) for name, rest in part.instructions]
    first = next((i for i, (name, rest) in enumerate(words) if name == "COPY" and rest.startswith("runtime ")), None)
    later = [rest for name, rest in words[first:] if name == "RUN"] if first is not None else []
    assert not any("install_packages" in rest or "install_system" in rest for rest in later)


@pytest.mark.parametrize(("path", "stage"), FINAL, ids=ids)
def test_the_image_runs_as_an_ordinary_user(path, stage):
    assert stage.all("USER") == ["10001:10001"]
    user = [name for name, _ in stage.instructions].index("USER")
    assert not any("/opt/y12" in rest for name, rest in stage.instructions[user:] if name == "COPY")
    assert any("--uid 10001" in rest for rest in stage.all("RUN"))
    assert not any("--chown" in rest for rest in stage.all("COPY"))  # its own code is not the user's to change


@pytest.mark.parametrize("name", ["export", "runtime"])
def test_a_file_among_the_data_is_not_taken_for_a_module(name):
    environment = stages(DOCKER / f"{name}.Dockerfile")[-1].all("ENV")[0].split()
    assert "PYTHONSAFEPATH=1" in environment


def test_the_runtime_image_checks_itself_and_its_health():
    stage = stages(DOCKER / "runtime.Dockerfile")[-1]
    assert stage.all("RUN")[-1] == "/opt/y12/check_runtime.sh"
    assert stage.all("HEALTHCHECK")[0].endswith('CMD ["python", "-m", "runtime.health"]')
    environment = dict(part.split("=", 1) for part in stage.all("ENV")[0].split())
    assert environment["Y12_KERNELS"] == "/opt/y12/kernels"
    assert environment["PATH"].startswith("/opt/y12/venv/bin:")


def test_the_runtime_image_gets_neither_torch_nor_a_compiler():
    named = {stage.name: stage for stage in stages(DOCKER / "runtime.Dockerfile")}
    (packages,) = [v for v, words in commands(named["packages"]) if words[0].endswith("install_packages.sh")]
    assert packages["Y12_EXTRAS"].split(",") == ["gpu", "pycuda", "${Y12_TENSORRT}"]
    assert packages["Y12_WITHOUT"] == "nvidia-cuda-nvrtc"
    sources = [rest.split()[0] for rest in named["runtime"].all("COPY") if rest.startswith("--from")]
    assert sources == ["--from=y12", "--from=kernels"]
    assert ("run",) in [tuple(words[1:]) for _, words in commands(named["runtime"])]
