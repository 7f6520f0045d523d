"""What docker/build.sh refuses, each in one line and before it makes anything; what it builds needs Docker."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BUILD = Path(__file__).resolve().parents[2] / "docker" / "build.sh"
UNPRIVILEGED = ("unshare", "--user", "--map-user=10001", "--map-group=10001")


def build(*arguments, prefix=(), **variables):
    command = [*prefix, "/bin/bash", str(BUILD), *arguments]
    environment = os.environ | {"DOCKER_HOST": "unix:///nonexistent/docker.sock"} | variables
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def refused(done, complaint):
    """Return whether a run ended with one line that begins with the complaint."""
    return (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1) and done.stderr.startswith(
        f"build.sh: {complaint}"
    )


@pytest.fixture
def programs(tmp_path):
    """A folder of the few programs it needs up to its refusals, and a Docker that is only there by name."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("dirname", "id", "mktemp", "install", "chmod", "rm", "umount", "mkdir", "df", "tail", "env"):
        (folder / name).symlink_to(shutil.which(name))
    for name in ("docker", "dockerd", "debootstrap"):
        (folder / name).write_text("#!/bin/sh\nexit 1\n")
        (folder / name).chmod(0o755)
    return folder


def test_shellcheck_finds_nothing():
    shellcheck = shutil.which("shellcheck", path=str(Path(sys.executable).parent)) or shutil.which("shellcheck")
    if shellcheck is None:
        pytest.skip("shellcheck is not installed: pip install 'y12[dev]'")
    command = [shellcheck, "--enable=all", "--exclude=SC2250,SC2312", str(BUILD)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--push",), "expected --images, --wheels, --build-arg, --stand-in or --work, found '--push'"),
        (("--images",), "expected a value after --images, found none"),
        (("--images", "export,train"), "--images: expected some of export,runtime,serve,cpp, found 'train'"),
        (("--stand-in", "--images", "cpp"), "--images: expected some of export,runtime,serve, found 'cpp'"),
        (("--work", "here"), "--work: expected --stand-in with it"),
        (("--wheels", "/nonexistent"), "--wheels: expected wheels in /nonexistent, found none"),
    ],
)
def test_options_that_cannot_be_followed_are_refused(arguments, complaint):
    assert refused(build(*arguments), complaint)


@pytest.mark.parametrize("name", ["docker", "dockerd", "debootstrap"])
@pytest.mark.skipif(os.getuid() != 0, reason="only root gets that far")
def test_a_program_that_is_not_there_is_named(programs, name):
    (programs / name).unlink()
    assert refused(
        build("--stand-in", PATH=str(programs)), f"expected the program {name}, found none; install it (Debian: "
    )


def test_no_daemon_is_told(programs):
    assert refused(
        build(PATH=str(programs)), "expected a Docker daemon that answers, found none; start it, or use --stand-in"
    )


def test_a_stand_in_needs_root(programs):
    prefix = UNPRIVILEGED if os.getuid() == 0 else ()
    if prefix and subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode:
        pytest.skip("user namespaces are not allowed here")
    done = build("--stand-in", prefix=prefix, PATH=f"{programs}:{os.environ['PATH']}")
    assert refused(done, "--stand-in: expected root, who makes bases and starts a daemon, found user ")


@pytest.mark.skipif(os.getuid() != 0, reason="only root gets that far")
@pytest.mark.parametrize(
    ("free", "complaint"),
    [(3000, "expected 12 GiB free in "), (20000, "expected dockerd to start, it said: no bridge")],
)
def test_what_a_stand_in_cannot_do_without_is_told_and_nothing_is_left(programs, tmp_path, free, complaint):
    (programs / "df").unlink()
    (programs / "df").write_text(f"#!/bin/sh\necho Avail\necho {free}\n")
    (programs / "df").chmod(0o755)
    (programs / "dockerd").write_text("#!/bin/sh\necho no bridge\nexit 1\n")
    (tmp_path / "tmp").mkdir()
    done = build("--stand-in", PATH=f"{programs}:{os.environ['PATH']}", TMPDIR=str(tmp_path / "tmp"))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"build.sh: {complaint}")
    assert list((tmp_path / "tmp").iterdir()) == []
