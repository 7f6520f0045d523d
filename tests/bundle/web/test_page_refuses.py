"""What the page refuses and says of it, in a real Chromium: files, folders, models, and what its policy forbids."""

import json

import pytest

from tests.bundle.web.driven import Page
from tests.bundle.web.host import LATE, hosted

pytestmark = [pytest.mark.exhaustive, pytest.mark.slow]

MODES = ("server", "folder")
NO_PICTURE = "expected a picture that this browser can read, found another file, or one that is damaged"


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
