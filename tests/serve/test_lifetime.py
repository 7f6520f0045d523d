"""A server's beginning and end, and what it does when many times too much is asked."""

import asyncio
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from benchmarks.serving import Server as Asked
from benchmarks.serving import overload, request_of
from tests.serve.conftest import ROOT
from y12.installing import install_command
from y12.serve.cli import main


def test_what_was_accepted_is_answered_and_a_second_server_is_refused(start_faulty, colours, image, tmp_path):
    server = start_faulty("--delay", "0.8")
    second = [sys.executable, "-m", "y12.serve.cli", str(colours), "--port", str(server.port)]
    done = subprocess.run(second, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: 127.0.0.1:{server.port}: expected a free address of this machine, found one that")
    assert line.endswith("stop what listens there, or choose another by --host and --port")
    with ThreadPoolExecutor(12) as pool:
        first = pool.submit(server.detect, image)
        while not (tmp_path / "begun").exists():
            time.sleep(0.01)
        others = [pool.submit(server.detect, image) for _ in range(11)]  # more than one batch
        time.sleep(0.3)
        server.process.send_signal(signal.SIGTERM)
        assert [one.result()[0] for one in (first, *others)] == [200] * 12
    assert server.process.wait(20) == 0
    assert server.said[-1] == "stopped; all that was accepted is answered"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port))


def test_ten_times_too_much_is_refused_quickly_and_health_answers(start_faulty, tmp_path, image):
    """Its network takes 0.4 s for up to 8 images, without processor time: 20 a second, and 16 of them may wait."""
    server = start_faulty("--delay", "0.4", "--queue", "16", "--max-wait", "0")
    asked = Asked(server.process, server.port, [request_of(image, "m")])
    report = asyncio.run(overload(asked, per_s=20, times=10, seconds=2.5, queue=16))
    assert report["refused"] > 5 * report["served"] > 0
    assert report["all_with_retry_after"]
    assert report["refused_p50_ms"] < 100
    assert report["served_p99_ms"] < 1.5 * 1e3 * (16 + 8) / 20
    assert report["health_p50_ms"] < 200
    assert server.metric('y12_refusals_total{reason="queue"}') == report["refused"]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--prot", "80"], 2, "expected an option of y12-serve, found '--prot'; did you mean --port?"),
        (["--queue", "0"], 2, "--queue: expected a whole number of 1 or more, found '0'"),
        (["--port", "x"], 2, "--port: expected a whole number, found 'x'"),
        (["--port", "99999"], 1, "127.0.0.1:99999: expected a free address of this machine"),
        (["--host", "no.such.host.invalid"], 1, "no.such.host.invalid:8080: expected a free address"),
        (["--max-upload", "0"], 1, "max_upload: expected 1,024 to 1,073,741,824 bytes, found 0"),
        (["--max-upload", "inf"], 1, "max_upload: expected 1,024 to 1,073,741,824 bytes, found 0"),
        (["--max-wait-ms", "1e9"], 1, "max_wait_s: expected 0 to 10 seconds"),
        (["--workers", "65"], 1, "workers: expected 1 to 64 threads, found 65"),
        (["--upload-timeout", "nan"], 1, "upload_timeout_s: expected 0.1 to 3,600 seconds, found nan"),
        (["--name", "a/b"], 1, "--name: expected a name that can stand in an address, without /, found 'a/b'"),
        (["--port", "0", "--device", "3"], 1, "device: expected 0, as the model runs on the CPU, found 3"),
    ],
)
def test_what_cannot_be_asked_for(colours, words, code, message, capsys):
    assert main([str(colours), *words]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error: {message}")
    assert err.count("\n") == 1


def test_a_package_that_is_missing_is_one_line_with_the_remedy(colours, monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "prometheus_client" else object())
    assert main([str(colours)]) == 1
    line = capsys.readouterr().err.rstrip("\n")
    assert line.startswith("error: y12-serve needs the package 'prometheus-client' of y12's extra [serve]")
    assert line.endswith(install_command("serve"))


def test_traces_are_sent_where_the_environment_asks(start, colours, image):
    pytest.importorskip("opentelemetry.instrumentation.asgi")
    server = start(colours, OTEL_TRACES_EXPORTER="console", OTEL_SERVICE_NAME="eyes")
    assert server.detect(image, traceparent="00-0123456789abcdef0123456789abcdef-0123456789abcdef-01")[0] == 200
    assert server.is_ready()
    assert server.stop() == 0
    spans = server.output.read_text()
    assert '"trace_id": "0x0123456789abcdef0123456789abcdef"' in spans
    assert '"service.name": "eyes"' in spans
    assert spans.count('"kind": "SpanKind.SERVER"') == 1  # health is not told
