"""Clients that are wrong, hostile, slow or gone, against a real server: each is refused alone, and it goes on."""

import gzip
import json
import os
import socket
import struct
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.serve.conftest import encoded, plain
from y12.serve.kserve import request_from
from y12.serve.refusals import Refusal

MIB = 1 << 20


def resident(server):
    """Give the MiB of memory that the server's process has."""
    pages = int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MIB


def connected(server):
    return socket.create_connection(("127.0.0.1", server.port), timeout=20)


def read_to_end(connection):
    """Give all that comes until the server closes the connection."""
    content = b""
    while True:
        try:
            piece = connection.recv(65536)
        except ConnectionError:
            return content
        if not piece:
            return content
        content += piece


def wait_for(come):
    until = time.monotonic() + 20
    while not come():
        assert time.monotonic() < until
        time.sleep(0.02)


def png_of_size(width, height):
    """Return a PNG that says it is so large, and has hardly a byte of it."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(b"\0" * 1000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


JPEG = encoded(plain(height=200, width=200), "JPEG")
NO_IMAGES = {
    "nothing": b"",
    "text": b"an image, or so they say",
    "HTML": b"<html><script>alert(1)</script></html>",
    "a cut JPEG": JPEG[: len(JPEG) // 2],
    "a JPEG without its end": JPEG[:-2],
    "a bomb of 10^10 pixels": png_of_size(100_000, 100_000),
    "a bomb of 400 megapixels": png_of_size(20_000, 20_000),
    "a PNG without pixels": png_of_size(2_000, 2_000),
    "zeros": b"\0" * 1000,
    "a playlist": b"#EXTM3U\nfile:///etc/passwd\n",
    "SVG": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
    "PostScript": b"%!PS-Adobe-3.0\n",
}


@pytest.mark.parametrize("kind", NO_IMAGES)
def test_what_is_no_image_is_one_line(server, kind):
    before = resident(server)
    status, answer = server.detect(NO_IMAGES[kind])
    assert status == 400
    assert answer["error"].startswith("the image: ")
    assert len(answer["error"]) < 500
    assert " at 0x" not in answer["error"]
    assert resident(server) - before < 48
    assert server.is_ready()


def test_a_bad_image_does_not_take_its_batch_with_it(start, colours, image):
    server = start(colours, "--max-wait-ms", "1500", "--host", "0.0.0.0")
    assert any(line.startswith("note: whoever reaches this address can send images") for line in server.said)
    bodies = [image, NO_IMAGES["text"], image, NO_IMAGES["a cut JPEG"], image, NO_IMAGES["nothing"], image, image]
    with ThreadPoolExecutor(8) as pool:
        statuses = [status for status, _ in pool.map(server.detect, bodies)]
    assert statuses == [200, 400, 200, 400, 200, 400, 200, 200]
    assert server.metric("y12_batch_images_count") == 1
    assert server.metric("y12_batch_images_sum") == 5
    assert server.metric('y12_refusals_total{reason="bad_image"}') == 3


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/none", 404),
        ("GET", "/detect", 405),
        ("DELETE", "/v2", 405),
        ("GET", "/docs", 404),
        ("PUT", "/%ff", 404),
    ],
)
def test_addresses_that_are_none(server, method, path, status):
    found, headers, content = server.ask(method, path)
    assert found == status
    assert headers["content-type"] == "application/json"
    assert set(json.loads(content)) == {"error"}


# --- too much ---


def head(length=None, *more):
    lines = ["POST /detect HTTP/1.1", "Host: x", *more]
    lines += ["Transfer-Encoding: chunked"] if length is None else [f"Content-Length: {length}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


@pytest.mark.parametrize("length", [MIB + 1, 10**12, 10**30])
def test_a_body_that_is_announced_too_large_is_not_waited_for(server, length):
    with connected(server) as connection:
        connection.sendall(head(length))
        answer = read_to_end(connection)
    assert answer.startswith((b"HTTP/1.1 413 ", b"HTTP/1.1 400 "))  # 400: no parser takes the third for a length
    if length < 10**20:
        assert b"connection: close" in answer.lower()
        assert b"--max-upload" in answer


def test_an_endless_body_is_refused_while_it_comes(server):
    before, sent = resident(server), 0
    chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n"
    with connected(server) as connection:
        connection.sendall(head())
        connection.settimeout(0.001)
        answer = b""
        while not answer and sent < 64 * MIB:
            connection.settimeout(20)
            connection.sendall(chunk)
            sent += len(chunk)
            connection.settimeout(0.001)
            try:
                answer = connection.recv(65536)
            except TimeoutError:
                continue
        connection.settimeout(20)
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert sent < 24 * MIB  # what the sockets hold beyond the limit of 1 MiB
        began = time.monotonic()
        read_to_end(connection)
        assert time.monotonic() - began < 10  # it is closed, though the client would go on
    assert resident(server) - before < 48


def test_a_body_of_the_limit_is_taken(server):
    status, answer = server.detect(bytes(MIB))
    assert status == 400
    assert "expected an image" in answer["error"]


@pytest.mark.parametrize(
    ("content", "encoding", "status", "said"),
    [
        (gzip.compress(bytes(100 * MIB)), "gzip", 413, "at most 1048576 bytes"),
        (zlib.compress(bytes(100 * MIB)), "deflate", 413, "at most 1048576 bytes"),
        (gzip.compress(b"x" * 1000)[:-9], "gzip", 400, "cut short"),
        (gzip.compress(b"x") + b"more", "gzip", 400, "found more behind it"),
        (b"no gzip", "gzip", 400, "expected a body of gzip or deflate"),
        (b"", "gzip", 400, "cut short"),
        (b"x", "br", 415, "expected gzip, deflate or none, found br"),
        (b"x", "gzip, gzip", 415, "expected gzip, deflate or none"),
    ],
    ids=["gzip bomb", "deflate bomb", "cut", "more behind", "none", "nothing", "br", "twice"],
)
def test_what_is_deflated_is_bounded(server, content, encoding, status, said):
    before = resident(server)
    found, answer = server.detect(content, Content_Encoding=encoding)
    assert found == status
    assert said in answer["error"]
    assert resident(server) - before < 48


def test_what_is_deflated_is_read(server, image):
    for encoding, deflate in {"gzip": gzip.compress, "deflate": zlib.compress}.items():
        assert server.detect(deflate(image), Content_Encoding=encoding)[1]["counts"] == {"red": 1}


# --- too slow ---


def test_a_head_that_does_not_end_is_cut(server):
    with connected(server) as connection:
        connection.sendall(b"POST /detect HTTP/1.1\r\nHost: x\r\n")
        began = time.monotonic()
        assert read_to_end(connection) == b""
        assert 0.5 < time.monotonic() - began < 15


def test_nobody_who_says_nothing_is_waited_for(server):
    with connected(server) as connection:
        assert read_to_end(connection) == b""


def test_a_second_head_that_does_not_end_is_cut(server):
    with connected(server) as connection:
        connection.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\nGET /v2/hea")
        assert read_to_end(connection).startswith(b"HTTP/1.1 200 ")


def test_a_head_without_an_end_in_size_is_refused(server):
    with connected(server) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
        for i in range(100):
            try:
                connection.sendall(f"X-{i}: {'x' * 2000}\r\n".encode())
            except ConnectionError:
                break
        assert read_to_end(connection)[:13] in (b"HTTP/1.1 431 ", b"")


def test_a_body_that_drips_is_cut(server):
    with connected(server) as connection:
        connection.sendall(head(1000))
        began = time.monotonic()
        answer = threading.Event()

        def drip():
            while not answer.wait(0.2):
                try:
                    connection.sendall(b"x")
                except OSError:
                    return

        dripping = threading.Thread(target=drip)
        dripping.start()
        try:
            found = read_to_end(connection)
        finally:
            answer.set()
            dripping.join()
        assert found.startswith(b"HTTP/1.1 408 ")
        assert b"within 1.5 s" in found
        assert 1 < time.monotonic() - began < 15


def test_what_is_no_http_is_refused(server):
    with connected(server) as connection:
        connection.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64))
        assert read_to_end(connection).startswith(b"HTTP/1.1 400 ")
    assert server.is_ready()


# --- gone ---


def test_a_client_that_leaves_has_its_work_dropped(start_faulty, image, tmp_path):
    server = start_faulty("--delay", "1.2")
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(server.detect, image)
        wait_for((tmp_path / "begun").exists)
        request = head(len(image)) + image
        for _ in range(3):
            with connected(server) as connection:
                connection.sendall(request)
                time.sleep(0.1)
        assert first.result()[0] == 200
    assert server.detect(image)[0] == 200
    assert (tmp_path / "ran").read_text().split() == ["1", "1"]
    assert server.metric("y12_dropped_images_total") == 3


# --- a network that fails ---


def test_health_says_that_the_network_fails_and_that_it_runs_again(start_faulty, image, tmp_path):
    server = start_faulty("--max-wait", "0.3")
    for fault, problem in {"broken": "the GPU is lost", "nan": "NaN"}.items():
        assert server.detect(image)[0] == 200
        (tmp_path / fault).touch()
        status, answer = server.detect(image)
        assert status == 503
        assert problem in answer["error"]
        for place in ("/v2/health/ready", "/v2/health/live", "/v2/models/m/ready"):
            assert server.ask("GET", place)[0] == 503
        status, headers, _ = server.ask("POST", "/detect", image)
        assert (status, headers["retry-after"]) == (503, "5")
        assert any(problem in line and line.startswith("error: ") for line in server.said)
        assert server.metric("y12_ready") == 0
        (tmp_path / fault).unlink()
        wait_for(server.is_ready)
    (tmp_path / "poison").touch()  # one image that the network fails on is that image's alone
    white = encoded(plain((255, 255, 255), 64, 64))
    with ThreadPoolExecutor(4) as pool:
        statuses = [status for status, _ in pool.map(server.detect, [image, white, image, image])]
    assert statuses == [200, 500, 200, 200]
    assert server.is_ready()


@pytest.mark.exhaustive  # another server's start; what fails and is told is shown above
def test_of_two_devices_one_that_is_lost_takes_no_more(start_faulty, image, tmp_path):
    server = start_faulty("--devices", "2")
    (tmp_path / "broken").touch()
    statuses = [server.detect(image)[0] for _ in range(20)]
    assert set(statuses) <= {200, 503}
    assert statuses.count(503) <= 1
    wait_for(lambda: server.detect(image) and not server.is_ready())
    assert server.detect(image)[0] == 200


# --- the protocol ---


def infer(server, body, length=None):
    headers = {} if length is None else {"Inference-Header-Content-Length": str(length)}
    status, _, content = server.ask("POST", "/v2/models/colours/infer", body, headers)
    return status, json.loads(content)


def request(**changes):
    entry = {"name": "image", "datatype": "BYTES", "shape": [1], "data": ["AAAA"]} | changes
    return json.dumps({"inputs": [{key: value for key, value in entry.items() if value is not None}]}).encode()


@pytest.mark.parametrize(
    ("body", "length", "said"),
    [
        (b"", None, "expected JSON"),
        (b"\xff\xfe", None, "expected JSON"),
        (b"[]", None, "expected a JSON object"),
        (b"[" * 100_000, None, "expected JSON"),
        (b'{"inputs": 7}', None, "inputs: expected a list"),
        (b'{"inputs": []}', None, "expected one or more images"),
        (b'{"inputs": [7]}', None, "inputs: expected a list of objects"),
        (b'{"inputs": [], "sequence": 1}', None, "found 'sequence'"),
        (request(), 0, "Inference-Header-Content-Length: expected 1 to"),
        (request(), -1, "Inference-Header-Content-Length: expected 1 to"),
        (request(), 10**9, "Inference-Header-Content-Length: expected 1 to"),
        (request(), "²", "Inference-Header-Content-Length: expected 1 to"),
        (request() + b"more", len(request()), "found 4 bytes more"),
        (request(parameters={"binary_data_size": 9}, data=None), None, "binary_data_size: expected 0 to 0"),
        (request(parameters={"binary_data_size": -1}), None, "binary_data_size: expected 0 to 0"),
        (request(parameters={"binary_data_size": "1"}), None, "binary_data_size: expected 0 to 0"),
        (request(parameters={"binary_data_size": 0}), None, "found both"),
        (request(parameters={"shared_memory_region": "x"}), None, "found ['shared_memory_region']"),
        (request(parameters=[1]), None, "parameters: expected an object"),
        (request(data=None), None, "found neither"),
        (request(data=["%%%"]), None, "expected base64"),
        (request(data=[7]), None, "expected base64 as text"),
        (request(data="AAAA"), None, "expected data as a list"),
        (request(data={"0": "AAAA"}), None, "expected data as a list"),
        (request(data=["AAAA", "AAAA"]), None, "expected 1 elements by its shape, found 2"),
        (request(shape=[1, 2], data=["AAAA", "AAAA"]), None, "expected the shape [images]"),
        (request(shape=[]), None, "expected a shape"),
        (request(shape=[0]), None, "expected a shape"),
        (request(shape=[-1]), None, "expected a shape"),
        (request(shape=[1.0]), None, "expected a shape"),
        (request(shape=[True]), None, "expected a shape"),
        (request(shape=[10**40]), None, "expected a shape"),
        (request(shape="1"), None, "expected a shape"),
        (request(name=7), None, "expected name and datatype as text"),
        (request(name="pixels"), None, "found 'pixels' of 'BYTES'"),
        (request(name="pixels", datatype="UINT8", shape=[1, 1, 1, 3], data=[1, 2, 300]), None, "of 0 to 255"),
        (request(name="pixels", datatype="UINT8", shape=[1, 1, 1, 3], data=[1, 2, -1]), None, "of 0 to 255"),
        (request(name="pixels", datatype="UINT8", shape=[1, 1, 1, 3], data=[1, 2, 1.7]), None, "of 0 to 255"),
        (request(name="pixels", datatype="UINT8", shape=[1, 1, 1, 3], data=["a", 2, 1]), None, "of 0 to 255"),
        (request(name="pixels", datatype="UINT8", shape=[1, 1, 1, 3], data=[[1, 2], 3]), None, "flat or nested"),
        (request(name="pixels", datatype="UINT8", shape=[1, 1, 1, 3], data=[1, 2]), None, "found 2"),
        (request(name="pixels", datatype="UINT8", shape=[1, 1, 1, 4], data=[1] * 4), None, "width, 3], RGB"),
        (request(name="pixels", datatype="UINT8", shape=[1, 60000, 60000, 3], data=[1]), None, "pixels, found 60000x"),
        (request(name="pixels", datatype="FP32", shape=[1, 1, 1, 3], data=[1] * 3), None, "of 'FP32'"),
        (json.dumps({"id": "x" * 1000, "inputs": []}).encode(), None, "id: expected a text"),
        (json.dumps({"parameters": {"binary_data_output": 1}, "inputs": []}).encode(), None, "expected one or more"),
    ],
)
def test_lies_in_a_request(server, body, length, said):
    status, answer = infer(server, body, length)
    assert status == 400
    assert said in answer["error"]


def binary(blob, count=1):
    text = request(parameters={"binary_data_size": len(blob)}, data=None, shape=[count])
    return text + blob, len(text)


@pytest.mark.parametrize(
    ("blob", "count", "said"),
    [
        (b"", 1, "expected 1 elements by its shape, found 0"),
        (b"\1\0", 1, "length in 4 bytes, found 2"),
        (b"\xff\xff\xff\xff", 1, "an element of 4294967295 bytes, found 0"),
        (b"\5\0\0\0abc", 1, "an element of 5 bytes, found 3"),
        (b"\1\0\0\0a\1\0\0\0b", 1, "expected 1 elements by its shape, found more"),
        (b"\0\0\0\0" * 100_000, 1, "expected 1 elements by its shape, found more"),
        (b"\0\0\0\0" * 1000, 1000, "at most 64 images in a request, found 1000"),
    ],
)
def test_lies_in_binary(server, blob, count, said):
    status, answer = infer(server, *binary(blob, count))
    assert status == 400
    assert said in answer["error"]


def test_too_many_values_in_json_are_not_read():
    with pytest.raises(Refusal, match="expected at most 1500000 values in JSON"):
        request_from(b'{"inputs": [' + b"0," * 3_000_000 + b"0]}", None, ())


def test_the_server_is_as_it_was(server, image):
    """After all of the above, on the server that most of it was done to."""
    assert not any("password" in line for line in server.said)  # it listens on loopback
    assert server.detect(image)[1]["counts"] == {"red": 1}
    assert server.is_ready()
    assert not [line for line in server.said if line.startswith("error: ")]
    assert len(list(Path(f"/proc/{server.process.pid}/task").iterdir())) < 20
