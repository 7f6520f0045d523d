"""Labels: inside the picture, none over another, in a font that has the name's script."""

import logging

import numpy as np
import pytest

from y12.runtime.results import fonts
from y12.runtime.results.detections import Detections
from y12.runtime.results.draw import annotated
from y12.runtime.results.labels import placed

HW = (200, 300)


def apart(a, b):
    return a[0] >= b[2] or a[2] <= b[0] or a[1] >= b[3] or a[3] <= b[1]


def inside(place):
    return 0 <= place[0] < place[2] <= HW[1] and 0 <= place[1] < place[3] <= HW[0]


@pytest.mark.parametrize(
    ("box", "at"),
    [
        ((50, 60, 150, 160), (50, 40)),  # above
        ((50, 5, 150, 160), (50, 5)),  # no room above: in the box
        ((280, 60, 300, 160), (220, 40)),  # at the right edge: pushed in
        ((-40, 60, 30, 160), (0, 40)),
        ((-500, -500, -400, -400), (0, 0)),  # an object outside
        ((900, 900, 950, 950), (220, 180)),
    ],
)
def test_the_first_label_stands_at_its_box(box, at):
    assert placed(box, (80, 20), [], (300, 200))[:2] == at


def test_any_number_of_labels_stay_inside_and_apart(rng):
    taken = []
    for _ in range(60):
        x, y = rng.integers(-20, 200, 2)
        width = int(rng.integers(20, 60))
        place = placed((int(x), int(y), int(x) + 50, int(y) + 40), (width, 12), taken, (300, 200))
        assert place is None or (inside(place) and all(apart(place, other) for other in taken))
        taken += [place] if place else []
    assert len(taken) > 45


def test_in_one_place_they_are_stacked_until_the_picture_is_full():
    taken = []
    while place := placed((100, 100, 200, 150), (100, 20), taken, (300, 200)):
        assert inside(place)
        assert all(apart(place, other) for other in taken)
        taken.append(place)
    assert len(taken) >= 24  # of 30 that would fill it
    assert taken[0] == (100, 80, 200, 100)


@pytest.mark.parametrize("size_wh", [(301, 10), (10, 201)])
def test_a_label_larger_than_the_picture_has_no_place(size_wh):
    assert placed((0, 0, 10, 10), size_wh, [], (300, 200)) is None


@pytest.fixture
def own_fonts(tmp_path, monkeypatch):
    """Only the fonts of a folder; the fonts of this machine are not looked at."""
    monkeypatch.setattr(fonts, "_folders", lambda: [tmp_path])
    caches = (fonts._files, fonts._file_for, fonts._loaded)
    for cache in caches:
        cache.cache_clear()
    monkeypatch.setattr(fonts, "_told", set())
    yield tmp_path
    for cache in caches:
        cache.cache_clear()


def write_font(path, characters):
    """Write a font whose glyphs are squares, and what is missing a thin bar."""
    builder_module = pytest.importorskip("fontTools.fontBuilder", reason="fontTools is not installed")
    from fontTools.pens.ttGlyphPen import TTGlyphPen

    def rectangle(right):
        pen = TTGlyphPen(None)
        pen.moveTo((0, 0))
        for corner in ((0, 700), (right, 700), (right, 0)):
            pen.lineTo(corner)
        pen.closePath()
        return pen.glyph()

    names = {ord(c): f"u{ord(c):x}" for c in characters}
    builder = builder_module.FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", *names.values()])
    builder.setupCharacterMap(names)
    builder.setupGlyf({".notdef": rectangle(100), **{name: rectangle(900) for name in names.values()}})
    builder.setupHorizontalMetrics(dict.fromkeys([".notdef", *names.values()], (1000, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": path.stem, "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(path)


@pytest.mark.parametrize("name", ["人", "公共", "a人"])
def test_the_font_is_the_one_that_has_the_script(own_fonts, name, caplog):
    write_font(own_fonts / "latin.ttf", "ab")
    write_font(own_fonts / "han.ttf", "a人公共")
    (own_fonts / "broken.ttf").write_bytes(b"no font")
    assert fonts.font_for(name, 20).getname()[0] == "han"
    assert fonts.font_for("person", 20).getname()[0] != "latin"
    assert caplog.records == []


def test_of_two_lacking_fonts_the_better_and_it_is_said_once(own_fonts, caplog):
    write_font(own_fonts / "one.ttf", "人")
    write_font(own_fonts / "two.ttf", "人公")
    with caplog.at_level(logging.WARNING):
        assert fonts.font_for("人公共", 20).getname()[0] == "two"
        fonts.font_for("公共", 20)
    assert [record.getMessage() for record in caplog.records] == [
        "no font here has 共, which is drawn as boxes: install one, such as Debian's fonts-noto-cjk or fonts-noto"
    ]


def test_the_picture_shows_the_script(own_fonts):
    """A square for each character; without the font, Pillow's sign for what is missing."""
    found = Detections(
        np.array([[50, 60, 250, 150]], np.float32), np.ones(1, np.float32), np.array([0]), ("人人人",), HW
    )
    image = np.zeros((*HW, 3), np.uint8)
    without = annotated(image, found)
    write_font(own_fonts / "han.ttf", "人")
    fonts._files.cache_clear()
    fonts._file_for.cache_clear()
    shown = annotated(image, found)

    def filled(drawn):  # white on the label's red
        return np.count_nonzero((drawn[40:60, 50:85] > 200).all(axis=2))

    assert filled(shown) > 2 * filled(without) > 0
    assert np.array_equal(shown[61:], without[61:])


@pytest.mark.parametrize("width", [8, 40, 60, 300])
def test_a_long_name_is_cut_where_the_picture_is_narrow(width):
    found = Detections(
        np.array([[0, 30, width, 60]], np.float32), np.ones(1, np.float32), np.array([0]), ("w" * 40,), (80, width)
    )
    drawn = annotated(np.zeros((80, width, 3), np.uint8), found)
    ground = drawn[:29].any(axis=2).any(axis=0)
    assert ground.any() == (width > 8)  # there even the score has no room
    assert not ground.any() or ground[0]


def test_thousands_of_objects_fill_a_picture_once(monkeypatch, rng):
    """When one label has found no place, those as large are not tried: the time would grow with each object."""
    count, tried = 2000, []
    corners = rng.uniform(0, 180, (count, 2))
    boxes = np.concatenate([corners, corners + 20], axis=1).astype(np.float32)
    found = Detections(boxes, np.full(count, 0.5, np.float32), np.zeros(count, int), ("person",), HW)

    def counted(*arguments):
        tried.append(placed(*arguments))
        return tried[-1]

    monkeypatch.setattr("y12.runtime.results.labels.placed", counted)
    annotated(np.zeros((*HW, 3), np.uint8), found)
    assert tried.count(None) == 1
    assert 20 < len(tried) < 80
