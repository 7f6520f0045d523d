"""Does a page say what a report says? What is expected is worked out anew, from the report's values."""

import json
from collections import Counter
from pathlib import PurePath

from page_reader import Node, embedded, table

from y12.exporter.report.report import ExportReport


def check_page(page: Node, report: ExportReport) -> None:
    """Compare everything that a full page shows with the report.

    Raises:
        AssertionError: something differs.
    """
    assert embedded(page) == json.loads(report.to_json())
    for check in (_built, _proof, _layers, _blocks, _accuracy, _sensitivity, _curve, _measured, _thresholds):
        check(page, report)


def _thresholds(page, report):
    shown = table(page, "thresholds")
    assert list(shown) == [f"{row.conf:.3f}" for row in report.thresholds.rows]
    for row, cells in zip(report.thresholds.rows, shown.values(), strict=True):
        assert cells == {"To keep its precision": _or_dash(row.precision), "To keep its recall": _or_dash(row.recall)}


def _or_dash(value) -> str:
    return "\N{EN DASH}" if value is None else f"{value:.3f}"


def _built(page, report):
    built, facts, done = table(page, "built"), report.engine, report.quantization
    assert page.one("p", id="verdict").text.lower() == report.verdict.lower()
    seen = any(c.above_threshold for c in report.verification.comparisons)
    assert page.one("p", id="verdict").attributes["class"] == f"verdict {'good' if seen else 'unsure'}"
    assert page.one("head").one("title").text == f"{report.model} {report.precision.upper()}: export report"
    assert (built["Model"], built["Precision"], built["Input"]) == (report.model, "INT8", report.input)
    assert built["INT8"] == f"{done.quantized} of {done.convolutions} convolutions, for {done.target}"
    assert built["Calibrated on"] == report.calibration
    assert built["Weights checked"].split()[0] == str(report.weights_checked)
    assert (built["Built by"], built["Runs on"]) == (report.builder, report.gpus)
    assert built["Kernels"].startswith(f"{facts.kernels}, {facts.moving_kernels} of them only move data: ")
    for shown, counts in (("Kernels", facts.layers_by_precision), ("Convolutions", facts.convolutions_by_precision)):
        words = built[shown].split(": ")[-1].split(", ")
        assert sorted(words) == sorted(f"{n} {precision.upper()}" for precision, n in counts.items())
    assert built["Attention"] == f"{facts.attentions_fused} of {facts.attentions_expected} fused"
    assert built["Files"].split() == [PurePath(file).name for file in report.files]
    assert (built["Made"], built["Command"]) == (report.made.date, "none: asked for from Python")
    assert built["Versions"] == ", ".join(f"{name} {version}" for name, version in report.made.versions.items())
    digests = {heading.split()[-1]: text for heading, text in built.items() if heading.startswith("SHA-256 of ")}
    assert digests == report.sha256
    assert len(digests) == 3
    assert [item.text for item in page.one("ul", id="notes").all("li")] == report.notes


def _proof(page, report):
    comparisons = report.verification.comparisons
    shown = table(page, "comparisons")
    assert list(shown) == [c.candidate for c in comparisons]
    for i, c in enumerate(comparisons, start=1):
        lost, new = (f"{count} (allowed {c.max_lost})" for count in (c.lost, c.new))
        numbers = (c.images, c.detections, c.above_threshold, c.matched, lost, new, c.non_finite)
        names = ("Images", "Detections", "Above 0.25", "Matched", "Lost", "New", "Not finite")
        cells = shown[c.candidate]
        assert cells == {"With": c.reference, **dict(zip(names, map(str, numbers), strict=True)), "Verdict": c.verdict}
        shifts = table(page, f"shifts-{i}")
        for name, words, digits in (
            ("box_px", "Box sides, pixels", 3),
            ("score", "Score", 5),
            ("logit", "Logit of the score", 4),
        ):
            s = c.shifts[name]
            expected = {"Median": "median", "95 %": "p95", "Largest": "max"}
            limits = {s: f" (allowed {limit:g})" for s, limit in c.limits[name].items()}
            assert shifts[words] == {k: f"{s[v]:.{digits}f}{limits.get(v, '')}" for k, v in expected.items()}
        assert len(shifts) == len(c.shifts)


def _precision(row):
    return row.graph if row.operator == "Attention" else row.engine


def _layers(page, report):
    shown = table(page, "layers")
    assert len(shown) == len(report.layers) > 100
    for row in report.layers:
        assert shown[row.name] == {
            "Kind": row.operator,
            "MACs": f"{100 * row.macs:.1f} %",
            "In the graph": row.graph,
            "In the engine": row.engine,
            "Why": row.why,
        }


