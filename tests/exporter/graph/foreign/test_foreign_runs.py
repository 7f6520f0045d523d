"""Files of another exporter in the runtime: the detections that their outputs hold, whatever form these have."""

import numpy as np
import pytest

from y12 import Runtime
from y12.runtime.artefact.nms_settings import end_to_end
from y12.runtime.artefact.opened import open_artefact

# Trained weights; what else is told of a file by its name.
RUN = ["T_yolo11n", "T_yolo11n_nms", "T_yolo11n_half"]
MORE = [
    "T_rmArmor-yolov12n",
    "T_yolo11n-seg",
    "T_yolo11n-seg_dynamic",
    "T_yolo11n-seg_nms",
    "T_yolo11n_dynamic",
    "T_yolo11n_nosimplify",
    "T_yolo11n_opset12",
    "T_yolov8n-pose",
    "T_yolov8n-pose_nms",
]
END_TO_END = ["yolo26n_end2end", "yolo26n-seg_end2end", "yolo26n-pose_end2end", "yolov10n_end2end", "L_yolo26n_end2end"]


def exhaustive(names):
    return [pytest.param(name, marks=pytest.mark.exhaustive) for name in names]


@pytest.fixture
def written(foreign, tmp_path):
    def write(name):
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(foreign(name).SerializeToString())
        return path

    return write


def reference_of(shared, name):
    """Boxes in the photograph, scores, classes and what else there is, best first."""
    found = np.load(shared / "foreign_onnx" / "reference" / f"{name}.npz")
    best_first = np.argsort(-found["scores"], kind="stable")
    return {key: found[key][best_first] for key in found.files if "." not in key}


@pytest.mark.parametrize("name", [*RUN, *exhaustive(MORE)])
def test_a_photograph_shows_what_the_reference_says(shared, written, name):
    expected = reference_of(shared, name)
    is_armor = "rmArmor" in name
    with Runtime(written(name)) as runtime:
        found = runtime.infer(shared / "images" / ("armor_blue5.png" if is_armor else "bus.jpg"))
        assert runtime.artefact.notes == ()
        assert runtime.manifest.precision == ("fp16" if name.endswith("_half") else "fp32")
        assert (runtime.manifest.nms is not None) == name.endswith("_nms")
    assert found.class_id.tolist() == expected["classes"].tolist()
    if is_armor:
        assert found.class_name == ["B5"]
        return
    limit = np.tile(found.image_hw[::-1], 2)
    # FP16 boxes of the reference come in steps of half a pixel, and differently from one build to the other.
    px, score = (0.5, 4e-3) if name.endswith("_half") else (0.1, 1e-3)
    assert np.abs(found.xyxy - np.clip(expected["photo_boxes"], 0, limit)).max() <= px
    assert np.abs(found.confidence - expected["scores"]).max() <= score
    assert (found.keypoints is not None) == ("pose" in name)
    assert (found.masks is not None) == ("-seg" in name)
    if name.endswith("_half"):
        wide = reference_of(shared, name.removesuffix("_half"))
        assert np.abs(found.xyxy - np.clip(wide["photo_boxes"], 0, limit)).max() <= 0.5


@pytest.mark.parametrize("name", [END_TO_END[0], *exhaustive(END_TO_END[1:])])
def test_end_to_end_rows_are_objects(shared, written, name):
    path = written(name)
    artefact = open_artefact(path)
    assert (artefact.manifest.nms, artefact.notes) == (end_to_end(300), ())
    with Runtime(artefact) as runtime:
        found = runtime.infer(shared / "images" / "bus.jpg")
        assert 0 < len(found) <= 300
        assert found.confidence.min() > 0.25
        assert (np.diff(found.confidence) <= 0).all()
        assert (found.keypoints is not None) == ("pose" in name)
        assert (found.masks is not None) == ("-seg" in name)
