"""y12-bundle web: what is in the folder, what is refused, and where ONNX Runtime Web comes from."""

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from tests.bundle.web.host import hosted
from tests.runtime.conftest import colour_manifest, colour_model, constant_model
from y12.bundle.cli import main
from y12.bundle.web import onnxruntime_web as package
from y12.runtime.artefact.manifest import ONNX_KEY, AxisRange
from y12.runtime.artefact.nms_settings import NmsSettings
from y12.runtime.options import DetectOptions

NMS = NmsSettings("packed", 4, DetectOptions(max_det=4))
OUTPUTS = {
    "detections": np.zeros((1, 4, 6), np.float32),
    "num": np.zeros((1, 1), np.float32),
    "truncated": np.zeros((1, 1), np.float32),
}
FILES = {
    *("README.md", "bundle.json", "index.html", "model.onnx"),
    *(f"page/{name}.mjs" for name in ("browser", "decode", "draw", "letterbox", "masks", "page", "server", "worker")),
    *("page/icon.svg", "page/model.json", "page/style.css"),
    *("ort/LICENSE", "ort/one.mjs", "ort/two.wasm"),
}


def tarball(files):
    """Pack files as npm does, the same bytes at each time."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return gzip.compress(packed.getvalue(), mtime=0)


def pinned(content):
    digest = package.base64.b64encode(hashlib.sha512(content).digest()).decode()
    return package.Package(len(content), f"sha512-{digest}")


MEMBERS = {"one.mjs": b"export {}", "two.wasm": b"\0asm"}
WHOLE = tarball({f"package/dist/{name}": content for name, content in MEMBERS.items()} | {"../../evil": b"no"})


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    """Take a small package for npm's, and a cache that is empty."""
    members = tuple(
        package.Member(name, len(content), hashlib.sha256(content).hexdigest()) for name, content in MEMBERS.items()
    )
    monkeypatch.setattr(package, "PACKAGE", pinned(WHOLE))
    monkeypatch.setattr("y12.bundle.web.write.WASM", members)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9/")  # where nobody answers
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "street.onnx"
    manifest = colour_manifest(nms=NMS, licence="its own", source="street.pt")
    path.write_bytes(constant_model(OUTPUTS, {ONNX_KEY: manifest.to_json()}))
    return path


@pytest.fixture
def tgz(tmp_path):
    path = tmp_path / "ort.tgz"
    path.write_bytes(WHOLE)
    return path


def refused(capsys, *words):
    assert main(["web", *map(str, words)]) == 1
    lines = capsys.readouterr().err.splitlines()
    said = [line for line in lines if not line.startswith("fetching ")]
    assert len(said) == 1, lines
    return said[0].removeprefix("error: ")


def test_the_folder_is_the_page_the_model_and_what_runs_it(model, tgz, tmp_path, capsys):
    folder = tmp_path / "page"
    assert main(["web", str(model), "--output", str(folder), "--onnxruntime-web", str(tgz)]) == 0
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == FILES
    assert (folder / "model.onnx").read_bytes() == model.read_bytes()
    assert (folder / "ort" / "two.wasm").read_bytes() == MEMBERS["two.wasm"]
    assert "Copyright (c) Microsoft Corporation" in (folder / "ort" / "LICENSE").read_text()
    readme = (folder / "README.md").read_text()
    assert readme.startswith("# street in the browser\n")
    assert package.VERSION in readme
    facts = json.loads((folder / "page" / "model.json").read_text())
    told = {name: facts[name] for name in ("runs", "name", "form", "licence", "webgpu", "protos", "iou_choice", "conf")}
    assert told == {
        **{"runs": "browser", "name": "street", "form": "packed", "licence": "its own", "webgpu": False},
        **{"protos": None, "iou_choice": False, "conf": 0.25},
    }
    assert capsys.readouterr().out == f"wrote 17 files to {folder}: README.md in it says how to host them\n"


