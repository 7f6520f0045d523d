"""When, how and with what an export was made, and what it takes the place of: no more, and whatever lies there."""

import json
from datetime import UTC, datetime
from importlib import metadata

import pytest

from y12.errors import OptionsError
from y12.exporter.report.provenance import EPOCH_VARIABLE, Replaced, made_now, replaced_in

NAMES = ["net_fp16.onnx", "net_fp16.report.html", "net_fp16.report.json"]
WRITTEN = {"schema": 1, "verdict": "verified: equal", "made": {"date": "2026-11-30T15:36:55Z"}}


def test_the_date_is_now_in_utc(monkeypatch):
    monkeypatch.delenv(EPOCH_VARIABLE, raising=False)
    date = datetime.strptime(made_now("").date, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    assert abs((datetime.now(UTC) - date).total_seconds()) < 60


@pytest.mark.parametrize(("epoch", "date"), [("0", "1970-01-01T00:00:00Z"), ("1700000000", "2023-11-14T22:13:20Z")])
def test_the_date_can_be_set(monkeypatch, epoch, date):
    monkeypatch.setenv(EPOCH_VARIABLE, epoch)
    assert made_now("").date == date


@pytest.mark.parametrize("epoch", ["soon", "1.5", "9" * 30, "-" + "9" * 30, "\x1b[2J"])
def test_a_date_that_is_none_is_refused_in_one_line(monkeypatch, epoch):
    monkeypatch.setenv(EPOCH_VARIABLE, epoch)
    with pytest.raises(
        OptionsError, match=r"^SOURCE_DATE_EPOCH: expected seconds since 1970, found '.*; set it right"
    ) as e:
        made_now("")
    assert str(e.value).isprintable()


def test_versions_are_of_what_takes_part():
    versions = made_now("").versions
    assert list(versions)[:2] == ["python", "y12"]
    assert versions["torch"] == metadata.version("torch")
    assert {"onnx", "onnxsim", "numpy"} < set(versions)


def written(folder, content, name=NAMES[-1]):
    (folder / name).write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return replaced_in(folder, NAMES)


def test_where_nothing_lies_nothing_is_replaced(tmp_path):
    assert replaced_in(tmp_path, NAMES) is None
    assert replaced_in(tmp_path / "new", NAMES) is None
    assert written(tmp_path, WRITTEN, "other.report.json") is None


def test_what_lies_there_is_told_by_its_report(tmp_path):
    found = written(tmp_path, WRITTEN)
    assert found == Replaced("verified: equal", "2026-11-30T15:36:55Z")
    assert str(found) == "an export of 2026-11-30T15:36:55Z: verified: equal"
    assert found.was_verified


UNREADABLE = [b"", b"{", b"[" * 100_000, b"\xff\xfe", [], {}, {"verdict": 3}, {"verdict": "\ud800"}, {"verdict": None}]


@pytest.mark.parametrize("content", UNREADABLE, ids=lambda content: repr(content)[:20])
def test_a_report_that_cannot_be_read_leaves_the_verdict_unknown(tmp_path, content):
    found = written(tmp_path, content)
    assert found == Replaced("unknown")
    assert not found.was_verified


def test_an_artefact_without_a_report_is_replaced_too(tmp_path):
    assert written(tmp_path, b"graph", NAMES[0]) == Replaced("unknown")


@pytest.mark.parametrize("made", [None, 3, {}, {"date": 3}, {"date": "\udfff"}])
def test_a_report_without_a_date_still_has_its_verdict(tmp_path, made):
    found = written(tmp_path, {"verdict": "not verified", "made": made})
    assert found == Replaced("not verified")
    assert str(found) == "an export without a date: not verified"


def test_a_stranger_s_report_is_shown_and_not_obeyed(tmp_path):
    found = written(tmp_path, {"verdict": "verified\x1b[2J" + "x" * 9999, "made": {"date": "\n" * 99}})
    assert str(found).isprintable()
    assert len(str(found)) < 1200
