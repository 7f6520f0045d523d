"""Results for Label Studio, FiftyOne and MLflow: what is written, and what is said where a package is missing.

The other side's own loaders take them in tests/bridges.
"""

import sys

import numpy as np
import pytest

from tests.bridges.found import classified, detections, oriented, posed, segmented
from y12.errors import InputError, MissingPackageError, Y12Error


def regions(found):
    (prediction,) = found.to_label_studio("https://example.org/a.jpg")["predictions"]
    return prediction["result"]


def test_a_label_studio_task_has_the_image_and_one_prediction():
    task = detections().to_label_studio("https://example.org/a.jpg", "yolo11n")
    assert task["data"] == {"image": "https://example.org/a.jpg"}
    (prediction,) = task["predictions"]
    assert (prediction["model_version"], prediction["score"]) == ("yolo11n", 0.75)
    assert prediction["result"][0] == {
        "type": "rectanglelabels",
        "from_name": "rectangle_label",
        "to_name": "image",
        "original_width": 400,
        "original_height": 200,
        "image_rotation": 0,
        "value": {"x": 10, "y": 10, "width": 20, "height": 40, "rotation": 0, "rectanglelabels": ["bus"]},
        "score": 0.9,
    }


def test_masks_are_polygons_along_the_pixels_edges():
    value = regions(segmented())[0]["value"]
    assert sorted(value["points"]) == [[10, 10], [10, 50], [20, 10], [20, 50]]
    assert value["polygonlabels"] == ["bus"]
    with pytest.raises(InputError, match="tolerance"):
        segmented().to_label_studio("a.jpg", tolerance=-1)


def test_an_oriented_box_is_turned_about_its_first_corner():
    first, second = (region["value"] for region in regions(oriented()))
    assert (first["rotation"], second["rotation"]) == (pytest.approx(30), 0)
    # 60 by 20 about (80, 60): the corner is at (80, 60) - 30 (cos 30, sin 30) - 10 (-sin 30, cos 30)
    corner = np.array([first["x"] * 4, first["y"] * 2])
    np.testing.assert_allclose(corner, [80 - 30 * 0.8660254 + 5, 60 - 15 - 8.660254], atol=1e-4)
    assert (second["x"], second["y"], second["width"], second["height"]) == (68.75, 40, 12.5, 20)


def test_keypoints_that_are_seen_are_points():
    points = [region["value"] for region in regions(posed()) if region["type"] == "keypointlabels"]
    assert [(point["x"], point["y"], point["keypointlabels"]) for point in points] == [
        (12.5, 15, ["bus"]),
        (75, 50, ["person"]),
        (77.5, 55, ["person"]),
    ]


def test_a_classifier_s_best_class_is_a_choice_and_nothing_is_no_region():
    assert [region["value"] for region in regions(classified())] == [{"choices": ["bus"]}]
    assert regions(detections()[:0]) == []


def test_fiftyone_that_is_missing_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "fiftyone", None)
    with pytest.raises(Y12Error, match="expected the package fiftyone, found none: pip install fiftyone"):
        detections().to_fiftyone("a.jpg")


def test_mlflow_that_is_missing_is_one_line(monkeypatch, tmp_path):
    import y12.mlflow

    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(MissingPackageError, match=r"y12.mlflow needs the package 'mlflow-skinny' of y12's extra \[ml"):
        y12.mlflow.save_model("a.onnx", tmp_path / "model")