def test_a_folder_with_files_is_left_alone_and_an_earlier_page_is_replaced_when_asked(model, tgz, tmp_path, capsys):
    words = (model, "--output", tmp_path / "page", "--onnxruntime-web", tgz)
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "mine").write_text("mine")
    assert refused(capsys, *words).startswith("--output: expected an empty folder or nothing at ")
    (tmp_path / "page" / "mine").unlink()
    assert main(["web", *map(str, words)]) == 0
    capsys.readouterr()
    assert "add --exist-ok to replace an earlier bundle" in refused(capsys, *words)
    assert main(["web", *map(str, words), "--exist-ok"]) == 0


def written(path, manifest, content=None):
    path.write_bytes(content or constant_model(OUTPUTS, {ONNX_KEY: manifest.to_json()}))
    return path


def raw(path):
    return written(path / "raw.onnx", None, colour_model(1, {ONNX_KEY: colour_manifest(source="street.pt").to_json()}))


def classifier(path):
    manifest = colour_manifest(task="classify", strides=())
    graph = constant_model({"output0": np.zeros((1, 3), np.float32)}, {ONNX_KEY: manifest.to_json()})
    return written(path / "kind.onnx", None, graph)


def batches(path):
    return written(path / "four.onnx", colour_manifest(nms=NMS, batch=AxisRange(4, 4, 4)))


def text(path):
    (path / "notes.txt").write_text("no model")
    return path / "notes.txt"


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (raw, "expected a graph that picks objects itself, found raw predictions: y12-export street.pt --nms"),
        (classifier, "expected a model that finds objects, found a classifier, which the page runs on a server only"),
        (batches, "expected a graph that takes one image, found batches of 4 or more: export it with --batch 1"),
        (text, "expected a file named *.onnx, *.engine"),
        (lambda path: path / "none.onnx", "expected an ONNX model, found none"),
    ],
)
def test_what_a_browser_cannot_run_is_told(make, complaint, tmp_path, tgz, capsys):
    line = refused(capsys, make(tmp_path), "--output", tmp_path / "page", "--onnxruntime-web", tgz)
    assert complaint in line
    assert not (tmp_path / "page").exists()


def test_an_engine_is_told(tmp_path, tgz, capsys, monkeypatch, model):
    from y12.bundle.web import write

    opened = write.open_artefact(model)
    engine = write.Artefact(tmp_path / "street.engine", "engine", opened.manifest, "the network's name")
    monkeypatch.setattr(write, "open_artefact", lambda _: engine)  # a real one takes a GPU's library to build
    line = refused(capsys, engine.path, "--output", tmp_path / "page", "--onnxruntime-web", tgz)
    assert "expected an .onnx, which a browser can run, found an engine: give street.onnx, exported with --nms" in line


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (WHOLE[:-1], "found another (sha512-"),
        (WHOLE[:-1] + b"x", "found another (sha512-"),
        (WHOLE + b"x", f"expected npm's package onnxruntime-web {package.VERSION} (.tgz) of 1 to "),
        (b"", "of 1 to "),
        (None, "found none (No such file or directory)"),
    ],
)
def test_another_package_is_told_and_not_opened(content, complaint, model, tmp_path, capsys):
    path = tmp_path / "other.tgz"
    if content is not None:
        path.write_bytes(content)
    assert complaint in refused(capsys, model, "--output", tmp_path / "page", "--onnxruntime-web", path)
    assert not (tmp_path / "page").exists()


@pytest.mark.parametrize("changed", [b"\0asm!", b"\0asn"])
def test_a_file_of_the_package_that_is_another_is_told(changed, model, tmp_path, capsys, monkeypatch):
    """Which takes a package that has npm's own integrity, and is still another: the pins contradict each other."""
    members = MEMBERS | {"two.wasm": changed}
    content = tarball({f"package/dist/{name}": data for name, data in members.items()})
    monkeypatch.setattr(package, "PACKAGE", pinned(content))
    (tmp_path / "other.tgz").write_bytes(content)
    words = (model, "--output", tmp_path / "page", "--onnxruntime-web", tmp_path / "other.tgz")
    assert "two.wasm: expected SHA-256 " in refused(capsys, *words)


