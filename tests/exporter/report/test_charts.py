"""Charts: well-formed SVG whose geometry is the values'."""

from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from y12.exporter.evaluate.results import BlockCost, Budget, CurvePoint
from y12.exporter.report.charts import blocks_chart, curve_chart, curve_svg, macs_bar
from y12.exporter.report.svg import Scale

SVG = "{http://www.w3.org/2000/svg}"


def point(fp16_blocks, int8_macs, drop, around=0.1):
    """A division, with an interval around what it loses."""
    return CurvePoint(fp16_blocks, int8_macs, (), drop, drop - around, drop + around)


CURVE = (
    point((), 1.0, 3.0),
    point(("model.2",), 0.8, 0.9),
    point(("model.2", "model.4"), 0.6, 0.4),
    point(("model.2", "model.4", "model.6"), 0.0, 0.0),
)
BLOCKS = (BlockCost("model.2", 4, 0.2, 1.5), BlockCost("model.4", 2, 0.2, 0.3), BlockCost("model.6", 1, 0.6, -0.1))
BUDGET = Budget(1.0, "data", 10, 70, "labels", "boxes AP50-95", None, BLOCKS, CURVE, CURVE[1])


def circles(svg):
    return [mark for mark in svg.iter("circle") if "data-macs" in mark.attrib]


def test_the_points_lie_where_their_values_are():
    svg = ET.fromstring(curve_chart(BUDGET))
    marks = sorted(circles(svg), key=lambda mark: float(mark.get("data-macs")))
    xs, ys = ([float(mark.get(name)) for mark in marks] for name in ("cx", "cy"))
    macs, drops = [p.int8_macs for p in reversed(CURVE)], [p.drop for p in reversed(CURVE)]
    assert [float(mark.get("data-drop")) for mark in marks] == drops
    for pixels, values in ((xs, macs), (ys, drops)):
        scale = (pixels[-1] - pixels[0]) / (values[-1] - values[0])
        assert pixels == pytest.approx([pixels[0] + scale * (v - values[0]) for v in values], abs=0.02)
    assert xs[-1] > xs[0]
    assert ys[-1] < ys[0]  # more is higher up
    corners = [tuple(map(float, corner.split(","))) for corner in svg.find("polyline").get("points").split()]
    assert corners == [(pytest.approx(x, abs=0.06), pytest.approx(y, abs=0.06)) for x, y in zip(xs, ys, strict=True)]


def test_the_limit_parts_what_is_allowed_from_what_is_not():
    svg = ET.fromstring(curve_chart(BUDGET))
    (limit,) = [line for line in svg.iter("line") if line.get("class") == "limit"]
    assert limit.get("y1") == limit.get("y2")
    for mark in circles(svg):
        assert (float(mark.get("cy")) > float(limit.get("y1"))) == (float(mark.get("data-drop")) < BUDGET.max_drop)


def test_the_chosen_point_alone_is_marked_and_drawn_last():
    marks = circles(ET.fromstring(curve_chart(BUDGET)))
    assert [mark.get("data-chosen") for mark in marks] == [None, None, None, "true"]
    assert (float(marks[-1].get("data-macs")), float(marks[-1].get("data-drop"))) == (0.8, 0.9)
    assert float(marks[-1].get("r")) > float(marks[0].get("r"))
    assert (
        marks[-1].find("title").text
        == "80.0 % of the MACs in INT8, blocks kept in FP16: 1; 0.90 points lost (0.80 to 1.00)"
    )


def test_a_chosen_division_that_is_not_of_the_curve_is_shown_too():
    marks = circles(ET.fromstring(curve_chart(replace(BUDGET, chosen=point(("model.4",), 0.75, 0.8)))))
    assert [mark.get("data-macs") for mark in marks if mark.get("data-chosen")] == ["0.750000"]
    assert len(marks) == 5


@pytest.mark.parametrize(
    "drops",
    [(0.0, 0.0, 0.0, 0.0), (-0.2, -0.1, 0.0, 0.1), (80.0, 3.0, 0.1, 0.0), (float("nan"), 0.5, 0.2, 0.0)],
    ids=str,
)
def test_whatever_was_lost_every_mark_lies_inside(drops):
    curve = tuple(replace(point, drop=drop) for point, drop in zip(CURVE, drops, strict=True))
    blocks = tuple(replace(block, drop=drop) for block, drop in zip(BLOCKS, drops, strict=False))
    budget = replace(BUDGET, curve=curve, chosen=curve[1], blocks=blocks, max_drop=0.5)
    svg = ET.fromstring(curve_chart(budget))
    assert len(circles(svg)) == sum(drop == drop for drop in drops)
    for mark in circles(svg):
        assert 0 < float(mark.get("cx")) < 720
        assert 30 < float(mark.get("cy")) < 340
    for bar in ET.fromstring(blocks_chart(budget)).iter("rect"):
        assert float(bar.get("x")) >= 100
        assert float(bar.get("x")) + float(bar.get("width")) <= 560


