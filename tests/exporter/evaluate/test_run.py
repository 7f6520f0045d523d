"""The whole evaluation with a network whose answers are known."""

import json
from pathlib import Path

import numpy as np
import pytest
from tiny_data import ClassExecutor, ScriptedBox, ScriptedExecutor, coco_data

from y12.errors import DatasetError, InputError, Y12Error
from y12.exporter.evaluate.evaluate_options import ValOptions
from y12.exporter.evaluate.run import validate, validate_results
from y12.runtime.artefact.manifest import AxisRange, InputProfile
from y12.runtime.artefact.nms_settings import NmsSettings
from y12.runtime.options import DetectOptions

CAT = (0, (16.0, 16.0, 48.0, 48.0))
CAT_LINE, DOG_LINE = "0 0.5 0.5 0.5 0.5", "1 0.25 0.25 0.25 0.25"
CAT_FOUND, DOG_FOUND = ScriptedBox(0, 0.9, (16, 16, 48, 48)), ScriptedBox(1, 0.8, (8, 8, 24, 24))
LABELS = {"a": f"{CAT_LINE}\n{DOG_LINE}", "b": CAT_LINE, "c": None}
PERFECT = [[CAT_FOUND, DOG_FOUND], [CAT_FOUND], []]
HALF = 51 / 101


def run(artefact, data, script, options=None, **executor):
    return validate(artefact, data, options or ValOptions(), executor=ScriptedExecutor(script, **executor))


def ap(validation, kind="bbox"):
    return {figures.kind: figures.values["AP"] for figures in validation.report.figures}[kind]


CASES = [
    ("perfect", PERFECT, 1),
    ("a cat of two missed", [[CAT_FOUND, DOG_FOUND]], (HALF + 1) / 2),
    ("all cats missed", [[DOG_FOUND]], 0.5),
    ("nothing found", [], 0),
    ("images exchanged", [PERFECT[1], PERFECT[0], []], 0.5),
]


@pytest.mark.parametrize(("script", "expected"), [row[1:] for row in CASES], ids=[row[0] for row in CASES])
def test_known_figures(make_artefact, make_yolo, script, expected):
    validation = run(make_artefact(), make_yolo(LABELS), script)
    assert ap(validation) == pytest.approx(expected)
    assert (validation.report.images, validation.report.labels, validation.report.background) == (3, 3, 1)


@pytest.mark.parametrize(
    ("rect", "input_hw", "top", "said"), [(False, (64, 64), 16, "64,64"), (True, (32, 64), 0, "64,64, rectangular")]
)
def test_a_picture_may_have_an_input_of_its_form(make_artefact, make_yolo, rect, input_hw, top, said):
    side = AxisRange(32, 64, 64)
    artefact = make_artefact(profile=InputProfile(AxisRange(1, 1, 1), side, side))
    executor = ScriptedExecutor([[ScriptedBox(0, 0.9, (16, top + 8, 48, top + 24))]])
    data = make_yolo({"a": CAT_LINE}, wh=(64, 32))
    report = validate(artefact, data, ValOptions(rect=rect), executor=executor).report
    assert [image.shape[1:] for image in executor.images] == [input_hw]
    assert report.figures[0].values["AP"] == pytest.approx(1)
    assert report.settings["imgsz"] == said


FOUND_NOTHING = "the model found nothing: the figures are 0 for want of detections"
FOUND_WRONG = (
    "nothing that the model found is right: are the labels of its classes, and is this the image size it is for?"
)
ONE_CLASS = "all labels are of one class, 'cat': the figures say nothing of the model's other 1"


@pytest.mark.parametrize(
    ("labels", "script", "notes"),
    [
        (LABELS, PERFECT, ()),
        (LABELS, [], (FOUND_NOTHING,)),
        (LABELS, [[ScriptedBox(1, 0.9, (50, 50, 60, 60))]], (FOUND_WRONG,)),
        ({"a": CAT_LINE}, [[CAT_FOUND]], (ONE_CLASS,)),
        ({"a": CAT_LINE}, [], (ONE_CLASS, FOUND_NOTHING)),
    ],
)
def test_figures_that_say_little_are_told_so(make_artefact, make_yolo, labels, script, notes):
    report = run(make_artefact(), make_yolo(labels), script).report
    assert report.notes == notes
    assert json.loads(report.to_json())["notes"] == list(notes)