def registry(tmp_path, content):
    place = tmp_path / "registry" / "onnxruntime-web" / "-"
    place.mkdir(parents=True)
    (place / f"onnxruntime-web-{package.VERSION}.tgz").write_bytes(content)
    return tmp_path / "registry"


def test_it_is_fetched_once_and_kept(model, tmp_path, capsys, monkeypatch):
    with hosted(registry(tmp_path, WHOLE)) as host:
        monkeypatch.setenv("npm_config_registry", host.url)
        assert main(["web", str(model), "--output", str(tmp_path / "page")]) == 0
        assert host.asked == [f"/onnxruntime-web/-/onnxruntime-web-{package.VERSION}.tgz"]
    assert capsys.readouterr().err.startswith(f"fetching onnxruntime-web {package.VERSION} ")
    assert main(["web", str(model), "--output", str(tmp_path / "again")]) == 0  # nobody answers any more
    assert capsys.readouterr().err == ""
    for kept in Path(tmp_path / "cache" / "y12" / "web").iterdir():
        kept.write_bytes(b"damaged")
    assert "from 127.0.0.1, got none" in refused(capsys, model, "--output", tmp_path / "more")


@pytest.mark.parametrize("more", [b"x", b"x" * (3 << 20)])
def test_no_more_is_read_than_the_package_has(more, model, tmp_path, capsys, monkeypatch):
    with hosted(registry(tmp_path, WHOLE + more)) as host:
        monkeypatch.setenv("npm_config_registry", host.url)
        line = refused(capsys, model, "--output", tmp_path / "page")
    assert "what 127.0.0.1 sent: expected npm's package" in line


@pytest.mark.parametrize(
    ("address", "complaint"),
    [
        ("http://127.0.0.1:9", "from 127.0.0.1, got none (Connection refused): go online, set npm_config_registry, or"),
        ("https://me:secret@127.0.0.1:9/npm/", "from 127.0.0.1, got none ("),
        ("file:///etc", "npm_config_registry: expected an address of https://, found file:///etc"),
        ("ftp://127.0.0.1", "npm_config_registry: expected an address of https://"),
    ],
)
def test_without_a_registry_one_line_tells_what_to_do(address, complaint, model, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("npm_config_registry", address)
    line = refused(capsys, model, "--output", tmp_path / "page")
    assert complaint in line
    assert "secret" not in line


def test_the_gpu_s_files_are_there_when_asked_for(model, tmp_path, monkeypatch):
    content = tarball({f"package/dist/{name}": data for name, data in (MEMBERS | {"gpu.mjs": b"gpu"}).items()})
    monkeypatch.setattr(package, "PACKAGE", pinned(content))
    gpu = (package.Member("gpu.mjs", 3, hashlib.sha256(b"gpu").hexdigest()),)
    monkeypatch.setattr("y12.bundle.web.write.WEBGPU", gpu)
    (tmp_path / "more.tgz").write_bytes(content)
    folder = tmp_path / "page"
    words = ["web", str(model), "--output", str(folder), "--webgpu", "--onnxruntime-web", str(tmp_path / "more.tgz")]
    assert main(words) == 0
    assert (folder / "ort" / "gpu.mjs").read_bytes() == b"gpu"
    assert json.loads((folder / "page" / "model.json").read_text())["webgpu"] is True


def test_the_page_names_the_files_that_are_pinned():
    """What the page loads, and what ONNX Runtime Web loads by itself, is in the bundle."""
    from y12.serve.page.contents import page_files

    said = "".join(content.decode() for name, content in page_files().items() if name.endswith(".mjs"))
    for member in (*package.WASM, *package.WEBGPU):
        assert member.name in said or member.name.replace(".mjs", ".wasm") in said