def _blocks(page, report):
    shown, precisions = table(page, "blocks"), ("int8", "fp16", "fp32")
    assert list(shown) == list(dict.fromkeys(row.block for row in report.layers))
    for name, cells in shown.items():
        rows = [row for row in report.layers if row.block == name]
        counts = Counter(map(_precision, rows))
        assert cells["Layers"] == str(len(rows))
        assert cells["MACs"] == f"{100 * sum(row.macs for row in rows):.1f} %"
        assert [cells[p.upper()] for p in precisions] == [str(counts[p]) for p in precisions]
    macs = Counter()
    for row in report.layers:
        macs[_precision(row)] += row.macs
    parts = {part.attributes["data-precision"]: part.text for part in page.one("ul", id="macs").all("b")}
    assert parts == {p: f"{100 * macs[p]:.1f} %" for p in precisions}
    bar = next(page.one("figure", "section", aria_labelledby="h-layers").all("svg"))
    drawn = [(part.attributes["class"], float(part.attributes["data-share"])) for part in bar.all("rect")]
    assert drawn == [(p, round(macs[p], 6)) for p in precisions]
    reasons = table(page, "reasons")
    expected = Counter(row.why for row in report.layers if row.why)
    assert {why.lower(): int(cells["Layers"]) for why, cells in reasons.items()} == {
        why.lower(): n for why, n in expected.items()
    }


def _accuracy(page, report):
    shown = table(page, "accuracy")
    full, half, int8 = (score.figures for score in report.accuracy.scores)
    assert list(shown) == list(full)
    for name, cells in shown.items():
        changes = [100 * (figures[name] - full[name]) for figures in (half, int8)]
        signed = [f"{change:+.2f}".replace("+0.00", "0.00") for change in changes]
        assert cells == {
            "FP32": f"{100 * full[name]:.2f}",
            "FP16": f"{100 * half[name]:.2f}",
            "FP16 against FP32": signed[0],
            "INT8": f"{100 * int8[name]:.2f}",
            "INT8 against FP32": signed[1],
        }
    words = page.one("table", id="accuracy").one("caption").text
    assert words == f"On {report.accuracy.data}, {report.accuracy.images} images, against {report.accuracy.truth}"


def _sensitivity(page, report):
    budget = report.budget
    choice = page.one("p", id="choice")
    assert choice.text.startswith(f"At most {budget.max_drop:.2f} points of {budget.measure} may be lost")
    said = {b.attributes["data-is"]: b.text for b in choice.all("b")}
    chosen = budget.chosen
    assert said == {
        "macs": f"{100 * chosen.int8_macs:.1f} %",
        "drop": f"{chosen.drop:.2f}",
        "kept": ", ".join(chosen.fp16_blocks),
    }
    assert f"90 % interval and one object more: {chosen.low:.2f} to {chosen.high:.2f}" in choice.text
    rows = table(page, "losses")
    assert rows == {
        f"{loss.figure}, against {loss.truth}": {
            "Points lost": f"{loss.points:.2f}",
            "90 % interval": f"{loss.low:.2f} to {loss.high:.2f}",
        }
        for loss in chosen.losses
    }
    assert f"cannot tell {budget.max_drop:.2f} points" in page.text
    assert f"is {budget.undecided:.2f} points wide" in page.text
    rows = table(page, "divisions")
    assert list(rows) == [f"{100 * point.int8_macs:.1f} %" for point in budget.curve]
    for point, cells in zip(budget.curve, rows.values(), strict=True):
        assert cells == {
            "Points lost": f"{point.drop:.2f}",
            "90 % interval and one object": f"{point.low:.2f} to {point.high:.2f}",
            "Chosen": "yes" if point == chosen else "",
            "Blocks in FP16": ", ".join(point.fp16_blocks) or "none",
        }
    bars = [bar.attributes for bar in page.one("figure", id="sensitivity").all("rect")]
    assert [(bar["data-block"], float(bar["data-drop"])) for bar in bars] == [(b.name, b.drop) for b in budget.blocks]
    assert [bar["class"] == "fp16" for bar in bars] == [b.name in chosen.fp16_blocks for b in budget.blocks]


def _curve(page, report):
    curve, chosen = page.one("figure", id="curve"), report.budget.chosen
    marks = [mark.attributes for mark in curve.all("circle") if "data-macs" in mark.attributes]
    drawn = {(float(mark["data-macs"]), float(mark["data-drop"])) for mark in marks}
    assert drawn == {(round(point.int8_macs, 6), point.drop) for point in report.budget.curve}
    assert len(marks) == len(report.budget.curve)
    (marked,) = [mark for mark in marks if "data-chosen" in mark]
    assert (float(marked["data-macs"]), float(marked["data-drop"])) == (round(chosen.int8_macs, 6), chosen.drop)
    assert float(curve.one("line", class_="limit").attributes["data-max-drop"]) == report.budget.max_drop


def _measured(page, report):
    speed = {
        s.what: {"Median": f"{s.median_ms:.2f}", "90 %": f"{s.p90_ms:.2f}", "Runs": str(s.runs)} for s in report.speed
    }
    assert table(page, "speed") == speed
    worst = {name: {"Agreement": f"{value:.3f}"} for name, value in report.accuracy.worst.items()}
    assert table(page, "worst") == worst
    seconds = {stage: {"Seconds": f"{value:.1f}"} for stage, value in report.seconds.items()}
    seconds["all"] = {"Seconds": f"{sum(report.seconds.values()):.1f}"}
    assert table(page, "seconds") == seconds
    highlights = [value.text for value in page.one("dl", id="highlights").all("dd")]
    name = next(iter(report.accuracy.scores[0].figures))
    lost = 100 * (report.accuracy.scores[-1].figures[name] - report.accuracy.scores[0].figures[name])
    assert highlights[1:] == [f"{lost:.2f}", str(report.engine.kernels), f"{report.speed[1].median_ms:.2f} ms"]