def test_intervals_go_from_end_to_end_through_their_points():
    svg = ET.fromstring(curve_chart(BUDGET))
    bars = [line for line in svg.iter("line") if line.get("class") == "interval"]
    marks = {mark.get("cx"): float(mark.get("cy")) for mark in circles(svg)}
    lengths = [float(bar.get("y1")) - float(bar.get("y2")) for bar in bars]
    assert len(bars) == 4
    assert lengths == pytest.approx([lengths[0]] * 4, abs=0.03)
    assert lengths[0] > 0
    for bar in bars:
        assert bar.get("x1") == bar.get("x2")
        assert marks[bar.get("x1")] == pytest.approx((float(bar.get("y1")) + float(bar.get("y2"))) / 2, abs=0.02)


def test_what_loses_everything_does_not_press_the_rest_flat():
    curve = (replace(CURVE[0], drop=60.0), *CURVE[1:])
    svg = ET.fromstring(curve_chart(replace(BUDGET, curve=curve)))
    ordinary = ET.fromstring(curve_chart(replace(BUDGET, curve=(replace(CURVE[0], drop=8.0), *CURVE[1:]))))
    beyond = [mark for mark in circles(svg) if mark.get("class") == "beyond"]
    assert [mark.get("data-drop") for mark in beyond] == ["60.000000"]
    assert not [mark for mark in circles(ordinary) if mark.get("class") == "beyond"]
    assert [mark.get("cy") for mark in circles(svg)] == [mark.get("cy") for mark in circles(ordinary)]
    assert "above, up to 60.0" in [text.text for text in svg.iter("text")]


def test_bars_are_as_long_as_what_is_lost():
    svg = ET.fromstring(blocks_chart(BUDGET))
    bars = list(svg.iter("rect"))
    assert [bar.get("data-block") for bar in bars] == ["model.2", "model.4", "model.6"]
    assert [bar.get("class") for bar in bars] == ["fp16", "int8", "int8"]
    widths = [float(bar.get("width")) for bar in bars]
    assert widths == pytest.approx([widths[0], widths[0] * 0.2, widths[0] / 15], abs=0.02)
    left, _, won = (float(bar.get("x")) for bar in bars)
    assert won + widths[2] == pytest.approx(left, abs=0.02)  # what is won goes to the left of zero
    texts = [text.text for text in svg.iter("text")]
    assert "1.50 for 20.0 % of the MACs" in texts
    assert "\N{MINUS SIGN}0.10 for 60.0 % of the MACs" in texts


def test_the_picture_of_its_own_is_a_whole_svg_file():
    text = curve_svg(BUDGET)
    svg = ET.fromstring(text)
    assert text.startswith("<?xml")
    assert svg.tag == f"{SVG}svg"
    assert next(iter(svg)).text.startswith("Points lost against the share of MACs in INT8; at most 1 ")
    assert list(svg)[1].get("class") == "paper"
    drawn = [
        element for element in svg.iter() if element.tag[len(SVG) :] in ("rect", "line", "circle", "polyline", "text")
    ]
    assert len(drawn) > 20
    assert all(element.get("fill") or element.get("stroke") for element in drawn)  # it needs no style sheet
    assert text == curve_svg(BUDGET)


def test_names_of_strangers_stay_text():
    name = "</text></svg><script>alert(1)</script>\"'&\x00\u202e"
    budget = replace(BUDGET, measure=name, blocks=(BlockCost(name, 1, 0.5, 0.5),))
    for text in (curve_svg(budget), blocks_chart(budget), macs_bar({name: 1.0}, name)):
        svg = ET.fromstring(text)  # the control characters would make it ill-formed
        assert not list(svg.iter("script"))
        assert "<script" not in text
        assert not list(svg.iter(f"{SVG}script"))


def test_a_bar_is_divided_by_its_shares():
    bar = ET.fromstring(macs_bar({"int8": 0.75, "fp16": 0.2, "int4": 0.05}, "MACs"))
    parts = [(part.get("class"), float(part.get("x")), float(part.get("width"))) for part in bar.iter("rect")]
    assert parts == [("int8", 0, 750), ("fp16", 750, 200), ("other", 950, 50)]
    assert (bar.get("role"), bar.get("aria-label")) == ("img", "MACs")
    assert ET.fromstring(macs_bar({"int8": 1.0})).get("aria-hidden") == "true"


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ((0, 1), [0, 0.2, 0.4, 0.6, 0.8, 1]),
        ((0, 2.5), [0, 0.5, 1, 1.5, 2, 2.5]),
        ((-0.3, 1.1), [0, 0.5, 1]),
        ((0, 0.013), [0, 0.005, 0.01]),
        ((0, 86), [0, 20, 40, 60, 80]),
    ],
)
def test_ticks_are_round(ends, expected):
    assert Scale(*ends, 0, 1).ticks() == pytest.approx(expected)
