"""The report's lines for people: what was measured is among them."""

from dataclasses import replace


def test_the_lines_tell_what_was_measured(report):
    text = "\n".join(report.summary())
    chosen = report.budget.chosen
    assert f"{chosen.drop:.2f} of {report.budget.max_drop:g} points lost" in text
    assert f"not in INT8: {', '.join(chosen.kept)}" in text
    for score in report.accuracy.scores:
        name, value = next(iter(score.figures.items()))
        assert f"{score.precision.upper()} {name} {value:.4f}" in text
    assert all(f"{one.what}: median {one.median_ms:.1f} ms" in text for one in report.speed)


def test_what_was_not_measured_has_no_line(report):
    text = "\n".join(replace(report, budget=None, accuracy=None, speed=()).summary())
    assert not any(f"\n{word} " in text for word in ("budget", "accuracy", "speed"))
