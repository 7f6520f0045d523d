"""Every command that takes a file takes its address, and Python does too."""

import hashlib
import json
import signal
import subprocess
import sys
import time
from contextvars import ContextVar
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.remote import site as pages
from tests.remote.conftest import kept_files
from tests.runtime.conftest import colour_manifest, colour_model
from y12 import AddressError, ExportConfig, FetchOptions, Runtime
from y12.errors import OptionsError
from y12.exporter.cli import export as export_command
from y12.exporter.cli import tune, val
from y12.exporter.export_config import with_local_model
from y12.exporter.source import demo_weights
from y12.exporter.train.initial import network_from
from y12.runtime.artefact.manifest import ONNX_KEY
from y12.runtime.cli import app, bench, infer, inspect
from y12.serve.cli import Serve, _name

ROOT = Path(__file__).resolve().parents[2]
GRAPH = colour_model(metadata={ONNX_KEY: colour_manifest().to_json()})
HASH = hashlib.sha256(GRAPH).hexdigest()


@pytest.fixture
def red(tmp_path):
    """An image in which the network finds its first class."""
    path = tmp_path / "red.png"
    Image.fromarray(np.full((64, 64, 3), (255, 0, 0), np.uint8)).save(path)
    return path


@pytest.fixture
def graph(site):
    """The address of a small network."""
    return site.at("/colours.onnx", pages.good(GRAPH))


