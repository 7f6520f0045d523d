"""What is told of older releases of TensorRT-RTX is what was measured, and those that build no INT8 refuse it first."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from y12.errors import OptionsError
from y12.exporter.engine.build_engine import BuiltEngine
from y12.exporter.engine.engine import Engine
from y12.exporter.engine.releases import KERNELS, check_int8, newer_note
from y12.exporter.verify.engine_precision import engine_notes
from y12.runtime.artefact.manifest import AxisRange, InputProfile, Manifest
from y12.runtime.backends.tensorrt.bindings import Bindings

ROOT = Path(__file__).resolve().parents[3]
OLD = "TensorRT-RTX 1.6.1.120"


def test_the_note_of_an_older_release_has_both_releases_figures():
    assert newer_note(OLD) == (
        f"{OLD} is older than 1.7.1.116, which takes 148 kernels in place of 197 for yolov12n, and 108 in place of 159 "
        "for yolo11n (FP16, 640x640). Whether it is better here is told by y12-inspect OLD.engine --diff NEW.engine"
    )


@pytest.mark.parametrize(
    "builder", ["TensorRT-RTX 1.7.1.116", "TensorRT-RTX 1.8.0.1", "TensorRT-RTX 1.3.0.35", "TensorRT 10.12.0.36"]
)
def test_nothing_is_said_of_releases_that_were_not_measured_or_are_the_newest(builder):
    assert newer_note(builder) == ""


@pytest.mark.parametrize("unread", ["", "its log is not understood"])
def test_who_exports_with_an_older_one_is_told_once(unread):
    axis = AxisRange(1, 1, 1)
    size = AxisRange(64, 64, 64)
    manifest = Manifest("classify", ("a", "b"), (), InputProfile(axis, size, size))
    engine = Engine(BuiltEngine(b"", OLD, (), 0.0, unread), manifest, None, "rtx", OLD, "")
    assert [note for note in engine_notes(engine) if note == newer_note(OLD)] == [newer_note(OLD)]
    assert newer_note(OLD) not in list(engine_notes(replace(engine, builder="TensorRT-RTX 1.7.1.116")))


def test_the_figures_are_those_of_the_document():
    rows = re.findall(
        r"^\| (yolov12n|yolo11n) FP16 \| ([\d.]+) \| (\d+) \|",
        (ROOT / "docs" / "fusion.md").read_text(),
        re.MULTILINE,
    )
    assert len(rows) == 2 * len(KERNELS)
    for network, release, kernels in rows:
        assert KERNELS[release][("yolov12n", "yolo11n").index(network)] == int(kernels)


@pytest.mark.parametrize(
    ("flavour", "version", "is_refused"),
    [
        ("rtx", "1.4.0.76", True),
        ("rtx", "1.6.1.120", True),
        ("rtx", "1.7.1.116", False),
        ("rtx", "1.10.0.1", False),
        ("full", "1.6", False),
    ],
)
def test_int8_is_refused_in_one_line_where_it_cannot_be_built(flavour, version, is_refused):
    bindings = Bindings(None, flavour, version)
    if not is_refused:
        check_int8(bindings)
        return
    with pytest.raises(OptionsError, match=rf"1\.4 to 1\.6 do not, found {version}; upgrade it, or use --half"):
        check_int8(bindings)
