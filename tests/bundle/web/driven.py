"""The page in a browser, as the tests use it."""

import json
from pathlib import Path

import numpy as np

STATE = "document.getElementById('main')?.dataset.state"
STATUS = "document.getElementById('status').textContent"
# What was found, without what JSON has no form for.
FOUND = """import("./page/page.mjs").then(({ now }) => now.found && ({ ...now.found, objects: now.found.objects.map(
    (object) => ({ ...object, mask: object.mask && { ...object.mask, bits: Array.from(object.mask.bits) } })) }))"""


class Page:
    """One page that is open."""

    def __init__(self, browser, url):
        self.browser, self.url = browser, url

    def open(self, width=1280, height=900):
        """Open it, and wait for the model; gives what it says then."""
        self.browser.open(self.url, width, height)
        self.browser.until(f"['ready', 'failed'].includes({STATE})")
        return self.said()

    def said(self):
        """Give what stands in the status."""
        return self.browser.evaluate(STATUS)

    def look(self, file):
        """Choose a file; gives what was found once that is told, or None where it is refused."""
        name = json.dumps(Path(file).name)
        self.browser.evaluate(f"{STATE.replace('?', '')} = 'asked'")  # what stands there is of another picture
        self.browser.choose("#file", file)
        self.browser.until(f"['done', 'failed'].includes({STATE}) && {STATUS}.startsWith({name})")
        return self.found()

    def found(self):
        """Give what is found and shown."""
        return self.browser.evaluate(FOUND)

    def check_origin(self):
        """Hold what was asked for against its own origin, and what the browser warned of against nothing."""
        assert [url for url in self.browser.requests if not url.startswith((self.url, "blob:" + self.url))] == []
        assert self.browser.console == []


def distances(found, want):
    """Give how many pixels and how much of a score two results are apart at most, whose classes are equal."""
    objects = found["objects"]
    assert [one["id"] for one in objects] == want.class_id.tolist()
    assert (found["height"], found["width"]) == want.image_hw
    if not objects:
        return 0.0, 0.0
    boxes, scores = np.array([one["box"] for one in objects]), np.array([one["score"] for one in objects])
    return float(np.abs(boxes - want.xyxy).max()), float(np.abs(scores - want.confidence).max())


def mask_of(found, i):
    """Give an object's mask over the whole picture."""
    mask = found["objects"][i]["mask"]
    whole = np.zeros((found["height"], found["width"]), bool)
    bits = np.array(mask["bits"], bool).reshape(mask["height"], mask["width"])
    whole[mask["top"] : mask["top"] + mask["height"], mask["left"] : mask["left"] + mask["width"]] = bits
    return whole
