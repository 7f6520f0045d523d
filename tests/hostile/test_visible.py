"""A stranger's text wherever it is shown: one line, of bounded length, in which nothing steers a terminal or an eye."""

import csv
import json
import sys
import unicodedata
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from cost import measured
from graphs import manifest, write_model

from y12.errors import InputError, Y12Error
from y12.exporter.evaluate.coco import ClassFigures, Figures
from y12.exporter.evaluate.report import ValReport
from y12.exporter.report.page import page_from_report
from y12.exporter.report.provenance import Made, Replaced
from y12.exporter.report.report import ExportReport
from y12.exporter.report.svg import chart_of, text_of
from y12.runtime.cli import infer, inspect
from y12.runtime.cli.common import put, put_json, say
from y12.runtime.cli.sources import Frame
from y12.runtime.cli.tables import CountTable, ObjectTable
from y12.runtime.results.detections import Detections
from y12.runtime.results.draw import annotated
from y12.text import LINE, MESSAGE, NAME, printable_json, visible

STEERING = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")  # control, format and direction, surrogates, line ends …
FORGED = {
    "colours and a cleared screen": "\x1b[2J\x1b[31mperson",
    "a line of its own": "person\nerror: forged",
    "a line over another": "person\r\x1b[1Aerror: forged",
    "one byte that begins a sequence": "person\x9b31m",
    "a title": "\x1b]0;title\x07",
    "direction": "a\u202egpj.exe\u202c\u2066b\u2069\u200e\u200f\u061c",
    "nothing to see": "a\u200b\u200c\u200d\u2060\ufeffb\u00ad",
    "line ends of Unicode": "a\u2028b\u2029c\x85d\x0be\x0cf",
    "half a character": "a\ud800b\udce9c",
    "tags": "a\U000e0041\U000e007f",
    "zero": "a\0b",
    "a long one": "ab\n" * 20_000,
}  # fmt: skip


def steers(text):
    return [c for c in text if unicodedata.category(c) in STEERING]


def test_no_character_steers():
    every = [*range(0x10000), *range(0x10000, sys.maxunicode + 1, 61)]
    for start in range(0, len(every), 400):
        text = "".join(map(chr, every[start : start + 400]))
        assert not steers(visible(text, 10_000)), hex(every[start])


def test_megabytes_cost_nothing():
    text = "\x1b" * 30_000_000
    with measured() as cost:
        assert len(visible(text)) <= LINE
    assert cost.seconds < 0.05
    assert cost.mib < 4


@pytest.mark.parametrize("limit", [1, 2, 3, 8, 60, LINE])
@pytest.mark.parametrize("name", FORGED)
def test_one_line_of_bounded_length(name, limit):
    shown = visible(FORGED[name], limit)
    assert shown.isprintable()
    assert len(shown) <= limit
    assert visible(shown, limit) == shown


def test_what_can_be_read_stays_as_it_is():
    for text in ("", "person", "깃발, 日本 é ß", "C:\\data\\a.jpg", "a" * LINE, "שלום"):
        assert visible(text) == text
    assert visible("a" * 600, 11) == "aaaaa…aaaaa"
    assert visible("\x1b" * 9, 11) == r"\x1b…\x1b"  # never half of an escape
    assert visible(Path("a\nb.jpg")) == r"a\nb.jpg"


@pytest.mark.parametrize("name", FORGED)
def test_errors(name):
    for error in (Y12Error(FORGED[name]), InputError(f"{FORGED[name]}: expected an image")):
        assert str(error).isprintable()
        assert len(str(error)) <= MESSAGE
    assert str(InputError(f"{FORGED[name]}: expected an image")).endswith(": expected an image")


@pytest.mark.parametrize("name", FORGED)
def test_streams(name, capsys):
    say(FORGED[name])
    put(FORGED[name], "second")
    put_json(json.dumps({FORGED[name]: [FORGED[name]]}, ensure_ascii=False, indent=1))
    out, err = capsys.readouterr()
    assert err.count("\n") == 1
    assert len(err) <= LINE + 1
    first, second, data = out.split("\n", 2)
    assert second == "second"
    assert not steers(err[:-1] + first + data.replace("\n", ""))
    assert json.loads(data) == {FORGED[name]: [FORGED[name]]}


