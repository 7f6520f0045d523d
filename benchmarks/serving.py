"""What y12-serve or Triton adds to bare `infer_batch`, in one run: figures for docs/benchmarks.md.

    python benchmarks/serving.py [MODEL.onnx] [--clients 8] [--count 400] [--rounds 5] [--soak 5000] [--overload 10]
    python benchmarks/serving.py [MODEL.onnx] --triton VENV [--instances 2] ...

Clients send JPEGs to a real y12-serve on loopback by POST /v2/models/NAME/infer, each the next when it has its answer;
"bare" is `Runtime.infer_batch` on the same files in a process of its own, as many at a time as a batch has. Rounds of
the two alternate, and what counts is the median of the rounds' ratios: of images per second, and of processor time an
image (of the server's process; the clients' is not in it, though they use the same cores). Then, with --overload, so
many times the rate that the server reached is asked for, each request on a connection of its own; and --soak requests
with the server's memory before and after. With --triton, the server is a real tritonserver with what `y12-bundle
triton` wrote, from the environment VENV, which is made where it is not there (0.6 GB of PyPI's); bare runs in the same
environment. Without MODEL, the yolov12n that ships is exported at 160x160, batch 1 to 8.
Prints one JSON object; exits with 1 where a goal is missed.
"""

import argparse
import asyncio
import contextlib
import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # so that it runs from a checkout

if TYPE_CHECKING:
    from tests.bundle.tritonserver import Environment

PHOTOS = ROOT / "y12" / "exporter" / "verify" / "photos"
WEIGHTS = ROOT / "configs" / "weights" / "yolov12n-shapes.safetensors"
QUEUE, BATCH = 64, 8
GOALS = {"rate": 0.75, "cpu": 1.3, "refused_p50_ms": 100.0, "served_p99_of_queue": 1.5, "health_max_ms": 200.0}
TRITON_GOALS = GOALS | {"rate": 0.8, "cpu": float("inf")}
TICKS = os.sysconf("SC_CLK_TCK")
BARE = """
import sys, time
from y12 import Runtime
model, *files = sys.argv[1:]
runtime = Runtime(model)
runtime.infer_batch(files[:8])
print("ready", flush=True)
for line in sys.stdin:
    images = [files[i % len(files)] for i in range(int(line))]
    wall, cpu = time.perf_counter(), time.process_time()
    for start in range(0, len(images), 8):
        runtime.infer_batch(images[start:start + 8])
    print(time.perf_counter() - wall, time.process_time() - cpu, flush=True)
"""


