"""Models in buckets and on the hub: the real client packages, and services on loopback."""

import hashlib
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.remote import site as pages
from tests.remote.clouds import gs_object, s3_object
from tests.remote.conftest import kept_files
from tests.runtime.conftest import colour_manifest, colour_model
from y12.errors import AddressError, MissingPackageError
from y12.remote import cloud, hub
from y12.remote.local import local_path
from y12.remote.options import FetchOptions
from y12.runtime.artefact.manifest import ONNX_KEY

ROOT = Path(__file__).resolve().parents[2]
CONTENT = bytes(range(256)) * 80_000  # 20 MB: three blocks
HASH = hashlib.sha256(CONTENT).hexdigest()
DENIED = b'{"error": {"code": 403, "message": "no storage.objects.get access"}}'  # as Google's service says it
GRAPH = colour_model(metadata={ONNX_KEY: colour_manifest().to_json()})


def needs(package):
    return pytest.mark.skipif(find_spec(package) is None, reason=f"{package} of the extra [remote] is not installed")


def refusal(address, **options):
    with pytest.raises(AddressError) as error:
        local_path(address, FetchOptions(**options))
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture
def s3(site, monkeypatch):
    """A service on loopback, and credentials for it; nothing of the machine's own is read."""
    values = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
    values |= {"AWS_ENDPOINT_URL": site.at("", pages.missing), "AWS_EC2_METADATA_DISABLED": "true"}
    values |= {"AWS_CONFIG_FILE": "/nowhere", "AWS_SHARED_CREDENTIALS_FILE": "/nowhere"}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return site


@needs("s3fs")
def test_s3_is_fetched_kept_and_asked_whether_it_is_still_the_same(s3, cache):
    s3.at("/bucket/runs/best.pt", s3_object(CONTENT))
    path = local_path("s3://bucket/runs/best.pt")
    assert (path.name, path.parent.name) == ("best.pt", HASH)
    taken = len([one for one in s3.ranges() if one])
    assert taken == 3
    assert local_path("s3://bucket/runs/best.pt") == path
    assert len([one for one in s3.ranges() if one]) == taken
    s3.at("/bucket/runs/best.pt", s3_object(CONTENT[::-1], etag='"s3-two"'))
    assert local_path("s3://bucket/runs/best.pt").read_bytes() == CONTENT[::-1]
    assert local_path("s3://bucket/runs/best.pt", FetchOptions(sha256=HASH)) == path


@needs("s3fs")
def test_s3_goes_on_where_it_was_broken_off(s3, cache, monkeypatch):
    s3.at("/bucket/best.pt", s3_object(CONTENT))

    def stop(done, total):
        if done > 9 << 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        local_path("s3://bucket/best.pt", advance=stop)
    assert kept_files(cache) == ["part", "part.json"]
    (part,) = cache.glob("*/part")
    size = part.stat().st_size
    s3.asked.clear()
    assert local_path("s3://bucket/best.pt").read_bytes() == CONTENT
    assert next(one for one in s3.ranges() if one).startswith(f"bytes={size}-")


@needs("s3fs")
def test_a_command_says_no_more_of_s3_than_of_a_file(s3, tmp_path):
    s3.at("/bucket/best.onnx", s3_object(GRAPH))
    done = inspected("s3://bucket/best.onnx")
    assert (done.returncode, done.stderr) == (0, "")
    done = inspected("s3://bucket/none.onnx")
    assert done.returncode == 1
    assert [line.startswith("error: s3://bucket/none.onnx: expected a file") for line in done.stderr.splitlines()] == [
        True
    ]


@needs("s3fs")
def test_what_s3_refuses_is_one_line(s3, cache, monkeypatch):
    assert refusal("s3://bucket/none.pt").startswith("s3://bucket/none.pt: expected a file")
    s3.at("/bucket/forbidden.pt", pages.raw(403, Content_Length=0))
    assert "check the credentials, or set FSSPEC_S3_ANON=true" in refusal("s3://bucket/forbidden.pt")
    s3.at("/bucket/large.pt", pages.raw(200, Content_Length=10 << 30, ETag='"x"'))
    assert f"expected at most {2 << 30} bytes, found {10 << 30}" in refusal("s3://bucket/large.pt")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://storage.example.org")
    assert "found http:// to storage.example.org" in refusal("s3://bucket/best.pt")
    assert kept_files(cache) == []