def test_json_of_a_file_name_gives_the_file_back():
    text = printable_json(json.dumps(["caf\udce9.jpg", "\U0001f600\U000e0041"], ensure_ascii=False))
    assert text == '["caf\\udce9.jpg", "\U0001f600\\udb40\\udc41"]'
    assert json.loads(text.encode()) == ["caf\udce9.jpg", "\U0001f600\U000e0041"]


NAMES = [name for name, text in FORGED.items() if name not in ("half a character", "a long one")]


def found(name):
    boxes = np.array([[1, 1, 30, 30]], np.float32)
    return Detections(boxes, np.ones(1, np.float32), np.zeros(1, np.intp), names=(name,), image_hw=(40, 600))


@pytest.mark.parametrize("name", NAMES)
def test_commands(name, tmp_path, capsys):
    text = FORGED[name]
    described = manifest(names=(text, "b"), model=text, producer=text, licence=text, source=text)
    path = write_model(tmp_path / "a.onnx", described)
    assert inspect.main([str(path)]) == 0
    out = capsys.readouterr().out
    assert not steers(out.replace("\n", ""))
    assert len(out.splitlines()) == 14
    (tmp_path / "a.ppm").write_bytes(b"P6 8 8 255\n" + bytes(192))
    written = ("--csv", "a.csv"), ("--csv-objects", "b.csv"), ("--save-coco", "c.json"), ("--save-crop", "crops")
    asked = [word for option, place in written for word in (option, str(tmp_path / place))]
    assert infer.main([str(path), str(tmp_path / "a.ppm"), *asked]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 1
    assert len(err.splitlines()) == 1 + len(written)
    assert not steers((out + err).replace("\n", ""))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.csv", "a.onnx", "a.ppm", "b.csv", "c.json", "crops"]
    (crop,) = (tmp_path / "crops").glob("*/*")
    assert not steers(str(crop))
    for place in ("b.csv", "c.json"):
        assert not steers((tmp_path / place).read_text().replace("\n", ""))
    rows = list(csv.reader((tmp_path / "a.csv").read_text().splitlines()))
    assert len(rows) == 2
    assert not steers("".join(rows[0]))


@pytest.mark.parametrize("name", FORGED)
def test_tables_pages_and_pictures(name, tmp_path):
    text = FORGED[name]
    figures = Figures("bbox", {"AP": 0.5}, (ClassFigures(text, 1, 0.5, 0.5),))
    report = ValReport(artefact=text, data=text, images=1, labels=1, figures=(figures,))
    rows = list(report.lines(per_class=True))[2:]  # before them stand the files, which `put` shows
    assert not steers("".join(rows))
    assert max(map(len, rows)) < 200
    assert not steers(report.to_json().replace("\n", ""))
    export = ExportReport(
        *(text, text, "fp32", text),
        notes=[text],
        licence=text,
        files=[f"/x/{text}"],
        made=Made(text, text, {text: text}),
        replaces=Replaced(text, text),
        sha256={text: text},
    )
    assert not steers(page_from_report(export).replace("\n", ""))
    assert json.loads(export.to_json().encode())["model"] == text
    assert not steers(text_of(chart_of(10, text)))
    ET.fromstring(text_of(chart_of(10, text)))
    for table in (CountTable(tmp_path / "a.csv", (text,)), ObjectTable(tmp_path / "a.csv")):
        table.take(Frame(Path("a.jpg"), None, Path("a.jpg")), found(text))
        table.close()
        assert not steers((tmp_path / "a.csv").read_text().replace("\n", ""))
    black = np.zeros((40, 600, 3), np.uint8)
    np.testing.assert_array_equal(annotated(black, found(text)), annotated(black, found(visible(text, NAME))))
    assert annotated(black, found(text)).any()