@dataclass(frozen=True)
class Server:
    """A y12-serve that runs."""

    process: "subprocess.Popen[Any]"
    port: int
    requests: list[bytes]

    def processes(self) -> list[Path]:
        """Return its processes: Triton's python has one for each instance."""
        own = Path(f"/proc/{self.process.pid}")
        children = (own / "task" / str(self.process.pid) / "children").read_text().split()
        threads = [(task / "children").read_text().split() for task in (own / "task").iterdir()]
        return [own, *(Path(f"/proc/{pid}") for pid in {*children, *(pid for pids in threads for pid in pids)})]

    def cpu_s(self) -> float:
        """Return the processor time it has used."""
        stats = [(process / "stat").read_text().rpartition(")")[2].split() for process in self.processes()]
        return sum(int(fields[11]) + int(fields[12]) for fields in stats) / TICKS

    def resident_mib(self) -> float:
        """Return its memory."""
        pages = sum(int((process / "statm").read_text().split()[1]) for process in self.processes())
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> int:
    """Measure and print; give the exit code."""
    asked = parser().parse_args()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        model = asked.model or exported(Path(folder))
        files = sorted(str(path) for path in asked.images.iterdir() if path.suffix == ".jpg")
        environment = None if asked.triton is None else triton_environment(asked.triton)
        bare = stack.enter_context(bare_process(model, files, environment.python if environment else sys.executable))
        if environment is None:
            server = stack.enter_context(served(model, files))
        else:
            server = stack.enter_context(served_by_triton(model, files, environment, Path(folder), asked.instances))
        closed_loop(server, asked.clients, 8 * asked.clients)  # warm-up
        rounds = [one_round(bare, server, asked.clients, asked.count) for _ in range(asked.rounds)]
        report: dict[str, Any] = {
            "server": "y12-serve" if environment is None else f"tritonserver, {asked.instances} instances",
            "model": Path(model).name,
            "images": f"{asked.count} a round, of {len(files)} in {asked.images}",
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
            "load": os.getloadavg()[0],
            **{key: round(float(np.median([r[key] for r in rounds])), 3) for key in rounds[0]},
            "rate_from_to": [round(pick(r["rate"] for r in rounds), 3) for pick in (min, max)],
            "cpu_from_to": [round(pick(r["cpu"] for r in rounds), 3) for pick in (min, max)],
        }
        if asked.overload:
            report["overload"] = asyncio.run(overload(server, report["served_per_s"], asked.overload))
        if asked.soak:
            report["soak"] = soak(server, asked.clients, asked.soak)
    print(json.dumps(report, indent=2))
    return int(not all(met(report, GOALS if environment is None else TRITON_GOALS)))


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(description="y12-serve beside bare infer_batch.")
    parser.add_argument("model", nargs="?", metavar="MODEL.onnx", help="with batches up to 8")
    parser.add_argument("--images", type=Path, default=PHOTOS, metavar="DIR", help="of JPEGs; default: y12's own")
    parser.add_argument("--triton", type=Path, metavar="VENV", help="serve by Triton, from this environment")
    parser.add_argument("--instances", type=int, default=2, help="of the model on Triton (default: %(default)s)")
    parser.add_argument("--clients", type=int, default=8, help="(default: %(default)s)")
    parser.add_argument("--count", type=int, default=400, help="images a round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="(default: %(default)s)")
    parser.add_argument("--soak", type=int, default=5000, help="requests; 0 leaves it out (default: %(default)s)")
    parser.add_argument("--overload", type=float, default=10, help="times the rate; 0 leaves it out (default: 10)")
    return parser


def met(report: dict[str, Any], goals: dict[str, float]) -> Iterator[bool]:
    """Yield of each goal whether it is met."""
    yield report["rate"] >= goals["rate"]
    yield report["cpu"] <= goals["cpu"]
    if over := report.get("overload"):
        yield from (over[key] <= goals[key] for key in ("refused_p50_ms", "served_p99_of_queue", "health_max_ms"))
    if soaked := report.get("soak"):
        yield soaked["flat"]


def exported(folder: Path) -> str:
    """Export the yolov12n that ships, at 160x160, for batches of 1 to 8."""
    command = [sys.executable, "-m", "y12.exporter.cli.export", str(WEIGHTS), "--imgsz", "160", "--batch", "1:4:8"]
    subprocess.run([*command, "--no-verify", "--output", str(folder)], check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
    (model,) = folder.glob("*.onnx")
    return str(model)


@contextlib.contextmanager
def bare_process(model: str, files: list[str], python: str | Path) -> "Iterator[subprocess.Popen[str]]":
    """Start what runs `infer_batch` alone."""
    command = [str(python), "-c", BARE, model, *files]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.communicate()


@contextlib.contextmanager
def served(model: str, files: list[str]) -> Iterator[Server]:
    """Start a server, and prepare what its clients send."""
    command = [sys.executable, "-m", "y12.serve.cli", model, "--port", "0", "--name", "m", "--queue", str(QUEUE)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stderr is not None
        while "listening on " not in (line := process.stderr.readline()):
            assert line, "the server did not start"
        port = int(line.partition("http://")[2].partition(":")[2].partition(":")[0])
        yield Server(process, port, [request_of(Path(file).read_bytes(), "m") for file in files])
        process.terminate()
        process.wait()


def triton_environment(folder: Path) -> "Environment":
    """Return an environment with tritonserver, made where it is not there."""
    from tests.bundle.tritonserver import Environment, make_environment

    if not folder.exists():
        return make_environment(folder)
    (server,) = folder.glob("lib/python*/site-packages/pytriton/tritonserver")
    return Environment(folder.absolute(), server.absolute())


@contextlib.contextmanager
def served_by_triton(
    model: str, files: list[str], environment: "Environment", folder: Path, instances: int
) -> Iterator[Server]:
    """Start a tritonserver with a bundle of the model, and prepare what its clients send."""
    from tests.bundle.tritonserver import triton

    words = ["--backend", "python", "--name", "m", "--queue", str(QUEUE), "--instances", str(instances)]
    command = [sys.executable, "-m", "y12.bundle.cli", "triton", model, *words, "--output", str(folder / "bundle")]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
    with triton(environment, [folder / "bundle" / "python"], folder) as running:
        port = int(running.http.rpartition(":")[2])
        requests = [request_of(Path(file).read_bytes(), "m_images") for file in files]
        yield Server(running.process, port, requests)


def request_of(image: bytes, model: str) -> bytes:
    """Return a request of the protocol, as a client of its binary extension sends it."""
    head = {
        "inputs": [
            {"name": "image", "shape": [1, 1], "datatype": "BYTES", "parameters": {"binary_data_size": len(image) + 4}}
        ],
        "parameters": {"binary_data_output": True},
    }
    text = json.dumps(head).encode()
    body = text + len(image).to_bytes(4, "little") + image
    lines = (
        f"POST /v2/models/{model}/infer HTTP/1.1",
        "Host: 127.0.0.1",
        f"Inference-Header-Content-Length: {len(text)}",
        f"Content-Length: {len(body)}",
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def one_round(bare: "subprocess.Popen[str]", server: Server, clients: int, count: int) -> dict[str, float]:
    """Run as many images bare and served."""
    assert bare.stdin is not None
    assert bare.stdout is not None
    bare.stdin.write(f"{count}\n")
    bare.stdin.flush()
    bare_s, bare_cpu = map(float, bare.stdout.readline().split())
    before, began = server.cpu_s(), time.perf_counter()
    closed_loop(server, clients, count)
    seconds, cpu = time.perf_counter() - began, server.cpu_s() - before
    return {
        "rate": bare_s / seconds,
        "cpu": cpu / bare_cpu,
        "bare_per_s": count / bare_s,
        "served_per_s": count / seconds,
        "bare_cpu_ms": 1e3 * bare_cpu / count,
        "served_cpu_ms": 1e3 * cpu / count,
    }


def closed_loop(server: Server, clients: int, count: int) -> None:
    """Let clients send images, each the next when it has its answer."""
    left = iter(range(count))

    def work() -> None:
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            for number in left:  # a range's iterator gives each number once, in whichever thread
                connection.sendall(server.requests[number % len(server.requests)])
                status = read_answer(connection)
                assert status == 200, status

    threads = [threading.Thread(target=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def read_answer(connection: socket.socket) -> int:
    """Read an answer to its end, and give its status."""
    content = b""
    while b"\r\n\r\n" not in content:
        piece = connection.recv(1 << 16)
        assert piece, "the server closed the connection"
        content += piece
    head, _, body = content.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    while len(body) < length:
        body += connection.recv(1 << 16)
    return int(head[9:12])


Answered = tuple[
    int, float, bool, float
]  # status, milliseconds, whether it says Retry-After, seconds from the beginning


async def overload(
    server: Server, per_s: float, times: float, seconds: float = 10.0, queue: int = QUEUE
) -> dict[str, Any]:
    """Ask for many times the rate that the server reached, whatever comes of it."""
    cpu, own_cpu = server.cpu_s(), time.process_time()
    health: list[float] = []
    watching = asyncio.ensure_future(watch(server.port, health))
    answers = await flood(server, per_s * times, seconds)
    watching.cancel()
    cpu, own_cpu = server.cpu_s() - cpu, time.process_time() - own_cpu
    served_ms = [ms for status, ms, _, _ in answers if status == 200]
    refused = [(ms, told) for status, ms, told, _ in answers if status == 503]
    assert len(served_ms) + len(refused) == len(answers), {status for status, *_ in answers}
    # While it is asked: what waits at the end is done faster, as nothing is refused beside it.
    rate = sum(status == 200 and seconds / 5 <= at <= seconds for status, _, _, at in answers) / (seconds * 4 / 5)
    p99 = float(np.percentile(served_ms, 99))
    return {
        "asked_per_s": round(per_s * times),
        "served": len(served_ms),
        "refused": len(refused),
        "all_with_retry_after": all(told for _, told in refused),
        "refused_p50_ms": round(float(np.median([ms for ms, _ in refused])), 1),
        "served_p50_ms": round(float(np.median(served_ms))),
        "served_p99_ms": round(p99),
        "served_per_s": round(rate, 1),
        "served_p99_of_queue": round(p99 * rate / (1e3 * queue), 2),
        "health_p50_ms": round(float(np.median(health)), 1),
        "health_max_ms": round(max(health), 1),
        "server_cpu_s": round(cpu, 1),
        "clients_cpu_s": round(own_cpu, 1),
    }


async def flood(server: Server, per_s: float, seconds: float) -> list[Answered]:
    """Ask at a rate for a while, each request on a connection of its own, and wait for all answers."""
    requests, asking = cycle(server.requests), set()
    answers: list[Answered] = []
    began = time.perf_counter()

    async def one() -> None:
        answers.append((*await asked(server.port, next(requests)), time.perf_counter() - began))

    for number in range(int(per_s * seconds)):
        if (early := began + number / per_s - time.perf_counter()) > 0:
            await asyncio.sleep(early)
        asking.add(asyncio.ensure_future(one()))
    await asyncio.gather(*asking)
    return answers


async def watch(port: int, health: list[float]) -> None:
    """Ask for health ten times a second, and note the milliseconds."""
    while True:
        status, ms, _ = await asked(port, b"GET /v2/health/ready HTTP/1.1\r\nHost: x\r\n\r\n")
        health.append(ms if status == 200 else 1e9)
        await asyncio.sleep(0.1)


async def asked(port: int, request: bytes) -> tuple[int, float, bool]:
    """Send a request on a connection of its own; give its status, milliseconds, and whether it says Retry-After."""
    began = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        return int(head[9:12]), 1e3 * (time.perf_counter() - began), b"retry-after: " in head.lower()
    finally:
        writer.close()


def soak(server: Server, clients: int, count: int) -> dict[str, Any]:
    """Send many requests, and compare the server's memory after a fifth of them with that at the end."""
    closed_loop(server, clients, count // 5)
    before = server.resident_mib()
    closed_loop(server, clients, count - count // 5)
    after = server.resident_mib()
    flat = after - before < max(32, 0.02 * before)
    return {"requests": count, "mib_after_a_fifth": round(before, 1), "mib_at_the_end": round(after, 1), "flat": flat}


if __name__ == "__main__":
    sys.exit(main())
