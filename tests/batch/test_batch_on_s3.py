"""A store: read and written, by moto's server on loopback, which speaks as S3 does."""

import json
from importlib.util import find_spec
from pathlib import PurePosixPath
from urllib.request import Request, urlopen

import numpy as np
import pytest

if find_spec("moto") is None or find_spec("flask") is None:
    pytest.skip("moto is not installed: pip install 'moto[s3,server]' adds it", allow_module_level=True)

from tests.batch.conftest import write_images
from y12.batch.job import Job
from y12.batch.listing import write_listing
from y12.batch.rows import tally_in
from y12.batch.sources import names_from
from y12.batch.storage import Store, fetched, file_system
from y12.batch.worker import Worker, kind_of
from y12.errors import InputError, OutputError
from y12.runtime.artefact.opened import open_artefact
from y12.runtime.options import DetectOptions


@pytest.fixture(scope="module")
def server():
    """A store on loopback, and where it is."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def store(server, monkeypatch, tmp_path):
    """A bucket with images, and how it is reached."""
    reached = {"AWS_ENDPOINT_URL": server, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    for name, value in (reached | {"AWS_DEFAULT_REGION": "us-east-1"}).items():
        monkeypatch.setenv(name, value)
    bucket = f"photos-{tmp_path.name.replace('_', '-').lower()}"[:60].rstrip("-")
    import boto3

    boto3.client("s3", endpoint_url=server).create_bucket(Bucket=bucket)
    for path in write_images(tmp_path / "images", 40, damaged={7}).iterdir():
        name = "a b%20 [1].jpg" if path.stem == "00000" else path.name
        with file_system(f"s3://{bucket}/in/deep/{name}")[0].open_output_stream(f"{bucket}/in/deep/{name}") as stream:
            stream.write(path.read_bytes())
    return f"s3://{bucket}"


def test_folders_and_patterns_are_listed(store):
    every = sorted(f"{store}/in/deep/{name}" for name in ["a b%20 [1].jpg", *(f"{i:05d}.jpg" for i in range(1, 40))])
    assert sorted(names_from([f"{store}/in/"], True, print)) == every
    assert sorted(names_from([f"{store}/in/deep"], False, print)) == every
    assert sorted(names_from([f"{store}/in/*/*.jpg"], False, print)) == every
    assert list(names_from([f"{store}/in/deep/0000[12].jpg"], False, print)) == [every[0], every[1]]
    with pytest.raises(InputError, match="found none"):
        list(names_from([f"{store}/out"], False, print))


def test_a_part_is_read_from_it_and_written_to_it(store, colours):
    folder = Store(f"{store}/run")
    listing = write_listing(folder, names_from([f"{store}/in/deep/"], False, print))
    job = Job(str(colours), open_artefact(colours).sha256(), DetectOptions(), as_json=True)
    worker = Worker(job, listing, folder, 1)
    tallies = [json.loads(worker({"part": np.array([part])})["tally"][0]) for part in range(listing.parts)]
    assert sum(tally["images"] for tally in tallies) == 40
    assert [tally["errors"] for tally in tallies if tally["errors"]] == [{"not decoded": 1}]
    assert folder.names("parquet") == {"part-0000000.parquet", "part-0000001.parquet"}
    assert folder.names("_y12/under-way") == set()
    system, path = file_system(folder.path("parquet/part-0000000.parquet"))
    assert tally_in(system.open_input_file(path)) == tallies[0]
    names = {
        PurePosixPath(json.loads(line)["source"]).name for line in folder.read("jsonl/part-0000001.jsonl").splitlines()
    }
    assert "a b%20 [1].jpg" in names


def test_what_is_not_there_is_one_line(store):
    with pytest.raises(InputError, match="expected images there, found none"):
        list(names_from(["s3://nobody-has-this-bucket/in/"], False, print))
    with pytest.raises(OutputError, match="cannot be written"):
        Store("s3://nobody-has-this-bucket/out").write("x", b"x")


def test_a_bucket_without_rights_is_one_line(store, server):
    def refuse_all(after):
        with urlopen(Request(f"{server}/moto-api/reset-auth", str(after).encode(), {"Content-Type": "text/plain"})):
            pass

    image = f"{store}/in/deep/00001.jpg"
    refuse_all(0)
    try:
        with pytest.raises(InputError, match=r"cannot be listed \(When listing objects"):
            list(names_from([f"{store}/in/deep/"], False, print))
        with pytest.raises(InputError, match="cannot be read") as raised:
            fetched(image, 1 << 20)
        with pytest.raises(OutputError, match="cannot be written"):
            Store(f"{store}/out").write("x", b"x")
    finally:
        refuse_all("inf")
    assert kind_of(raised.value) in ("denied", "unreadable")
    assert fetched(image, 1 << 20)


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.usefixtures("ray")
def test_a_run_from_bucket_to_bucket(store, colours, start):
    words = (colours, f"{store}/in/deep", "--output", f"{store}/out", "--json", "--coco", "--num-cpus", "1")
    code, out, err = start(*words).ended()
    assert code == 0, err
    assert "images       40" in out
    folder = Store(f"{store}/out")
    assert len(json.loads(folder.read("coco.json"))["images"]) == 39
    assert json.loads(folder.read("summary.json"))["errors_by_kind"] == {"not decoded": 1}
    code, out, err = start(*words, "--resume").ended()
    assert code == 0, err
    assert "40, 0 of them now" in out
