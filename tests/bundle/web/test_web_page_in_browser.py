"""The page in a real Chromium, by the server and as a folder: what it finds, what it refuses, and how it is used."""

import os

import numpy as np
import pytest
from PIL import Image

from tests.bundle.web.driven import STATE, STATUS, Page, distances, mask_of
from tests.bundle.web.host import ISOLATED, hosted
from tests.bundle.web.test_decode_in_browser import FOUND, outputs_of
from tests.chromium import Chromium
from tests.runtime.conftest import constant_model
from y12.bundle.web.write import write_web
from y12.runtime.artefact.manifest import ONNX_KEY
from y12.runtime.session import Runtime

pytestmark = [pytest.mark.exhaustive, pytest.mark.slow]

MODES = ("server", "folder")
# The browser has a decoder and a resize of its own. By the server, it is y12's, and records are rounded.
PIXELS, SCORES = {"server": 1e-3, "folder": 2.0}, {"server": 1e-5, "folder": 0.02}


@pytest.mark.parametrize("mode", MODES)
def test_boxes_are_the_runtime_s_and_nobody_else_is_asked(pages, models, photographs, mode):
    page = pages(mode, "yolo11n")
    assert page.open() == "Ready: choose a picture"
    apart, boxes = [], 0
    with Runtime(models("yolo11n")) as runtime:
        for file in photographs:
            want, found = runtime.infer(file), page.look(file)
            apart.append(distances(found, want))
            boxes += len(want)
            assert page.said().startswith(f"{file.name}: {len(want)} object")
    pixels, scores = np.max(apart, axis=0)
    print(f"{mode}: {len(photographs)} photographs, {boxes} boxes, {pixels:.3f} px and {scores:.4f} apart")  # noqa: T201
    assert boxes > 40
    assert pixels <= PIXELS[mode]
    assert scores <= SCORES[mode]
    page.check_origin()


@pytest.mark.parametrize("mode", MODES)
def test_masks_are_the_runtime_s(pages, models, photographs, mode):
    page = pages(mode, "yolo11n-seg")
    page.open()
    overlaps = []
    with Runtime(models("yolo11n-seg")) as runtime:
        for file in photographs[-3:]:
            want, found = runtime.infer(file), page.look(file)
            distances(found, want)
            for i, mask in enumerate(want.mask):
                drawn = mask_of(found, i)
                overlaps.append((drawn & mask).sum() / (drawn | mask).sum())
    print(f"{mode}: {len(overlaps)} masks, IoU {min(overlaps):.4f} or more")  # noqa: T201
    assert len(overlaps) > 4
    assert min(overlaps) >= (1 if mode == "server" else 0.97)


@pytest.mark.parametrize("mode", MODES)
def test_keypoints_are_the_runtime_s(pages, models, shared, mode):
    page = pages(mode, "yolov8n-pose")
    page.open()
    file = shared / "images" / "bus.jpg"
    with Runtime(models("yolov8n-pose")) as runtime:
        want = runtime.infer(file)
    found = np.array([one["keypoints"] for one in page.look(file)["objects"]])
    visible = want.keypoints[..., 2] > 0.5
    assert visible.sum() > 20
    # A visible joint is told less surely than a box, of which several cells agree.
    assert np.abs(found - want.keypoints)[visible][:, :2].max() <= 2 * PIXELS[mode]


def test_the_folder_runs_with_threads_where_its_host_allows(bundles, chromium, photographs):
    for headers, words in ((ISOLATED, "with threads"), ({}, "with one thread")):
        with hosted(bundles("yolo11n"), headers) as host:
            page = Page(chromium, host.url)
            page.open()
            assert len(page.look(photographs[-2])["objects"])
            assert words in chromium.evaluate("document.getElementById('where').textContent")


@pytest.mark.parametrize("mode", MODES)
def test_it_is_used_by_keys_alone(pages, models, photographs, mode):
    page = pages(mode, "yolo11n")
    page.open()
    browser, order = page.browser, []
    browser.call("Page.setInterceptFileChooserDialog", enabled=True)
    try:
        for _ in range(3):
            browser.press("Tab", number=9)
            order.append(browser.evaluate("document.activeElement.id"))
            outline = browser.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert outline == "solid", order
            if order[-1] == "file":
                browser.press("Enter", number=13, text="\r")
                browser.until("1")
                assert "Page.fileChooserOpened" in browser.events
    finally:
        browser.call("Page.setInterceptFileChooserDialog", enabled=False)
    assert order == ["file", "camera", "conf"]
    with Runtime(models("yolo11n")) as runtime:
        want = runtime.infer(photographs[-3])
    assert len(page.look(photographs[-3])["objects"]) == len(want)
    browser.evaluate("document.getElementById('conf').focus()")
    for _ in range(45):
        browser.press("ArrowRight", number=39)
    conf = float(browser.evaluate("document.getElementById('conf').value"))
    assert conf == pytest.approx(0.70)
    kept = int((want.confidence > conf).sum())
    assert 0 < kept < len(want)
    browser.until(f"document.querySelectorAll('#rows tr').length === {kept} && {STATE} === 'done'")
    assert browser.evaluate("document.getElementById('conf-value').textContent") == "0.70"


