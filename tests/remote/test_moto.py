"""Models in a bucket of moto, which does as S3 does; it has an environment of its own, as it brings forty packages."""

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from y12.errors import AddressError
from y12.exporter.source import demo_weights
from y12.remote.local import local_path
from y12.remote.options import FetchOptions

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("moto", "flask", "flask-cors", "py-partiql-parser")
CONTENT = bytes(range(256)) * 80_000
pytestmark = [pytest.mark.exhaustive, pytest.mark.slow]


@pytest.fixture(scope="module")
def moto_server(tmp_path_factory):
    """The program: the one on the PATH, or one that is installed for these tests."""
    if found := shutil.which("moto_server"):
        return Path(found)
    folder = tmp_path_factory.mktemp("moto")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    command = [folder / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"moto cannot be installed here, so that S3 is not tried with it: {done.stderr.splitlines()[-1]}")
    return folder / "bin" / "moto_server"


@pytest.fixture
def s3(moto_server, monkeypatch):
    """A service with an empty bucket; gives the file system that fills it."""
    s3fs = pytest.importorskip("s3fs", reason="s3fs of the extra [remote] is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    values = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
    values |= {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_EC2_METADATA_DISABLED": "true"}
    values |= {"AWS_CONFIG_FILE": "/nowhere", "AWS_SHARED_CREDENTIALS_FILE": "/nowhere"}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    command = [moto_server, "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(port)
        files = s3fs.S3FileSystem(skip_instance_cache=True)
        files.mkdir("bucket")
        yield files
    finally:
        process.terminate()
        process.wait()


def _wait_for(port):
    """Wait for a server, which loads forty packages first."""
    for _ in range(600):
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    pytest.fail("moto did not begin to listen within two minutes")


def interrupted(address):
    """Fetch a file as far as its first MiB; return how much of it that left."""
    done = []

    def stop(now, total):
        done.append(now)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        local_path(address, advance=stop)
    return done[0]


def test_a_file_is_interrupted_resumed_kept_and_followed(s3):
    s3.pipe("bucket/best.pt", CONTENT)
    came = interrupted("s3://bucket/best.pt")
    told = []
    path = local_path("s3://bucket/best.pt", advance=lambda done, total: told.append(done))
    assert (path.read_bytes() == CONTENT, came < told[0]) == (True, True)
    local_path("s3://bucket/best.pt", advance=lambda done, total: pytest.fail("it was fetched again"))
    s3.pipe("bucket/best.pt", CONTENT[::-1])
    assert local_path("s3://bucket/best.pt").read_bytes() == CONTENT[::-1]
    assert local_path("s3://bucket/best.pt", FetchOptions(sha256=hashlib.sha256(CONTENT).hexdigest())) == path


def test_a_changed_file_does_not_go_on_behind_the_former_s_beginning(s3):
    s3.pipe("bucket/best.pt", CONTENT)
    interrupted("s3://bucket/best.pt")
    s3.pipe("bucket/best.pt", CONTENT[::-1])
    assert local_path("s3://bucket/best.pt").read_bytes() == CONTENT[::-1]


@pytest.mark.parametrize("address", ["s3://bucket/none.pt", "s3://none/best.pt", "s3://bucket/folder"])
def test_what_is_not_there_is_one_line(s3, address):
    s3.pipe("bucket/folder/best.pt", b"x")
    with pytest.raises(AddressError) as error:
        local_path(address)
    assert str(error.value).startswith(f"{address}: expected a file")


def test_an_export_goes_on_with_what_was_interrupted(s3, tmp_path):
    weights = demo_weights().read_bytes()
    s3.pipe("bucket/runs/best.safetensors", weights)
    assert interrupted("s3://bucket/runs/best.safetensors") < len(weights)
    command = [sys.executable, "-m", "y12", "export", "s3://bucket/runs/best.safetensors", "--no-verify"]
    command += ["--imgsz", "64", "--no-simplify", "--output", str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "best.report.json").read_text())
    assert report["source_sha256"] == hashlib.sha256(weights).hexdigest()
