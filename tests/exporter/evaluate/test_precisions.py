"""What measuring gives for the report: scores in order, a table of confidences, the images that differ most."""

import pytest
from colour_network import (
    box_line,
    convolutions,
    damaged,
    drawings,
    manifest_of,
    network,
    outline_line,
    set_for,
    write_image,
    write_images,
)

from y12.exporter.evaluate.confidence_table import confidence_table_between
from y12.exporter.evaluate.graph_results import Outcome
from y12.exporter.evaluate.precisions import measured
from y12.exporter.evaluate.scoring import Truth
from y12.runtime.artefact.nms_settings import NmsSettings
from y12.runtime.options import DetectOptions

SLIGHTLY, BADLY = (dict.fromkeys(convolutions(), amount) for amount in (0.02, 0.15))


def graphs_of(task="detect"):
    graph = network(task)
    return {"fp32": graph, "fp16": damaged(graph, SLIGHTLY), "int8": damaged(graph, BADLY)}


def test_scores_are_in_order(make_yaml):
    seen = []
    results = measured(
        graphs_of(), set_for(make_yaml(box_line), manifest_of()), manifest_of(), lambda *n: seen.append(n)
    )
    accuracy = results.accuracy
    assert (accuracy.data, accuracy.images, accuracy.truth) == ("data.yaml, 6 images", 6, "labels")
    assert [score.precision for score in accuracy.scores] == ["fp32", "fp16", "int8"]
    assert [list(score.figures) for score in accuracy.scores] == [["boxes AP50-95", "boxes AP50"]] * 3
    fp32, fp16, int8 = (score.figures["boxes AP50-95"] for score in accuracy.scores)
    assert fp32 > fp16 > int8
    assert (accuracy.notes, accuracy.says_something) == ((), True)
    assert seen == [(done, 18) for done in range(1, 19)]  # six images under each graph


def test_where_nothing_is_right_no_precision_is_said_to_lose_nothing(make_yaml):
    """Each label lies in a corner where nothing is."""
    path = make_yaml(box_line)
    for file in (path.parent / "labels").iterdir():
        file.write_text("0 0.995 0.995 0.005 0.005\n")
    accuracy = measured(graphs_of(), set_for(path, manifest_of()), manifest_of()).accuracy
    assert [set(score.figures.values()) for score in accuracy.scores] == [{0.0}] * 3
    assert not accuracy.says_something
    first, second = accuracy.notes
    assert first.startswith("--val: nothing that the model found is right: ")
    assert second.startswith("--val: all labels are of one class, ")


def test_the_images_that_differ_most_come_first(make_folder):
    folder = make_folder(images=9)
    write_image(folder / "nothing.png", [])
    results = measured(graphs_of(), set_for(folder, manifest_of()), manifest_of())
    worst = results.accuracy.worst
    assert len(worst) == 6
    assert list(worst.values()) == sorted(worst.values())
    assert all(0 <= value < 1 for value in worst.values())
    assert "nothing.png" not in worst
    assert results.worst == {name: folder / name for name in worst}


def test_images_of_one_name_are_told_apart(tmp_path):
    drawn = drawings(images=3)
    paths = [
        write_image(tmp_path / "set" / name, cells)
        for name, cells in zip(("a/1.png", "b/1.png", "2.png"), drawn, strict=True)
    ]
    results = measured(graphs_of(), set_for(tmp_path / "set", manifest_of()), manifest_of())
    assert set(results.accuracy.worst) == {"a/1.png", "b/1.png", "2.png"}
    assert sorted(results.worst.values()) == sorted(paths)
    assert len({results.worst[name] for name in results.accuracy.worst}) == 3


def test_fp32_alone(make_folder):
    results = measured({"fp32": network()}, set_for(make_folder(), manifest_of()), manifest_of())
    assert [score.precision for score in results.accuracy.scores] == ["fp32"]
    assert (results.thresholds, results.worst, results.accuracy.worst) == (None, {}, {})