def refused(capsys, command, *arguments):
    """Return the one line that a command says."""
    assert command.main([str(argument) for argument in arguments]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_inspect_infer_and_bench_take_an_address(graph, red, capsys):
    assert inspect.main([graph, "--json", "--sha256", HASH]) == 0
    assert json.loads(capsys.readouterr().out)["sha256"] == HASH
    assert infer.main([graph, str(red), "--json"]) == 0
    said = capsys.readouterr()
    assert [found["class_name"] for found in json.loads(said.out)["detections"]] == ["red"]
    assert f"{graph} on ONNX Runtime" in said.err
    assert bench.main([graph, "--iterations", "1", "--warmup", "1", "--offline"]) == 0


def test_sources_that_are_addresses_stay_what_they_were(graph, site, cache, capsys):
    """What is looked at is opened by FFmpeg, and neither fetched, kept nor held against the hash of the model."""
    stream = site.at("/camera", pages.good(b"no pictures"))
    assert infer.main([graph, stream, "--json", "--sha256", HASH]) == 1
    assert f"{stream}: expected a stream of pictures" in capsys.readouterr().err
    agents = {path: headers["User-Agent"].partition("/")[0] for path, headers in site.asked}
    assert agents == {"/colours.onnx": "y12", "/camera": "Lavf"}
    assert kept_files(cache) == ["colours.onnx"]


def test_val_takes_an_address(graph, tmp_path, red, capsys):
    (tmp_path / "red.txt").write_text("0 0.5 0.5 0.25 0.125\n")
    data = tmp_path / "data.yaml"
    data.write_text("path: .\nval: .\nnames: [red, green, blue]\n")
    assert val.main([graph, str(data), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert "colours.onnx" in json.dumps(report)


def test_serve_names_a_model_by_its_address(graph):
    assert _name(Serve(artefact=f"{graph}?signature=a/b.c")) == "colours"


def test_a_runtime_takes_an_address(graph, site, red):
    with Runtime(graph, fetch=FetchOptions(sha256=HASH)) as runtime:
        assert runtime(str(red)).class_name == ["red"]
    with pytest.raises(AddressError, match="expected sha256 0000"):
        Runtime(graph, fetch=FetchOptions(sha256="0" * 64))
    site.pages.clear()
    Runtime(graph, fetch=FetchOptions(offline=True)).close()
    with pytest.raises(AddressError, match="lost a slash"):
        Runtime(Path(graph))


EXPORT = ("y12-export", "--no-verify", "--batch", "1", "--imgsz", "64", "--no-simplify", "--output")


def command(*arguments, cwd):
    """Start a command in a process of its own."""
    program = [sys.executable, "-m", "y12", *(str(argument) for argument in arguments)]
    program[3] = program[3].removeprefix("y12-")
    return subprocess.Popen(program, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_an_export_that_is_interrupted_goes_on_where_it_was(tls_site, tmp_path, cache, monkeypatch):
    """SIGTERM comes while the model is fetched; the second command asks for the rest, and exports what it was."""
    site, weights = tls_site, demo_weights().read_bytes()
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    address = site.at("/runs/best.safetensors", pages.paced(weights, 4_000_000))
    first = command(*EXPORT, tmp_path, address, cwd=tmp_path)
    deadline = time.monotonic() + 60
    while not any(path.stat().st_size for path in cache.glob("*/part")) and time.monotonic() < deadline:
        time.sleep(0.01)
    first.send_signal(signal.SIGTERM)
    _, said = first.communicate(timeout=60)
    assert (first.returncode, said.count("Traceback")) == (130, 0)
    (part,) = cache.glob("*/part")
    size = part.stat().st_size
    assert 0 < size < len(weights)
    site.at("/runs/best.safetensors", pages.good(weights))
    second = command(*EXPORT, tmp_path, address, "--sha256", hashlib.sha256(weights).hexdigest(), cwd=tmp_path)
    _, said = second.communicate(timeout=300)
    assert second.returncode == 0, said
    assert site.ranges() == [None, f"bytes={size}-"]
    assert (tmp_path / "best.onnx").is_file()
    report = json.loads((tmp_path / "best.report.json").read_text())
    assert report["source_sha256"] == hashlib.sha256(weights).hexdigest()
    assert list(cache.glob("*/part*")) == []


def test_what_contradicts_is_refused_before_anything_is_fetched(site, tmp_path, capsys):
    address = site.at("/best.safetensors", pages.good(b"x"))
    assert "--opset: expected 17 to 20" in refused(capsys, export_command, address, "--opset", "99")
    assert "MODEL: expected a file ending in" in refused(capsys, export_command, site.at("/best.zip", pages.good(b"x")))
    assert "MODEL: expected a file ending in" in refused(capsys, export_command, site.at("/yolov12n", pages.good(b"x")))
    assert "--sha256: expected 64" in refused(capsys, export_command, address, "--sha256", "beef")
    assert "expected a data.yaml" in refused(capsys, tune, tmp_path / "none.yaml", "--weights", address)
    assert "DATA: expected" in refused(capsys, val, site.at("/m.onnx", pages.good(b"x")), tmp_path / "none.yaml")
    assert site.asked == []


def test_tune_begins_with_weights_at_an_address(site, tmp_path, capsys):
    weights = demo_weights().read_bytes()
    address = site.at("/best.safetensors", pages.good(weights))
    assert "expected sha256" in refused(capsys, tune, "shapes", "--weights", address, "--sha256", HASH)
    job = tune._job(tune.TuneOrder(data=Path("shapes"), weights=address, output=tmp_path / "tuned"))
    assert network_from(job.network).source is not None
    assert job.network.weights.name == "best.safetensors"


def test_a_hash_without_a_file_is_refused(capsys):
    assert "expected a file to hold against it" in refused(capsys, export_command, "--sha256", HASH)
    assert "expected a file to hold against it" in refused(
        capsys, tune, "shapes", "--model", "yolov12n", "--sha256", HASH
    )
    with pytest.raises(OptionsError, match="expected a file to hold against it"):
        with_local_model(ExportConfig(fetch=FetchOptions(sha256=HASH)))


def test_learned_ranges_are_looked_for_behind_an_address_too(site):
    address = site.at("/best.safetensors", pages.good(demo_weights().read_bytes()))
    config = with_local_model(ExportConfig(address))
    assert Path(str(config.model)).name == "best.safetensors"
    assert ExportConfig(address).may_have_ranges


def test_options_are_declared_once_and_every_command_has_them():
    for module in (export_command, tune, val, infer, bench, inspect):
        names = {name for param in module.COMMAND.parser().params for name in param.opts}
        assert {"--sha256", "--max-download", "--plain-http", "--offline"} <= names, module


@pytest.mark.parametrize("size", ["0", "-1", "nan", "inf", "much"])
def test_a_limit_that_is_none_is_refused(size, capsys):
    assert inspect.main(["https://host/best.onnx", "--max-download", size]) == 2
    assert "--max-download: expected a size in GiB, more than 0" in capsys.readouterr().err


def test_the_limit_is_the_command_s(graph, capsys):
    said = refused(capsys, inspect, graph, "--max-download", "0.0000001")
    assert f"expected at most 107 bytes, found {len(GRAPH)}; --max-download allows more" in said


PROBE = """
import sys
{code}
found = ("fsspec", "s3fs", "gcsfs", "huggingface_hub", "requests", "aiohttp", "urllib.request", "http.client")
found += ("y12.remote.fetch", "y12.remote.cache")
print([name for name in found if name in sys.modules])
"""
ORDINARY = {
    "runtime": "from y12 import Runtime\nRuntime({graph!r}).close()",
    "inspect": "from y12.runtime.cli.inspect import main\nassert main([{graph!r}]) == 0",
    "help": "from y12.exporter.cli.export import main\nassert main(['--help']) == 0",
    "config": "from y12 import ExportConfig\nExportConfig({graph!r})",
}


def test_a_signature_gets_into_no_report_and_no_line(graph, red, capsys, monkeypatch):
    assert infer.main([f"{graph}?signature=secret", str(red)]) == 0
    assert "secret" not in capsys.readouterr().err
    words = ("y12-export", f"{graph}?signature=secret", "a?b")
    monkeypatch.setattr(app, "_WORDS", ContextVar("words", default=words))
    assert app.command_line() == f"y12-export '{graph}?…' 'a?b'"


@pytest.mark.parametrize("use", ORDINARY)
def test_who_names_no_address_loads_nothing_for_it(use, tmp_path):
    path = tmp_path / "colours.onnx"
    path.write_bytes(GRAPH)
    code = PROBE.format(code=ORDINARY[use].format(graph=str(path)))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.stdout.splitlines()[-1:] == ["[]"], done.stderr


def test_the_probe_sees_what_is_loaded(graph):
    code = PROBE.format(code=f"from y12.remote.local import local_path\nlocal_path({graph!r})")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.stdout.splitlines() == ["['urllib.request', 'http.client', 'y12.remote.fetch', 'y12.remote.cache']"], (
        done.stderr
    )


def test_a_long_transfer_is_shown(site, tmp_path, capsys, monkeypatch):
    from y12.runtime.cli import progress

    monkeypatch.setattr(progress, "LINES_S", 0.05)
    address = site.at("/colours.onnx", pages.paced(GRAPH, max(100, 2 * len(GRAPH))))
    assert inspect.main([address]) == 0
    assert "fetch: 0 of 1 MiB, " in capsys.readouterr().err
