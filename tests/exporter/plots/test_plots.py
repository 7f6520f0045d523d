"""What y12-val draws: the page says what the JSON says, the pictures are there, and no input breaks them."""

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_data import ClassExecutor, ScriptedBox, ScriptedExecutor

from tests.exporter.report.page_reader import page_from_text, table
from y12.exporter.cli.val import main
from y12.exporter.evaluate.confusion import BACKGROUND, Confusion
from y12.exporter.evaluate.evaluate_options import ValOptions
from y12.exporter.evaluate.report import ValReport
from y12.exporter.evaluate.run import Validation, validate
from y12.exporter.evaluate.study import Study, study_of
from y12.exporter.plots.bars import class_bars, top1_bars
from y12.exporter.plots.matrix import MOST_SHOWN, shown_matrix
from y12.exporter.plots.page import page_from
from y12.exporter.plots.write import charts_of, write_plots

CAT, DOG = (16.0, 16.0, 48.0, 48.0), (4.0, 4.0, 20.0, 20.0)
LABELS = {"a": "0 0.5 0.5 0.5 0.5\n1 0.1875 0.1875 0.25 0.25", "b": "0 0.5 0.5 0.5 0.5", "c": None}
# The dog of `a` is found as a cat, and in `c` there is a dog that nobody labelled.
SCRIPT = [[ScriptedBox(0, 0.9, CAT), ScriptedBox(0, 0.6, DOG)], [ScriptedBox(0, 0.8, CAT)], [ScriptedBox(1, 0.5, CAT)]]
STRANGE = "</title><script>alert(1)</script>\x1b[2J$\\frac{1}$" + "x" * 300


def image_of(content):
    with Image.open(io.BytesIO(content)) as picture:
        picture.load()
        return picture


def pages(folder: Path):
    return page_from_text((folder / "report.html").read_text(encoding="utf-8")), json.loads(
        (folder / "report.json").read_text(encoding="utf-8")
    )


def shown(value, digits=4):
    return "\N{EN DASH}" if value is None else f"{value:.{digits}f}"


def check_page(folder: Path, kinds: tuple[str, ...]):
    """Hold every figure of the page against the JSON, and every picture against its file."""
    page, data = pages(folder)
    for kind in kinds:
        drawn, figures = data["plots"]["kinds"][kind], data["figures"][kind]
        for size, row in table(page, f"sizes-{kind}").items():
            assert row["AP50-95"] == shown(figures["values"][f"AP{size}"])
            assert row["Labels"] == str(drawn["labels_by_size"][size])
        rows = table(page, f"classes-{kind}")
        assert list(rows) == [one["name"] for one in drawn["classes"]]
        of_class = {one["name"]: one for one in figures["classes"]}
        for one in drawn["classes"]:
            row = rows[one["name"]]
            assert one["ap"] == of_class[one["name"]]["ap"]
            assert [row[c] for c in ("AP50-95", "AP50")] == [shown(one["ap"]), shown(one["ap50"])]
            figures_at_best = [shown(one[c], 3) for c in ("precision", "recall", "f1")]
            assert [row[c] for c in ("Precision", "Recall", "F1")] == figures_at_best
        if drawn["best_f1"]:
            told = [bold.text for bold in page.one("p", id=f"best-{kind}").all("b")]
            assert told == [shown(drawn["best_f1"][name], 3) for name in ("conf", "f1", "precision", "recall")]
    sources = [image.attributes["src"] for image in page.all("img")]
    assert all(source.startswith("data:image/") for source in sources)
    assert not list(page.all("script", "link", "iframe", "object", "a"))
    return page, data


@pytest.fixture
def drawn(make_artefact, make_yolo, tmp_path) -> Path:
    data = make_yolo(LABELS)
    validation = validate(make_artefact(), data, ValOptions(), executor=ScriptedExecutor(SCRIPT), study=True)
    return write_plots(validation, tmp_path / "plots").parent


def test_the_page_says_what_the_json_says(drawn):
    page, data = check_page(drawn, ("bbox",))
    assert data["images"] == 3
    cells = {(c["labelled"], c["found"]): c["count"] for c in data["plots"]["confusion"]["cells"]}
    assert cells == {(0, 0): 2, (1, 0): 1, (None, 1): 1}
    matrix = table(page, "matrix")
    assert matrix["dog"] == {"cat": "1", "dog": "", "background": ""}
    assert matrix["background"] == {"cat": "", "dog": "1", "background": ""}
    assert table(page, "confused") == {"dog": {"Found as": "cat", "Count": "1"}}
    assert "above 0.25" in page.one("p", id="matrix-words").text
    assert "overlap of 0.5" in page.one("p", id="matrix-words").text
    assert [one["image"] for one in data["plots"]["worst"]] == ["c.png", "a.png"]
    assert len(list(page.all("figure", class_="pair"))) == 2