def test_a_graph_that_finds_the_same_differs_nowhere_and_keeps_its_confidences(make_folder):
    graph = network()
    results = measured({"fp32": graph, "fp16": graph}, set_for(make_folder(), manifest_of()), manifest_of())
    assert results.worst == {}
    assert all(row.recall == pytest.approx(row.conf, abs=1e-3) for row in results.thresholds.rows if row.recall)


def test_a_classifier_has_no_thresholds(tmp_path):
    write_images(tmp_path / "flat", drawings())
    results = measured(
        graphs_of("classify"), set_for(tmp_path / "flat", manifest_of("classify")), manifest_of("classify")
    )
    assert results.thresholds is None
    assert results.accuracy.scores[0].figures == {"top-1": 1}


def test_too_few_detections_give_no_thresholds(make_folder):
    evaluation_set = set_for(make_folder(images=1), manifest_of())
    assert measured(graphs_of(), evaluation_set, manifest_of()).thresholds is None


@pytest.mark.parametrize(("task", "line"), [("detect", box_line), ("obb", outline_line)])
def test_thresholds_by_labels(make_yaml, task, line):
    evaluation_set = set_for(make_yaml(line, images=20), manifest_of(task))
    table = measured(graphs_of(task), evaluation_set, manifest_of(task)).thresholds
    assert (table.against, table.data) == ("fp32", "20 images, labels")
    assert any(row.recall is not None for row in table.rows)


def results(scores, image_id=1):
    """One box for each score, far apart."""
    return [
        {"image_id": image_id, "category_id": 0, "score": score, "bbox": [30 * i, 0, 20, 20]}
        for i, score in enumerate(scores)
    ]


SCORES = [0.02 + i * 0.01 for i in range(96)]  # 0.02 to 0.97


def table_of(reference, candidate, truth=None):
    truth = truth or Truth("detections of FP32", ("bbox",), {})
    outcomes = (Outcome([], {1: (9, 9)}, (0, 1), ("bbox",), used) for used in (reference, candidate))
    return confidence_table_between(truth, *outcomes, images=1)


def test_without_labels_recall_and_precision_are_told_where_a_threshold_is_used():
    table = table_of(results(SCORES), results([0.8 * score for score in SCORES]))
    rows = {row.conf: row for row in table.rows}
    assert table.data == "1 images, detections of FP32"
    assert table.interval("recall") == (0.05, 0.75)  # above that fewer than twenty are found
    assert table.interval("precision") == (0.05, 0.4)  # above that fewer than ten are wrong
    for conf in (0.05, 0.25, 0.4):
        assert rows[conf].recall == pytest.approx(0.8 * conf, abs=0.006)
        assert rows[conf].precision == pytest.approx(0.8 * conf, abs=0.006)


def test_boxes_that_fp32_does_not_have_raise_the_confidence_for_precision():
    added = [result | {"bbox": [30 * i, 500, 20, 20]} for i, result in enumerate(results([0.3] * 30))]
    table = table_of(results(SCORES), [*results(SCORES), *added])
    row = next(row for row in table.rows if row.conf == 0.25)
    assert row.precision >= 0.3
    assert row.recall == pytest.approx(0.25, abs=0.006)


def test_with_labels_both_are_by_them():
    annotations = [{"id": i, **result} for i, result in enumerate(results([1] * 48 + [1] * 48)[::2], 1)]
    coco = {"images": [{"id": 1}], "categories": [{"id": 0, "name": "a"}], "annotations": annotations}
    table = table_of(results(SCORES), results([0.8 * s for s in SCORES]), Truth("labels", ("bbox",), coco))
    row = next(row for row in table.rows if row.conf == 0.5)
    assert row.recall == pytest.approx(0.4, abs=0.02)
    assert row.precision is not None


def test_boxes_are_taken_with_the_artefacts_own_nms(make_folder):
    """A table for an artefact with NMS in its graph is of that NMS: here of one class only."""
    options = DetectOptions(classes=(0,))
    manifest = manifest_of(nms=NmsSettings("packed", 300, options))
    evaluation_set = set_for(make_folder(), manifest)
    both = measured(graphs_of(), evaluation_set, manifest_of()).thresholds
    one = measured(graphs_of(), evaluation_set, manifest).thresholds
    assert one != both
