"""The report as text and as JSON."""

import json

from y12.exporter.evaluate.coco import ClassFigures, Figures
from y12.exporter.evaluate.report import ValReport

CLASSES = (ClassFigures("cat\x1b[31m", 3, 0.5, 0.75), ClassFigures("dog", 0, None, None))
KEYPOINTS = Figures("keypoints", {"AP": 0.4861, "AP50": 0.7033, "AR": 0.5675, "APlarge": None}, CLASSES)
REPORT = ValReport(
    artefact="m.onnx",
    data="d.yaml",
    images=4,
    labels=3,
    background=1,
    description="ONNX Runtime (CPU)",
    settings={"conf": 0.001, "multi_label": True},
    figures=(KEYPOINTS,),
    ms_per_image={"load": 1.25, "execute": 30.0},
    evaluation_s=0.5,
)


def test_lines():
    assert list(REPORT.lines(per_class=True)) == [
        "m.onnx on d.yaml",
        "4 images, 1 of them without labels; 3 labels",
        "conf 0.001, multi_label on",
        "                  AP50-95     AP50     AP75    small   medium    large       AR",
        "keypoints          0.4861   0.7033        -        -        -        -   0.5675",
        "",
        "keypoints          labels  AP50-95     AP50",
        "cat\\x1b[31m             3   0.5000   0.7500",
        "ms per image, ONNX Runtime (CPU): load 1.2, execute 30.0; evaluation 0.5 s",
    ]


def test_a_classifiers_lines():
    lines = list(ValReport("m.onnx", "tree", 2, 2, top1=0.5, top5=1.0).lines())
    assert lines[2:] == ["                    top-1    top-5", "classes            0.5000   1.0000"]


def test_json():
    data = json.loads(REPORT.to_json())
    assert data["figures"]["keypoints"]["values"]["APlarge"] is None
    assert data["figures"]["keypoints"]["classes"][1] == {"name": "dog", "labels": 0, "ap": None, "ap50": None}
    assert data["settings"] == {"conf": 0.001, "multi_label": True}