def test_labels_that_do_not_count_give_no_figure_and_say_so(tmp_path):
    crowd = {"id": 1, "image_id": 7, "category_id": 3, "bbox": [8, 16, 40, 40], "area": 1600, "iscrowd": 1}
    truth = {
        "images": [{"id": 7, "file_name": "a.png", "height": 64, "width": 64}],
        "annotations": [crowd],
        "categories": [{"id": 3, "name": "dog"}],
    }
    results = [{"image_id": 7, "category_id": 3, "score": 0.9, "bbox": [8, 16, 40, 40]}]
    for name, data in (("truth.json", truth), ("results.json", results)):
        (tmp_path / name).write_text(json.dumps(data))
    report = validate_results(tmp_path / "results.json", tmp_path / "truth.json").report
    assert report.figures[0].values["AP50"] is None
    assert report.notes == ("no label counts, such as where all are of crowds: there is no figure",)


def test_labels_are_scaled_to_the_decoded_image(make_artefact, make_yolo):
    data = make_yolo({"a": CAT_LINE}, wh=(128, 64))  # the network sees 64x32 in the middle of its 64x64
    assert ap(run(make_artefact(), data, [[ScriptedBox(0, 0.9, (16, 24, 48, 40))]])) == pytest.approx(1)


def test_labels_are_of_the_upright_image(make_artefact, make_yolo):
    from PIL import Image

    data = make_yolo({"a": "0 0.5 0.25 1 0.5"})
    image = data.parent / "images" / "val" / "a.png"
    exif = Image.Exif()
    exif[0x0112] = 6  # stored on its side: 64x32 is shown as 32x64
    Image.new("RGB", (64, 32)).save(image, exif=exif)
    assert ap(run(make_artefact(), data, [[ScriptedBox(0, 0.9, (16, 0, 48, 32))]])) == pytest.approx(1)


def test_a_network_of_a_fixed_batch(make_artefact, make_yolo):
    done = []
    script = ScriptedExecutor([*PERFECT[:2]])
    data = make_yolo(LABELS)
    validation = validate(
        make_artefact(batch=2), data, ValOptions(), executor=script, progress=lambda *counts: done.append(counts)
    )
    assert ap(validation) == pytest.approx(1)
    assert done == [(2, 3), (3, 3)]
    assert len(script.images) == 4


def test_a_box_may_carry_two_labels(make_artefact, make_yolo):
    class Both(ScriptedExecutor):
        def _output(self, index):
            output = super()._output(index)
            output[4:, 0] = 0.9, 0.8
            return output

    data = make_yolo({"a": f"{CAT_LINE}\n1 0.5 0.5 0.5 0.5"})
    for multi_label, expected in ((None, 1), (False, 0.5)):
        options = ValOptions(multi_label=multi_label)
        validation = validate(make_artefact(), data, options, executor=Both([[CAT_FOUND]]))
        assert ap(validation) == pytest.approx(expected)


def test_thresholds_are_those_of_coco_and_are_told(make_artefact, make_yolo):
    faint = ScriptedBox(0, 0.002, CAT[1])
    data = make_yolo({"a": CAT_LINE})
    validation = run(make_artefact(), data, [[faint]])
    assert ap(validation) == pytest.approx(1)
    settings = dict(validation.report.settings)
    assert [settings[name] for name in ("conf", "iou", "max_det", "multi_label")] == [0.001, 0.7, 300, True]
    assert ap(run(make_artefact(), data, [[faint]], ValOptions(conf=0.01))) == 0
    with pytest.raises(InputError, match="conf"):
        run(make_artefact(), data, [[faint]], ValOptions(conf=2))


def test_classes_that_the_data_does_not_know_are_left_out(make_artefact, make_coco):
    data = coco_data()
    del data["categories"][0]  # there are dogs only
    crowd_of_cats = [ScriptedBox(0, 0.9, (2 * i, 0, 2 * i + 9, 9)) for i in range(7)]
    script = [[*crowd_of_cats, ScriptedBox(1, 0.5, (16, 16, 48, 48))]]
    validation = run(make_artefact(), make_coco(data), script, ValOptions(max_det=2))
    assert ap(validation) == pytest.approx(1)
    assert [result["category_id"] for result in validation.results] == [3]
    assert validation.report.settings["classes"] == "by name, 1 of the model's 2; the data has no 'cat'"


def test_an_image_of_another_size_than_the_json_says(make_artefact, make_coco):
    data = coco_data()
    data["images"][0] |= {"height": 32, "width": 64}
    with pytest.raises(DatasetError, match=r"a\.png: expected 64x32 pixels, as its entry says, found 64x64"):
        run(make_artefact(), make_coco(data), [])
    data["images"][0].pop("height")
    assert ap(run(make_artefact(), make_coco(data), [[ScriptedBox(1, 0.9, CAT[1])]])) == pytest.approx(1)