@needs("gcsfs")
def test_what_gs_refuses_is_one_line(site):
    for asked in ("/forbidden.onnx", ""):
        site.at(f"/storage/v1/b/bucket/o{asked}", pages.raw(403, DENIED, Content_Length=len(DENIED)))
    done = inspected(
        "gs://bucket/forbidden.onnx", STORAGE_EMULATOR_HOST=site.at("", pages.missing), FSSPEC_GS_TOKEN="anon"
    )
    assert [line.startswith("error: gs://bucket/forbidden.onnx: expected") for line in done.stderr.splitlines()] == [
        True
    ]
    assert done.returncode == 1


@needs("gcsfs")
def test_gs_is_fetched(site, monkeypatch, cache):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", site.at("", pages.missing))
    monkeypatch.setenv("FSSPEC_GS_TOKEN", "anon")
    page = gs_object("bucket", "runs/best.pt", CONTENT)
    site.at("/storage/v1/b/bucket/o/runs%2Fbest.pt", page)
    site.at("/download/storage/v1/b/bucket/o/runs%2Fbest.pt", page)
    path = local_path("gs://bucket/runs/best.pt")
    assert (path.name, path.parent.name) == ("best.pt", HASH)
    taken = len(site.asked)
    assert local_path("gs://bucket/runs/best.pt") == path
    assert not any("/download/" in asked for asked, _ in site.asked[taken:])
    assert refusal("gs://bucket/none.pt").startswith("gs://bucket/none.pt: expected a file")
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://storage.example.org")
    assert "found http:// to storage.example.org" in refusal("gs://bucket/runs/best.pt")


def inspected(address, **variables):
    """Run y12-inspect as a process: what it says, and that it says no more."""
    environment = os.environ | {"HF_HUB_DISABLE_TELEMETRY": "1"} | variables
    command = [sys.executable, "-m", "y12", "inspect", address]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=False)
    lines = done.stderr.splitlines(keepends=True)
    done.stderr = "".join(line for line in lines if not line.endswith(" …\n"))  # how far it is, on a slow machine
    return done


@needs("huggingface_hub")
def test_hf_is_fetched_from_the_hub_that_is_named_with_the_user_s_token(site, tmp_path, cache):
    with pages.Site().open() as store:
        there = store.at("/blobs/0815", pages.good(GRAPH))
        redirect = pages.raw(302, Location=there, Content_Length=0)
        site.at("/owner/name/resolve/main/best.onnx", redirect)
        site.at("/owner/name/resolve/v1/folder/best.onnx", redirect)
        done = inspected(
            "hf://owner/name/best.onnx",
            HF_TOKEN="hf_secret",
            HF_ENDPOINT=site.at("", pages.missing),
            HF_HOME=str(tmp_path / "hf"),
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert [headers.get("Authorization") for _, headers in site.asked] == ["Bearer hf_secret"]
        assert [headers.get("Authorization") for _, headers in store.asked] == [None]
        assert kept_files(cache) == ["best.onnx"]
        done = inspected(
            "hf://owner/name@v1/folder/best.onnx", HF_ENDPOINT=site.at("", pages.missing), HF_HOME=str(tmp_path / "hf")
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert "Authorization" not in site.asked[-1][1]


@needs("huggingface_hub")
def test_what_the_hub_refuses_is_one_line(site, tmp_path):
    site.at("/owner/name/resolve/main/gated.onnx", pages.raw(401, Content_Length=0))
    done = inspected("hf://owner/name/gated.onnx", HF_ENDPOINT=site.at("", pages.missing), HF_HOME=str(tmp_path / "hf"))
    (line,) = done.stderr.splitlines()
    assert line == "error: hf://owner/name/gated.onnx: expected a file, found that the server says 401 Unauthorized"


@pytest.mark.parametrize(
    ("room", "address", "package"),
    [(cloud, "s3://b/m.pt", "s3fs"), (cloud, "gs://b/m.pt", "gcsfs"), (hub, "hf://o/n/m.pt", "huggingface_hub")],
)
def test_a_missing_package_is_one_line_with_the_remedy(monkeypatch, room, address, package):
    monkeypatch.setattr(room, "find_spec", lambda name: None)
    with pytest.raises(MissingPackageError) as error:
        local_path(address)
    assert f"the package '{package}' of y12's extra [remote]" in str(error.value)
    assert package.replace("_", "-") in str(error.value).replace("_", "-").partition("pip install")[2]
