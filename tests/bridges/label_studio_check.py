"""What Label Studio's own SDK makes of pre-annotations. Argument: a folder to write to."""

import json
import sys
from pathlib import Path

import numpy as np
from label_studio_sdk.converter import Converter
from label_studio_sdk.label_interface import LabelInterface

from tests.bridges.found import HEIGHT, NAMES, WIDTH, bitmaps, classified, detections, oriented, posed, segmented
from y12.runtime.results.oriented import corners_from_xywhr

URL = "https://example.org/a.jpg"
LABELS = "".join(f'<Label value="{name}"/>' for name in NAMES)
CHOICES = "".join(f'<Choice value="{name}"/>' for name in NAMES)
CONFIG = f"""<View><Image name="image" value="$image"/>
<RectangleLabels name="rectangle_label" toName="image">{LABELS}</RectangleLabels>
<PolygonLabels name="polygon_label" toName="image">{LABELS}</PolygonLabels>
<KeyPointLabels name="keypoint_label" toName="image">{LABELS}</KeyPointLabels>
<Choices name="choice" toName="image">{CHOICES}</Choices></View>"""


def main(folder):
    interface = LabelInterface(CONFIG)
    interface.validate()
    tasks = {
        make.__name__: make().to_label_studio(URL, "mine") for make in (detections, segmented, posed, oriented)
    } | {"classified": classified().to_label_studio(URL, "mine")}
    tasks["nothing"] = detections()[:0].to_label_studio(URL)
    for name, task in tasks.items():
        task = json.loads(json.dumps(task))
        problems = interface.validate_prediction(task["predictions"][0], return_errors=True)
        assert problems == [], (name, problems)
        assert interface.validate_task({"data": task["data"]}), name  # with predictions in it, the SDK fails itself
    spoiled = json.loads(json.dumps(tasks["detections"]))
    spoiled["predictions"][0]["result"][0]["value"]["rectanglelabels"] = ["no such"]
    assert interface.validate_prediction(spoiled["predictions"][0], return_errors=True) != []
    check_boxes(tasks, folder)
    check_others(tasks)


def coco_of(task, folder, config):
    """Give the COCO data set that Label Studio's converter makes of a task whose prediction was accepted."""
    (prediction,) = task["predictions"]
    accepted = {"id": 1, "data": task["data"], "annotations": [{"id": 1, "result": prediction["result"]}]}
    folder.mkdir()
    (folder / "tasks.json").write_text(json.dumps([accepted]))
    converter = Converter(config, str(folder), download_resources=False)
    converter.convert_to_coco(str(folder / "tasks.json"), str(folder / "coco"), is_dir=False)
    return json.loads((folder / "coco/result.json").read_text())


def check_boxes(tasks, folder):
    kinds = {"detections": "Rectangle", "segmented": "Polygon"}
    for name, kind in kinds.items():
        tag = f'<{kind}Labels name="{kind.lower()}_label" toName="image">{LABELS}</{kind}Labels>'
        config = f'<View><Image name="image" value="$image"/>{tag}</View>'
        coco = coco_of(tasks[name], folder / name, config)
        boxes = np.array([label["bbox"] for label in coco["annotations"]])
        names = {category["id"]: category["name"] for category in coco["categories"]}
        assert [names[label["category_id"]] for label in coco["annotations"]] == ["bus", "person"]
        whole = [[40, 20, 80, 80], [200.5, 50, 199.5, 150]]
        masked = [[40, 20, 40, 80], [210, 60, 190, 140]]
        np.testing.assert_allclose(boxes, whole if kind == "Rectangle" else masked, atol=1e-3)
    areas = [label["area"] for label in coco["annotations"]]
    np.testing.assert_allclose(areas, bitmaps().sum(axis=(1, 2)), atol=0.1)


def check_others(tasks):
    results = {name: task["predictions"][0]["result"] for name, task in tasks.items()}
    corners = corners_from_xywhr(oriented().xywhr)
    for region, expected in zip(results["oriented"], corners, strict=True):
        value = region["value"]
        x, y = value["x"] * WIDTH / 100, value["y"] * HEIGHT / 100
        w, h, turn = value["width"] * WIDTH / 100, value["height"] * HEIGHT / 100, np.deg2rad(value["rotation"])
        along, across = np.array([np.cos(turn), np.sin(turn)]) * w, np.array([-np.sin(turn), np.cos(turn)]) * h
        start = np.array([x, y])
        np.testing.assert_allclose([start, start + along, start + along + across, start + across], expected, atol=1e-3)
    points = [region["value"] for region in results["posed"] if region["type"] == "keypointlabels"]
    assert [(point["x"], point["y"]) for point in points] == [(12.5, 15.0), (75.0, 50.0), (77.5, 55.0)]
    assert results["classified"][0]["value"] == {"choices": ["bus"]}
    assert results["nothing"] == []


if __name__ == "__main__":
    main(Path(sys.argv[1]))
