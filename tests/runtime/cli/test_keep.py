"""The table of confidences: what it refuses, where the manifest keeps it, and what `keep` makes of it."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from y12 import DetectOptions, Runtime
from y12.errors import ArtefactError, InputError
from y12.runtime.artefact.manifest import NAME_LIMIT, Manifest
from y12.runtime.artefact.nms_settings import NmsSettings
from y12.runtime.artefact.opened import open_artefact
from y12.runtime.cli import infer, inspect
from y12.runtime.thresholds import MAX_ROWS, ConfidenceTable, ShiftRow

# fmt: off
COCO_NAMES = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow", "elephant",
    "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard",
    "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange", "broccoli",
    "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed", "dining table", "toilet",
    "tv", "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink",
    "refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush",
)
# fmt: on
TABLE = ConfidenceTable(
    against="fp32",
    data="128 images, labels",
    rows=(
        ShiftRow(0.1, 0.09, None),
        ShiftRow(0.2, 0.15, 0.18),
        ShiftRow(0.4, 0.35, 0.3),
        ShiftRow(0.6, None, 0.6),
    ),
)
IMAGE = np.zeros((64, 64, 3), np.uint8)


def row(*values):
    return (ShiftRow(*values),)


@pytest.mark.parametrize(
    ("conf", "keep", "expected"),
    [
        (0.1, "precision", 0.09),
        (0.15, "precision", 0.12),
        (0.25, "precision", 0.2),
        (0.4, "precision", 0.35),
        (0.2, "recall", 0.18),
        (0.25, "recall", 0.21),
        (0.5, "recall", 0.45),
        (0.6, "recall", 0.6),
    ],
)
def test_between_the_rows_it_is_linear(conf, keep, expected):
    assert TABLE.conf_for(conf, keep) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("conf", "keep", "message"),
    [
        (0.09, "precision", "expected a conf of 0.1 to 0.4, found 0.09: no more is known of the precision of fp32"),
        (0.5, "precision", "expected a conf of 0.1 to 0.4"),
        (0.1, "recall", "expected a conf of 0.2 to 0.6"),
        (math.nan, "recall", "expected a conf of 0.2 to 0.6"),
        (0.2, "f1", "expected one of precision, recall, found 'f1'"),
    ],
)
def test_outside_of_what_was_measured_is_refused(conf, keep, message):
    with pytest.raises(InputError, match=message):
        TABLE.conf_for(conf, keep)


def test_one_row_and_none():
    table = replace(TABLE, rows=row(0.25, 0.2, None))
    assert (table.conf_for(0.25, "precision"), table.interval("precision")) == (0.2, (0.25, 0.25))
    assert table.interval("recall") is None
    with pytest.raises(InputError, match="recall was not measured"):
        table.conf_for(0.25, "recall")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": ()}, "1 to 64 rows, found 0"),
        ({"rows": tuple(ShiftRow(i / 100, None, None) for i in range(MAX_ROWS + 1))}, "found 65"),
        ({"rows": row(0.2, 0.1, 0.1) + row(0.2, 0.1, 0.1)}, "ascending"),
        ({"rows": row(0.3, 0.1, 0.1) + row(0.2, 0.1, 0.1)}, "ascending"),
        ({"rows": row(0.2, 0.2, 0.1) + row(0.3, 0.1, 0.1)}, "do not fall, for precision"),
        ({"rows": row(0.2, 0.1, 0.2) + row(0.3, 0.1, None) + row(0.4, 0.1, 0.1)}, "do not fall, for recall"),
        ({"rows": row(1.5, 0.1, 0.1)}, "from 0 to 1"),
        ({"rows": row(-0.1, 0.1, 0.1)}, "from 0 to 1"),
        ({"rows": row(0.2, 1.1, 0.1)}, "from 0 to 1"),
        ({"rows": row(0.2, 0.1, math.nan)}, "from 0 to 1"),
        ({"rows": row(None, 0.1, 0.1)}, "from 0 to 1"),
        ({"rows": row("0.2", 0.1, 0.1)}, "from 0 to 1"),
        ({"rows": row(0.2, True, 0.1)}, "from 0 to 1"),
        ({"against": "x" * 121}, "against in at most 120 characters"),
        ({"data": "two\nlines"}, "data in at most"),
        ({"data": 12}, "data in at most"),
    ],
)
def test_tables_that_contradict_themselves_are_refused(changes, message):
    with pytest.raises(ArtefactError, match=message) as caught:
        replace(TABLE, **changes)
    assert "\n" not in str(caught.value)


def test_there_and_back(make_manifest):
    manifest = make_manifest(thresholds=TABLE)
    assert Manifest.from_json(manifest.to_json()) == manifest
    assert Manifest.from_json(manifest.to_json(indent=2)) == manifest
    assert Manifest.from_network_name(manifest.to_network_name()) == manifest


def test_a_manifest_without_a_table_is_written_as_before(make_manifest):
    nms = NmsSettings("packed", 300, DetectOptions())
    written = json.loads(make_manifest(nms=nms).to_json())
    assert "thresholds" not in written
    assert "keep" not in written["nms"]["options"]
    assert Manifest.from_json(json.dumps(written)) == make_manifest(nms=nms)


@pytest.mark.parametrize(
    "thresholds",
    [
        [],
        {},
        "fp32",
        7,
        {"against": "fp32", "data": "", "rows": []},
        {"against": "fp32", "data": "", "rows": [[0.1, 0.1]]},
        {"against": "fp32", "data": "", "rows": [[0.1, 0.1, 0.1, 0.1]]},
        {"against": "fp32", "data": "", "rows": [0.1, 0.1, 0.1]},
        {"against": "fp32", "data": "", "rows": ["abc"]},
        {"against": "fp32", "data": "", "rows": [[0.1, [0.1], 0.1]]},
        {"against": "fp32", "data": "", "rows": {"a": 1}},
        {"against": ["fp32"], "data": "", "rows": [[0.1, 0.1, 0.1]]},
        {"against": "fp32", "rows": [[0.1, 0.1, 0.1]]},
        {"against": "fp32", "data": "", "rows": [[1e400, 0.1, 0.1]]},
        {"against": "fp32", "data": "", "rows": [[i / 1e5, 0, 0] for i in range(10_000)]},
    ],
)
def test_hostile_tables_are_refused(make_manifest, thresholds):
    data = json.loads(make_manifest().to_json())
    with pytest.raises(ArtefactError) as caught:
        Manifest.from_json(json.dumps(data | {"thresholds": thresholds}))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_the_largest_table_fits_into_an_engines_name_beside_the_names_of_coco(make_manifest, rng):
    steps = [np.sort(rng.random(MAX_ROWS)).round(3).tolist() for _ in range(2)]
    rows = tuple(ShiftRow(i / 100, *kept) for i, kept in enumerate(zip(*steps, strict=True)))
    manifest = make_manifest(
        names=COCO_NAMES,
        producer="y12 0.1.0",
        model="yolo11n",
        source="yolo11n.pt",
        source_sha256="0123456789abcdef" * 4,
        engine={"builder": "TensorRT-RTX", "version": "1.7.1.116", "gpus": "SM 75, 80, 86, 89, 120, 121"},
        licence="AGPL-3.0: the weights come from Ultralytics; what you make of them stays under their licence",
        nms=NmsSettings("packed", 1000, DetectOptions()),
        thresholds=ConfidenceTable("fp32", "x" * 120, rows),
    )
    name = manifest.to_network_name()
    assert len(name) < NAME_LIMIT
    assert Manifest.from_network_name(name) == manifest


def test_a_classifier_and_a_graph_have_none(make_manifest):
    with pytest.raises(ArtefactError, match="no thresholds for a classifier"):
        make_manifest(task="classify", thresholds=TABLE)
    with pytest.raises(ArtefactError, match="expected a conf of the artefact itself, found keep 'recall'"):
        NmsSettings("packed", 100, DetectOptions(keep="recall"))


def test_keep_is_one_of_two_words():
    with pytest.raises(InputError, match="keep: expected one of precision, recall, found 'f1'"):
        DetectOptions(keep="f1")


def scored(*scores):
    """Anchors apart from each other, (1, 7, A), of the first class."""
    columns = [[8 + 12 * i, 8, 8, 8, score, 0, 0] for i, score in enumerate(scores)]
    raw = np.array(columns, np.float32).T[None]
    return lambda blob: {"output0": raw}


@pytest.mark.parametrize(
    ("keep", "found"),
    [(None, [0.4, 0.26]), ("precision", [0.4, 0.26, 0.22, 0.205]), ("recall", [0.4, 0.26, 0.22])],  # 0.25, 0.2, 0.21
)
def test_keep_decides_what_is_found(make_onnx, make_manifest, fake_executor, keep, found):
    path = make_onnx(manifest=make_manifest(thresholds=TABLE))
    runtime = Runtime(path, fake_executor(scored(0.4, 0.26, 0.22, 0.205, 0.1)))
    assert runtime.infer(IMAGE, DetectOptions(keep=keep)).confidence.tolist() == pytest.approx(found)
    resolved = runtime.resolved_options(DetectOptions(keep=keep, max_det=7))
    assert (resolved.keep, resolved.max_det) == (None, 7)


@pytest.mark.parametrize("task", ["detect", "segment", "pose", "obb", "multitask"])
def test_every_task_that_finds_boxes_keeps(make_constant, make_manifest, task):
    kpt_shape = (1, 2) if task == "pose" else None
    base = [32, 32, 16, 8, 0.22, 0, 0]
    extras = {"segment": [1], "pose": [30, 30], "obb": [0]}.get(task, [])
    outputs = {"output0": np.array([base + extras], np.float32).T}
    if task == "segment":
        outputs["protos"] = np.ones((1, 16, 16), np.float32)
    if task == "multitask":
        outputs = {"boxes": outputs["output0"][:4], "scores": outputs["output0"][4:]}
    manifest = make_manifest(task=task, kpt_shape=kpt_shape, thresholds=TABLE)
    with Runtime(make_constant(manifest, **outputs), provider="cpu") as runtime:
        assert len(runtime.infer(IMAGE)) == 0
        assert len(runtime.infer(IMAGE, DetectOptions(keep="recall"))) == 1


def packed(scores, max_det=4):
    table = np.zeros((1, max_det, 6), np.float32)
    table[0, : len(scores), 4] = scores
    table[0, : len(scores), 2:4] = 8
    return lambda blob: {"detections": table, "num": np.array([[len(scores)]]), "truncated": np.zeros((1, 1))}


def test_keep_with_nms_in_the_graph(make_onnx, make_manifest, fake_executor):
    nms = NmsSettings("packed", 100, DetectOptions(conf=0.25, max_det=4))
    path = make_onnx(manifest=make_manifest(nms=nms, thresholds=TABLE))
    runtime = Runtime(path, fake_executor(packed([0.9, 0.34, 0.31])))
    stricter = replace(runtime.options, conf=0.4, keep="recall")  # 0.3 here
    assert len(runtime.infer(IMAGE, stricter)) == 3
    assert len(runtime.infer(IMAGE, replace(stricter, keep="precision"))) == 1  # 0.35
    higher = make_manifest(nms=nms, thresholds=replace(TABLE, rows=row(0.2, 0.32, 0.32)))
    runtime_of_higher = Runtime(make_onnx(manifest=higher), fake_executor(packed([0.9, 0.34, 0.31])))
    assert len(runtime_of_higher.infer(IMAGE, replace(runtime.options, conf=0.2, keep="recall"))) == 2
    message = r"keep: conf 0.25 of fp32 is 0.21 here, .* left out all below 0.25: export again with a lower --conf"
    with pytest.raises(InputError, match=message):
        runtime.check_options(replace(runtime.options, keep="recall"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "keep: expected a table of confidences in the artefact, found none: .* export it with --val DATA"),
        ({"task": "classify", "strides": ()}, "keep: expected a model that finds objects, found a classifier"),
        ({"thresholds": replace(TABLE, rows=row(0.5, 0.4, 0.4))}, "expected a conf of 0.5 to 0.5, found 0.25"),
    ],
)
def test_keep_is_refused_where_there_is_nothing_to_go_by(make_onnx, make_manifest, fake_executor, changes, message):
    runtime = Runtime(make_onnx(manifest=make_manifest(**changes)), fake_executor(None))
    with pytest.raises(InputError, match=message) as caught:
        runtime.infer(IMAGE, replace(runtime.options, conf=0.25, keep="recall"))
    assert "\n" not in str(caught.value)


@pytest.fixture
def image(tmp_path):
    """A picture in which the colour model finds red at 0.22."""
    from PIL import Image

    path = tmp_path / "dark.png"
    Image.fromarray(np.full((64, 64, 3), (56, 0, 0), np.uint8)).save(path)
    return path


def test_infer_says_which_conf_it_uses(make_onnx, make_manifest, image, capsys):
    path = make_onnx(manifest=make_manifest(thresholds=TABLE))
    assert infer.main([str(path), str(image), "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["detections"] == []
    assert "note" not in captured.err
    assert infer.main([str(path), str(image), "--json", "--keep", "recall"]) == 0
    captured = capsys.readouterr()
    assert len(json.loads(captured.out)["detections"]) == 1
    assert captured.err.splitlines()[-1] == "note: conf 0.25 of fp32 is 0.21 here (keeps recall)"
    assert infer.main([str(path), str(image), "--keep", "precision", "--conf", "0.3"]) == 0
    assert "note: conf 0.3 of fp32 is 0.25 here (keeps precision)\n" in capsys.readouterr().err


def test_infer_refuses_keep_without_a_table(make_onnx, image, capsys):
    assert infer.main([str(make_onnx()), str(image), "--keep", "recall"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "export it with --val DATA" in captured.err


def test_inspect_shows_the_table(make_onnx, make_manifest, capsys):
    path = make_onnx(manifest=make_manifest(thresholds=TABLE))
    assert open_artefact(path).manifest.thresholds == TABLE
    assert inspect.main([str(path)]) == 0
    lines = dict(line.split("  ", 1) for line in capsys.readouterr().out.splitlines())
    shown = {key: lines[key].split() for key in ("conf of fp32", "keeps precision", "keeps recall")}
    assert shown == {
        "conf of fp32": ["0.1", "0.2", "0.4", "0.6"],
        "keeps precision": ["0.09", "0.15", "0.35", "-"],
        "keeps recall": ["-", "0.18", "0.3", "0.6"],
    }
    assert lines["thresholds"].strip() == "measured on 128 images, labels"
    assert inspect.main([str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["thresholds"]["rows"][1] == [0.2, 0.15, 0.18]
    assert inspect.main([str(make_onnx())]) == 0
    assert "keeps" not in capsys.readouterr().out
