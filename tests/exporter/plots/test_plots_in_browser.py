"""The page of an evaluation in a real Chromium: nothing is asked for, all pictures are seen, wide and narrow."""

import re
import subprocess

import numpy as np
import pytest
from PIL import Image
from test_plots import HARD

from tests.exporter.report.page_reader import page_from_text
from y12.exporter.plots.write import write_plots

# Nothing of it may ask the network for anything by itself, and it runs as root in containers.
OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars"),
    *("--enable-logging=stderr", "--v=0"),
)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return write_plots(HARD["a strange name"], tmp_path_factory.mktemp("plots"))


def opened(browser, page, *options):
    command = [browser, *OPTIONS, f"--user-data-dir={page.parent / 'profile'}", *options, f"file://{page}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    return done.stdout, re.findall(r"CONSOLE.*", done.stderr)


def test_it_obeys_its_own_policy_and_no_name(browser, page):
    dom, console = opened(browser, page, "--dump-dom")
    assert console == []
    shown = page_from_text(dom)
    assert shown.one("head").one("title").text == "found.json: evaluation"
    assert not list(shown.all("script"))
    assert len(list(shown.all("img"))) == 7


@pytest.mark.parametrize("width", [1100, 500])
def test_it_fits_the_window(browser, page, width):
    """Left and right there is a margin of paper, and in between the pictures are painted."""
    shot = page.parent / f"{width}.png"
    _, console = opened(browser, page, f"--screenshot={shot}", f"--window-size={width},2600")
    assert console == []
    with Image.open(shot) as image:
        pixels = np.asarray(image.convert("RGB"), int)
    assert pixels.shape[1] == width
    painted = np.abs(pixels - pixels[0, 0]).max(axis=2) > 60
    assert not painted[:, -8:].any()
    assert not painted[:, :8].any()
    assert 0.01 < painted.mean() < 0.4