def test_the_overlap_is_a_choice_where_the_graph_leaves_it(chromium, photographs, raw_server):
    page = Page(chromium, raw_server)
    page.open()
    counts = []
    chromium.evaluate("document.getElementById('conf').value = 0.02")
    for iou in (0.3, 0.95):
        chromium.evaluate(
            f"Object.assign(document.getElementById('iou'), {{value: {iou}}}).dispatchEvent(new Event('input'))"
        )
        counts.append(len(page.look(photographs[-3])["objects"]))
    assert counts[1] > counts[0]


@pytest.mark.parametrize("mode", MODES)
def test_a_screen_reader_is_told_what_is_there(pages, photographs, mode):
    page = pages(mode, "yolo11n")
    page.open()
    page.look(photographs[-3])
    page.browser.call("Accessibility.enable")
    nodes = page.browser.call("Accessibility.getFullAXTree")["nodes"]
    named = {}
    for node in nodes:
        role, name = node.get("role", {}).get("value"), node.get("name", {}).get("value", "")
        named.setdefault(role, []).append(name)
        focusable = any(one["name"] == "focusable" and one["value"].get("value") for one in node.get("properties", ()))
        assert name or not focusable or role == "RootWebArea", node
    assert named["slider"][0] == "Least score"
    (picture,) = (name for role in ("image", "img") for name in named.get(role, ()))
    assert picture.startswith("bus.jpg: ")
    assert "person" in picture
    assert len(named["status"]) == 1
    assert page.said().startswith(picture)
    assert len(named["columnheader"]) == 4
    assert named["heading"] == ["yolo11n"]


@pytest.mark.parametrize("mode", MODES)
def test_the_camera_is_looked_through_until_it_is_stopped(pages, mode):
    page = pages(mode, "yolo11n")
    page.open()
    page.browser.evaluate("document.getElementById('camera').click()")
    page.browser.until(f"{STATE} === 'done' && {STATUS}.startsWith('Camera: ')")
    found = page.found()
    assert (found["width"], found["height"]) == (640, 480)
    track = "document.getElementById('video').srcObject?.getTracks()[0].readyState"
    assert page.browser.evaluate(track) == "live"
    assert page.browser.evaluate("document.getElementById('camera').getAttribute('aria-pressed')") == "true"
    page.browser.evaluate("document.getElementById('camera').click()")
    page.browser.until("document.getElementById('video').srcObject === null")
    assert page.browser.evaluate("document.getElementById('camera').textContent") == "Use the camera"
    page.check_origin()


@pytest.mark.parametrize("width", [1280, 360])
@pytest.mark.parametrize("mode", MODES)
def test_it_fits_the_window(pages, photographs, tmp_path, mode, width):
    page = pages(mode, "yolo11n-seg")
    page.open(width)
    page.look(photographs[-3])
    shot = os.environ.get("Y12_SHOTS") or tmp_path  # a folder in which somebody wants to look at them
    page.browser.screenshot(f"{shot}/{mode}_{width}.png")
    wide = page.browser.evaluate("document.documentElement.scrollWidth")
    assert wide <= width
    with Image.open(f"{shot}/{mode}_{width}.png") as image:
        pixels = np.asarray(image.convert("RGB"), int)
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 10_000  # the photograph is painted


SOFTWARE_GPU = (
    *("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"),
    *("--enable-features=Vulkan", "--use-vulkan=swiftshader"),
)


def test_the_gpu_runs_it_where_the_browser_has_one(browser, ort_web, tmp_path, photographs):
    """A small graph, as a GPU in software takes minutes for a large one."""
    outputs, manifest = outputs_of("packed", "segment")
    model = tmp_path / "constant.onnx"
    model.write_bytes(constant_model(outputs, {ONNX_KEY: manifest.to_json()}))
    write_web(model, tmp_path / "page", webgpu=True)
    driven = Chromium(browser, tmp_path / "profile", *SOFTWARE_GPU)
    try:
        with hosted(tmp_path / "page") as host:
            page = Page(driven, host.url)
            page.open()
            if not driven.evaluate("navigator.gpu?.requestAdapter().then((it) => !!it)"):
                pytest.skip("this browser has no WebGPU, not even in software")
            assert driven.evaluate("document.getElementById('where').textContent").endswith(", on the GPU.")
            with Runtime(model) as runtime:
                assert max(distances(page.look(photographs[0]), runtime.infer(photographs[0]))) < 1e-3
            driven.evaluate("document.getElementById('processor').value = 'wasm'")
            driven.evaluate("document.getElementById('processor').dispatchEvent(new Event('change'))")
            driven.until("document.getElementById('where').textContent.includes('on the CPU')")
            assert len(page.look(photographs[0])["objects"]) == FOUND
    finally:
        driven.close()