def test_without_plots_nothing_is_studied(make_artefact, make_yolo):
    data = make_yolo(LABELS)
    assert validate(make_artefact(), data, ValOptions(), executor=ScriptedExecutor(SCRIPT)).study is None


def test_the_files_are_pictures(drawn):
    names = {path.name for path in drawn.iterdir()}
    curves = {f"bbox_{word}.png" for word in ("pr", "f1", "precision", "recall", "classes", "sizes")}
    assert names == {*curves, "confusion.png", "worst.png", "report.html", "report.json"}
    for name in names - {"report.html", "report.json"}:
        pixels = np.asarray(image_of((drawn / name).read_bytes()).convert("RGB"), int)
        assert min(pixels.shape[:2]) > 150
        assert 0.005 < (np.abs(pixels - 255).max(axis=2) > 60).mean() < 0.99, name


def test_the_worst_image_shows_labels_left_and_what_is_found_right(drawn):
    """`c` is gray and has no label: left nothing is drawn; right the dog's frame is."""
    from base64 import b64decode

    page, _ = pages(drawn)
    pair = next(page.all("figure", class_="pair"))
    left, right = (
        np.asarray(image_of(b64decode(image.attributes["src"].partition(",")[2])), int) for image in pair.all("img")
    )
    assert np.abs(left - 127).max() < 8
    assert np.abs(right - 127).max() > 60


def test_more_than_boxes_is_drawn_for_masks_and_oriented_boxes(make_artefact, make_yolo, tmp_path):
    protos = np.full((1, 16, 16), -8, np.float32)
    protos[0, 4:12, 4:12] = 8
    data = make_yolo({"a": "0 0.25 0.25 0.75 0.25 0.75 0.75 0.25 0.75", "b": "1 0.1 0.1 0.3 0.1 0.3 0.3 0.1 0.3"})
    script = ScriptedExecutor([[ScriptedBox(0, 0.9, CAT, (1.0,))]], extras=1, protos=protos)
    validation = validate(make_artefact("segment"), data, ValOptions(), executor=script, study=True)
    folder = write_plots(validation, tmp_path / "masks").parent
    check_page(folder, ("bbox", "segm"))
    oriented = ScriptedExecutor([[ScriptedBox(0, 0.9, CAT, (0.3,))]], extras=1)
    validation = validate(make_artefact("obb"), data, ValOptions(), executor=oriented, study=True)
    folder = write_plots(validation, tmp_path / "obb").parent
    page, _ = check_page(folder, ("obb",))
    assert page.one("p", id="matrix-words").text.startswith("Oriented boxes found")


def test_keypoints_are_drawn(make_artefact, make_yolo, tmp_path):
    data = make_yolo({"a": "0 0.5 0.5 0.5 0.5 0.4 0.4 2 0.6 0.6 2"}, "names: [cat, dog]\nkpt_shape: [2, 3]")
    points = (25.6, 25.6, 0.9, 38.4, 38.4, 0.9)
    script = ScriptedExecutor([[ScriptedBox(1, 0.9, CAT, points)]], extras=6)
    artefact = make_artefact("pose", kpt_shape=(2, 3))
    validation = validate(artefact, data, ValOptions(), executor=script, study=True)
    folder = write_plots(validation, tmp_path / "pose").parent
    page, data = check_page(folder, ("bbox", "keypoints"))
    assert data["plots"]["kinds"]["keypoints"]["best_f1"] is None  # the object is found as a dog
    assert "Nothing is found rightly at any confidence." in page.text


def test_a_classifier_has_a_matrix_top1_and_its_surest_mistakes(make_artefact, tmp_path):
    for name in ("cat/1", "cat/2", "dog/3", "dog/4"):
        path = tmp_path / "data" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 64), (127, 127, 127)).save(path)
    rows = [(0.9, 0.1), (0.4, 0.6), (0.8, 0.2), (0.3, 0.7)]  # 2 is taken for a dog, 3 for a cat, more surely
    data = tmp_path / "data"
    validation = validate(make_artefact("classify"), data, ValOptions(), executor=ClassExecutor(rows), study=True)
    folder = write_plots(validation, tmp_path / "plots").parent
    page, report = pages(folder)
    assert report["top1"] == 0.5
    assert table(page, "matrix") == {"cat": {"cat": "1", "dog": "1"}, "dog": {"cat": "1", "dog": "1"}}
    assert table(page, "classes-top1")["cat"] == {"Images": "2", "Top-1": "0.5000"}
    assert [one["image"] for one in report["plots"]["worst"]] == ["3.png", "2.png"]
    assert "labelled dog, found cat 0.80" in page.text
    assert [bar.value for bar in top1_bars(validation.study.confusion)] == [0.5, 0.5]


