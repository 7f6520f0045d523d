"""Real servers on loopback, each a process as a user starts it."""

import http.client
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.runtime.conftest import colour_manifest, colour_model
from y12.runtime.artefact.manifest import ONNX_KEY, AxisRange

ROOT = Path(__file__).resolve().parents[2]
FAULTY = Path(__file__).parent / "faulty_server.py"
STARTED_S = 60


@dataclass
class Server:
    """A server's process, and what it said."""

    process: "subprocess.Popen[str]"
    port: int
    output: Path
    said: list[str] = field(default_factory=list)
    reader: threading.Thread | None = None

    def ask(self, method, path, body=b"", headers=None):
        """Send a request on a connection of its own; give the status, the headers and the content."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def detect(self, body, query="", **headers):
        """Give the status and the JSON of POST /detect."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        status, _, content = self.ask("POST", f"/detect{query}", body, named)
        return status, json.loads(content)

    def is_ready(self):
        """Give what health says."""
        return self.ask("GET", "/v2/health/ready")[0] == 200

    def metric(self, name):
        """Give the value of a line of /metrics, 0 where there is none."""
        text = self.ask("GET", "/metrics")[2].decode()
        found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    def end(self):
        """End it at once."""
        self.process.kill()
        self.process.wait()
        self.reader.join(10)
        self.output.unlink()

    def stop(self):
        """Stop it as a service manager does; give the exit code."""
        self.process.terminate()
        return self.process.wait(60)


def started(*command, **environment):
    """Start a server, and wait until it listens."""
    number, output = tempfile.mkstemp()
    process = subprocess.Popen(
        [sys.executable, *map(str, command)],
        stderr=subprocess.PIPE,
        stdout=number,
        text=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **environment},
    )
    os.close(number)
    server = Server(process, 0, Path(output))
    listens = threading.Event()

    def read():
        with process.stderr:
            for line in process.stderr:
                server.said.append(line.rstrip("\n"))
                if found := re.match(r"listening on http://\S+:(\d+): ", line):
                    server.port = int(found[1])
                    listens.set()
        listens.set()

    server.reader = threading.Thread(target=read, daemon=True)
    server.reader.start()
    assert listens.wait(STARTED_S)
    assert server.port, server.said
    return server


@pytest.fixture(scope="session")
def colours(tmp_path_factory):
    """The tiny real network of the runtime's tests, for batches of 1 to 8."""
    path = tmp_path_factory.mktemp("served") / "colours.onnx"
    manifest = colour_manifest(batch=AxisRange(1, 4, 8))
    path.write_bytes(colour_model("b", {ONNX_KEY: manifest.to_json()}))
    return path


@pytest.fixture(scope="session")
def start():
    """Start servers that end with the tests."""
    servers = []

    def start(*words, **environment):
        servers.append(started("-m", "y12.serve.cli", *words, "--port", "0", **environment))
        return servers[-1]

    yield start
    for server in servers:
        server.end()


@pytest.fixture
def start_faulty(colours, tmp_path):
    """Start a server whose network fails or dawdles."""
    servers = []

    def start(*words):
        servers.append(started(FAULTY, colours, tmp_path, *words))
        return servers[-1]

    yield start
    for server in servers:
        server.end()


@pytest.fixture(scope="session")
def server(start, colours):
    """A server with the options that it has by itself, but for time and size of a request."""
    return start(colours, "--upload-timeout", "1.5", "--max-upload", "1")


def encoded(pixels, kind="PNG"):
    """Write (h, w, 3) RGB as a file."""
    file = BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def plain(colour=(250, 10, 10), height=48, width=64):
    """Return an RGB picture of one colour, which the network finds."""
    return np.full((height, width, 3), colour, np.uint8)


@pytest.fixture(scope="session")
def image():
    """A small file that can be read."""
    return encoded(plain())
