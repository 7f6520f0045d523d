"""The page without a browser: it says what the report says, takes no text for markup, and loads nothing."""

import copy
import json
import re
from dataclasses import fields, is_dataclass, replace

import pytest
from page_checks import check_page
from page_reader import embedded, page_from_text

from y12.exporter.report import page as page_module
from y12.exporter.report.page import page_from_report
from y12.exporter.report.pictures import Picture
from y12.exporter.report.report import ExportReport
from y12.runtime.thresholds import ConfidenceTable
from y12.text import visible

HOSTILE = (
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(1)'>",
    "</svg></table></title></style></script>",
    "{{ 7 * 6 }}{% raw %}",
    "<!--<script>",
    "&lt;b&gt;",
    "evil\u202etxt.exe\x00\ud800",
)


def test_the_page_says_what_the_report_says(report, pictures):
    check_page(page_from_text(page_from_report(report, pictures)), report)


# Each changes one place of the template as a slip of the hand would.
SLIPS = {
    "p95 for the median": ("{{ shift.median|", "{{ shift.p95|"),
    "two columns": ("<td>{{ c.matched }}</td><td>{{ c.lost }}", "<td>{{ c.lost }}</td><td>{{ c.matched }}"),
    "another limit": ('c.limits[name].get("p95")', 'c.limits[name].get("max")'),
    "two headings": ('"Matched", "Lost"', '"Lost", "Matched"'),
    "the graph for the engine": ('{{ row.engine or "no engine" }}', "{{ row.graph }}"),
    "the median for p90": ("{{ speed.p90_ms|number(2) }}", "{{ speed.median_ms|number(2) }}"),
    "recall for precision": ("for conf, precision, recall in", "for conf, recall, precision in"),
    "the last for the chosen": ("budget.chosen.drop|number", "budget.curve[-1].drop|number"),
    "a row left out": ("for row in block.rows", "for row in block.rows[1:]"),
    "a value for a change": ('class="change">{{ change }}', 'class="change">{{ value }}'),
    "a precision's counts": ("block.counts.get(precision, 0)", 'block.counts.get("int8", 0)'),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_in_the_template_is_noticed(monkeypatch, report, pictures, slip):
    environment = page_module._template().environment
    source = environment.loader.get_source(environment, "page.html.jinja")[0]
    right, wrong = SLIPS[slip]
    assert source.count(right) == 1
    template = environment.from_string(source.replace(right, wrong))
    monkeypatch.setattr(page_module, "_template", lambda: template)
    with pytest.raises(AssertionError):
        check_page(page_from_text(page_from_report(report, pictures)), report)


NAMED_BY_STRANGERS = {"figures", "worst", "seconds", "layers_by_precision", "convolutions_by_precision"}


def hostile(value, text):
    """Put a text into every text of a report, keys that are names of strangers' things included."""
    if isinstance(value, str):
        return value + text
    if isinstance(value, ConfidenceTable):
        return value  # it refuses such texts itself
    if isinstance(value, (list, tuple)):
        return type(value)(hostile(item, text) for item in value)
    if isinstance(value, dict):
        return {name: hostile(item, text) for name, item in value.items()}
    if not is_dataclass(value):
        return value
    changed = {field.name: hostile(getattr(value, field.name), text) for field in fields(value)}
    for name in [name for name in NAMED_BY_STRANGERS & set(changed) if isinstance(changed[name], dict)]:
        changed[name] = {key + text: item for key, item in changed[name].items()}
    return type(value)(**changed)


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_texts_of_strangers_stay_texts(report, pictures, text):
    harmless = page_from_text(page_from_report(hostile(report, "x"), pictures))
    bad = [Picture(p.name + text, p.caption + text, p.left, p.right) for p in pictures]
    written = page_from_report(hostile(report, text), bad)
    page = page_from_text(written)
    assert [node.tag for node in page.all()] == [node.tag for node in harmless.all()]
    allowed = {name for node in harmless.all() for name in node.attributes}
    assert {name for node in page.all() for name in node.attributes} <= allowed
    assert embedded(page) == json.loads(hostile(report, text).to_json())
    shown = visible(text)
    assert page.one("table", id="built").text.count(shown) > 5
    assert all(c.isprintable() or c == "\n" for c in written)
    written.encode()  # no lone surrogate is left


def test_the_page_loads_and_runs_nothing(report, pictures):
    written = page_from_report(report, pictures)
    page = page_from_text(written)
    policy = page.one("meta", http_equiv="Content-Security-Policy").attributes["content"]
    assert re.fullmatch(
        r"default-src 'none'; img-src data:; style-src 'sha256-[\w+/=]{44}'; base-uri 'none'; form-action 'none'",
        policy,
    )
    assert [node.attributes["type"] for node in page.all("script")] == ["application/json"]
    assert not list(page.all("link", "iframe", "object", "embed", "audio", "video", "form", "a", "base"))
    assert {node.attributes["src"][:23] for node in page.all("img")} == {"data:image/jpeg;base64,"}
    assert "url(" not in page.one("style").text
    assert "@import" not in page.one("style").text
    assert "http" not in written.replace("http-equiv", "")
    assert not [name for node in page.all() for name in node.attributes if name.startswith("on") or name == "style"]


def test_tables_and_pictures_can_be_read_without_seeing(report, pictures):
    page = page_from_text(page_from_report(report, pictures))
    assert all(heading.attributes["scope"] for heading in page.all("th"))
    for svg in page.all("svg"):
        assert svg.attributes.get("aria-hidden") == "true" or (
            svg.attributes["role"] == "img" and next(svg.all("title")).text
        )
    assert all(image.attributes["alt"] for image in page.all("img"))
    assert page.one("html").attributes["lang"] == "en"
    assert len(list(page.all("main"))) == len(list(page.all("h1"))) == 1
    ids = [node.attributes["id"] for node in page.all() if "id" in node.attributes]
    assert len(ids) == len(set(ids))


def test_what_was_not_done_is_said_or_left_out(report):
    nothing = ExportReport(report.model, report.source, report.precision, report.input)
    page = page_from_text(page_from_report(nothing))
    absent = [sentence.text for sentence in page.all("p", class_="absent")]
    assert [sentence.split(" was ")[0].split(" of ")[0] for sentence in absent] == [
        "Verification",
        "The layers",
        "Accuracy",
        "Speed",
    ]
    assert [heading.text for heading in page.all("h2")] == [
        "What was built",
        "Verification",
        "Precision by layer",
        "Accuracy",
        "Speed",
    ]
    assert page.one("p", id="verdict").attributes["class"] == "verdict unsure"
    assert embedded(page) == json.loads(nothing.to_json())


def test_speed_that_was_not_measured_says_that_the_engine_did_not_run(report):
    verification = replace(report.verification, engine_executed="built, not executed (why)")
    page = page_from_text(page_from_report(replace(report, speed=(), verification=verification)))
    assert "the engine was built, not executed (why)" in page.one("section", aria_labelledby="h-speed").text


def test_figures_of_nothing_are_no_highlight(report):
    nothing = [replace(score, figures=dict.fromkeys(score.figures, 0.0)) for score in report.accuracy.scores]
    page = page_from_text(page_from_report(replace(report, accuracy=replace(report.accuracy, scores=tuple(nothing)))))
    assert "points of" not in page.one("dl", id="highlights").text
    assert "points of" in page_from_text(page_from_report(report)).one("dl", id="highlights").text


def test_agreement_is_not_called_accuracy(report):
    agreement = replace(report.accuracy, truth="detections of FP32")
    page = page_from_text(page_from_report(replace(report, accuracy=agreement)))
    said = page.one("section", aria_labelledby="h-accuracy").text
    assert "There are no labels: this is agreement with detections of FP32, not accuracy." in said


@pytest.mark.parametrize("figure", [None, float("nan")])
def test_a_figure_that_is_not_defined_is_a_dash(report, figure):
    scores = [replace(score, figures={**score.figures, "boxes AP75": figure}) for score in report.accuracy.scores]
    page = page_from_text(page_from_report(replace(report, accuracy=replace(report.accuracy, scores=tuple(scores)))))
    row = list(page.one("table", id="accuracy").all("tr"))[-1]
    assert {cell.text for cell in row.all("td")} == {"\N{EN DASH}"}


def test_the_same_report_gives_the_same_page(report, pictures):
    assert page_from_report(copy.deepcopy(report), pictures) == page_from_report(report, pictures)


def test_the_page_is_small(report, pictures):
    assert len(page_from_report(report)) < 200_000
    assert len(page_from_report(report, pictures * 4)) < 1_700_000


def test_a_licence_is_shown_where_the_report_has_one(report):
    page = page_from_text(page_from_report(replace(report, licence="AGPL-3.0 <of the weights>")))
    assert page.one("p", id="licence").text == "Licence. AGPL-3.0 <of the weights>"


def test_verdicts_have_their_colours(report):
    moods = {}
    unseen = "verified: equal; no real object was seen (0 of 25 detections above 0.25): give --images that show some"
    for verdict in ("verified: equal", "different", "inconclusive", "not verified", unseen):
        page = page_from_text(
            page_from_report(replace(report, verification=replace(report.verification, verdict=verdict)))
        )
        moods[verdict] = page.one("p", id="verdict").attributes["class"].split()[1]
    assert list(moods.values()) == ["good", "bad", "unsure", "unsure", "unsure"]


def test_the_lines_tell_what_was_measured(report):
    text = "\n".join(report.summary())
    chosen = report.budget.chosen
    interval = f"90 % interval and one object more {chosen.low:.2f} to {chosen.high:.2f}"
    assert f"{chosen.drop:.2f} points lost, {interval}, of 0.5 allowed" in text
    share = f"{100 * chosen.int8_macs:.1f} % of the MACs in INT8; kept in FP16 for it: {', '.join(chosen.fp16_blocks)}"
    assert share in text
    for score in report.accuracy.scores:
        name, value = next(iter(score.figures.items()))
        assert f"{score.precision.upper()} {name} {value:.4f}" in text
    assert all(f"{one.what}: median {one.median_ms:.1f} ms" in text for one in report.speed)


def test_every_figure_has_its_limit_beside_it_in_the_lines(report):
    (comparison,) = report.verification.comparisons
    text, told = "\n".join(report.summary()), "{lost} lost (allowed {max_lost}), {new} new (allowed {max_lost})"
    assert told.format(lost=comparison.lost, new=comparison.new, max_lost=comparison.max_lost) in text
    moved, limit = comparison.shifts["box_px"], comparison.limits["box_px"]
    assert f"median {moved['median']:.3f} (allowed 4), p95 {moved['p95']:.3f} (allowed 24), max" in text
    assert limit == {"median": 4.0, "p95": 24.0}
    assert f"p95 {comparison.shifts['logit']['p95']:.4f} (allowed 2)" in text
    assert "engine was built, not executed" in text or "executed in" in text


def test_layers_that_are_not_in_int8_are_counted_with_their_reasons(report):
    (line,) = [line for line in report.summary() if line.startswith("not in INT8  ")]
    told = dict(part.split(" ", 1)[::-1] for part in line.removeprefix("not in INT8  ").split("; "))
    assert sum(map(int, told.values())) == sum(bool(row.why) for row in report.layers) > 10


def test_what_was_not_measured_has_no_line(report):
    text = "\n".join(replace(report, budget=None, accuracy=None, speed=()).summary())
    assert not any(f"\n{word} " in text for word in ("budget", "accuracy", "speed"))