def study(labels, results, names, crowd=()):
    truth = {
        "images": [{"id": 1, "file_name": "a.png", "height": 128, "width": 128}],
        "categories": [{"id": i, "name": name} for i, name in enumerate(names)],
        "annotations": [
            {"id": n, "image_id": 1, "category_id": k, "bbox": box, "iscrowd": int(n in crowd)}
            for n, (k, box) in enumerate(labels)
        ],
    }
    found = [{"image_id": 1, "category_id": k, "bbox": box, "score": score} for k, box, score in results]
    made = study_of(truth, found, ["bbox"])
    report = ValReport("found.json", "truth.json", 1, len(labels), figures=tuple(k.figures for k in made.kinds))
    return Validation(report, found, made)


BOX = [10, 10, 40, 40]
HARD = {
    "one class": study([(0, BOX)], [(0, BOX, 0.9)], ["cat"]),
    "nothing found": study([(0, BOX)], [], ["cat", "dog"]),
    "without a success": study([(0, BOX)], [(1, BOX, 0.9)], ["cat", "dog"]),
    "no label counts": study([(0, BOX)], [], ["cat"], crowd=(0,)),
    "a strange name": study([(0, BOX)], [(1, BOX, 0.9)], [STRANGE, "日本"]),
    "two of one name": study([(0, BOX), (1, [60, 60, 30, 30])], [(0, BOX, 0.9)], ["cat", "cat"]),
    "a thousand classes": study(
        [(k, [k % 60, k // 20, 20, 20]) for k in range(1000)],
        [((k + 1) % 1000 if k < 40 else k, [k % 60, k // 20, 20, 20], 0.9) for k in range(1000)],
        [f"class {k}" for k in range(1000)],
    ),
}


@pytest.mark.parametrize("validation", HARD.values(), ids=HARD)
def test_no_input_breaks_the_page(validation, tmp_path):
    folder = write_plots(validation, tmp_path).parent
    page, data = pages(folder)
    assert not list(page.all("script"))
    assert "\x1b" not in (folder / "report.html").read_text() + (folder / "report.json").read_text()
    assert {path.suffix for path in folder.iterdir()} == {".png", ".html", ".json"}
    assert data["figures"]["bbox"]["values"]["AP"] == validation.study.kinds[0].figures.values["AP"]
    assert "The images are not at hand" in page.text or "No image has a mistake" in page.text


def test_what_is_not_there_is_said(tmp_path):
    for name, words in (
        ("without a success", "Nothing is found rightly at any confidence."),
        ("no label counts", "No labelled object counts: there are no curves."),
        ("no label counts", "Nothing is labelled, and nothing found."),
        ("one class", "No image has a mistake."),
    ):
        page, _ = pages(write_plots(HARD[name], tmp_path).parent)
        assert words in page.text, name


def test_of_a_thousand_classes_the_most_confused_have_rows_and_the_sums_stay():
    confusion = HARD["a thousand classes"].study.confusion
    matrix = shown_matrix(confusion)
    assert len(matrix.rows) <= MOST_SHOWN
    assert matrix.rows[-2:] == ("975 other classes", "background")
    assert matrix.counts.sum() == sum(confusion.counts.values())
    assert "the 25 classes that are confused most, of 1000" in matrix.note
    planted = Confusion(
        tuple(f"{k}" for k in range(1000)), {(k, k): 5 for k in range(1000)} | {(7, 903): 3}, "boxes", 0.25, 0.5
    )
    small = shown_matrix(planted)
    assert {"7", "903"} < set(small.rows)
    assert small.counts[small.rows.index("7"), small.columns.index("903")] == 3
    rest = small.rows.index("975 other classes")
    assert (small.counts[rest, rest], small.counts[:, -1].sum(), small.counts[-1].sum()) == (975 * 5, 0, 0)


def test_a_small_matrix_is_whole():
    confusion = Confusion(("a", "b", "c"), {(0, 1): 2, (1, BACKGROUND): 1}, "boxes", 0.25, 0.5)
    matrix = shown_matrix(confusion)
    assert matrix.rows == ("a", "b", "background")
    assert matrix.counts.tolist() == [[0, 2, 0], [0, 0, 1], [0, 0, 0]]
    assert matrix.note == "1 of 3 classes are neither labelled nor found, and have no row"


def test_bars_are_the_printed_figures():
    validation = HARD["two of one name"]
    figures = validation.report.figures[0].classes
    assert [(bar.name, bar.value, bar.mark, bar.labels) for bar in class_bars(validation.study.kinds[0])] == [
        (one.name, one.ap, one.ap50, one.labels) for one in figures
    ]


def test_a_study_without_anything_is_drawn(tmp_path):
    nothing = Study(Confusion((), {}, "boxes", 0.25, 0.5), (), 0)
    assert set(charts_of(nothing)) == {"confusion", "classes"}
    assert "Nothing is labelled" in page_from(replace(HARD["one class"].report, figures=()), nothing, {}, ())


@pytest.fixture
def files(tmp_path):
    truth = {
        "images": [{"id": 7, "file_name": "a.png", "height": 64, "width": 64}],
        "annotations": [{"id": 1, "image_id": 7, "category_id": 3, "bbox": [8, 16, 40, 40]}],
        "categories": [{"id": 1, "name": "cat"}, {"id": 3, "name": "dog"}],
    }
    results = [{"image_id": 7, "category_id": 3, "score": 0.9, "bbox": [8, 16, 40, 40]}]
    for name, data in (("found.json", results), ("truth.json", truth)):
        (tmp_path / name).write_text(json.dumps(data))
    return [str(tmp_path / "found.json"), str(tmp_path / "truth.json")]


def test_each_run_has_its_own_folder(files, tmp_path, capsys):
    plots = tmp_path / "plots"
    for more, written in (([], plots), ([], tmp_path / "plots_2"), (["--exist-ok"], plots)):
        assert main([*files, "--plots", str(plots), *more]) == 0
        assert f"plots: {written / 'report.html'}" in capsys.readouterr().err
    assert not (tmp_path / "plots_3").exists()
    check_page(plots, ("bbox",))


def test_what_is_printed_is_what_is_drawn(files, tmp_path, capsys):
    assert main([*files, "--plots", str(tmp_path / "plots"), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    _, data = pages(tmp_path / "plots")
    del data["plots"]
    assert {**data, "evaluation_s": 0} == {**printed, "evaluation_s": 0}


def test_a_failure_leaves_no_folder(files, tmp_path, capsys):
    Path(files[1]).write_text(json.dumps({"images": [], "annotations": [], "categories": []}))
    assert main([*files, "--plots", str(tmp_path / "plots")]) == 1
    assert capsys.readouterr().err.startswith("error: ")
    assert not (tmp_path / "plots").exists()


def test_what_cannot_be_drawn_is_refused_in_one_line(files, tmp_path, capsys, monkeypatch):
    assert main([*files, "--exist-ok"]) == 1
    assert capsys.readouterr().err == "error: --exist-ok: expected --plots DIR beside it, found none\n"
    assert main([*files, "--plots", files[0]]) == 1
    assert "expected a folder to write to" in capsys.readouterr().err
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "matplotlib" else name)
    assert main([*files, "--plots", str(tmp_path / "plots")]) == 1
    line = capsys.readouterr().err
    assert "y12-val --plots needs the package 'matplotlib' of y12's extra [plots]" in line
    assert "pip install 'jinja2>=3.1' 'matplotlib>=3.9'" in line


@pytest.mark.slow
@pytest.mark.exhaustive
def test_photographs(shared, tmp_path, capsys):
    """yolo11n on 128 photographs of COCO, at a small size: page, JSON and table have the same figures."""
    from y12.exporter.cli.export import main as export

    weights = shared / "checkpoints" / "trained" / "yolo11n.pt"
    assert export([str(weights), "--imgsz", "160", "--no-verify", "--output", str(tmp_path)]) == 0
    labels = shared / "datasets" / "coco128" / "instances_val2017_128.json"
    capsys.readouterr()
    assert main([str(tmp_path / "yolo11n.onnx"), str(labels), "--plots", str(tmp_path / "plots")]) == 0
    printed = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("boxes ")).split()[1:]
    page, data = check_page(tmp_path / "plots", ("bbox",))
    assert list(table(page, "figures")["boxes"].values()) == printed
    assert float(printed[0]) > 0.1
    assert data["plots"]["kinds"]["bbox"]["best_f1"]["f1"] > 0.1
    cells = data["plots"]["confusion"]["cells"]
    of_labels = sum(cell["count"] for cell in cells if cell["labelled"] is not None)
    assert of_labels == sum(data["plots"]["kinds"]["bbox"]["labels_by_size"].values())
    assert len(list(page.all("figure", class_="pair"))) == 12
