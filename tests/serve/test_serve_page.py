"""The page that y12-serve shows, as the server sends it; tests/bundle/web drives it in a browser."""

import json
import re
from html.parser import HTMLParser

import pytest

from tests.runtime.conftest import colour_manifest
from y12.runtime.artefact.nms_settings import NmsSettings
from y12.runtime.options import DetectOptions
from y12.serve.page.contents import INDEX, model_facts, page_files

FILES = page_files()
TYPES = {"mjs": "text/javascript", "css": "text/css", "svg": "image/svg+xml", "json": "application/json"}
POLICY = {
    *("default-src 'none'", "script-src 'self'", "connect-src 'self'", "img-src 'self' blob:", "style-src 'self'"),
    *("base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"),
}


class Elements(HTMLParser):
    """The elements of a page: their names and attributes."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


ELEMENTS = Elements(FILES[INDEX].decode()).found


def test_the_page_is_at_the_root_and_may_ask_its_own_server_only(server):
    status, headers, content = server.ask("GET", "/")
    assert (status, content) == (200, FILES[INDEX])
    assert headers["content-type"] == "text/html; charset=utf-8"
    assert set(headers["content-security-policy"].split("; ")) == POLICY
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["permissions-policy"].startswith("camera=(self), ")


@pytest.mark.parametrize("path", [path for path in FILES if path != INDEX])
def test_each_file_is_sent_by_the_type_that_a_browser_asks_for(server, path):
    status, headers, content = server.ask("GET", f"/{path}")
    assert (status, content) == (200, FILES[path])
    assert headers["content-type"].partition(";")[0] == TYPES[path.rpartition(".")[2]]
    assert "default-src 'none'" in headers["content-security-policy"]


@pytest.mark.parametrize(
    "path",
    ["/page/", "/page/none.mjs", "/page/../app.py", "/page/..%2fapp.py", "/page/%2e%2e/contents.py", "/index.html"],
)
def test_nothing_else_is_sent(server, path):
    status, _, content = server.ask("GET", path)
    assert status == 404
    assert json.loads(content)["error"].startswith("expected /, /detect, /metrics or /v2/..., found ")


def test_the_page_is_told_its_model(server):
    status, _, content = server.ask("GET", "/page/model.json")
    facts = json.loads(content)
    assert (status, facts["runs"], facts["name"], facts["names"]) == (
        200,
        "server",
        "colours",
        ["red", "green", "blue"],
    )
    assert (facts["iou_choice"], facts["conf"], facts["conf_least"], facts["decided"]) == (True, 0.25, 0.01, "")


def test_what_the_graph_has_decided_is_no_choice():
    nms = NmsSettings("packed", 100, DetectOptions(conf=0.3, iou=0.6, max_det=50))
    facts = model_facts("a", colour_manifest(nms=nms), nms.options, "server")
    assert (facts["iou_choice"], facts["conf"], facts["conf_least"]) == (False, 0.3, 0.3)
    assert facts["decided"] == "Decided in the model: scores above 0.3, overlap up to 0.6, at most 50 objects"
    rows = NmsSettings("rows", 300, DetectOptions(conf=0.0, iou=1.0, max_det=300, multi_label=True))
    facts = model_facts("a", colour_manifest(nms=rows), DetectOptions(), "server")
    assert facts["decided"] == "Decided in the model: the 300 best scores; nothing is suppressed"
    assert facts["conf_least"] == 0.01


@pytest.mark.parametrize("task", ["segment", "pose", "obb", "classify", "multitask"])
def test_each_task_has_words(task):
    strides = () if task == "classify" else (8,)
    manifest = colour_manifest(task=task, kpt_shape=(17, 3) if task == "pose" else None, strides=strides, model="net")
    facts = json.loads(json.dumps(model_facts("a", manifest, DetectOptions(), "server")))
    assert facts["words"].startswith("net ")
    assert (facts["has_masks"], facts["is_oriented"]) == (task in ("segment", "multitask"), task == "obb")
    assert len(facts["skeleton"]) == (19 if task == "pose" else 0)


def test_the_page_names_its_own_files_only():
    named = [value for _, attributes in ELEMENTS for name, value in attributes.items() if name in ("src", "href")]
    named += [
        f"page/{name}"
        for text in FILES.values()
        for name in re.findall(rb'from "\./(\S+)"', text)
        for name in [name.decode()]
    ]
    assert len(named) > 6
    assert [name for name in named if name not in FILES] == []
    addresses = {address for text in FILES.values() for address in re.findall(rb"https?://[^\s\"'`]+", text)}
    assert addresses == {b"http://www.w3.org/2000/svg"}  # a name, which nobody asks for


def test_the_page_has_neither_scripts_nor_styles_in_it():
    for tag, attributes in ELEMENTS:
        assert tag != "style"
        assert "src" in attributes or tag != "script"
        assert not any(name == "style" or name.startswith("on") for name in attributes)


def test_each_control_has_a_label():
    labelled = {attributes["for"] for tag, attributes in ELEMENTS if tag == "label"}
    controls = [attributes for tag, attributes in ELEMENTS if tag in ("input", "select")]
    assert len(controls) == 4
    assert {one["id"] for one in controls} == labelled


def test_what_the_script_uses_is_on_the_page():
    ids = {attributes["id"] for _, attributes in ELEMENTS if "id" in attributes}
    script = FILES["page/page.mjs"].decode()
    used = set(re.findall(r"\bat\.(\w+)", script)) | set(re.findall(r'\bat\["([\w-]+)"\]', script))
    assert len(used) > 12
    assert used <= ids
    assert ids <= used | {"asked", "drop", "conf-value", "iou-value", "iou", "conf"}
