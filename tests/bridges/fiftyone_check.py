"""What FiftyOne itself has of a sample. Arguments: an image of 400x200 pixels, a folder to write to."""

import json
import sys
from pathlib import Path

import fiftyone
import fiftyone.utils.coco
import numpy as np

from tests.bridges.found import HEIGHT, NAMES, WIDTH, bitmaps, classified, detections, oriented, posed, segmented
from y12.errors import InputError
from y12.runtime.results.oriented import corners_from_xywhr

SIDES = (WIDTH, HEIGHT)


def main(image, folder):
    samples = {
        make.__name__: make().to_fiftyone(image) for make in (detections, segmented, posed, oriented, classified)
    }
    samples["tracked"] = detections(tracker_id=np.array([7, 9])).to_fiftyone(image)
    check_labels(samples)
    check_path(image)
    check_coco(exported(samples["segmented"], folder / "exported"))
    try:
        dataset = fiftyone.Dataset("y12-check", overwrite=True)
    except fiftyone.core.config.FiftyOneConfigError as error:
        sys.stdout.write(f"without a database: {error}\n")
        return
    dataset.add_samples(list(samples.values()))
    boxes = dataset.first().detections.detections
    assert [label.to_dict() for label in boxes] == [
        label.to_dict() for label in samples["detections"].detections.detections
    ]
    dataset.delete()
    sys.stdout.write("by way of a database\n")


def exported(sample, folder):
    """Give the COCO data set that FiftyOne writes of a sample's detections."""
    exporter = fiftyone.utils.coco.COCODetectionDatasetExporter(
        export_dir=str(folder), classes=list(NAMES), export_media=False, abs_paths=True
    )
    with exporter:
        metadata = fiftyone.ImageMetadata.build_for(sample.filepath)
        exporter.export_sample(sample.filepath, sample.detections, metadata=metadata)
    return json.loads((folder / "labels.json").read_text())


def check_labels(samples):
    found = detections()
    for sample in samples.values():
        assert fiftyone.Sample.from_dict(sample.to_dict()).to_dict() == sample.to_dict()
    for name in ("detections", "segmented", "posed"):
        boxes = [label.bounding_box for label in samples[name].detections.detections]
        left_top = found.xyxy[:, :2] / SIDES
        np.testing.assert_allclose(boxes, np.hstack([left_top, found.xyxy[:, 2:] / SIDES - left_top]), atol=1e-7)
        assert [label.label for label in samples[name].detections.detections] == ["bus", "person"]
        np.testing.assert_allclose([label.confidence for label in samples[name].detections.detections], [0.9, 0.6])
    first, second = samples["segmented"].detections.detections
    np.testing.assert_array_equal(first.mask, bitmaps()[0, 20:100, 40:120])
    np.testing.assert_array_equal(second.mask, bitmaps()[1, 50:200, 200:400])
    drawn = first.to_segmentation(frame_size=SIDES, target=1).mask  # FiftyOne's own drawing of it
    np.testing.assert_array_equal(drawn == 1, bitmaps()[0])
    points = samples["posed"].keypoints.keypoints
    np.testing.assert_allclose(points[0].points, [[50 / 400, 30 / 200], [60 / 400, 40 / 200]])
    np.testing.assert_allclose(points[0].confidence, [0.9, 0.1], atol=1e-7)
    lines = samples["oriented"].polylines.polylines
    corners = corners_from_xywhr(oriented().xywhr)
    np.testing.assert_allclose([line.points[0] for line in lines], corners / SIDES)
    assert all(line.closed for line in lines)
    assert [label.label for label in samples["classified"].classifications.classifications] == ["bus", "person"]
    assert [label.index for label in samples["tracked"].detections.detections] == [7, 9]


def check_path(image):
    found = detections()
    message = ""
    try:
        found.to_fiftyone()
    except InputError as error:
        message = str(error)
    assert message.endswith("pass filepath")
    found.image = image
    assert found.to_fiftyone().filepath == image


def check_coco(coco):
    boxes = [label["bbox"] for label in coco["annotations"]]
    np.testing.assert_allclose(boxes, [[40, 20, 80, 80], [200.5, 50, 199.5, 150]], atol=1e-4)
    names = {category["id"]: category["name"] for category in coco["categories"]}
    assert [names[label["category_id"]] for label in coco["annotations"]] == ["bus", "person"]


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