def rectangle_protos(left, top, right, bottom):
    """One prototype of a quarter of the size: inside 8, outside -8."""
    protos = np.full((1, 16, 16), -8, np.float32)
    protos[0, top // 4 : bottom // 4, left // 4 : right // 4] = 8
    return protos


POLYGON = "0 0.25 0.25 0.75 0.25 0.75 0.75 0.25 0.75"


def test_masks(make_artefact, make_yolo):
    script = [[ScriptedBox(0, 0.9, CAT[1], (1.0,))]]
    data = make_yolo({"a": POLYGON})
    validation = run(make_artefact("segment"), data, script, extras=1, protos=rectangle_protos(16, 16, 48, 48))
    assert ap(validation) == pytest.approx(1)
    assert ap(validation, "segm") == pytest.approx(1)
    half = run(make_artefact("segment"), data, script, extras=1, protos=rectangle_protos(16, 16, 48, 32))
    assert ap(half) == pytest.approx(1)
    assert ap(half, "segm") < 0.2


def test_a_segmentation_model_on_boxes(make_artefact, make_yolo):
    script = [[ScriptedBox(0, 0.9, CAT[1], (1.0,))]]
    validation = run(
        make_artefact("segment"), make_yolo({"a": CAT_LINE}), script, extras=1, protos=rectangle_protos(0, 0, 4, 4)
    )
    assert ap(validation) == pytest.approx(1)
    assert [figures.kind for figures in validation.report.figures] == ["bbox"]
    assert "masks were not evaluated: the labels have none" in validation.report.notes
    assert "segmentation" not in validation.results[0]


POSE = "0 0.5 0.5 0.5 0.5 0.5 0.5 2 0.25 0.25 1"
POSE_FOUND = ScriptedBox(0, 0.9, CAT[1], (32, 32, 1, 16, 16, 1))


def test_keypoints(make_artefact, make_yolo):
    data = make_yolo({"a": POSE}, "names: [cat, dog]\nkpt_shape: [2, 3]")
    artefact = make_artefact("pose", kpt_shape=(2, 3))
    validation = run(artefact, data, [[POSE_FOUND]], extras=6)
    assert ap(validation, "keypoints") == pytest.approx(1)
    assert any("sigma of 1/2" in note for note in validation.report.notes)
    far = ScriptedBox(0, 0.9, CAT[1], (1e4, 1e4, 1, 1e4, 1e4, 1))
    missed = run(artefact, data, [[far]], extras=6)
    assert (ap(missed), ap(missed, "keypoints")) == (pytest.approx(1), 0)


MISFITS = [
    ("pose", {"kpt_shape": (2, 3)}, CAT_LINE, "", "expected labels of keypoints.*is kpt_shape missing"),
    ("pose", {"kpt_shape": (3, 3)}, POSE, "kpt_shape: [2, 3]", "expected 3 keypoints per object.*found 2"),
    ("detect", {"names": ("cat",)}, CAT_LINE, "", "expected the model's 1 classes 'cat'; found 2 classes"),
    ("detect", {"names": ("cat", "cow")}, CAT_LINE, "", "the model has no 'dog'"),
    ("obb", {}, CAT_LINE, "", "a.txt, line 1: expected 9 values"),
]


@pytest.mark.parametrize(("task", "changes", "line", "yaml", "message"), MISFITS, ids=[row[4] for row in MISFITS])
def test_labels_that_do_not_fit_the_model(make_artefact, make_yolo, task, changes, line, yaml, message):
    data = make_yolo({"a": line}, f"names: [cat, dog]\n{yaml}")
    with pytest.raises(DatasetError, match=message):
        run(make_artefact(task, **changes), data, [])


def test_a_damaged_image_is_named(make_artefact, make_yolo):
    data = make_yolo(LABELS)
    (data.parent / "images" / "val" / "b.png").write_bytes(b"nothing")
    with pytest.raises(Y12Error, match=r"b\.png: expected an image"):
        run(make_artefact(), data, PERFECT)


def corners(angle):
    """Corners of a 40x10 box at 32, 32 as a label line, and what the network says of it."""
    along, across = np.array([np.cos(angle), np.sin(angle)]) * 20, np.array([-np.sin(angle), np.cos(angle)]) * 5
    points = [32 + along + across, 32 + along - across, 32 - along - across, 32 - along + across]
    return "0 " + " ".join(f"{v / 64:.8f}" for point in points for v in point)


def test_oriented_boxes(make_artefact, make_yolo):
    data = make_yolo({"a": corners(0.4)})
    for angle, expected in ((0.4, 1), (0.4 + np.pi / 2, 0)):
        box = ScriptedBox(0, 0.9, (12, 27, 52, 37), (angle,))
        validation = run(make_artefact("obb"), data, [[box]], extras=1)
        assert ap(validation, "obb") == pytest.approx(expected, abs=0.01)
    assert [figures.kind for figures in validation.report.figures] == ["obb"]
    assert "oriented boxes are compared by ProbIoU" in validation.report.notes


@pytest.fixture
def class_folders(tmp_path, make_yolo):
    make_yolo({"a": None, "b": None, "c": None})
    for name, images in (("cat", "ab"), ("dog", "c")):
        folder = tmp_path / "tree" / "val" / name
        folder.mkdir(parents=True)
        for image in images:
            (tmp_path / "data" / "images" / "val" / f"{image}.png").rename(folder / f"{image}.png")
    return tmp_path / "tree"


ROWS = {"names": ("cat", "dog"), "strides": ()}


@pytest.mark.parametrize("inside", ["", "val", "data.yaml"])
def test_classifiers(make_artefact, class_folders, inside):
    (class_folders / "data.yaml").write_text("val: val\nnames: [cat, dog]")
    executor = ClassExecutor([[0.9, 0.1], [0.4, 0.6], [0.3, 0.7]])
    artefact = make_artefact("classify", **ROWS)
    report = validate(artefact, class_folders / inside, ValOptions(), executor=executor).report
    assert (report.images, report.top1, report.top5) == (3, pytest.approx(2 / 3), 1)


def test_a_classifier_has_no_thresholds(make_artefact, class_folders):
    with pytest.raises(DatasetError, match="thresholds"):
        validate(make_artefact("classify", **ROWS), class_folders, ValOptions(conf=0.5), executor=ClassExecutor([]))


def test_folders_that_are_not_the_models_classes(make_artefact, class_folders):
    (class_folders / "val" / "cow").mkdir()
    with pytest.raises(DatasetError, match="the model has no 'cow'"):
        validate(make_artefact("classify", **ROWS), class_folders, ValOptions(), executor=ClassExecutor([]))


def test_nms_in_the_graph_is_taken_as_it_is(make_artefact, make_yolo):
    class InGraph(ScriptedExecutor):
        def run(self, images):
            rows = np.zeros((1, 4, 6), np.float32)
            rows[0, 0] = [16, 16, 48, 48, 0.9, 0]
            return {"detections": rows, "num": np.array([[1]]), "truncated": np.array([[1]])}

    nms = NmsSettings("packed", 100, DetectOptions(conf=0.3, iou=0.5, max_det=4))
    data = make_yolo({"a": CAT_LINE})
    validation = validate(make_artefact(nms=nms), data, ValOptions(), executor=InGraph([]))
    assert ap(validation) == pytest.approx(1)
    settings = validation.report.settings
    assert (settings["conf"], settings["iou"], settings["max_det"], settings["nms"]) == (0.3, 0.5, 4, "in the graph")
    assert validation.report.notes == ("in 1 images the graph's NMS saw only the best of the candidates", ONE_CLASS)
    with pytest.raises(InputError, match=r"conf: expected 0\.3 or more, found 0\.1"):
        validate(make_artefact(nms=nms), data, ValOptions(conf=0.1), executor=InGraph([]))


def test_nms_in_the_graph_may_find_classes_that_the_data_does_not_know(make_artefact, make_coco):
    class InGraph(ScriptedExecutor):
        def run(self, images):
            rows = np.array([[[16, 16, 48, 48, 0.9, 0], [16, 16, 48, 48, 0.8, 1]]], np.float32)
            return {"detections": rows, "num": np.array([[2]]), "truncated": np.array([[0]])}

    data = coco_data()
    del data["categories"][0]
    nms = NmsSettings("packed", 100, DetectOptions(max_det=2))
    validation = validate(make_artefact(nms=nms), make_coco(data), ValOptions(), executor=InGraph([]))
    assert ap(validation) == pytest.approx(1)
    assert [result["category_id"] for result in validation.results] == [3]


def test_saved_results_give_the_same_figures(make_artefact, make_coco, tmp_path):
    data = make_coco()
    validation = run(make_artefact(), data, [[ScriptedBox(1, 0.9, (16, 18, 48, 50))]])
    results = tmp_path / "results.json"
    results.write_text(json.dumps(validation.results))
    again = validate_results(results, data)
    assert ap(again) == ap(validation)
    assert 0 < ap(again) < 1


def test_results_need_a_coco_json(tmp_path):
    with pytest.raises(DatasetError, match="expected a COCO JSON to evaluate results with"):
        validate_results(tmp_path / "results.json", Path("data.yaml"))


def test_options_that_are_of_the_other_form(make_artefact, make_yolo, make_coco):
    for data, options, message in (
        (make_yolo(LABELS), ValOptions(images=Path("x")), "--images: is for a COCO JSON"),
        (make_coco(), ValOptions(split="test"), "--split: is for a data.yaml"),
        (Path("labels.csv"), ValOptions(), "expected a data.yaml or a COCO .json"),
    ):
        with pytest.raises(DatasetError, match=message):
            run(make_artefact(), data, [], options)
    with pytest.raises(DatasetError, match="split: expected one of train, val, test"):
        ValOptions(split="valid")
