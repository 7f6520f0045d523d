"""A real tritonserver without a container, from PyPI's nvidia-pytriton, in an environment of its own.

numpy 2 kills its python stub, and the wheel asks for less; hence the pins. The stub of the Python in use has to be put
beside the python backend.
"""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PINS = ("nvidia-pytriton==0.7.0", "numpy==1.26.4", "opencv-python-headless<4.12", "tritonclient[http,grpc]")
STARTED_S = 60
STAND_IN = Path(__file__).parent / "tensorrt_stand_in.py"


class UnavailableError(Exception):
    """The environment cannot be made here."""


@dataclass(frozen=True)
class Environment:
    """An environment with tritonserver, and y12 from this checkout.

    Attributes:
        folder: of it.
        server: where the wheel has put tritonserver.
    """

    folder: Path
    server: Path

    @property
    def python(self) -> Path:
        """Its Python."""
        return self.folder / "bin" / "python"


def make_environment(folder: Path) -> Environment:
    """Make the environment, 0.6 GB.

    Raises:
        UnavailableError: PyPI does not answer, or has no wheel for this Python.
    """
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if uv is None:
        raise UnavailableError("no uv")
    for words in (
        ("venv", "--quiet", "--python", sys.executable, str(folder)),
        ("pip", "install", "--quiet", "--python", str(folder / "bin" / "python"), *PINS, "--editable", f"{ROOT}[ort]"),
    ):
        done = subprocess.run([uv, *words], capture_output=True, text=True, check=False)
        if done.returncode:
            raise UnavailableError(f"uv {' '.join(words[:2])} failed: {' '.join(done.stderr.split())[:300]}")
    (server,) = folder.glob("lib/python*/site-packages/pytriton/tritonserver")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    stub = server / "python_backend_stubs" / version / "triton_python_backend_stub"
    if not stub.is_file():
        raise UnavailableError(f"no stub for Python {version}")
    placed = shutil.copy(stub, server / "backends" / "python")
    Path(placed).chmod(0o755)
    (server / "backends" / "tensorrt").mkdir()
    shutil.copy(STAND_IN, server / "backends" / "tensorrt" / "model.py")
    return Environment(folder, server)


@dataclass
class Triton:
    """A tritonserver that runs on loopback."""

    process: "subprocess.Popen[bytes]"
    http: str
    grpc: str
    log: Path

    def get(self, path: str) -> bytes:
        """Return what an address says."""
        with urllib.request.urlopen(f"http://{self.http}{path}", timeout=10) as answer:
            return bytes(answer.read())

    def stubs(self, model: str) -> list[int]:
        """Return the processes that run a model's python."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                is_of_model = any(f"/{model}/1/model.py".encode() in word for word in words)
                if parent == self.process.pid and is_of_model:
                    found.append(int(entry.name))
        return found


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@contextlib.contextmanager
def triton(environment: Environment, repositories: Sequence[Path], folder: Path) -> Iterator[Triton]:
    """Serve repositories as a bundle's README says, until the end; `folder` gets the log."""
    http, grpc, metrics = free_ports(3)
    name = f"y12-{http}"
    config = "import sysconfig; print(sysconfig.get_config_var('LIBDIR'))"
    libdir = subprocess.run([environment.python, "-c", config], capture_output=True, text=True, check=True).stdout
    libraries = environment.server.parents[1] / "nvidia_pytriton.libs"
    command = [
        environment.server / "bin" / "tritonserver",
        *(f"--model-repository={repository}" for repository in repositories),
        *("--model-control-mode=explicit", "--load-model=*"),
        *("--http-address=127.0.0.1", "--grpc-address=127.0.0.1", "--metrics-address=127.0.0.1"),
        *(f"--http-port={http}", f"--grpc-port={grpc}", f"--metrics-port={metrics}", f"--id={name}"),
        f"--backend-directory={environment.server / 'backends'}",
        f"--backend-config=python,shm-region-prefix-name={name}-",
        "--exit-timeout-secs=5",
    ]
    variables = {
        "PATH": f"{environment.folder / 'bin'}:{os.environ['PATH']}",
        "LD_LIBRARY_PATH": f"{libdir.strip()}:{libraries}",
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
    }
    log = folder / "tritonserver.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream, env={**os.environ, **variables})
    server = Triton(process, f"127.0.0.1:{http}", f"127.0.0.1:{grpc}", log)
    try:
        _wait(server, name)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for region in Path("/dev/shm").glob(f"{name}-*"):  # left where a stub was killed
            region.unlink(missing_ok=True)


def _wait(server: Triton, name: str) -> None:
    """Wait until this server is ready, and not another on its port."""
    until = time.monotonic() + STARTED_S
    while time.monotonic() < until:
        assert server.process.poll() is None, f"tritonserver ended:\n{said(server)}"
        with contextlib.suppress(OSError, urllib.error.URLError):
            server.get("/v2/health/ready")
            if json.loads(server.get("/v2"))["name"] == name:
                return
        time.sleep(0.1)
    raise AssertionError(f"tritonserver was not ready in {STARTED_S} s:\n{said(server)}")


def said(server: Triton) -> str:
    """Return the end of the server's log."""
    return server.log.read_text(errors="replace")[-4000:]
