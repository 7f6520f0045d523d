"""The page in a real Chromium, by the server and as a folder: what it finds, what it refuses, and how it is used."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from tests.bundle.web.driven import STATE, STATUS, Page, distances, mask_of
from tests.bundle.web.host import ISOLATED, LATE, hosted
from y12.runtime.session import Runtime

pytestmark = [pytest.mark.exhaustive, pytest.mark.slow]

MODES = ("server", "folder")
# The browser has a decoder and a resize of its own. By the server, it is y12's, and records are rounded.
PIXELS, SCORES = {"server": 1e-3, "folder": 2.0}, {"server": 1e-5, "folder": 0.02}
PHOTOGRAPHS = 12
NO_PICTURE = "expected a picture that this browser can read, found another file, or one that is damaged"


@pytest.fixture(scope="module")
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


@pytest.mark.parametrize("mode", MODES)
def test_what_is_no_picture_is_told_and_the_next_one_is_taken(pages, photographs, tmp_path, mode):
    page = pages(mode, "yolo11n")
    page.open()
    whole = photographs[0].read_bytes()
    cases = {"cut.jpg": whole[: len(whole) // 2], "note.txt": b"no picture", "empty.png": b"", "odd '\".gif": b"GIF89a"}
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
        assert page.look(tmp_path / name) is None
        said = page.said()
        assert said.startswith(f"{name}: ")
        assert "\n" not in said
        assert page.browser.evaluate("document.getElementById('status').className") == "bad"
        if mode == "folder":
            assert said == f"{name}: {NO_PICTURE}"
        else:
            assert "expected" in said or "cannot be" in said
    assert page.look(photographs[0]) is not None
    page.browser.evaluate(
        "document.dispatchEvent(Object.assign(new Event('drop', {cancelable: true}), {dataTransfer: {files: [1, 2]}}))"
    )
    assert page.said() == "Expected one picture, found 2: give one at a time"


def test_the_folder_runs_with_threads_where_its_host_allows(bundles, chromium, photographs):
    for headers, words in ((ISOLATED, "with threads"), ({}, "with one thread")):
        with hosted(bundles("yolo11n"), headers) as host:
            page = Page(chromium, host.url)
            page.open()
            assert len(page.look(photographs[-2])["objects"])
            assert words in chromium.evaluate("document.getElementById('where').textContent")


@pytest.mark.parametrize(
    ("instead", "headers", "complaint"),
    [
        ({"/model.onnx": None}, {}, "the model: expected the file model.onnx beside this page, its host answered 404"),
        ({"/model.onnx": b"text"}, {}, "The model could not be prepared ("),
        ({"/page/model.json": None}, {}, "Expected the file page/model.json beside this page, its host answered 404"),
        ({"/ort/ort.wasm.min.mjs": None}, {}, "The model could not be prepared ("),
        ({}, {"Content-Security-Policy": "worker-src 'none'"}, "The model could not be prepared ("),
        ({}, {"Content-Security-Policy": "script-src 'self'"}, "The model could not be prepared ("),
    ],
)
def test_a_folder_that_is_not_whole_is_told(bundles, chromium, instead, headers, complaint):
    with hosted(bundles("yolo11n"), headers, instead) as host:
        assert Page(chromium, host.url).open().startswith(complaint)


def test_the_model_of_another_page_is_told(bundles, models, chromium, photographs):
    with hosted(bundles("yolo11n"), instead={"/model.onnx": models("yolo11n-seg").read_bytes()}) as host:
        page = Page(chromium, host.url)
        page.open()
        assert page.look(photographs[0]) is None
        complaint = "expected rows of 6 values, found 38: the model is another one than page/model.json says"
        assert page.said().startswith(f"{photographs[0].name}: {complaint}")


def test_what_does_not_begin_is_ended(bundles, chromium):
    """With a clock that is a hundred times as fast."""
    fast = "const slow = setTimeout; window.setTimeout = (work, ms) => slow(work, ms / 100);"
    added = chromium.call("Page.addScriptToEvaluateOnNewDocument", source=fast)["identifier"]
    try:
        with hosted(bundles("yolo11n"), instead={"/ort/ort-wasm-simd-threaded.mjs": LATE}) as host:
            said = Page(chromium, host.url).open()
    finally:
        chromium.call("Page.removeScriptToEvaluateOnNewDocument", identifier=added)
    assert said.startswith("The model could not be prepared (expected an answer within 120 s, found none)")


@pytest.mark.parametrize("mode", MODES)
def test_its_policy_holds(pages, chromium, mode):
    page = pages(mode, "yolo11n")
    page.open()
    asked = {
        "fetch('http://127.0.0.1:9/').then(() => 'done', (error) => error.message)": "Failed to fetch",
        "(() => { try { return eval('1') } catch (error) { return error.name } })()": "EvalError",
    }
    for expression, answer in asked.items():
        done = chromium.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, allowUnsafeEvalBlockedByCSP=False
        )
        assert done["result"].get("value") == answer
    blocked = chromium.until("1") and [line for line in chromium.console if "Content Security Policy" in line]
    assert any("connect-src" in line for line in blocked), chromium.console


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
    shot = os.environ.get("Y12_SHOTS") or tmp_path
    page.browser.screenshot(f"{shot}/{mode}_{width}.png")
    wide = page.browser.evaluate("document.documentElement.scrollWidth")
    assert wide <= width
    with Image.open(f"{shot}/{mode}_{width}.png") as image:
        pixels = np.asarray(image.convert("RGB"), int)
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 10_000  # the photograph is painted


def test_a_name_is_shown_and_not_obeyed(pages, photographs, tmp_path):
    page = pages("server", "yolo11n")
    page.open()
    name = "<img src=x onerror=alert(1)>.jpg"
    (tmp_path / name).write_bytes(photographs[0].read_bytes())
    assert page.look(tmp_path / name) is not None
    assert page.browser.evaluate("document.querySelectorAll('img').length") == 0
    assert (
        json.loads(page.browser.evaluate("JSON.stringify(document.getElementById('caption').textContent)"))[: len(name)]
        == name
    )
