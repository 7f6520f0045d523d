"""Bundles of trained models, servers of the same, and a browser."""

import os
import urllib.error
from contextlib import ExitStack

import pytest
from PIL import Image

from tests.bundle.web.driven import Page
from tests.bundle.web.host import hosted
from tests.chromium import Chromium
from tests.serve.conftest import started
from y12.bundle.web.onnxruntime_web import WASM, onnxruntime_web
from y12.bundle.web.write import write_web
from y12.errors import InputError
from y12.exporter.cli.export import main as export

SIDE = "320"
PHOTOGRAPHS = 12


@pytest.fixture(scope="session")
def models(shared, tmp_path_factory):
    """Export a trained checkpoint with NMS in its graph, once each."""
    folder = tmp_path_factory.mktemp("models")
    made = {}

    def model(name):
        if name not in made:
            checkpoint = shared / "checkpoints" / "trained" / f"{name}.pt"
            words = ["--imgsz", SIDE, "--nms", "--no-verify", "--output", str(folder)]
            assert export([str(checkpoint), *words]) == 0
            made[name] = folder / f"{name}.onnx"
        return made[name]

    return model


@pytest.fixture(scope="session")
def ort_web():
    """ONNX Runtime Web, in the user's cache; tests that need it skip where npm's registry cannot be reached."""
    try:
        return onnxruntime_web(WASM)
    except InputError as error:
        if not isinstance(error.__cause__, urllib.error.URLError) or os.environ.get("Y12_REQUIRE_BROWSER") == "1":
            raise
        pytest.skip(f"ONNX Runtime Web is not in the user's cache, and cannot be fetched: {error}")


@pytest.fixture(scope="session")
def bundles(models, ort_web, tmp_path_factory):
    """Bundle a model, once each."""
    folder = tmp_path_factory.mktemp("bundles")

    def bundle(name):
        if not (folder / name).exists():
            write_web(models(name), folder / name)
        return folder / name

    return bundle


@pytest.fixture(scope="session")
def chromium(browser, tmp_path_factory):
    """A browser for all tests."""
    driven = Chromium(browser, tmp_path_factory.mktemp("profile"))
    yield driven
    driven.close()


@pytest.fixture(scope="session")
def pages(models, bundles, chromium):
    """Give the page of a model, by the server or as a folder."""
    with ExitStack() as stack:
        urls = {}

        def page(mode, name):
            if (mode, name) not in urls:
                if mode == "server":
                    server = started("-m", "y12.serve.cli", models(name), "--port", "0")
                    stack.callback(server.end)
                    urls[mode, name] = f"http://127.0.0.1:{server.port}/"
                else:
                    urls[mode, name] = stack.enter_context(hosted(bundles(name))).url
            return Page(chromium, urls[mode, name])

        yield page


@pytest.fixture(scope="session")
def raw_server(shared, tmp_path_factory):
    """Give the address of a server of a model without NMS in its graph."""
    folder = tmp_path_factory.mktemp("raw")
    words = ["--imgsz", SIDE, "--no-verify", "--output", str(folder)]
    assert export([str(shared / "checkpoints" / "trained" / "yolo11n.pt"), *words]) == 0
    server = started("-m", "y12.serve.cli", folder / "yolo11n.onnx", "--port", "0")
    yield f"http://127.0.0.1:{server.port}/"
    server.end()


@pytest.fixture(scope="session")
def photographs(shared, tmp_path_factory):
    """Photographs as they are, a PNG, and one that a camera has turned."""
    found = sorted((shared / "datasets" / "coco128" / "images" / "val2017").glob("*.jpg"))[:PHOTOGRAPHS]
    found += [shared / "images" / "bus.jpg", shared / "images" / "armor_blue5.png"]
    turned = tmp_path_factory.mktemp("turned") / "turned.jpg"
    with Image.open(found[0]) as image:
        exif = image.getexif()
        exif[0x0112] = 6
        image.save(turned, quality=95, exif=exif)
    return [*found, turned]
