"""The page in a real Chromium: it renders, obeys its own policy, and its DOM says what the report says."""

import json
import re
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from page_checks import check_page
from page_reader import embedded, page_from_text
from PIL import Image

from y12.exporter.report.page import page_from_report

# Nothing of it may ask the network for anything by itself, and it runs as root in containers.
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
    "--enable-logging=stderr",
    "--v=0",
)


@pytest.fixture(scope="module")
def opened(browser, tmp_path_factory):
    """Open a text as a page: gives the browser's answer, and what the page's console says."""

    def open_page(text, *options):
        folder = tmp_path_factory.mktemp("browser")
        (folder / "page.html").write_text(text, encoding="utf-8")
        command = [browser, *OPTIONS, f"--user-data-dir={folder / 'profile'}", *options, f"file://{folder}/page.html"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False, encoding="utf-8")
        assert done.returncode == 0, done.stderr
        return done.stdout, re.findall(r"CONSOLE.*", done.stderr)

    return open_page


def test_the_page_that_is_seen_says_what_the_report_says(opened, report, pictures):
    dom, console = opened(page_from_report(report, pictures), "--dump-dom")
    page = page_from_text(dom)
    check_page(page, report)
    assert len(list(page.all("img"))) == 2 * len(pictures)
    assert console == []


def test_the_policy_holds_and_its_breach_would_be_heard(opened, report):
    """What the other tests take as proof, an empty console and a DOM without guests, is not so by chance."""
    guests = (
        "<script>document.title = 'ran'</script><style>h1 { color: red }</style><img src='http://127.0.0.1:9/x.png'>"
    )
    dom, console = opened(page_from_report(report).replace("</main>", f"{guests}</main>"), "--dump-dom")
    assert page_from_text(dom).one("head").one("title").text == "yolov12n INT8: export report"
    broken = [line for line in console if "Content Security Policy" in line]
    assert {word for word in ("script", "style", "image") if any(word in line for line in broken)} == {
        "script",
        "style",
        "image",
    }


def test_texts_of_strangers_stay_texts(opened, report):
    text = "</svg></script><script>document.title = 'ran'</script>\"'><img src=x onerror=alert(1)>"
    blocks = tuple(replace(block, name=block.name + text) for block in report.budget.blocks)
    strange = replace(
        report,
        model=text,
        notes=[text],
        budget=replace(report.budget, measure=text, blocks=blocks),
        accuracy=replace(report.accuracy, worst={text: 0.5}),
    )
    dom, console = opened(page_from_report(strange), "--dump-dom")
    page = page_from_text(dom)
    assert console == []
    assert page.one("h1").text == f"{text} in INT8"
    assert page.one("head").one("title").text == f"{text} INT8: export report"
    assert len(list(page.all("script"))) == 1
    assert not list(page.all("img"))
    assert embedded(page) == json.loads(strange.to_json())


@pytest.mark.parametrize(("scheme", "ground"), [("light", 255), ("dark", 20)])
def test_it_is_painted_in_both_colour_schemes(opened, report, pictures, tmp_path, scheme, ground):
    shot = tmp_path / "page.png"
    options = [f"--screenshot={shot}", "--window-size=1000,1200"]
    if scheme == "dark":
        options.append("--blink-settings=preferredColorScheme=0")
    _, console = opened(page_from_report(report, pictures), *options)
    assert console == []
    with Image.open(shot) as image:
        pixels = np.asarray(image.convert("RGB"), dtype=int)
    assert pixels.shape == (1200, 1000, 3)
    assert pixels[0, 0, 0] == ground
    painted = np.abs(pixels - pixels[0, 0]).max(axis=2) > 60
    assert 0.01 < painted.mean() < 0.4  # text, neither nothing nor a coloured sheet
    assert painted[:600].any()
    assert painted[600:].any()
