"""The picture of a network: every row, every line, all of it inside."""

from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benchmarks.diagram import diagram_of
from y12.exporter.model.spec import spec_from_name

DOCS = Path(__file__).resolve().parents[2] / "docs" / "models"
SVG = "{http://www.w3.org/2000/svg}"
NETWORKS = {
    "yolov12-lite": "yolov12n-lite",
    "bitfalcon": "bitfalcon-n",
    "yolov12-hybrid": "yolov12n-hybrid",
    "yolo26": "yolo26n",
    "yolov10": "yolov10n",
}


def parsed(name):
    return ET.fromstring(diagram_of(spec_from_name(name)))


@pytest.mark.parametrize(("page", "network"), NETWORKS.items())
def test_the_pages_have_the_networks_as_they_are(page, network):
    drawn = (DOCS / f"{page}.svg").read_text()
    assert drawn == diagram_of(spec_from_name(network)), "run: python benchmarks/architectures.py --no-engines"
    assert f"({page}.svg)" in (DOCS / f"{page}.md").read_text()


@pytest.mark.parametrize("network", ["yolov12n-lite", "yolov12l-hybrid-seg", "yolov12n-p6", "yolov12n-cls"])
def test_every_row_and_every_line_is_drawn(network):
    spec = spec_from_name(network)
    svg = parsed(network)
    texts = [text.text for text in svg.iter(f"{SVG}text")]
    for layer in spec.layers:
        words = f"{layer.index} {layer.module.removeprefix('nn.')}"
        assert any(text == words or text.startswith(f"{words} ") for text in texts)
    reads = sum(source >= 0 for layer in spec.layers for source in layer.sources)
    assert len(list(svg.iter(f"{SVG}path"))) == reads


def test_boxes_say_what_differs():
    texts = [text.text for text in parsed("yolov12n-lite").iter(f"{SVG}text")]
    assert "4 RELAN x6 256 channels" in [t.text for t in parsed("yolov12l-lite").iter(f"{SVG}text")]
    assert "13 AreaAttn 128 channels 2x2 areas" in texts
    assert "6 A2C2f x2 128 channels 4 bands" in [t.text for t in parsed("yolov12n").iter(f"{SVG}text")]


@pytest.mark.parametrize("network", ["yolov12n-lite", "bitfalcon-x", "yolov12n-hybrid", "yolov12n-p6"])
def test_boxes_lie_in_the_picture_and_not_on_each_other(network):
    svg = parsed(network)
    width, height = float(svg.get("width")), float(svg.get("height"))
    boxes = [
        tuple(float(rect.get(key)) for key in ("x", "y", "width", "height"))
        for rect in svg.iter(f"{SVG}rect")
        if rect.get("stroke")
    ]
    assert len(boxes) == len(spec_from_name(network).layers)
    for x, y, w, h in boxes:
        assert 0 <= x <= x + w <= width
        assert 0 <= y <= y + h <= height
    tops = sorted((y, y + h) for _x, y, _w, h in boxes)
    assert all(bottom < top for (_, bottom), (top, _) in pairwise(tops))
